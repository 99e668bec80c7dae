//! AWS, called directly: each request is signed and sent here, without the SDK around it. For the one program that somebody
//! waits for at each of its starts and that does nothing but call: with the SDK an event took three times the CPU time, and
//! twice as much had to be loaded first. Every other program has the SDK ([`super::aws`]).
//!
//! It is what the SDK would do for these calls, and no more: credentials from Lambda's environment, Signature Version 4, a
//! time-out for an attempt and for all of them, another attempt after what passes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use backon::{ExponentialBuilder, Retryable as _};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

use super::aws::{CONNECT_WITHIN, Cause};
use super::clock;
use super::config::{ConfigError, Environment, required};

/// The largest answer that is read: a secret has at most 64 KiB (Secrets Manager quotas), with what escapes it in JSON.
const LARGEST_ANSWER: usize = 512 * 1024;
/// How often what passes is tried again, and how soon.
const AGAIN: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_times(2)
    .with_jitter();
/// What carries the trace's context.
const TRACE: &str = "x-amzn-trace-id";

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer, or none that could be read.
    #[error("{0} is out of reach")]
    Unreachable(&'static str, #[source] Cause),
    /// No answer in time.
    #[error("{0} takes too long")]
    Slow(&'static str),
    /// It answered that it does not do it.
    #[error("{service} answers {status}: {code}")]
    Refused {
        /// The service.
        service: &'static str,
        /// The status of its answer.
        status: StatusCode,
        /// What it calls the reason.
        code: String,
    },
    /// The request can't be made or signed.
    #[error("the request to {0} can't be made")]
    Unsigned(&'static str, #[source] Cause),
}

impl CallError {
    /// Whether another attempt may do: no answer, a fault of the service's own, or too much at once.
    fn passes(&self) -> bool {
        match self {
            Self::Unreachable(..) | Self::Slow(_) => true,
            Self::Refused { status, code, .. } => {
                let too_much = ["Throttl", "TooManyRequests", "LimitExceeded", "SlowDown"];
                status.is_server_error() || *status == 429 || too_much.iter().any(|word| code.contains(word))
            }
            Self::Unsigned(..) => false,
        }
    }
}

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The account that a program runs in: who it is, where, and its connections.
#[derive(Clone, Debug)]
pub struct Account {
    http: Http,
    identity: Identity,
    region: Arc<str>,
    endpoint: Option<Arc<str>>,
}

impl Account {
    /// What Lambda sets for every function (AWS Lambda: Defined runtime environment variables). The credentials hold for as
    /// long as the process may live. As for the SDK, `AWS_ENDPOINT_URL` stands in for all of AWS, and `AWS_CA_BUNDLE` for the
    /// certificates that are trusted.
    pub fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        let credentials = Credentials::new(
            required(env, "AWS_ACCESS_KEY_ID")?,
            required(env, "AWS_SECRET_ACCESS_KEY")?,
            env.get("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        Ok(Self {
            http: http(env.get("AWS_CA_BUNDLE").as_deref().map(Path::new))?,
            identity: credentials.into(),
            region: required(env, "AWS_REGION")?.into(),
            endpoint: env.get("AWS_ENDPOINT_URL").map(|url| url.trim_end_matches('/').into()),
        })
    }

    /// One of AWS's services: an attempt may take the first time, all of them together the second.
    #[must_use]
    pub fn service(&self, name: &'static str, within: [Duration; 2]) -> Service {
        let origin = self
            .endpoint
            .clone()
            .unwrap_or_else(|| format!("https://{name}.{}.{}", self.region, suffix(&self.region)).into());
        Service {
            account: self.clone(),
            name,
            origin,
            within,
        }
    }
}

/// Where a region's services are.
#[must_use]
pub fn suffix(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    }
}

/// One of AWS's services.
#[derive(Clone, Debug)]
pub struct Service {
    account: Account,
    name: &'static str,
    origin: Arc<str>,
    within: [Duration; 2],
}

/// An operation of a service that speaks AWS JSON (Smithy: AWS JSON 1.0 and 1.1 protocol).
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// `X-Amz-Target`.
    pub target: &'static str,
    /// The content type, which says the version.
    pub content_type: &'static str,
}

impl Service {
    /// Calls an operation with this body. `trace`: the context that the service hands on.
    pub async fn json(
        &self,
        operation: Operation,
        body: Vec<u8>,
        trace: Option<&HeaderValue>,
    ) -> Result<Bytes, CallError> {
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri("/")?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(operation.content_type));
        headers.insert("x-amz-target", HeaderValue::from_static(operation.target));
        if let Some(trace) = trace {
            headers.insert(TRACE, trace.clone());
        }
        self.call(request).await
    }

    /// Puts an object (S3: PutObject) under `path`: the bucket and the key, as they stand in a URL.
    pub async fn put(&self, path: &str, body: Bytes) -> Result<(), CallError> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = self.uri(path)?;
        let octets = HeaderValue::from_static("application/octet-stream");
        request.headers_mut().insert(CONTENT_TYPE, octets);
        self.call(request).await.map(drop)
    }

    fn uri(&self, path: &str) -> Result<Uri, CallError> {
        let uri = format!("{}{path}", self.origin).try_into();
        uri.map_err(|error: http::uri::InvalidUri| CallError::Unsigned(self.name, error.into()))
    }

    async fn call(&self, request: Request<Bytes>) -> Result<Bytes, CallError> {
        let [_, whole] = self.within;
        let attempts = (|| self.attempt(request.clone())).retry(AGAIN).when(CallError::passes);
        let answered = tokio::time::timeout(whole, attempts).await;
        answered.unwrap_or(Err(CallError::Slow(self.name)))
    }

    async fn attempt(&self, mut request: Request<Bytes>) -> Result<Bytes, CallError> {
        self.sign(&mut request)
            .map_err(|cause| CallError::Unsigned(self.name, cause))?;
        let [attempt, _] = self.within;
        let answered = tokio::time::timeout(attempt, self.send(request)).await;
        answered.unwrap_or(Err(CallError::Slow(self.name)))
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Bytes, CallError> {
        let sent = self.account.http.request(request.map(Full::new)).await;
        let (answer, body) = sent
            .map_err(|error| CallError::Unreachable(self.name, error.into()))?
            .into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await;
        let body = body
            .map_err(|cause| CallError::Unreachable(self.name, cause))?
            .to_bytes();
        if answer.status.is_success() {
            return Ok(body);
        }
        Err(CallError::Refused {
            service: self.name,
            status: answer.status,
            code: code(&body),
        })
    }

    /// Signature Version 4 (AWS IAM: Create a signed AWS API request).
    fn sign(&self, request: &mut Request<Bytes>) -> Result<(), Cause> {
        let mut settings = SigningSettings::default();
        if self.name == "s3" {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let parameters = v4::SigningParams::builder()
            .identity(&self.account.identity)
            .region(&self.account.region)
            .name(self.name)
            .time(SystemTime::from(clock::now()))
            .settings(settings)
            .build()?
            .into();
        let uri = request.uri().to_string();
        let headers = request.headers().iter();
        // A trace's context is not signed; what else there is, we have written.
        let headers = headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable = SignableRequest::new(
            request.method().as_str(),
            uri,
            headers,
            SignableBody::Bytes(request.body()),
        )?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}

/// What a service calls the reason: `__type` of AWS JSON, without its name space. XML is S3's, whose status says enough.
fn code(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Said {
        #[serde(rename = "__type")]
        kind: String,
    }
    let said = serde_json::from_slice(body).map(|said: Said| said.kind);
    let kind = said.unwrap_or_else(|_| "no reason".to_owned());
    kind.rsplit('#').next().unwrap_or_default().to_owned()
}

/// Plain HTTP is for an emulator alone: AWS's own origins are all of HTTPS.
fn http(bundle: Option<&Path>) -> Result<Http, ConfigError> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_WITHIN));
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(&error))?
        .with_root_certificates(trusted(bundle)?)
        .with_no_client_auth();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// Mozilla's certificates as they are when this is built, which costs no reading and parsing of the system's at each start;
/// or those of a file.
fn trusted(bundle: Option<&Path>) -> Result<RootCertStore, ConfigError> {
    let Some(bundle) = bundle else {
        return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
    };
    let mut trusted = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(bundle).map_err(|error| invalid(&error))? {
        let certificate = certificate.map_err(|error| invalid(&error))?;
        trusted.add(certificate).map_err(|error| invalid(&error))?;
    }
    Ok(trusted)
}

fn invalid(error: &dyn std::error::Error) -> ConfigError {
    ConfigError::Invalid {
        name: "AWS_CA_BUNDLE",
        why: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> CallError {
        CallError::Refused {
            service: "sqs",
            status: StatusCode::from_u16(status).unwrap(),
            code: code(body.as_bytes()),
        }
    }

    #[test]
    fn what_passes_is_tried_again_and_what_is_wrong_is_not() {
        for passes in [
            refused(500, ""),
            refused(503, "<Error><Code>SlowDown</Code></Error>"),
            refused(429, "{}"),
            refused(400, r#"{"__type":"com.amazonaws.sqs#RequestThrottled"}"#),
            refused(400, r#"{"__type":"com.amazonaws.sqs#KmsThrottled"}"#),
            CallError::Slow("sqs"),
        ] {
            assert!(passes.passes(), "{passes}");
        }
        for stays in [
            refused(400, r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist"}"#),
            refused(403, r#"{"__type":"AccessDeniedException"}"#),
            refused(400, "not JSON"),
        ] {
            assert!(!stays.passes(), "{stays}");
        }
    }

    #[test]
    fn a_service_is_where_its_region_is_or_where_all_of_aws_is_said_to_be() {
        let origin = |variables: &[(&str, &str)]| {
            let set = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hush")];
            let set = set
                .iter()
                .chain(variables)
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let account = Account::read(&set.collect::<std::collections::HashMap<_, _>>()).unwrap();
            let service = account.service("sqs", [Duration::from_secs(1); 2]);
            assert!(!format!("{service:?}").contains("hush"));
            service.uri("/").unwrap().to_string()
        };
        assert_eq!(
            origin(&[("AWS_REGION", "eu-west-1")]),
            "https://sqs.eu-west-1.amazonaws.com/"
        );
        assert_eq!(
            origin(&[("AWS_REGION", "cn-north-1")]),
            "https://sqs.cn-north-1.amazonaws.com.cn/"
        );
        let here = ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566/");
        assert_eq!(origin(&[("AWS_REGION", "eu-west-1"), here]), "http://127.0.0.1:4566/");
    }
}
