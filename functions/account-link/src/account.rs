//! A user's account with us as a whole: what it has, all of it in one archive, and its end.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::try_join_all;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use shared::account::{Collection, Erasure, Export, Holding, Part, Receipt};
use shared::audit::{Deed, Entry};
use shared::edge::gateway::{SignedIn, private};
use shared::edge::problem::Problem;
use shared::edge::{clock, key};
use shared::grant::EndReason;
use shared::media::archive::ArchiveError;

use crate::{App, unavailable};

/// When to ask for an archive again that is being made, in seconds.
const MAKING_SECONDS: u64 = 2;

/// What a user has with us.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Account", example = serde_json::json!({
    "account_identifier": "v***e@example.com", "links": 1, "devices": 2, "export": null,
}))]
pub(crate) struct AccountView {
    /// The e-mail address, masked, as Ring's app shows it; null without one.
    account_identifier: Option<String>,
    /// How many Ring accounts are linked.
    links: usize,
    /// How many devices they have.
    devices: usize,
    /// The archive that was asked for last.
    export: Option<ExportView>,
}

/// An archive of all that a user has.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Export", example = serde_json::json!({
    "state": "ready", "requested_at": "2026-02-14T00:02:53Z", "ready_at": "2026-02-14T00:03:12Z", "bytes": 1834021,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "url": "https://example.com/exp.tar",
}))]
pub(crate) struct ExportView {
    #[schemars(with = "ExportState")]
    state: &'static str,
    #[schemars(extend("format" = "date-time"))]
    requested_at: String,
    #[schemars(extend("format" = "date-time"))]
    ready_at: Option<String>,
    bytes: Option<u64>,
    sha256: Option<String>,
    /// Where it can be had, as a `tar` file, for five minutes at the most. Asking for the archive makes a new one.
    url: Option<String>,
}

/// Whether an archive is there.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "a word of the description")]
enum ExportState {
    Making,
    Ready,
}

/// That a user was erased. It is all that is left of them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Receipt", example = serde_json::json!({
    "receipt": "rcp_00112233445566778899aabbccddeeff", "requested_at": "2026-02-14T00:02:53Z",
}))]
pub(crate) struct ReceiptView {
    /// What to name it by.
    receipt: String,
    #[schemars(extend("format" = "date-time"))]
    requested_at: String,
}

impl ExportView {
    fn new(export: &Export, url: Option<String>) -> Self {
        let ready = export.ready.as_ref();
        Self {
            state: if ready.is_some() { "ready" } else { "making" },
            requested_at: export.requested_at.to_string(),
            ready_at: ready.map(|ready| ready.at.to_string()),
            bytes: ready.map(|ready| ready.bytes),
            sha256: ready.map(|ready| ready.sha256.clone()),
            url,
        }
    }
}

/// What the account has
pub(crate) async fn show(State(app): State<Arc<App>>, user: SignedIn) -> Result<Response, Problem> {
    let links = app.link_table.of_user(&user.user_id).await;
    let links = links.map_err(|error| unavailable(&error))?;
    let devices = try_join_all(links.iter().map(|link| app.devices.of_account(&link.account_id))).await;
    let devices = devices.map_err(|error| unavailable(&error))?;
    let export = app.accounts.export(&user.user_id).await;
    let export = export.map_err(|error| unavailable(&error))?;
    Ok(private(axum::Json(AccountView {
        account_identifier: user.account_identifier(),
        links: links.len(),
        devices: devices.iter().map(Vec::len).sum(),
        export: export.map(|export| ExportView::new(&export, None)),
    })))
}

/// All of it in one archive: begun with the first request, and given once it is ready.
pub(crate) async fn export(State(app): State<Arc<App>>, user: SignedIn) -> Result<Response, Problem> {
    let now = clock::now();
    let known = app.accounts.export(&user.user_id).await;
    let known = known.map_err(|error| unavailable(&error))?;
    let export = match known.filter(|known| known.serves(now)) {
        Some(export) => export,
        None => begin_export(&app, &user, now).await?,
    };
    if export.ready.is_some() {
        let url = app.archive.presigned(&export.object_key()).await;
        let url = url.map_err(|error: ArchiveError| unavailable(&error))?;
        return Ok(private(axum::Json(ExportView::new(&export, Some(url)))));
    }
    let mut response = private((StatusCode::ACCEPTED, axum::Json(ExportView::new(&export, None))));
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(MAKING_SECONDS));
    Ok(response)
}

async fn begin_export(app: &App, user: &SignedIn, now: Timestamp) -> Result<Export, Problem> {
    let export = Export::new(key::random("exp"), now);
    let collection = Collection {
        user_id: user.user_id.clone(),
        export_id: export.id.clone(),
        holdings: holdings(app, user).await?,
    };
    // The row first: whoever takes the message makes nothing that nobody waits for.
    let begun = app.accounts.begin_export(&user.user_id, &export).await;
    begun.map_err(|error| unavailable(&error))?;
    let sent = app.media_queue.send(collection.message()).await;
    sent.map_err(|error| unavailable(&error))?;
    app.audit.write(&entry(user, Deed::Exported, now)).await;
    Ok(export)
}

/// The Ring accounts that are the user's, or were.
async fn holdings(app: &App, user: &SignedIn) -> Result<Vec<Holding>, Problem> {
    let links = app.link_table.of_user(&user.user_id).await;
    let links = links.map_err(|error| unavailable(&error))?;
    let past = app.link_table.past_of(&user.user_id).await;
    let mut accounts = past.map_err(|error| unavailable(&error))?;
    accounts.extend(links.into_iter().map(|link| link.account_id));
    accounts.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    accounts.dedup();
    let each = accounts.into_iter().map(async |account_id| {
        // Another user's by now: nothing of it is this one's any more.
        let link = app.link_table.of_account(&account_id).await?;
        if link.is_some_and(|link| link.is_live() && link.user_id != user.user_id) {
            return Ok(None);
        }
        let device_ids = app.devices.ids_ever_of_account(&account_id).await?;
        Ok(Some(Holding { account_id, device_ids }))
    });
    let holdings = try_join_all(each).await;
    let holdings = holdings.map_err(|error: shared::edge::table::StoreError| unavailable(&error))?;
    Ok(holdings.into_iter().flatten().collect())
}

/// Erases all that there is of the user. What is to be erased is in the queue before anything is taken away: whatever ends
/// this half-way, the same request again goes on.
pub(crate) async fn erase(State(app): State<Arc<App>>, user: SignedIn) -> Result<Response, Problem> {
    let user_id = &user.user_id;
    let receipt = Receipt {
        id: key::random("rcp"),
        requested_at: clock::now(),
        erased_at: None,
    };
    let mut parts: Vec<_> = holdings(&app, &user).await?.into_iter().map(Part::Account).collect();
    let export = app.accounts.export(user_id).await;
    let export = export.map_err(|error| unavailable(&error))?;
    parts.extend(export.map(|export| Part::Archive(export.object_key())));
    let kept_for = Duration::from_secs(app.receipt_days * 24 * 3600);
    let begun = app.accounts.begin(&receipt, &parts, kept_for).await;
    begun.map_err(|error| unavailable(&error))?;
    for part in parts {
        let erasure = Erasure {
            receipt: receipt.id.clone(),
            requested_at: receipt.requested_at,
            part,
        };
        let sent = app.media_queue.send(erasure.message()).await;
        sent.map_err(|error| unavailable(&error))?;
    }
    let links = app.link_table.of_user(user_id).await;
    for link in links.map_err(|error| unavailable(&error))? {
        let unlinked = app.settler.unlink(link, EndReason::Unlinked).await;
        unlinked.map_err(|error| unavailable(&error))?;
    }
    app.audit.write(&entry(&user, Deed::Erased, receipt.requested_at)).await;
    forget(&app, user_id).await.map_err(|error| unavailable(&error))?;
    tracing::info!(receipt = receipt.id, "a user is erased, under receipt {}", receipt.id);
    let view = ReceiptView {
        receipt: receipt.id,
        requested_at: receipt.requested_at.to_string(),
    };
    Ok((StatusCode::ACCEPTED, axum::Json(view)).into_response())
}

/// Forgets what is kept of the user themself, the key to their entries in the audit trail last.
async fn forget(app: &App, user_id: &str) -> Result<(), shared::edge::table::StoreError> {
    app.accounts.forget_export(user_id).await?;
    for answers in [&app.answers, &app.answers_about_devices] {
        answers.forget(user_id).await?;
    }
    app.link_table.forget_past(user_id).await?;
    app.audit.forget(user_id).await
}

fn entry(user: &SignedIn, deed: Deed, at: Timestamp) -> Entry {
    Entry {
        at,
        user_id: user.user_id.clone(),
        deed,
        account_id: None,
        link_id: None,
        device_id: None,
        why: None,
    }
}
