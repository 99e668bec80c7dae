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

impl Gatekeeper {
    /// Whether a request with this raw body may pass.
    pub(crate) async fn look(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
        let verified = self.verify(headers, body).await;
        let outcome = match &verified {
            Ok(true) => "verified",
            Ok(false) => "not verified",
            Err(_) => "not looked at, as the keys are out of reach",
        };
        tracing::info!(
            metric = "token_url_signature",
            outcome,
            "the signature of a code is {outcome}"
        );
        match verified {
            _ if !self.is_required => Ok(()),
            Ok(true) => Ok(()),
            Ok(false) => Err(Problem::new(ProblemType::NotFound)),
            Err(problem) => Err(problem),
        }
    }

    async fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<bool, Problem> {
        // Without one there is nothing to read the keys for.
        if signatures(headers).next().is_none() {
            return Ok(false);
        }
        match self.keys.verify(headers, body, clock::now()).await {
            Ok(verified) => Ok(verified.is_ok()),
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
