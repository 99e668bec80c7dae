//! Lists in pages: `limit`, and an opaque `cursor` that says where the next page begins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Problem;

/// The most items that one answer carries.
pub const MOST: usize = 100;
const USUAL: usize = 50;
/// The longest cursor: no position in a table is longer than a key of 1,024 bytes.
const MOST_CURSOR: usize = 1_024;

/// One page, newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// The cursor of the next page, or null on the last.
    pub next: Option<String>,
}

/// `next` of the page before: opaque, and URL-safe Base64 by its letters.
#[derive(JsonSchema)]
#[schemars(inline, extend("minLength" = 1, "maxLength" = MOST_CURSOR, "pattern" = "^[A-Za-z0-9_-]+$"))]
pub struct Cursor(#[expect(dead_code, reason = "a shape of the description")] String);

/// Which page is asked for.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Paging {
    /// `next` of the page before.
    #[schemars(with = "Option<Cursor>")]
    pub cursor: Option<String>,
    /// The most items of a page; 50 unless told.
    #[schemars(with = "Option<u32>", range(min = 1, max = 100))]
    pub limit: Option<String>,
}

/// `limit` as asked for: 1 to 100, 50 unless told.
pub fn limit(asked: Option<&str>) -> Result<usize, Problem> {
    let Some(asked) = asked else { return Ok(USUAL) };
    match asked.parse() {
        Ok(limit @ 1..=MOST) => Ok(limit),
        _ => Err(Problem::field("?limit", format!("a whole number from 1 to {MOST}"))),
    }
}

/// A position in a list, as a cursor.
#[must_use]
pub fn cursor(position: &str) -> String {
    URL_SAFE_NO_PAD.encode(position)
}

/// The position that a cursor of ours stands for.
pub fn position(cursor: &str) -> Result<String, Problem> {
    let wrong = || Problem::field("?cursor", "a cursor as `next` of an earlier page gave it");
    if !(1..=MOST_CURSOR).contains(&cursor.len()) {
        return Err(wrong());
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    String::from_utf8(bytes).map_err(|_| wrong())
}

/// Cuts a list of up to `limit + 1` items, newest first, into a page.
pub fn cut<T>(mut items: Vec<T>, limit: usize, position: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more {
        items.last().map(|last| cursor(&position(last)))
    } else {
        None
    };
    Page { items, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_position() {
        assert_eq!(position(&cursor("0001#evt_x")).unwrap(), "0001#evt_x");
    }

    #[test]
    fn a_foreign_cursor_and_a_wild_limit_are_named() {
        for foreign in ["%%%", "", "_w", &"A".repeat(1_028)] {
            assert!(position(foreign).is_err(), "{foreign}");
        }
        for asked in ["0", "101", "-1", "ten", ""] {
            assert!(limit(Some(asked)).is_err(), "{asked}");
        }
        assert_eq!(limit(None).unwrap(), 50);
        assert_eq!(limit(Some("100")).unwrap(), 100);
    }

    #[test]
    fn only_a_page_with_more_behind_it_has_a_next() {
        let all = cut(vec![3, 2, 1], 3, ToString::to_string);
        assert_eq!((all.items.len(), all.next), (3, None));
        let first = cut(vec![3, 2, 1], 2, ToString::to_string);
        assert_eq!(first.items, [3, 2]);
        assert_eq!(position(&first.next.unwrap()).unwrap(), "2");
    }
}
