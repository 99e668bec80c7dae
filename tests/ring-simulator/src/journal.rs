//! What was received and what was sent, in order and bounded in number. No token and no body is kept: a token shows as the
//! first twelve hex digits of its SHA-256, so that a test can say which one came without the journal holding it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ring::{Ring, lock};

/// How many entries are kept; the oldest go first, and are counted.
const KEPT: usize = 10_000;

/// Everything that came and went, oldest first.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    kept: VecDeque<Entry>,
    written: u64,
    dropped: u64,
}

/// One request that was received, or one that was sent.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Entry {
    /// Position in the journal, from 1; it never repeats.
    pub(crate) seq: u64,
    /// When it came or was sent, by the simulator's clock.
    pub(crate) at: String,
    pub(crate) direction: Direction,
    /// Which listener it came to, or what was sent: `code` or `webhook`.
    pub(crate) door: &'static str,
    pub(crate) method: String,
    /// The path as it was sent, without the query: a presigned one is a credential.
    pub(crate) path: String,
    pub(crate) query_names: Vec<String>,
    /// None: no answer was written, or none came.
    pub(crate) status: Option<u16>,
    pub(crate) user: Option<String>,
    pub(crate) device: Option<String>,
    /// What it was understood as: a grant type, an event type, an error code.
    pub(crate) notes: Vec<String>,
    pub(crate) header_names: Vec<String>,
    /// A bearer came with it.
    pub(crate) bearer: bool,
    /// The bearer's SHA-256, the first twelve hex digits.
    pub(crate) bearer_sha256: Option<String>,
    /// Codes and refresh tokens in the body, likewise.
    pub(crate) credentials_sha256: Vec<String>,
    /// The fault that struck.
    pub(crate) fault: Option<String>,
    /// The delivery that an attempt belongs to.
    pub(crate) delivery: Option<String>,
    /// Real time from first to last.
    pub(crate) milliseconds: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    #[default]
    Received,
    Sent,
}

/// Which entries are wanted; each field narrows.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    direction: Option<Direction>,
    door: Option<String>,
    method: Option<String>,
    /// `*` stands for anything.
    path: Option<String>,
    user: Option<String>,
    device: Option<String>,
    status: Option<u16>,
    bearer: Option<bool>,
    note: Option<String>,
    delivery: Option<String>,
    /// Entries after this `seq`.
    since: Option<u64>,
    /// The newest so many.
    limit: Option<usize>,
}

impl Filter {
    fn takes(&self, entry: &Entry) -> bool {
        fn is<T: PartialEq + ?Sized>(wanted: Option<&T>, found: Option<&T>) -> bool {
            wanted.is_none_or(|wanted| found == Some(wanted))
        }
        is(self.direction.as_ref(), Some(&entry.direction))
            && is(self.door.as_deref(), Some(entry.door))
            && self
                .method
                .as_ref()
                .is_none_or(|method| method.eq_ignore_ascii_case(&entry.method))
            && self
                .path
                .as_ref()
                .is_none_or(|pattern| crate::faults::glob(pattern, &entry.path))
            && is(self.user.as_deref(), entry.user.as_deref())
            && is(self.device.as_deref(), entry.device.as_deref())
            && is(self.status.as_ref(), entry.status.as_ref())
            && is(self.bearer.as_ref(), Some(&entry.bearer))
            && self.note.as_ref().is_none_or(|note| entry.notes.contains(note))
            && is(self.delivery.as_deref(), entry.delivery.as_deref())
            && self.since.is_none_or(|since| entry.seq > since)
    }
}

impl Journal {
    pub(crate) fn write(&self, mut entry: Entry) {
        let mut entries = lock(&self.0);
        entries.written += 1;
        entry.seq = entries.written;
        entries.kept.push_back(entry);
        if entries.kept.len() > KEPT {
            entries.kept.pop_front();
            entries.dropped += 1;
        }
    }

    /// The entries that a filter takes, oldest first, and how many were dropped so far for want of room.
    pub(crate) fn read(&self, filter: &Filter) -> (Vec<Entry>, u64) {
        let entries = lock(&self.0);
        let mut found: Vec<Entry> = entries
            .kept
            .iter()
            .filter(|entry| filter.takes(entry))
            .cloned()
            .collect();
        let surplus = found.len().saturating_sub(filter.limit.unwrap_or(KEPT));
        found.drain(..surplus);
        (found, entries.dropped)
    }

    /// Forgets all; the numbering goes on.
    pub(crate) fn clear(&self) {
        let mut entries = lock(&self.0);
        entries.kept.clear();
        entries.dropped = 0;
    }
}

/// What a request was understood as. It travels with the request, and ends up in its journal entry.
#[derive(Clone, Default)]
pub(crate) struct Note(Arc<Mutex<Noted>>);

#[derive(Clone, Default)]
struct Noted {
    user: Option<String>,
    device: Option<String>,
    notes: Vec<String>,
    credentials: Vec<String>,
    fault: Option<String>,
}

impl Note {
    pub(crate) fn user(&self, id: &str) {
        lock(&self.0).user = Some(id.to_owned());
    }

    pub(crate) fn device(&self, id: &str) {
        lock(&self.0).device = Some(id.to_owned());
    }

    pub(crate) fn say(&self, note: impl Into<String>) {
        lock(&self.0).notes.push(note.into());
    }

    pub(crate) fn credential(&self, secret: &str) {
        lock(&self.0).credentials.push(fingerprint(secret));
    }

    pub(crate) fn fault(&self, id: &str) {
        lock(&self.0).fault = Some(id.to_owned());
    }
}

/// The first twelve hex digits of a secret's SHA-256.
pub(crate) fn fingerprint(secret: &str) -> String {
    hex::encode(&Sha256::digest(secret)[..6])
}

/// The bearer token of a request, if it has one.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Keeps the journal of one listener. It is the outermost layer, so that a cut connection is written down as well, and so is
/// a request whose caller hung up.
pub(crate) async fn keep(
    State((ring, door)): State<(Arc<Ring>, &'static str)>,
    mut request: Request,
    next: Next,
) -> Response {
    let note = Note::default();
    request.extensions_mut().insert(note.clone());
    let token = bearer(request.headers());
    let entry = Entry {
        at: ring.clock.now().to_string(),
        direction: Direction::Received,
        door,
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query_names: query_names(request.uri().query().unwrap_or_default()),
        header_names: request.headers().keys().map(ToString::to_string).collect(),
        bearer: token.is_some(),
        bearer_sha256: token.map(fingerprint),
        ..Entry::default()
    };
    let line = request
        .extensions()
        .get::<axum::extract::ConnectInfo<crate::listen::Line>>()
        .cloned();
    let mut page = Page {
        ring,
        note,
        entry,
        began: Instant::now(),
    };
    let response = next.run(request).await;
    if !line.is_some_and(|line| line.0.is_cut()) {
        page.entry.status = Some(response.status().as_u16());
    }
    response
}

fn query_names(query: &str) -> Vec<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, _)| name.into_owned())
        .collect()
}

/// An entry that is written when it goes out of scope: the future that holds it is dropped when the caller hangs up.
struct Page {
    ring: Arc<Ring>,
    note: Note,
    entry: Entry,
    began: Instant,
}

impl Drop for Page {
    fn drop(&mut self) {
        let noted = lock(&self.note.0).clone();
        let mut entry = std::mem::take(&mut self.entry);
        entry.user = noted.user;
        entry.device = noted.device;
        entry.notes = noted.notes;
        entry.credentials_sha256 = noted.credentials;
        entry.fault = noted.fault;
        entry.milliseconds = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.ring.journal.write(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_bounded_and_counts_what_it_drops() {
        let journal = Journal::default();
        for _ in 0..KEPT + 3 {
            journal.write(Entry::default());
        }
        let (entries, dropped) = journal.read(&Filter::default());
        assert_eq!((entries.len(), dropped, entries[0].seq), (KEPT, 3, 4));
        let (newest, _) = journal.read(&Filter {
            limit: Some(2),
            ..Filter::default()
        });
        assert_eq!(
            newest.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
            [10_002, 10_003]
        );
    }

    #[test]
    fn a_fingerprint_is_the_start_of_the_sha_256() {
        // python3 -c "import hashlib; print(hashlib.sha256(b'token').hexdigest()[:12])"
        assert_eq!(fingerprint("token"), "3c469e9d6c58");
    }

    #[test]
    fn a_bearer_is_found_whatever_the_case_of_its_scheme() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), None);
        headers.insert(header::AUTHORIZATION, "bearer abc".parse().unwrap());
        assert_eq!(bearer(&headers), Some("abc"));
        headers.insert(header::AUTHORIZATION, "Basic abc".parse().unwrap());
        assert_eq!(bearer(&headers), None);
    }
}
