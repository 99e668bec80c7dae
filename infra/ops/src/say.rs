//! What the tool says: the answer on standard output, as text or as one JSON document; progress and warnings on standard
//! error, so that neither gets into the other.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::failure::{Doing as _, Failure};

/// How often progress is told where it is no terminal that shows it.
const A_LINE_EACH: Duration = Duration::from_secs(5);
/// And where it is one.
const A_REDRAW_EACH: Duration = Duration::from_millis(100);

/// How the tool talks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Voice {
    /// The answer is one JSON document.
    pub(crate) json: bool,
    /// No progress.
    pub(crate) quiet: bool,
}

impl Voice {
    /// The answer.
    pub(crate) fn answer(self, answer: &(impl Serialize + Display)) -> Result<(), Failure> {
        let text = if self.json {
            serde_json::to_string_pretty(answer).or_fail(|| "The answer can't be written as JSON".into())?
        } else {
            answer.to_string()
        };
        self.print(format!("{text}\n").as_bytes())
    }

    /// Bytes as they are. Who closes the other end has read enough.
    pub(crate) fn print(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.or_fail(|| "The answer can't be written".into()),
        }
    }

    /// Something that the reader should know beside the answer.
    pub(crate) fn warn(self, words: &str) {
        eprintln!("  note: {words}");
    }

    /// Long work begins.
    pub(crate) fn begin(self, what: &'static str) -> Progress {
        Progress {
            what,
            told: !self.quiet,
            redraws: io::stderr().is_terminal(),
            since: Instant::now(),
            said_at: Instant::now(),
            width: 0,
        }
    }
}

/// Long work: how far it is.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    told: bool,
    redraws: bool,
    since: Instant,
    said_at: Instant,
    width: usize,
}

impl Progress {
    /// So many are done, of about so many where that is known.
    pub(crate) fn at(&mut self, done: u64, of: Option<u64>) {
        let each = if self.redraws { A_REDRAW_EACH } else { A_LINE_EACH };
        if !self.told || self.said_at.elapsed() < each {
            return;
        }
        self.said_at = Instant::now();
        let line = said(self.what, done, of, self.since.elapsed());
        if self.redraws {
            eprint!("\r{line:<width$}", width = self.width);
            self.width = line.chars().count();
        } else {
            eprintln!("{line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.redraws && self.width > 0 {
            eprint!("\r{:width$}\r", "", width = self.width);
        }
    }
}

fn said(what: &str, done: u64, of: Option<u64>, took: Duration) -> String {
    let of = of
        .filter(|of| *of >= done)
        .map_or_else(String::new, |of| format!(" of about {of}"));
    format!("  {what}: {done}{of} ({} s)", took.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_how_much_of_how_much() {
        let took = Duration::from_secs(7);
        assert_eq!(said("moved", 30, Some(1_200), took), "  moved: 30 of about 1200 (7 s)");
        assert_eq!(said("moved", 30, None, took), "  moved: 30 (7 s)");
        assert_eq!(
            said("moved", 30, Some(10), took),
            "  moved: 30 (7 s)",
            "a count of SQS is an estimate"
        );
    }
}
