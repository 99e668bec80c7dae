//! Where notes are kept: beside the medium, a row each.

use std::time::Duration;

use aws_config::SdkConfig;
use serde::Serialize;

use super::Note;
use crate::edge::table::{self, Key, StoreError, Table, row, text};
use crate::media::MediumId;

/// The most sessions of one capture that may be open at once.
const MOST: usize = 10;
/// A note that nobody has taken away is of no use after this.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Serialize)]
struct NoteRow<'n> {
    #[serde(flatten)]
    note: &'n Note,
    expires_at: i64,
}

/// The notes in the table of media.
#[derive(Clone, Debug)]
pub struct Notes {
    table: Table,
}

impl Notes {
    /// The notes in the table `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            table: Table::new(config, name),
        }
    }

    /// Keeps a note, in place of an earlier one of its name.
    pub async fn keep(&self, note: &Note) -> Result<(), StoreError> {
        let kept_for = i64::try_from(KEPT_FOR.as_secs()).unwrap_or(i64::MAX);
        let expires_at = note.ends_at / 1_000 + kept_for;
        let put = self.table.put(row(
            &note_key(&note.medium_id, &note.name),
            &NoteRow { note, expires_at },
        )?);
        put.send().await?;
        Ok(())
    }

    /// Takes a note away: its session is closed.
    pub async fn forget(&self, note: &Note) -> Result<(), StoreError> {
        self.table.delete(&note_key(&note.medium_id, &note.name)).await
    }

    /// The notes of a capture.
    pub async fn of(&self, medium: &MediumId) -> Result<Vec<Note>, StoreError> {
        let query = self
            .table
            .query()
            .key_condition_expression("pk = :medium AND begins_with(sk, :session)")
            .expression_attribute_values(":medium", text(medium.as_str()))
            .expression_attribute_values(":session", text("session#"))
            .consistent_read(true);
        table::collect(query, MOST).await
    }
}

fn note_key(medium: &MediumId, name: &str) -> Key {
    Key::new(medium.as_str(), format!("session#{name}"))
}
