//! `/v1/links…`: a signed-in user and a nonce -> a linked account.
//!
//! | route | answers |
//! |---|---|
//! | `POST /v1/links/preview` | 200 whose Ring account it is, masked; claims nothing |
//! | `POST /v1/links` | 201 the link; 200 had it already; 202 Ring's PATCH is being retried; 400, 404, 409, 410, 503 |
//! | `GET /v1/links` | 200 this user's links |
//! | `PATCH /v1/links/{link}` | 200 the link, completed or awaiting at Ring |
//! | `DELETE /v1/links/{link}` | 204 unlinked, both tokens deleted |
//!
//! A link of another user is no link: every route answers 404 to it, as to one that does not exist.

mod account;
mod config;

use std::sync::Arc;
use std::time::Duration;

use account::{AccountView, ExportView, ReceiptView};
use axum::Router;
use axum::extract::State;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
pub use config::Config;
use futures_util::future::try_join_all;
use http::{HeaderValue, StatusCode, header};
use ring_partner::Ring;
use ring_partner::error::Decision;
use ring_partner::nonce::{LinkTime, Nonce};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::account::store::Accounts;
use shared::audit::store::Audit;
use shared::audit::{Deed, Entry};
use shared::capture::session::live::Closer;
use shared::capture::session::store::SessionTable;
use shared::device::store::Devices;
use shared::edge::allowance::{Allowance, within};
use shared::edge::bus::Bus;
use shared::edge::conditional::conditional;
use shared::edge::description::{Description, Operation, Routes};
use shared::edge::function::Function;
use shared::edge::gateway::{Id, JsonBody, Params, SignedIn, not_found, private};
use shared::edge::idempotent::{Answers, repeatable};
use shared::edge::page::{self, Page, Paging};
use shared::edge::problem::{Problem, ProblemType};
use shared::edge::queue::Queue;
use shared::edge::quota::Quota;
use shared::edge::secret::{Secret, SigningKeys};
use shared::edge::table::Table;
use shared::edge::{aws, clock};
use shared::event::store::Events;
use shared::grant::EndReason;
use shared::grant::access::{Access, AccessError, CallError};
use shared::grant::ports::Grants as _;
use shared::grant::store::GrantTable;
use shared::grant::vault::{Kms, Vault};
use shared::link::claim::{Attempt, ClaimError, Claims, Linked, Match};
use shared::link::effects::Downstream;
use shared::link::ports::Links as _;
use shared::link::settle::{self, SetUp, SettleError, Settler};
use shared::link::store::{LinkLedger, LinkTable};
use shared::link::{Link, LinkStatus};
use shared::media::archive::Archive;
use shared::world::{Deployed, System};

/// The program's name.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

const KEYS_KEPT_FOR: Duration = Duration::from_secs(300);
/// How long a renewed token is waited for, and how long what is to be done about a link may take within a request: with
/// Ring's 10 s for the nonce, an answer stays within the gateway's 30 s.
const REFRESH_WITHIN: Duration = Duration::from_secs(8);
const SETTLE_WITHIN: Duration = Duration::from_secs(9);
/// The window of a user's attempts. A page that waits for its token asks each 2 s.
const ATTEMPTS_WINDOW: Duration = Duration::from_secs(60);
/// What a client that came before its token is told to wait.
const TOKEN_ON_ITS_WAY_SECONDS: u64 = 2;

/// What the routes work with.
#[derive(Debug)]
pub struct App {
    keys: Secret<SigningKeys>,
    ring: Ring,
    grants: GrantTable,
    links: LinkLedger,
    audit: Audit,
    attempts: Quota<Table>,
    allowance: Allowance<Table>,
    answers: Answers,
    answers_about_devices: Answers,
    accounts: Accounts,
    devices: Devices,
    link_table: LinkTable,
    media_queue: Queue,
    archive: Archive,
    receipt_days: u64,
    access: Access<Deployed, Function>,
    claims: Claims<Deployed, Function>,
    settler: Settler<Deployed, Function>,
}

impl App {
    /// An app with these settings.
    pub fn new(aws: &aws::SdkConfig, config: Config) -> Result<Self, ring_partner::client::SettingsError> {
        let ring = config.ring.client()?;
        let grants = GrantTable::new(aws, config.grants_table);
        let audit = Audit::new(
            aws,
            config.audit_table,
            config.audit_retention_days,
            &config.links_table,
        );
        let attempts = Quota::new(
            Table::new(aws, &config.links_table),
            "link",
            config.link_attempts_per_minute,
            ATTEMPTS_WINDOW,
        );
        let allowance = Allowance::new(
            Table::new(aws, &config.links_table),
            "links-api",
            config.requests_per_minute,
        );
        let answers = Answers::new(aws, &config.links_table);
        let link_table = LinkTable::new(aws, config.links_table);
        let links = LinkLedger::new(link_table.clone(), grants.clone(), audit.clone());
        let vault = Vault::new(Kms::new(aws, config.token_key_id));
        let refresh = Function::new(aws, config.token_refresh_function, REFRESH_WITHIN);
        let access = Access::new(grants.clone(), vault.clone(), refresh);
        let devices = Devices::new(aws, &config.devices_table);
        Ok(Self {
            keys: Secret::new(aws, config.signing_secret_id, KEYS_KEPT_FOR),
            claims: Claims {
                nature: System,
                grants: grants.clone(),
                links: links.clone(),
                vault,
                ring: ring.clone(),
                access: access.clone(),
                complete: config.complete_link,
                leeway: config.link_leeway,
            },
            settler: Settler {
                nature: System,
                grants: grants.clone(),
                links: links.clone(),
                effects: Downstream {
                    audit: audit.clone(),
                    live: Closer {
                        sessions: SessionTable::new(aws, &config.devices_table),
                        ring: ring.clone(),
                    },
                    devices: devices.clone(),
                    events: Events::new(aws, config.events_table),
                    events_queue: Queue::new(aws, config.events_queue_url),
                    bus: Bus::new(aws, config.event_bus_name),
                    watch: None,
                },
                ring: ring.clone(),
                access: access.clone(),
            },
            ring,
            grants,
            links,
            audit,
            attempts,
            allowance,
            answers,
            answers_about_devices: Answers::new(aws, &config.devices_table),
            accounts: Accounts::new(aws, &config.devices_table),
            devices,
            link_table,
            media_queue: Queue::new(aws, config.media_queue_url),
            archive: Archive::new(aws, config.media_bucket),
            receipt_days: config.audit_retention_days,
            access,
        })
    }

    /// Reads the signing keys ahead of the first nonce.
    pub async fn warm(&self) {
        if let Err(error) = self.keys.get(clock::now()).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the signing keys are not at hand yet"
            );
        }
    }

    /// Whether this user may try to link now. What a nonce is matched over is large, and a nonce could be guessed at.
    async fn may_try(&self, user: &SignedIn) -> Result<(), Problem> {
        let spent = self.attempts.spend(&user.user_id, clock::now()).await;
        spent.map_err(|spent| Problem::new(ProblemType::RateLimited).retry_after(spent.retry_after.as_secs().max(1)))
    }

    /// Ends a link of which Ring has just said that it knows it no more.
    async fn ends_with(&self, error: &CallError, link: Link) -> Result<(), Problem> {
        if !settle::is_over(error) {
            return Ok(());
        }
        let ended = self.settler.unlink(link, EndReason::RemovedAtRing).await;
        ended.map_err(|error| unavailable(&error))
    }

    /// Why there is no link for this user; that an account is another user's goes into the audit trail.
    async fn refused(&self, user: &SignedIn, error: ClaimError) -> Problem {
        if let ClaimError::Taken(account) = &error {
            let entry = Entry {
                at: clock::now(),
                user_id: user.user_id.clone(),
                deed: Deed::LinkRefusedTaken,
                account_id: Some(account.clone()),
                link_id: None,
                device_id: None,
                why: None,
            };
            self.audit.write(&entry).await;
        }
        problem_of(error)
    }

    /// The user's link of this id.
    async fn link_of(&self, user: &SignedIn, id: &str) -> Result<Link, Problem> {
        let links = self
            .links
            .of_user(&user.user_id)
            .await
            .map_err(|error| unavailable(&error))?;
        links
            .into_iter()
            .find(|link| link.id == id)
            .ok_or_else(|| Problem::new(ProblemType::NotFound))
    }

    async fn keys(&self) -> Result<SigningKeys, Problem> {
        let keys = self.keys.get_or_last_known(clock::now()).await;
        keys.map_err(|error| unavailable(&error))
    }

    /// The signing keys read anew, where a nonce fits nothing under those in memory: it may be of a key of a moment ago.
    async fn newer_keys<T>(&self, found: &Result<T, ClaimError>) -> Option<SigningKeys> {
        match found {
            Err(ClaimError::NotFound) => self.keys.reread(clock::now()).await.ok().flatten(),
            _ => None,
        }
    }
}

/// The routes.
pub fn router(app: App) -> Router {
    routes()
        .router()
        .layer(from_fn_with_state(app.answers.clone(), repeatable))
        .layer(from_fn_with_state(app.allowance.clone(), within))
        .layer(from_fn(conditional))
        .fallback(not_found)
        .with_state(Arc::new(app))
}

/// What the routes say about themselves.
#[must_use]
pub fn description() -> Description {
    routes().description()
}

/// The routes, each with its description.
fn routes() -> Routes<Arc<App>> {
    use ProblemType::{
        InvalidRequest, LinkExpired, LinkNotFound, LinkTaken, LinkTimeInvalid, NotFound, PayloadTooLarge,
        RelinkRequired, RingUnavailable, ScopeMissing, UnsupportedMediaType,
    };
    let asked = [
        InvalidRequest,
        ScopeMissing,
        LinkNotFound,
        PayloadTooLarge,
        UnsupportedMediaType,
        RingUnavailable,
    ];
    let of_a_nonce = [LinkTimeInvalid, LinkTaken, LinkExpired];
    Routes::default()
        .at(
            "/v1/links/preview",
            [(
                Operation::post("previewLink", "links", "Shows whose Ring account it is; claims nothing")
                    .takes::<LinkRequest>()
                    .answers::<Preview>(200, "Whose it is")
                    .problems(&asked)
                    .problems(&of_a_nonce),
                post(preview),
            )],
        )
        .at(
            "/v1/links",
            [
                (
                    Operation::get("listLinks", "links", "All links of the user")
                        .query::<Paging>()
                        .answers::<Page<LinkView>>(200, "A page of links")
                        .problems(&[InvalidRequest]),
                    get(list),
                ),
                (
                    Operation::post("createLink", "links", "Links a Ring account")
                        .takes::<LinkRequest>()
                        .answers::<LinkView>(200, "This user has it already")
                        .with_location()
                        .answers::<LinkView>(201, "The link")
                        .with_location()
                        .answers::<LinkView>(202, "The link, of which Ring is still to be told")
                        .with_location()
                        .problems(&asked)
                        .problems(&of_a_nonce),
                    post(create),
                ),
            ],
        )
        .at(
            "/v1/account",
            [
                (
                    Operation::get("getAccount", "account", "What the user has with us")
                        .answers::<AccountView>(200, "The account"),
                    get(account::show),
                ),
                (
                    Operation::delete(
                        "eraseAccount",
                        "account",
                        "Erases all that there is of the user: tokens, links, devices, events, policies, media",
                    )
                    .answers::<ReceiptView>(202, "It is being erased; this is all that will be left"),
                    delete(account::erase),
                ),
            ],
        )
        .at(
            "/v1/account/export",
            [(
                Operation::get(
                    "exportAccount",
                    "account",
                    "All that there is of the user, in one archive",
                )
                .answers::<ExportView>(200, "It is ready")
                .answers::<ExportView>(202, "It is being made"),
                get(account::export),
            )],
        )
        .at(
            "/v1/links/{link}",
            [
                (
                    Operation::patch("changeLink", "links", "Completes a link, or has it wait")
                        .takes::<StatusChange>()
                        .answers::<LinkView>(200, "The link")
                        .problems(&asked)
                        .problems(&[NotFound, RelinkRequired]),
                    patch(change),
                ),
                (
                    Operation::delete("unlink", "links", "Unlinks: closes sessions, deletes both tokens")
                        .answers_empty(204, "It is over")
                        .problems(&[NotFound]),
                    delete(unlink),
                ),
            ],
        )
}

/// What Ring put into the Account Link URL.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({ "nonce": "m0hVxkW1rV7Gx0jQpD0Yw3XlGJ0y8o3Zb1cFv6qk2sE", "time": "1770989995231" }))]
struct LinkRequest {
    /// As it stands in the URL: 32 bytes in URL-safe Base64, without padding.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"))]
    nonce: String,
    /// Epoch milliseconds, as they stand in the URL.
    #[schemars(regex(pattern = "^[0-9]{1,14}$"))]
    time: String,
}

impl LinkRequest {
    fn parse(&self) -> Result<(Nonce, LinkTime), Problem> {
        let nonce = Nonce::parse(&self.nonce).map_err(|_| {
            Problem::field(
                "/nonce",
                "the nonce as Ring put it into the URL: 43 characters of URL-safe Base64",
            )
        })?;
        let time = LinkTime::parse(&self.time).map_err(|_| {
            Problem::new(ProblemType::LinkTimeInvalid)
                .detail("time is the number of milliseconds that Ring put into the URL, as it stands there")
        })?;
        Ok((nonce, time))
    }
}

/// A link as its user sees it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Link", example = serde_json::json!({
    "id": "lnk_3", "status": "completed", "account_id": "ava1.ring.account.Q7", "scope": "partner.read",
    "linked_at": "2026-02-14T00:02:53Z",
}))]
struct LinkView {
    id: String,
    #[schemars(with = "ShownStatus")]
    status: LinkStatus,
    /// Ring's id of the account.
    account_id: String,
    /// What Ring has granted, as its latest answer said.
    scope: Option<String>,
    #[schemars(extend("format" = "date-time"))]
    linked_at: String,
}

/// Where a link stands. `confirming`: Ring is still to be told that it is complete; `awaiting`: the user has something left
/// to set up; `relink_required`: Ring refuses the account's tokens.
#[derive(JsonSchema)]
#[schemars(rename = "LinkStatus", rename_all = "snake_case")]
#[expect(
    dead_code,
    reason = "words of the description: of a link that is over nothing is shown"
)]
enum ShownStatus {
    Confirming,
    Awaiting,
    Completed,
    RelinkRequired,
}

/// Whose Ring account waits for its link.
#[derive(Serialize, JsonSchema)]
#[schemars(example = serde_json::json!({ "ring_user": "J*** D**", "account_id": "ava1.ring.account.Q7" }))]
struct Preview {
    /// The name, masked.
    ring_user: String,
    account_id: String,
}

impl App {
    /// A link as its user sees it. Its scope is what Ring's latest answer said.
    async fn view(&self, link: Link) -> Result<LinkView, Problem> {
        let grant = self
            .grants
            .get(&link.grant_id)
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(LinkView {
            id: link.id,
            status: link.status,
            account_id: link.account_id.to_string(),
            scope: grant.and_then(|grant| grant.tokens).and_then(|tokens| tokens.scope),
            linked_at: link.linked_at.to_string(),
        })
    }
}

/// Shows whose Ring account it is; claims nothing
async fn preview(
    State(app): State<Arc<App>>,
    user: SignedIn,
    JsonBody(asked): JsonBody<LinkRequest>,
) -> Result<Response, Problem> {
    let (nonce, time) = asked.parse()?;
    app.may_try(&user).await?;
    let now = clock::now();
    let keys = app.keys().await?;
    let mut found = app.claims.matching(&user.user_id, &nonce, &time, keys.all()).await;
    if let Some(keys) = app.newer_keys(&found).await {
        found = app.claims.matching(&user.user_id, &nonce, &time, keys.all()).await;
    }
    let (grant, account, link) = match found {
        Ok(Match::Waiting(grant, account)) => (grant, account, None),
        Ok(Match::Linked(link)) => (link.grant_id.clone(), link.account_id.clone(), Some(*link)),
        Err(error) => return Err(app.refused(&user, error).await),
    };
    let ring = &app.ring;
    let ring_user = app
        .access
        .call(&grant, now, |token| async move { ring.me(&token).await })
        .await;
    if let (Err(error), Some(link)) = (&ring_user, link) {
        app.ends_with(error, link).await?;
    }
    let ring_user = ring_user
        .map_err(|error| problem_of(ClaimError::Ring(error)))?
        .masked_name();
    Ok(private(axum::Json(Preview {
        ring_user,
        account_id: account.to_string(),
    })))
}

/// Links a Ring account
async fn create(
    State(app): State<Arc<App>>,
    user: SignedIn,
    JsonBody(asked): JsonBody<LinkRequest>,
) -> Result<Response, Problem> {
    let (nonce, time) = asked.parse()?;
    app.may_try(&user).await?;
    let keys = app.keys().await?;
    let attempt = Attempt {
        account_identifier: user.account_identifier(),
        user_id: user.user_id.clone(),
        nonce,
        time,
    };
    let mut linked = app.claims.link(&attempt, keys.all()).await;
    if let Some(keys) = app.newer_keys(&linked).await {
        linked = app.claims.link(&attempt, keys.all()).await;
    }
    if let Err(ClaimError::Unsettled(earlier)) = linked {
        settled(&app, *earlier).await.ok();
        linked = app.claims.link(&attempt, keys.all()).await;
    }
    let (link, status) = match linked {
        Ok(Linked::Now(link)) => (link, StatusCode::CREATED),
        Ok(Linked::Before(link)) => (link, StatusCode::OK),
        Err(error) => return Err(app.refused(&user, error).await),
    };
    tracing::info!(link.id = link.id, "link {} is confirmed at Ring", link.id);
    let link = settled(&app, link).await?;
    let status = if link.status == LinkStatus::Confirming {
        StatusCode::ACCEPTED
    } else {
        status
    };
    let location = HeaderValue::try_from(format!("/v1/links/{}", link.id)).ok();
    let mut response = private((status, axum::Json(app.view(link).await?)));
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// All links of the user
async fn list(
    State(app): State<Arc<App>>,
    user: SignedIn,
    Params(paging): Params<Paging>,
) -> Result<Response, Problem> {
    let limit = page::limit(paging.limit.as_deref())?;
    let after = paging.cursor.as_deref().map(page::position).transpose()?;
    let mut links = app
        .links
        .of_user(&user.user_id)
        .await
        .map_err(|error| unavailable(&error))?;
    links.sort_by(|one, other| one.id.cmp(&other.id));
    links.retain(|link| after.as_ref().is_none_or(|after| link.id > *after));
    let Page { items, next } = page::cut(links, limit, |link| link.id.clone());
    let items = try_join_all(items.into_iter().map(|link| app.view(link))).await?;
    Ok(private(axum::Json(Page { items, next })))
}

/// Where the link is to stand.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({ "status": "completed" }))]
struct StatusChange {
    status: WantedStatus,
}

/// What a user's set-up can say.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WantedStatus {
    Completed,
    Awaiting,
}

/// Completes a link, or has it wait
async fn change(
    State(app): State<Arc<App>>,
    user: SignedIn,
    Id(id): Id,
    JsonBody(asked): JsonBody<StatusChange>,
) -> Result<Response, Problem> {
    let link = app.link_of(&user, &id).await?;
    // The address may have changed since: what Ring's user is shown is derived anew.
    let identifier = user.account_identifier();
    let status = match asked.status {
        WantedStatus::Completed => SetUp::Completed,
        WantedStatus::Awaiting => SetUp::Awaiting,
    };
    match app.settler.set_status(link.clone(), status, identifier).await {
        Ok(link) => Ok(private(axum::Json(app.view(link).await?))),
        Err(SettleError::Ring(CallError::Ring(error))) if error.answer().is_some_and(|answer| answer.status == 400) => {
            let detail = "Ring does not allow this change of status now";
            Err(Problem::field("/status", detail))
        }
        Err(SettleError::Ring(CallError::Access(AccessError::RelinkRequired | AccessError::Ended))) => {
            Err(Problem::new(ProblemType::RelinkRequired).detail("start again in the Ring app"))
        }
        Err(SettleError::Ring(error)) => {
            app.ends_with(&error, link).await?;
            Err(ring_problem(&error))
        }
        Err(error) => Err(unavailable(&error)),
    }
}

/// Unlinks: closes sessions, deletes both tokens
async fn unlink(State(app): State<Arc<App>>, user: SignedIn, Id(id): Id) -> Result<Response, Problem> {
    let link = app.link_of(&user, &id).await?;
    app.settler
        .unlink(link, EndReason::Unlinked)
        .await
        .map_err(|error| unavailable(&error))?;
    tracing::info!(link.id = id, "link {id} is unlinked");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Does what is to be done about a link, as far as it goes within a request; `token-refresh` does the rest.
async fn settled(app: &App, link: Link) -> Result<Link, Problem> {
    let account = link.account_id.clone();
    match tokio::time::timeout(SETTLE_WITHIN, app.settler.settle(link)).await {
        Ok(Ok(link)) => return Ok(link),
        Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "a link is not settled yet"),
        Err(_) => tracing::warn!("a link is not settled yet: it took too long"),
    }
    let link = app
        .links
        .of_account(&account)
        .await
        .map_err(|error| unavailable(&error))?;
    // It was unlinked in this moment.
    link.ok_or_else(|| Problem::new(ProblemType::LinkNotFound))
}

/// Each error of a claim, as its caller is told.
fn problem_of(error: ClaimError) -> Problem {
    match error {
        ClaimError::NotFound => Problem::new(ProblemType::LinkNotFound)
            .detail("the Ring account may be on its way: ask again in a moment")
            .retry_after(TOKEN_ON_ITS_WAY_SECONDS),
        ClaimError::Expired => Problem::new(ProblemType::LinkExpired)
            .detail("start again in the Ring app: a link request is good for 600 s"),
        ClaimError::Ahead => Problem::new(ProblemType::LinkTimeInvalid).detail("the link's time lies ahead of now"),
        ClaimError::Taken(_) => Problem::new(ProblemType::LinkTaken),
        ClaimError::Unsettled(_) => Problem::new(ProblemType::Unavailable).retry_after(TOKEN_ON_ITS_WAY_SECONDS),
        ClaimError::Unclear => Problem::new(ProblemType::RingUnavailable).retry_after(TOKEN_ON_ITS_WAY_SECONDS),
        ClaimError::Ring(error) => ring_problem(&error),
        ClaimError::Store(error) => unavailable(&error),
        ClaimError::Vault(error) => unavailable(&error),
    }
}

fn ring_problem(error: &CallError) -> Problem {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "Ring could not be asked about a link"
    );
    match error {
        CallError::Access(AccessError::Store(_) | AccessError::Vault(_)) => Problem::new(ProblemType::Unavailable),
        CallError::Access(AccessError::Ended | AccessError::RelinkRequired) => Problem::new(ProblemType::LinkNotFound),
        CallError::Access(AccessError::Refused | AccessError::Refresh) => Problem::new(ProblemType::RingUnavailable),
        CallError::Ring(error) => match error.decision() {
            Decision::OutOfScope => Problem::new(ProblemType::ScopeMissing),
            Decision::Gone => Problem::new(ProblemType::LinkNotFound),
            Decision::RetryAfter(wait) => Problem::new(ProblemType::RingUnavailable).retry_after(wait.as_secs().max(1)),
            _ => Problem::new(ProblemType::RingUnavailable),
        },
    }
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error, "a request about links can't be answered now");
    Problem::new(ProblemType::Unavailable)
}
