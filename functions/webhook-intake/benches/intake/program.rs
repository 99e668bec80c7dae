//! A program under measurement as a process: started as Lambda starts it, looked at through `/proc`, always ended.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bench::{Failure, Memory};

use crate::aws::Aws;
use crate::lambda::Lambda;

/// How a program is started.
pub(crate) struct Recipe {
    /// What the table calls it.
    pub(crate) name: &'static str,
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
    /// Variables beside those that all of them get.
    pub(crate) variables: Vec<(&'static str, OsString)>,
    /// What has to be deployed of it, in bytes.
    pub(crate) size: u64,
}

/// A running program. It ends with this handle; and should this process be killed, then with the Runtime API.
pub(crate) struct Program(Child);

impl Program {
    /// Starts it with the variables that Lambda and the template set, and no others.
    pub(crate) fn start(recipe: &Recipe, lambda: &Lambda, aws: &Aws) -> Result<Self, Failure> {
        let written = File::create(log())?;
        let mut command = Command::new(&recipe.command[0]);
        command
            .args(&recipe.command[1..])
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", lambda.address())
            .env("AWS_LAMBDA_FUNCTION_NAME", "webhook-intake")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/webhook-intake")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "bench")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "bench")
            .env("AWS_SECRET_ACCESS_KEY", "bench")
            .env("AWS_ENDPOINT_URL", aws.url())
            .env("SIGNING_SECRET_ID", "signing")
            .env("EVENTS_QUEUE_URL", format!("{}/123456789012/events", aws.url()))
            .env("QUARANTINE_QUEUE_URL", format!("{}/123456789012/quarantine", aws.url()))
            .env("MEDIA_BUCKET", "media")
            .env("METRICS_NAMESPACE", "bench")
            .envs(recipe.variables.iter().cloned())
            .stdin(Stdio::null())
            .stderr(written.try_clone()?)
            .stdout(written);
        let child = command.spawn();
        Ok(Self(child.map_err(|error| format!("{}: {error}", recipe.name))?))
    }

    /// The CPU time of all its threads.
    pub(crate) fn cpu_time(&self) -> Result<Duration, Failure> {
        bench::cpu_time(self.0.id())
    }

    /// What it holds in memory.
    pub(crate) fn memory(&self) -> Result<Memory, Failure> {
        bench::memory(self.0.id())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Neither fails for a child of ours that nobody has waited for.
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// The end of what the last program logged.
pub(crate) fn last_words() -> String {
    let said = fs::read_to_string(log()).unwrap_or_default();
    let lines: Vec<_> = said.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

fn log() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/intake.log"))
}
