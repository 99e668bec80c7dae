//! What the release program of `webhook-intake` costs, beside the same intake in Python and in Node and a function that
//! does nothing: `cargo bench -p webhook-intake`.
//!
//! Each program runs as Lambda runs it: with an environment of its own, and all it can reach are the Runtime API and the two
//! services of AWS that it calls, here on the loopback, the latter behind TLS as AWS is. So no network and no AWS is in the
//! figures, and no machine of Lambda's either: they compare programs, on one machine, in one run. Each event is checked as
//! well: it is in the queue as it was signed, once, before the answer 200; and for the intake, no secret is read for it.

mod aws;
mod cost;
mod lambda;
mod measure;
mod peers;
mod program;
mod report;

use std::process::ExitCode;

use aws::Aws;
use bench::Failure;
use clap::Parser;
use measure::{Figures, KEYS};
use program::Recipe;
use report::Report;

const EXAMPLES: &str = "\
Examples:
  cargo bench -p webhook-intake                               the figures, as a table
  cargo bench -p webhook-intake -- --spawns 10 --events 1000  in a hurry
  cargo bench -p webhook-intake -- --alone                    without Python, Node and the hello world
  cargo bench -p webhook-intake -- --json > before.json       to compare with another build's
  taskset -c 0 cargo bench -p webhook-intake                  all of it on one core: steadier, warm answers take about half

Each warm answer is a dozen wake-ups to and fro; across cores these cost as much as the work, and a function of 256 MB has
a sixth of one core: so CPU time is measured on one core, too. Other work on the machine changes where the wake-ups go: the
head of the table says how busy it was. Megabytes are 10^6 bytes. What Python and Node need is
pinned, and is installed in the target folder at first use.
";

/// Measures the release program of webhook-intake beside its peers: start, warm latency, CPU time, memory, size, calls of
/// AWS, and what a million events cost.
#[derive(Parser)]
#[command(bin_name = "cargo bench -p webhook-intake --", after_help = EXAMPLES)]
struct Options {
    /// How many programs of each kind are started for the cold figures.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    spawns: u32,
    /// How many signed webhooks one program of each kind answers for the warm figures.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    events: u32,
    /// Measure the intake alone.
    #[arg(long)]
    alone: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Turn by turn, so that what else goes on here strikes all alike; and in each four turns each of them once behind each other
/// (a balanced Latin square), since whoever starts behind Python or Node finds the caches cold.
const TURNS: [[usize; 4]; 4] = [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]];

// One thread for all that is not the program, so that on two cores the program has one for itself.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    match measured(&options).await {
        Ok(report) if options.json => println!("{:#}", report.json()),
        Ok(report) => print!("{}", report.text()),
        Err(failure) => {
            eprintln!("webhook-intake can't be measured: {failure}\n{}", program::last_words());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

async fn measured(options: &Options) -> Result<Report, Failure> {
    let aws = Aws::start(KEYS).await?;
    let recipes = recipes(&aws, options.alone)?;
    let conditions = bench::conditions()?;
    let mut cold: Vec<_> = recipes.iter().map(|_| Vec::new()).collect();
    for number in 0..options.spawns {
        for &at in TURNS[number as usize % TURNS.len()]
            .iter()
            .filter(|&&at| at < recipes.len())
        {
            cold[at].push(measure::start(&recipes[at], &aws, number).await?);
        }
    }
    let mut figures = Vec::new();
    for (recipe, cold) in recipes.iter().zip(cold) {
        let warm = measure::stream(recipe, &aws, options.events).await?;
        let one_core = measure::stream_on_one_core(recipe, &aws, options.events).await?;
        figures.push(Figures::of(recipe, &cold, warm, &one_core, options.events));
    }
    let heading = format!("{conditions}; {} spawns, {} events", options.spawns, options.events);
    Ok(Report { heading, figures })
}

/// The intake first; the others are measured beside it.
fn recipes(aws: &Aws, alone: bool) -> Result<Vec<Recipe>, Failure> {
    let mut recipes = vec![peers::intake(aws)?];
    if !alone {
        recipes.extend([peers::hello_world()?, peers::python(aws)?, peers::node(aws)?]);
    }
    Ok(recipes)
}
