//! What the recorder costs, beside GStreamer's `webrtcbin ! mp4mux`, and whether it stays as it is for long:
//! `cargo bench -p stream-capture`.
//!
//! Cameras are the offline Ring's live sessions, in this process. Who records them is a process of its own, which is looked at from
//! outside, through `/proc`: so the senders are in no figure. Ours is the recorder as it is deployed, but for the bucket, which is
//! a folder here, as GStreamer's files are.

mod cameras;
mod folder;
mod measure;
mod record;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use bench::{Failure, megabytes};
use clap::Parser;

use cameras::Cameras;
use measure::{GSTREAMER, RECORDER, recorded};

const EXAMPLES: &str = "\
Examples:
  cargo bench -p stream-capture                                  the figures, as a table
  cargo bench -p stream-capture -- --seconds 10                  in a hurry
  cargo bench -p stream-capture -- --json                        for programs
  cargo bench -p stream-capture -- --soak 600                    twenty cameras for ten minutes, each film decoded

GStreamer comes from the system's packages: python3-gi, gir1.2-gst-plugins-bad-1.0, gstreamer1.0-nice and
gstreamer1.0-plugins-{base,good,bad}. Its encoder makes the film, and its decoder looks at what was recorded.
";

/// Measures the recorder beside GStreamer: CPU time and memory of a stream, losses, the first frame, the gap between sessions.
#[derive(Parser)]
#[command(bin_name = "cargo bench -p stream-capture --", after_help = EXAMPLES)]
struct Options {
    /// How long each figure is measured, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
    /// Instead of the figures: twenty cameras for so many seconds. It fails where memory grows, or a film is not whole.
    #[arg(long, value_parser = clap::value_parser!(u64).range(30..=86_400))]
    soak: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Record what the standard input names: what this program starts itself for.
    #[arg(long, hide = true)]
    record: bool,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    // The recorder has one thread, as it has deployed; the cameras have what is there.
    let runtime = if options.record {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    } else {
        tokio::runtime::Runtime::new()
    };
    let done = runtime.map_err(Failure::from).and_then(|runtime| {
        runtime.block_on(async {
            match options {
                Options { record: true, .. } => record::all().await,
                Options {
                    soak: Some(seconds), ..
                } => soak(Duration::from_secs(seconds)).await,
                _ => figures(&options).await,
            }
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("the recorder can't be measured: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Ours with one camera and with many, GStreamer with one and with as many as it can be held against; and sessions in a chain.
async fn figures(options: &Options) -> Result<(), Failure> {
    let duration = Duration::from_secs(options.seconds);
    let film = cameras::film()?;
    let mut rows = Vec::new();
    for (program, streams) in [
        (RECORDER, 1),
        (GSTREAMER, 1),
        (RECORDER, 5),
        (GSTREAMER, 5),
        (RECORDER, 20),
        (GSTREAMER, 20),
    ] {
        eprintln!("{} with {streams} …", program.name);
        let cameras = Cameras::sending(streams, &film).await?;
        rows.push(recorded(program, &cameras, duration).await?);
    }
    let mut gaps = Vec::new();
    for at_once in [2, 1] {
        eprintln!("sessions of five seconds, {at_once} at once …");
        gaps.push((at_once, chained(at_once, &film).await?));
    }
    let report = report::Report {
        conditions: report::conditions(&film)?,
        rows,
        gaps,
    };
    if options.json {
        println!("{:#}", report.json());
    } else {
        print!("{}", report.text());
    }
    Ok(())
}

/// The longest gap in a film whose sessions Ring ends after five seconds.
async fn chained(at_once: u32, film: &std::path::Path) -> Result<Duration, Failure> {
    let cameras = Cameras::chained(at_once, film).await?;
    let row = recorded(RECORDER, &cameras, Duration::from_secs(24)).await?;
    if row.sessions < 4 {
        return Err(format!("{} sessions are no chain", row.sessions).into());
    }
    Ok(Duration::from_millis(row.longest_gap_ms))
}

/// Memory may take its time to settle; after that it has to stay.
async fn soak(duration: Duration) -> Result<(), Failure> {
    const STREAMS: usize = 20;
    /// What the allocator may keep beyond what it had.
    const MAY_GROW: f64 = 1.1;
    let cameras = Cameras::usual(STREAMS).await?;
    let row = recorded(RECORDER, &cameras, duration).await?;
    let settled = row.memory.len() / 3;
    let (before, after) = row.memory.split_at(settled);
    let most = |samples: &[u64]| samples.iter().copied().max().unwrap_or_default();
    let (before, after) = (most(before), most(after));
    println!(
        "{STREAMS} cameras for {} s: {} frames in {} sessions, {} packets lost, {} frames dropped; every film decoded. \
         Resident memory: {:.1} MB at most in the first third, {:.1} MB after it.",
        duration.as_secs(),
        row.frames,
        row.sessions,
        row.lost,
        row.dropped,
        megabytes(before),
        megabytes(after),
    );
    if row.lost + row.dropped > 0 {
        return Err("something was lost".into());
    }
    #[expect(clippy::cast_precision_loss, reason = "no program has 2^53 bytes")]
    if after as f64 > before as f64 * MAY_GROW {
        return Err(format!("memory grows: {:?}", row.memory).into());
    }
    Ok(())
}
