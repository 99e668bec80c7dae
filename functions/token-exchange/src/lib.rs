//! `POST /ring/token/{key}`: Ring's one-time code -> a sealed token pair, unclaimed.
//!
//! The code lives for 60 s and is good once (Ring: Token Lifecycle), so it is exchanged in the request, and the pair is
//! saved before anything else is asked of Ring. Everything that saving needs is in hand before the code is spent.
//!
//! | answer | when |
//! |---|---|
//! | 200 `{}` | the tokens are saved, now or when the code came before |
//! | 400 | there is no usable code, or Ring refuses it |
//! | 404 | the key in the path is not ours, or Ring's signature is required and missing |
//! | 413 | body or query have more than 4 KiB |
//! | 503 | Ring, the table or the key is out of reach; or the source has brought too many codes that Ring refused |

mod code;
mod config;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
pub use config::{Config, UrlKeys};
use jiff::Timestamp;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt as _};
use ring_partner::oauth::TokenError;
use shared::edge::problem::{Problem, ProblemType};
use shared::edge::queue::Queue;
use shared::edge::quota::Quota;
use shared::edge::secret::Secret;
use shared::edge::table::Table;
use shared::edge::{aws, clock};
use shared::grant::GrantId;
use shared::grant::access::ResolveRequest;
use shared::grant::exchange::{Exchange, ExchangeError, Exchanged, Presented};
use shared::grant::rescue::Rescuer;
use shared::grant::source::{self, Source};
use shared::grant::store::GrantTable;
use shared::grant::vault::{Kms, Vault};
use shared::world::{Deployed, System};
pub use signature::TokenUrlSignature;
use signature::{Gatekeeper, KEYS_KEPT_FOR};

/// The program's name.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

const CREDENTIALS_KEPT_FOR: Duration = Duration::from_secs(300);
/// How long it may take to tell of a grant whose owner is not known yet.
const TELL_WITHIN: Duration = Duration::from_secs(2);

/// The token exchange.
#[derive(Debug)]
pub struct TokenExchange {
    keys: UrlKeys,
    gatekeeper: Option<Gatekeeper>,
    exchange: Exchange<Deployed>,
    resolve_queue: Queue,
}

impl TokenExchange {
    /// An exchange with these settings.
    pub fn new(aws: &aws::SdkConfig, config: Config) -> Result<Self, ring_partner::client::SettingsError> {
        let grants = GrantTable::new(aws, &config.grants_table);
        Ok(Self {
            keys: config.url_keys,
            gatekeeper: config.signing_secret_id.map(|id| Gatekeeper {
                keys: Secret::new(aws, id, KEYS_KEPT_FOR),
                is_required: config.signature == TokenUrlSignature::Require,
            }),
            exchange: Exchange {
                nature: System,
                refusals: Quota::new(
                    Table::new(aws, config.grants_table),
                    "source",
                    config.refused_codes_per_minute,
                    source::WINDOW,
                ),
                rescuer: Rescuer::new(grants.clone(), Queue::new(aws, config.rescue_queue_url)),
                grants,
                vault: Vault::new(Kms::new(aws, config.token_key_id)),
                ring: config.ring.client()?,
                client: Arc::new(Secret::new(aws, config.oauth_secret_id, CREDENTIALS_KEPT_FOR)),
                epoch: config.grants_epoch,
            },
            resolve_queue: Queue::new(aws, config.resolve_queue_url),
        })
    }

    /// Reads the credentials ahead of the first code.
    pub async fn warm(&self) {
        if let Err(error) = self.exchange.client.get(clock::now()).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the client's credentials are not at hand yet"
            );
        }
    }

    /// Answers one code.
    pub async fn answer(&self, request: Request) -> Result<Response, std::convert::Infallible> {
        let parameters = request.path_parameters_ref();
        let key = parameters
            .and_then(|parameters| parameters.first("key"))
            .unwrap_or_default();
        if !self.keys.hold(key) {
            return Ok(Problem::new(ProblemType::NotFound).into_response());
        }
        let presented = match self.presented(&request).await {
            Ok(presented) => presented,
            Err(problem) => return Ok(problem.into_response()),
        };
        // The runtime gives the instant at which Lambda ends this invocation.
        let deadline = request.lambda_context_ref().map(|context| context.deadline());
        let deadline = deadline.and_then(|deadline| Timestamp::try_from(deadline).ok());
        let deadline = deadline.unwrap_or(Timestamp::MAX);
        Ok(match self.exchange.exchange(&presented, deadline).await {
            Ok(exchanged) => {
                if let Exchanged::Unresolved(id) = exchanged {
                    self.resolve_later(id).await;
                }
                axum::Json(serde_json::json!({})).into_response()
            }
            Err(error) => problem_of(&error).into_response(),
        })
    }

    async fn presented(&self, request: &Request) -> Result<Presented, Problem> {
        if let Some(gatekeeper) = &self.gatekeeper {
            gatekeeper.look(request.headers(), request.body()).await?;
        }
        let (code, verifier) = code::of(request)?;
        let address = match request.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.as_deref(),
            _ => None,
        };
        Ok(Presented {
            code,
            verifier,
            source: Source::of(address.unwrap_or_default()),
        })
    }

    /// `token-refresh` asks Ring again whose this grant is. Not told, it comes across it within a minute.
    async fn resolve_later(&self, id: GrantId) {
        let told = self.resolve_queue.send(ResolveRequest { resolve: id }.message());
        let told = tokio::time::timeout(TELL_WITHIN, told).await;
        if !matches!(told, Ok(Ok(()))) {
            tracing::warn!("a grant waits for the schedule to be resolved: its queue did not take it");
        }
    }
}

/// Each error of an exchange, as Ring is told.
fn problem_of(error: &ExchangeError) -> Problem {
    let alarm = matches!(error, ExchangeError::Ring(TokenError::InvalidClient)).then_some("invalid_client");
    tracing::error!(
        alarm,
        error = error as &dyn std::error::Error,
        "a code is not exchanged"
    );
    match error {
        ExchangeError::Refused => Problem::field("/code", "Ring does not take this code"),
        ExchangeError::TooMany(spent) => {
            Problem::new(ProblemType::RingUnavailable).retry_after(spent.retry_after.as_secs().max(1))
        }
        ExchangeError::Pending | ExchangeError::Late | ExchangeError::Ring(_) | ExchangeError::NoRefreshToken => {
            Problem::new(ProblemType::RingUnavailable)
        }
        ExchangeError::Store(_) | ExchangeError::Vault(_) | ExchangeError::Secret(_) => {
            Problem::new(ProblemType::Unavailable)
        }
    }
}
