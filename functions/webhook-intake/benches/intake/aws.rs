//! Secrets Manager and SQS as far as the programs call them, behind TLS on the loopback, and what was asked of them.

use std::net::SocketAddr;
use std::ops::Sub;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::{fs, io};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use bench::Failure;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::server::TlsStream;

/// Where systems keep the certificates that they trust, as one file: Amazon Linux and Fedora, Debian, Alpine and macOS.
const BUNDLES: [&str; 3] = [
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",
];

/// Both services, on one port.
pub(crate) struct Aws {
    address: SocketAddr,
    certificate: PathBuf,
    bundle: PathBuf,
    asked: Arc<Asked>,
}

/// How often they were called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    /// `GetSecretValue`.
    pub(crate) secret_reads: u32,
    /// `SendMessage`.
    pub(crate) sends: u32,
    /// Those of the sends that bring the trace's context with them.
    pub(crate) traced: u32,
    /// Anything else.
    pub(crate) others: u32,
}

impl Aws {
    /// Serves a signing secret with these keys, the one of now and the one before it, and a queue that takes everything.
    pub(crate) async fn start([now, before]: [&str; 2]) -> Result<Self, Failure> {
        let identity = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let certificate = folder.join("intake-certificate.pem");
        fs::write(&certificate, identity.cert.pem())?;
        // What trusting AWS's own certificates costs is in the figures too: the SDKs read all that the system trusts, or what
        // they bring of the same size.
        let trusted = BUNDLES.iter().find_map(|path| fs::read_to_string(path).ok());
        let bundle = folder.join("intake-trusts.pem");
        fs::write(&bundle, trusted.unwrap_or_default() + "\n" + &identity.cert.pem())?;

        let key = PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der());
        let tls = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![identity.cert.into()], key.into())?;
        let asked = Arc::new(Asked {
            secret: json!({ "hmac_signing_key": now, "hmac_signing_key_previous": before }).to_string(),
            log: Mutex::default(),
        });
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&asked));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let listener = Connections::of(listener, address, TlsAcceptor::from(Arc::new(tls)), Arc::clone(&asked));
        tokio::spawn(async { drop(axum::serve(listener, routes).await) });
        Ok(Self {
            address,
            certificate,
            bundle,
            asked,
        })
    }

    /// Where they are, as `AWS_ENDPOINT_URL` has it.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Its own certificate alone, for a program that has AWS's built in.
    pub(crate) fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// The certificates to trust, as one file.
    pub(crate) fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// What was called up to now.
    pub(crate) fn calls(&self) -> Calls {
        self.asked.log().calls
    }

    /// When the first connection came since this was asked last.
    pub(crate) fn first_connection(&self) -> Option<Instant> {
        self.asked.log().first_connection.take()
    }

    /// The body of the last message.
    pub(crate) fn last_sent(&self) -> String {
        self.asked.log().last_sent.clone()
    }
}

impl Sub for Calls {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            secret_reads: self.secret_reads - before.secret_reads,
            sends: self.sends - before.sends,
            traced: self.traced - before.traced,
            others: self.others - before.others,
        }
    }
}

struct Asked {
    secret: String,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    calls: Calls,
    last_sent: String,
    first_connection: Option<Instant>,
}

impl Asked {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// AWS JSON, version 1.0 (SQS) and 1.1 (Secrets Manager): the operation stands in a header.
async fn answer(State(asked): State<Arc<Asked>>, headers: HeaderMap, body: Bytes) -> Response {
    let operation = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut log = asked.log();
    match operation {
        Some("secretsmanager.GetSecretValue") => {
            log.calls.secret_reads += 1;
            Json(json!({ "Name": body["SecretId"], "SecretString": asked.secret })).into_response()
        }
        Some("AmazonSQS.SendMessage") => {
            log.calls.sends += 1;
            log.last_sent = body["MessageBody"].as_str().unwrap_or_default().to_owned();
            log.calls.traced += u32::from(headers.contains_key("x-amzn-trace-id"));
            // Its client for Node looks whether this is that of the body that it sent.
            let digest: [u8; 16] = Md5::digest(&log.last_sent).into();
            let digest = format!("{:032x}", u128::from_be_bytes(digest));
            let id = "5fea7756-0ea4-451a-a703-a558b933e274";
            Json(json!({ "MessageId": id, "MD5OfMessageBody": digest })).into_response()
        }
        Some("AmazonSQS.GetQueueAttributes") => {
            log.calls.others += 1;
            Json(json!({})).into_response()
        }
        _ => {
            log.calls.others += 1;
            StatusCode::NOT_IMPLEMENTED.into_response()
        }
    }
}

/// Connections whose handshakes are done, each at its own pace.
struct Connections {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl Connections {
    fn of(listener: TcpListener, address: SocketAddr, tls: TlsAcceptor, asked: Arc<Asked>) -> Self {
        let (send, ready) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                asked.log().first_connection.get_or_insert_with(Instant::now);
                let (send, tls) = (send.clone(), tls.clone());
                tokio::spawn(async move {
                    let _slower_without = stream.set_nodelay(true);
                    // A handshake that fails is the program's to tell.
                    if let Ok(stream) = tls.accept(stream).await {
                        drop(send.send((stream, from)).await);
                    }
                });
            }
        });
        Self { address, ready }
    }
}

impl axum::serve::Listener for Connections {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
