//! `ops`: the operator's tool. It looks at what went wrong, and gets it back: what lies in quarantine and in dead-letter
//! queues, what became of an event, who did what, what somebody missed on the bus, and when Ring was failed. It says whether a
//! stack is fit for Ring, too. It works on a deployed stack and on the local one alike, from what CloudFormation says is in it.

mod audit;
mod call;
mod dlq;
mod doctor;
mod event;
mod failure;
mod image;
mod init;
mod metric;
mod outages;
mod quarantine;
mod queue;
mod replay;
mod say;
mod secret;
mod stack;
mod when;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use say::Voice;
use stack::Choice;
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  ops --stack ring-prod init                                        asks what a deployment needs, and writes it for sam
  ops --stack ring-prod doctor                                      is it fit for Ring, from outside and inside?
  ops --stack ring-prod dlq list                                    how much waits where
  ops --stack ring-prod quarantine list                             what Ring signed and we could not use
  ops --stack ring-prod quarantine retry --all                      back into the queue, after the program was mended
  ops --stack ring-prod dlq redrive events --dry-run                how much would be moved back
  ops --stack ring-prod event show evt_VQ0n1YqKkcUoXyPpT6yJmXzqk9E  what became of an event, and when
  ops --stack ring-prod replay --since 2h --dry-run                 what a subscriber that was down has missed
  ops --stack ring-prod audit --since 7d                            who linked, unlinked, exported and erased
  ops --stack ring-prod outages --letter                            what to write to Ring's representative
  ops image PROGRAM                                                 the recorder's container, made without an engine
  ops --local outages                                               on the stack that `cargo run -p local` keeps up

Credentials are those of the environment, or of the profile AWS_PROFILE with keys or a role. Of an SSO session they come by
`eval \"$(aws configure export-credentials --format env)\"`.

Each command has a --help of its own, with an example of each use. What to do in which incident: docs/runbook.md.

Exit status: 0 done; 1 failed, nothing was changed; 2 the command line asks for what can't be; 3 some of it is done, and the same
command again does the rest; 130 interrupted: what was being looked at is back in its queue within two minutes.";

/// The operator's tool: look at what went wrong, and get it back.
///
/// Answers go to standard output, as text or with --json as one JSON document; progress goes to standard error. Whatever changes
/// something has --dry-run, and everything has a bound.
#[derive(Parser)]
#[command(name = "ops", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    choice: Choice,
    /// Answer with one JSON document
    #[arg(long, global = true)]
    json: bool,
    /// No progress on standard error
    #[arg(long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Command),
    Doctor(doctor::Command),
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    #[command(subcommand)]
    Dlq(dlq::Command),
    #[command(subcommand)]
    Event(event::Command),
    Audit(audit::Command),
    Replay(replay::Command),
    Outages(outages::Command),
    Image(image::Command),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Cli {
        choice,
        json,
        quiet,
        command,
    } = Cli::parse();
    let voice = Voice { json, quiet };
    // Who is asked at a terminal may leave at once: nothing is under way while an answer is waited for.
    let asks = matches!(command, Command::Init(_));
    let work = async {
        match command {
            Command::Init(command) => init::run(command, &choice, voice).await,
            Command::Doctor(command) => doctor::run(command, &choice, voice).await,
            Command::Quarantine(command) => quarantine::run(command, &choice, voice).await,
            Command::Dlq(command) => dlq::run(command, &choice, voice).await,
            Command::Event(command) => event::run(command, &choice, voice).await,
            Command::Audit(command) => audit::run(command, &choice, voice).await,
            Command::Replay(command) => replay::run(command, &choice, voice).await,
            Command::Outages(command) => outages::run(command, &choice, voice).await,
            Command::Image(command) => image::run(&command, voice),
        }
    };
    tokio::select! {
        outcome = work => match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("{failure}");
                failure.exit_code()
            }
        },
        () = interrupted(), if !asks => {
            eprintln!("\ninterrupted");
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// Help that teaches shows each command in use.
    #[test]
    fn every_command_has_an_example_and_every_example_is_a_command() {
        fn leaves(command: &clap::Command, path: &str, found: &mut Vec<String>) {
            let path = format!("{path} {}", command.get_name());
            let mut below = command.get_subcommands().peekable();
            if below.peek().is_none() {
                let help = command.clone().render_help().to_string();
                assert!(help.contains("Examples:"), "{path} has no example");
                let path = path.trim_start().trim_start_matches("ops ");
                assert!(help.contains(path), "the examples of {path} do not show it:\n{help}");
                found.push(help);
            }
            for command in below {
                leaves(command, &path, found);
            }
        }
        let mut helps = vec![Cli::command().render_help().to_string()];
        leaves(&Cli::command(), "", &mut helps);
        assert!(helps.len() > 5);
        for line in helps
            .iter()
            .flat_map(|help| help.lines())
            .map(str::trim)
            .filter(|line| line.starts_with("ops "))
        {
            // An explanation follows after two spaces, a redirection is the shell's.
            let words = line
                .split("  ")
                .next()
                .unwrap_or(line)
                .split(" > ")
                .next()
                .unwrap_or(line);
            let parsed = Cli::try_parse_from(words.split_whitespace());
            assert!(
                parsed.is_ok(),
                "{line}: {}",
                parsed.err().map(|error| error.to_string()).unwrap_or_default()
            );
        }
    }
}
