//! A large clip from Ring into the bucket, beside `curl | aws s3 cp -`: `cargo bench -p media-fetch`.
//!
//! Ring and S3 are one process on the loopback, with a clip that comes no faster than it is told to; they check each byte that
//! arrives. Whoever fetches is a process of its own, looked at through `/proc`. Ours is what the function does with a clip, without
//! the tables around it.

mod fetch;
mod peers;
mod servers;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use bench::{Failure, Target, megabytes, memory};
use clap::Parser;
use serde_json::json;
use tokio::process::Child;
use tokio::time::sleep;

use servers::Servers;

/// Megabits a second; none: as fast as the loopback is.
const RATES: [Option<u64>; 3] = [Some(50), Some(300), None];
/// How often a program's memory is looked at. What is read is its peak up to then.
const LOOK_EVERY: Duration = Duration::from_millis(20);

const EXAMPLES: &str = "\
Examples:
  cargo bench -p media-fetch                        a clip of 900 MB at 50 and 300 Mbit/s, and as fast as it goes: 7 minutes
  cargo bench -p media-fetch -- --megabytes 90      in a hurry
  cargo bench -p media-fetch -- --json              for programs

It needs curl. The AWS CLI is pinned, and is installed in the target folder at first use. Megabytes are 10^6 bytes.
";

/// Measures a large clip on its way from Ring to S3: memory and time; beside `curl | aws s3 cp -`.
#[derive(Parser)]
#[command(bin_name = "cargo bench -p media-fetch --", after_help = EXAMPLES)]
struct Options {
    /// The size of the clip.
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=5_000))]
    megabytes: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Fetch the clip of this address: what this program starts itself for.
    #[arg(long, hide = true)]
    fetch: Option<String>,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One thread, as the function has it.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.fetch {
        Some(address) => fetch::clip(address).await,
        None => figures(&options).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("the fetch can't be measured: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// What was measured of one program at one rate.
struct Row {
    name: &'static str,
    rate: Option<u64>,
    took: Duration,
    /// Resident memory at its peak, in bytes.
    peak: u64,
}

async fn figures(options: &Options) -> Result<(), Failure> {
    let bytes = options.megabytes * 1_000_000;
    let cli = peers::aws_cli()?;
    let mut rows = Vec::new();
    for rate in RATES {
        for name in ["media-fetch", "curl | aws s3 cp -"] {
            let shown = rate.map_or("as fast as it goes".to_owned(), |rate| format!("{rate} Mbit/s"));
            eprintln!("{name}, {} MB, {shown} …", options.megabytes);
            let servers = Servers::start(bytes, rate)?;
            let begun = Instant::now();
            let processes = if name == "media-fetch" {
                peers::ours(&servers)?
            } else {
                peers::curl_and_cli(&cli, &servers)?
            };
            let peak = peak_of(processes).await?;
            let took = begun.elapsed();
            servers.has_it_all()?;
            rows.push(Row { name, rate, took, peak });
        }
    }
    report(options, bytes, &rows)
}

/// The resident memory of processes at its peak, in bytes, all together. It looks at them until they have ended, and holds that
/// they ended well.
async fn peak_of(mut processes: Vec<Child>) -> Result<u64, Failure> {
    let mut peaks = vec![0; processes.len()];
    loop {
        let mut all_ended = true;
        for (process, seen) in processes.iter_mut().zip(&mut peaks) {
            // One that ends in this moment has no files any more: what was seen before stands.
            let looked = process.id().and_then(|id| memory(id).ok());
            *seen = looked.map_or(*seen, |memory| memory.peak);
            match process.try_wait()? {
                None => all_ended = false,
                Some(status) if status.success() => {}
                Some(status) => return Err(format!("a program failed: {status}").into()),
            }
        }
        if all_ended {
            return Ok(peaks.iter().sum());
        }
        sleep(LOOK_EVERY).await;
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 bytes")]
fn report(options: &Options, bytes: u64, rows: &[Row]) -> Result<(), Failure> {
    let rate_of = |row: &Row| bytes as f64 * 8.0 / 1e6 / row.took.as_secs_f64();
    let conditions = format!("{}; {} MB", bench::conditions()?, options.megabytes);
    let mut targets = Vec::new();
    for row in rows.iter().filter(|row| row.name == "media-fetch") {
        let peak = row.peak as f64 / 1_048_576.0;
        targets.push(Target::at_most(
            "resident memory at its peak, MiB: 64 at most",
            peak,
            64.0,
        ));
        let other = rows
            .iter()
            .find(|other| other.rate == row.rate && other.name != row.name);
        match (row.rate, other) {
            (Some(rate), _) => {
                let share = rate_of(row) / rate as f64;
                targets.push(Target::at_least("of the source's rate: 0.9 at least", share, 0.9));
            }
            (None, Some(other)) => {
                let times = rate_of(row) / rate_of(other);
                let what = "on the loopback, times the rate of curl | aws s3 cp -: 1 at least";
                targets.push(Target::at_least(what, times, 1.0));
            }
            (None, None) => {}
        }
    }
    if options.json {
        let rows = rows.iter().map(|row| {
            json!({
                "program": row.name, "rate_mbit": row.rate, "found_mbit": rate_of(row), "seconds": row.took.as_secs_f64(),
                "peak_bytes": row.peak,
            })
        });
        let rows: Vec<_> = rows.collect();
        println!(
            "{:#}",
            json!({ "conditions": conditions, "rows": rows, "targets": bench::json(&targets) })
        );
        return Ok(());
    }
    println!("media-fetch: {conditions}\n");
    println!(
        "  {:<20}{:>16}{:>16}{:>12}{:>18}",
        "", "source [Mbit/s]", "found [Mbit/s]", "took [s]", "peak memory [MB]"
    );
    for row in rows {
        println!(
            "  {:<20}{:>16}{:>16.1}{:>12.1}{:>18.1}",
            row.name,
            row.rate.map_or("-".to_owned(), |rate| rate.to_string()),
            rate_of(row),
            row.took.as_secs_f64(),
            megabytes(row.peak),
        );
    }
    print!("{}", bench::text(&targets));
    Ok(())
}
