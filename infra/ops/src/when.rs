//! A time as a person gives it: RFC 3339, or how long ago.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

/// A time on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// At this time.
    At(Timestamp),
    /// So long before now.
    Ago(SignedDuration),
}

impl When {
    /// The instant that is meant.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        let wrong =
            || format!("give a time such as 2026-11-25T07:00:00Z, or how long ago: 90m, 6h, 3d (found {text:?})");
        let unit = text.chars().last().ok_or_else(wrong)?;
        let count: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        match count.checked_mul(seconds) {
            // A hundred years: nobody means more, and all of it can be counted with.
            Some(ago) if (0..=3_155_760_000).contains(&ago) => Ok(Self::Ago(SignedDuration::from_secs(ago))),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_instant_or_how_long_ago() {
        let now: Timestamp = "2026-11-25T07:00:00Z".parse().unwrap();
        let check = |text: &str, at: &str| assert_eq!(text.parse::<When>().unwrap().at(now).to_string(), at, "{text}");
        check("2026-11-24T00:00:00Z", "2026-11-24T00:00:00Z");
        check("2026-11-24T02:00:00+02:00", "2026-11-24T00:00:00Z");
        check("90m", "2026-11-25T05:30:00Z");
        check("72h", "2026-11-22T07:00:00Z");
        check("3d", "2026-11-22T07:00:00Z");
        check("0s", "2026-11-25T07:00:00Z");
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        for text in [
            "",
            "h",
            "-3h",
            "3",
            "3w",
            "3é",
            "yesterday",
            "99999999999999999999d",
            "2026-11-24",
        ] {
            let said = text.parse::<When>().unwrap_err();
            assert!(said.contains("2026-11-25T07:00:00Z"), "{text}: {said}");
        }
    }
}
