//! What was aimed at, and whether it is met.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Something that was aimed at.
#[derive(Clone, Debug)]
pub struct Target {
    /// In words, with the limit.
    pub what: String,
    /// What came out.
    pub found: f64,
    /// Whether that will do.
    pub is_met: bool,
}

impl Target {
    /// This much, and no more.
    pub fn at_most(what: impl Into<String>, found: f64, limit: f64) -> Self {
        Self {
            what: what.into(),
            found,
            is_met: found <= limit,
        }
    }

    /// This much, and no less.
    pub fn at_least(what: impl Into<String>, found: f64, limit: f64) -> Self {
        Self {
            what: what.into(),
            found,
            is_met: found >= limit,
        }
    }
}

/// A line for each, for people.
#[must_use]
pub fn text(targets: &[Target]) -> String {
    let mut text = "\nAimed at:\n".to_owned();
    for Target { what, found, is_met } in targets {
        let verdict = if *is_met { "met" } else { "NOT MET" };
        let _fits = writeln!(text, "  {what:<76}{found:>8.2}  {verdict}");
    }
    text
}

/// The same for programs, to a thousandth.
#[must_use]
pub fn json(targets: &[Target]) -> Value {
    let of = |target: &Target| {
        let found = (target.found * 1_000.0).round() / 1_000.0;
        json!({ "target": target.what, "found": found, "met": target.is_met })
    };
    targets.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_itself_is_met_and_what_is_beyond_is_not() {
        let targets = [
            Target::at_most("a: 2 at most", 2.0, 2.0),
            Target::at_most("b: 2 at most", 2.1, 2.0),
            Target::at_least("c: 2 at least", 2.0, 2.0),
            Target::at_least("d: 2 at least", 1.9, 2.0),
        ];
        assert_eq!(targets.clone().map(|target| target.is_met), [true, false, true, false]);
        assert_eq!(text(&targets).matches("NOT MET").count(), 2);
        assert_eq!(json(&targets)[1]["found"], 2.1);
    }
}
