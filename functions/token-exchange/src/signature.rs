//! Whether Ring signed a request to the Token Exchange URL. Its documentation does not say that it does; should it come to,
//! the form is a webhook's (Ring: Signature Verification), and the parameter `TokenUrlSignature` says what follows.

use std::str::FromStr;
use std::time::Duration;

use http::HeaderMap;
use shared::edge::clock;
use shared::edge::problem::{Problem, ProblemType};
use shared::edge::secret::{Secret, SigningKeys, signatures};

/// How long the signing keys are kept in memory.
pub(crate) const KEYS_KEPT_FOR: Duration = Duration::from_secs(300);

/// What is made of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUrlSignature {
    /// Nobody looks.
    Off,
    /// It is looked at, and told in the logs whether one that verifies was there.
    Observe,
    /// Without one that verifies the request is answered as one with a wrong key.
    Require,
}

impl FromStr for TokenUrlSignature {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "observe" => Ok(Self::Observe),
            "require" => Ok(Self::Require),
            _ => Err("it must be off, observe or require"),
        }
    }
}

/// Looks at signatures.
#[derive(Debug)]
pub(crate) struct Gatekeeper {
    pub(crate) keys: Secret<SigningKeys>,
    pub(crate) is_required: bool,
}

/// What a request's signature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signature {
    Verified,
    Wrong,
    Missing,
}

impl Gatekeeper {
    /// Whether a request with this raw body may pass.
    pub(crate) async fn look(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
        let signature = self.signature(headers, body).await;
        let outcome = match &signature {
            Ok(Signature::Verified) => "verified",
            Ok(Signature::Wrong) => "wrong",
            Ok(Signature::Missing) => "missing",
            Err(_) => "not looked at, as the keys are out of reach",
        };
        tracing::info!(
            metric = "token_url_signature",
            outcome,
            "the signature of a code is {outcome}"
        );
        match signature {
            _ if !self.is_required => Ok(()),
            Ok(Signature::Verified) => Ok(()),
            Ok(Signature::Wrong | Signature::Missing) => Err(Problem::new(ProblemType::NotFound)),
            Err(problem) => Err(problem),
        }
    }

    async fn signature(&self, headers: &HeaderMap, body: &[u8]) -> Result<Signature, Problem> {
        // Without one there is nothing to read the keys for.
        if signatures(headers).next().is_none() {
            return Ok(Signature::Missing);
        }
        match self.keys.verify(headers, body, clock::now()).await {
            Ok(Ok(_)) => Ok(Signature::Verified),
            Ok(Err(_)) => Ok(Signature::Wrong),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the signing keys can't be read; Ring may send the code again"
                );
                Err(Problem::new(ProblemType::Unavailable))
            }
        }
    }
}
