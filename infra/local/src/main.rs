//! `cargo run -p local`: the whole back end on this machine.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use local::{Aws, Failure, Life, Options, Outputs, Place, Profile, Progress, RingChoice, Stack, Tools};
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  cargo run -p local -- demo                        walk through the main job, step by step, and end
  cargo run -p local                                keep the stack up, and say how to call it
  cargo run -p local -- token you@example.com       an ID token for the stack that is up
  cargo run -p local -- --port 4566                 the emulator on a port of your choice
  cargo run -p local -- demo --release              with release builds of the functions
  cargo run -p local -- --ring-url https://api.amazonvision.com \\
      --oauth-url https://oauth.ring.com/oauth/token --credentials ring.json
                                                    against another Ring than the simulator
";

/// Brings the whole back end up on this machine: the repository's own template on an emulator of AWS, and the offline Ring.
#[derive(Parser)]
#[command(name = "local", bin_name = "cargo run -p local --", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    choices: Choices,
}

#[derive(Subcommand)]
enum Command {
    /// Walk through the main job, prove each step, and end. Exits 0 only if each step held.
    Demo,
    /// Print the ID token of a user of the stack that is up; a new one is made.
    Token {
        /// The user's e-mail address.
        email: String,
    },
    /// Install the pinned tools if need be, and print the folder of `sam` and `cfn-lint`, of `checkov`, or of `cargo-lambda`.
    Tools {
        /// Which.
        #[arg(value_enum, default_value_t = Tool::Sam)]
        tool: Tool,
    },
    /// Write all templates as CloudFormation gets them, in JSON, into a folder.
    Expand {
        /// The folder.
        folder: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Tool {
    Sam,
    Checkov,
    Lambda,
}

#[derive(Args)]
struct Choices {
    /// The emulator's port; a free one if none is given.
    #[arg(long, global = true)]
    port: Option<u16>,
    /// Deploy release builds.
    #[arg(long, global = true)]
    release: bool,
    /// The base URL of another Ring than the simulator.
    #[arg(long, global = true, requires = "oauth_url")]
    ring_url: Option<String>,
    /// That Ring's token endpoint.
    #[arg(long, global = true, requires = "ring_url")]
    oauth_url: Option<String>,
    /// A JSON file with what that Ring knows you by (client_id, client_secret, hmac_signing_key); none: a simulator's own.
    #[arg(long, global = true, requires = "ring_url")]
    credentials: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { command, choices } = Cli::parse();
    let work = async {
        match command {
            Some(Command::Token { email }) => token(&email).await,
            Some(Command::Tools { tool }) => tools(tool).await,
            Some(Command::Expand { folder }) => local::expand(&Place::find().await?, &folder).await,
            Some(Command::Demo) => demo(choices).await,
            None => stay(choices).await,
        }
    };
    tokio::select! {
        outcome = work => match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("\n{failure}");
                ExitCode::FAILURE
            }
        },
        // What was started ends as the work is dropped.
        () = interrupted() => {
            eprintln!("\ninterrupted; all that was started is ended");
            ExitCode::from(130)
        }
    }
}

/// Ctrl-C, or a polite request to end.
async fn interrupted() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => _ = tokio::signal::ctrl_c().await,
    }
}

async fn demo(choices: Choices) -> Result<(), Failure> {
    if choices.ring_url.is_some() {
        return Err(Failure::new("The demo needs the simulator")
            .because("it makes Ring's users, installs the app for them and moves time")
            .advise("leave --ring-url out, or leave `demo` out to keep a stack up against that Ring"));
    }
    let place = Place::find().await?;
    let mut stack = Stack::up(place, options("demo", choices)?).await?;
    stack.publish()?;
    local::journey::walk(&stack, |step| println!("{step}")).await
}

async fn stay(choices: Choices) -> Result<(), Failure> {
    let place = Place::find().await?;
    if Stack::is_published(&place)? {
        return Err(Failure::new("A local stack is up already")
            .because("another process keeps the outputs of this target folder")
            .advise("use that one, or end it with Ctrl-C where it runs"));
    }
    let mut stack = Stack::up(place, options("local", choices)?).await?;
    stack.publish()?;
    let email = "you@example.com";
    let token = stack.sign_in(email).await?;
    if stack.ring().urls().control_url.is_none() {
        println!("{}", local::welcome(&stack, email, &token));
        return std::future::pending().await;
    }
    let life = Life::begin(&stack).await?;
    println!("{}", local::welcome(&stack, email, &token));
    let failure = life.go_on().await;
    eprintln!("\nThe cameras move no more; all else goes on.\n{failure}");
    std::future::pending().await
}

async fn token(email: &str) -> Result<(), Failure> {
    let place = Place::find().await?;
    let outputs = Outputs::read(&place)?;
    println!("{}", local::sign_in(&Aws::of(&outputs), &outputs, email).await?);
    Ok(())
}

async fn tools(tool: Tool) -> Result<(), Failure> {
    let place = Place::find().await?;
    let folder = match tool {
        Tool::Sam => Tools::ready(&place).await?.deployers(),
        Tool::Checkov => Tools::checkov(&place).await?,
        Tool::Lambda => Tools::lambda(&place).await?,
    };
    println!("{}", folder.display());
    Ok(())
}

fn options(kind: &'static str, choices: Choices) -> Result<Options, Failure> {
    let Choices {
        port,
        release,
        ring_url,
        oauth_url,
        credentials,
    } = choices;
    let ring = match (ring_url, oauth_url) {
        (Some(api_url), Some(oauth_url)) => {
            let credentials = credentials.map(read_credentials).transpose()?.unwrap_or_default();
            RingChoice::At {
                api_url,
                oauth_url,
                credentials,
            }
        }
        _ => RingChoice::Simulator,
    };
    let profile = if release { Profile::Release } else { Profile::Dev };
    Ok(Options {
        kind,
        profile,
        port,
        ring,
        aws_for_functions: None,
        progress: Progress::Told,
    })
}

fn read_credentials(path: PathBuf) -> Result<local::Credentials, Failure> {
    let failed = |why: String| Failure::new(format!("{} can't be used", path.display())).because(why);
    let text = fs::read(&path).map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))
}
