//! What the benches of whole programs share: a program as a process that is looked at through `/proc`, what was aimed at and
//! whether it is met, and peers whose libraries are pinned and lie in the target folder.

mod peer;
mod process;
mod target;

use std::fs;

pub use peer::{once, placed, python, ran};
pub use process::{Memory, cpu_time, memory};
pub use target::{Target, json, text};

/// Why there are no figures: what did not hold.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a figure depends on beside the program.
pub fn conditions() -> Result<String, Failure> {
    let build = if cfg!(debug_assertions) {
        "debug build (cargo bench measures the release build)"
    } else {
        "release build"
    };
    let cores = std::thread::available_parallelism()?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!("{build}; cores {cores}, load {load} before"))
}

/// 10^6 bytes.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "no program has 2^53 bytes")]
pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
