//! The figures as a table or as JSON, and what was aimed at.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bench::{Failure, Target, megabytes};
use serde_json::{Value, json};

use crate::measure::{GSTREAMER, RECORDER, Row};

/// All that was measured.
pub(crate) struct Report {
    /// What the figures depend on beside the programs.
    pub(crate) conditions: String,
    /// One for each program and number of streams.
    pub(crate) rows: Vec<Row>,
    /// How many sessions there may be at once, and the longest gap in a film of several.
    pub(crate) gaps: Vec<(u32, Duration)>,
}

impl Report {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("stream-capture: {}\n\n", self.conditions);
        let _fits = writeln!(
            text,
            "  {:<12}{:>8}{:>18}{:>16}{:>10}{:>8}{:>18}{:>19}",
            "",
            "streams",
            "CPU a stream [%]",
            "resident [MB]",
            "frames",
            "lost",
            "first frame [ms]",
            "first stored [ms]"
        );
        for row in &self.rows {
            let ours = row.name == RECORDER.name;
            let told = |figure: u64| if ours { figure.to_string() } else { "-".to_owned() };
            let _fits = writeln!(
                text,
                "  {:<12}{:>8}{:>18.2}{:>16.1}{:>10}{:>8}{:>18}{:>19}",
                row.name,
                row.streams,
                row.cpu_percent,
                megabytes(most(row)),
                row.frames,
                told(row.lost + row.dropped),
                told(row.first_frame_ms),
                told(row.first_stored_ms),
            );
        }
        text + &bench::text(&self.targets())
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            // GStreamer tells nothing of these.
            let told = |figure: u64| (row.name == RECORDER.name).then_some(figure);
            json!({
                "program": row.name, "streams": row.streams, "cpu_percent": row.cpu_percent, "resident_bytes": most(row),
                "frames": row.frames, "lost": told(row.lost), "dropped": told(row.dropped),
                "first_frame_ms": told(row.first_frame_ms), "first_stored_ms": told(row.first_stored_ms),
            })
        });
        json!({
            "conditions": self.conditions,
            "rows": rows.collect::<Vec<_>>(),
            "targets": bench::json(&self.targets()),
        })
    }

    fn row(&self, name: &str, streams: usize) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name && row.streams == streams)
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        let mut at_most = |what: String, found: f64, limit: f64| targets.push(Target::at_most(what, found, limit));
        for streams in [1, 5, 20] {
            let Some(ours) = self.row(RECORDER.name, streams) else {
                continue;
            };
            at_most(
                format!("CPU time of each of {streams}: 2 % of a core at most"),
                ours.cpu_percent,
                2.0,
            );
            if let Some(theirs) = self.row(GSTREAMER.name, streams) {
                at_most(
                    format!("CPU time of each of {streams}, in parts of GStreamer's: 0.33 at most"),
                    ours.cpu_percent / theirs.cpu_percent,
                    1.0 / 3.0,
                );
            }
        }
        if let (Some(one), Some(many)) = (self.row(RECORDER.name, 1), self.row(RECORDER.name, 20)) {
            let each = (megabytes(most(many)) - megabytes(most(one))) / 19.0;
            at_most(
                "memory of each further stream: 6.3 MB (6 MiB) at most".into(),
                each,
                6.291_456,
            );
            #[expect(clippy::cast_precision_loss, reason = "a count of packets")]
            at_most(
                "packets and frames lost of 20 streams: 0".into(),
                (many.lost + many.dropped) as f64,
                0.0,
            );
        }
        for (at_once, gap) in &self.gaps {
            at_most(
                format!("longest gap between sessions in a chain, {at_once} at once [s]: 0.3 at most"),
                gap.as_secs_f64(),
                0.3,
            );
        }
        targets
    }
}

fn most(row: &Row) -> u64 {
    row.memory.iter().copied().max().unwrap_or_default()
}

/// What a figure depends on beside the program.
pub(crate) fn conditions(film: &Path) -> Result<String, Failure> {
    const FILM_SECONDS: f64 = 240.0 / 15.0;
    let rate = megabytes(fs::metadata(film)?.len()) * 8.0 / FILM_SECONDS;
    Ok(format!(
        "{}; 1920x1080 at 15 frames a second, {rate:.1} Mbit/s",
        bench::conditions()?
    ))
}
