//! What the runner is doing and how long each part took, a line at its start and one at its end.

use std::time::{Duration, Instant};

/// Where progress is told. Tests keep it quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Lines on standard error, so that standard output holds answers alone.
    Told,
    /// Nothing.
    Quiet,
}

impl Progress {
    /// Says that a part begins.
    pub fn begin(self, part: &'static str, what: &str) -> Part {
        if self == Self::Told {
            eprintln!("  {part:<10} {what} …");
        }
        Part {
            progress: self,
            part,
            since: Instant::now(),
        }
    }
}

/// A part under way.
#[must_use = "a part that begins also ends"]
pub struct Part {
    progress: Progress,
    part: &'static str,
    since: Instant,
}

impl Part {
    /// Says what came of it.
    pub fn done(self, outcome: &str) {
        if self.progress == Progress::Told {
            eprintln!("  {:<10} {outcome} ({})", self.part, seconds(self.since.elapsed()));
        }
    }
}

/// `0.4 s`, or minutes where there are some.
pub fn seconds(took: Duration) -> String {
    let whole = took.as_secs();
    if whole < 100 {
        format!("{:.1} s", took.as_secs_f64())
    } else {
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        fn check(millis: u64, said: &str) {
            assert_eq!(seconds(Duration::from_millis(millis)), said);
        }
        check(40, "0.0 s");
        check(12_340, "12.3 s");
        check(61_000, "61.0 s");
        check(190_000, "3 min 10 s");
    }
}
