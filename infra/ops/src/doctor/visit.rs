//! A request from outside, as Ring sends them: over TLS, with five seconds' patience, and no redirect followed; and which TLS there
//! is. Why there is no answer is told apart, as each reason asks for something else.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use reqwest::redirect::Policy;
use reqwest::tls::{TlsInfo, Version};
use reqwest::{Certificate, Client, ClientBuilder, Request, StatusCode, Url};
use rustls::CertificateError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::failure::chain;

/// Who visits.
pub(super) struct Visitor {
    /// Ring's own patience. Ring: Webhook Response Handling.
    pub(super) patience: Duration,
    /// Who vouches for certificates, in the place of whom this system trusts.
    pub(super) trusted: Option<Certificate>,
}

/// An answer, whatever it says.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) took: Duration,
    /// Whether it is a page.
    pub(super) is_html: bool,
    pub(super) tls: Option<Version>,
    /// The server's certificate (DER).
    pub(super) certificate: Option<Vec<u8>>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("there is no answer within {} s", .0.as_secs_f64())]
    Slow(Duration),
    #[error("its certificate {0}")]
    Certificate(String),
    #[error("no TLS is agreed on: {0}")]
    NoTls(String),
    #[error("it is out of reach: {0}")]
    Unreachable(String),
}

impl Visitor {
    /// A client that has no connection yet.
    pub(super) fn client(&self, url: &Url) -> Result<Client, NoAnswer> {
        let mut client = ClientBuilder::new()
            .redirect(Policy::none())
            .timeout(self.patience)
            .tls_version_min(Version::TLS_1_2)
            .tls_info(true);
        if let Some(trusted) = &self.trusted {
            client = client.tls_certs_only([trusted.clone()]);
        }
        // A name below `localhost` is this machine (RFC 6761), whatever a resolver knows.
        if let Some(host) = url.host_str().filter(|host| host.ends_with(".localhost")) {
            client = client.resolve(host, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        }
        client.build().map_err(|error| NoAnswer::Unreachable(chain(&error)))
    }

    /// Sends a request, and waits for the head of the answer.
    pub(super) async fn visit(&self, client: &Client, request: Request) -> Result<Answer, NoAnswer> {
        let since = Instant::now();
        let answer = client.execute(request).await.map_err(|error| self.why(error))?;
        let content_type = answer.headers().get(reqwest::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let tls = answer.extensions().get::<TlsInfo>();
        Ok(Answer {
            status: answer.status(),
            took: since.elapsed(),
            is_html: content_type.starts_with("text/html"),
            tls: tls.and_then(TlsInfo::version),
            certificate: tls.and_then(TlsInfo::peer_certificate).map(<[u8]>::to_vec),
        })
    }

    fn why(&self, error: reqwest::Error) -> NoAnswer {
        // A URL of ours may have a key in it.
        let error = error.without_url();
        if error.is_timeout() {
            return NoAnswer::Slow(self.patience);
        }
        let mut next: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(error) = next {
            next = match error.downcast_ref::<rustls::Error>() {
                Some(rustls::Error::InvalidCertificate(why)) => return NoAnswer::Certificate(in_words(why)),
                Some(other) => return NoAnswer::NoTls(other.to_string()),
                None => within(error),
            };
        }
        NoAnswer::Unreachable(chain(&error))
    }

    /// Whether the server agrees to TLS 1.1 or less, which this tool's own TLS can't: so its first message is written here, and
    /// the first of the answer is read. (RFC 4346: 7.4.1.2, 7.4.1.3)
    pub(super) async fn speaks_old_tls(&self, url: &Url) -> Result<bool, NoAnswer> {
        let asked = tokio::time::timeout(self.patience, first_answer(url)).await;
        let answer = asked.map_err(|_| NoAnswer::Slow(self.patience))?;
        let answer = answer.map_err(|error| NoAnswer::Unreachable(error.to_string()))?;
        Ok(agrees_to_old(&answer))
    }
}

/// What caused it. What an error of I/O is made of is not its source: that is one further.
fn within<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn in_words(why: &CertificateError) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is of another name".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "is vouched for by nobody who is trusted, or the server leaves out what stands between".to_owned()
        }
        other => format!("is refused: {other}"),
    }
}

const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;
/// TLS 1.1 on the wire.
const OLD: [u8; 2] = [3, 2];

/// What the server says first to somebody who knows no more than TLS 1.1; nothing where it hangs up.
async fn first_answer(url: &Url) -> io::Result<Vec<u8>> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let mut server = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    server.write_all(&hello(host)).await?;
    let mut answer = vec![0; 11];
    let mut read = 0;
    while read < answer.len() {
        match server.read(&mut answer[read..]).await {
            Ok(0) => break,
            Ok(more) => read += more,
            // It hangs up without a word: that is a no.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
        }
    }
    answer.truncate(read);
    Ok(answer)
}

/// A server's hello, of a version that is too old. Anything else is a no.
fn agrees_to_old(answer: &[u8]) -> bool {
    match answer {
        [HANDSHAKE, _, _, _, _, SERVER_HELLO, _, _, _, major, minor] => [*major, *minor] <= OLD,
        _ => false,
    }
}

/// A client's hello that offers TLS 1.1 and what servers of its time had, in one record.
fn hello(host: &str) -> Vec<u8> {
    fn with_length(bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        [&length.to_be_bytes()[..], bytes].concat()
    }
    // ECDHE and RSA, with AES in CBC mode: all that TLS 1.1 has and anybody would still agree to.
    let ciphers = [0xC0, 0x14, 0xC0, 0x13, 0xC0, 0x0A, 0xC0, 0x09, 0x00, 0x35, 0x00, 0x2F];
    let name = [&[0][..], &with_length(host.as_bytes())].concat();
    let extensions = [
        [&[0, 0][..], &with_length(&with_length(&name))].concat(), // the server's name
        [&[0, 10][..], &with_length(&with_length(&[0, 23, 0, 24]))].concat(), // curves: P-256, P-384
        [&[0, 11][..], &with_length(&[1, 0])].concat(),            // points as they are
    ]
    .concat();
    let random = [*Uuid::new_v4().as_bytes(), *Uuid::new_v4().as_bytes()].concat();
    let body = [
        &OLD[..],
        &random,
        &[0],
        &with_length(&ciphers),
        &[1, 0],
        &with_length(&extensions),
    ]
    .concat();
    let message = [&[1, 0][..], &with_length(&body)].concat();
    [&[HANDSHAKE, 3, 1][..], &with_length(&message)].concat()
}
