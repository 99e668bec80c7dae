//! `sam`, pointed at the emulator: it deploys the template, and reads the functions' logs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokio::process::Command;

use crate::aws::Aws;
use crate::child;
use crate::emulator::{ACCESS_KEY, REGION};
use crate::failure::{Doing, Failure};
use crate::place::{Place, Run};
use crate::tools::Tools;

/// One stack, as `sam` sees it.
pub(crate) struct Sam<'a> {
    pub(crate) place: &'a Place,
    pub(crate) run: &'a Run,
    pub(crate) tools: &'a Tools,
    pub(crate) endpoint: &'a str,
    pub(crate) stack_name: &'a str,
}

impl Sam<'_> {
    /// Deploys the checkout's own template.
    pub(crate) async fn deploy(&self, aws: &Aws, parameters: &BTreeMap<&str, String>) -> Result<(), Failure> {
        let bucket = self.artifacts();
        let made = aws.objects.create_bucket().bucket(&bucket).send().await;
        made.or_fail(|| format!("The bucket {bucket} can't be made"))?;

        let parameters = parameters.iter().filter(|(_, value)| !value.is_empty());
        let parameters = parameters.map(|(name, value)| (*name, value.as_str()));
        let folder = self.template_folder()?;
        self.deployed("template.yaml", &folder, self.stack_name, "sam", parameters)
            .await
    }

    /// Deploys another template of the checkout beside it, as a stack of its own.
    pub(crate) async fn deploy_beside(
        &self,
        template: &str,
        name: &str,
        parameters: &[(&str, &str)],
    ) -> Result<(), Failure> {
        let (folder, log) = (self.place.checkout(), format!("sam-{name}"));
        self.deployed(template, folder, name, &log, parameters.iter().copied())
            .await
    }

    /// Deploys a template that `folder` has, as this stack.
    async fn deployed(
        &self,
        template: &str,
        folder: &Path,
        stack: &str,
        log: &str,
        parameters: impl Iterator<Item = (&str, &str)>,
    ) -> Result<(), Failure> {
        let mut sam = self.command("deploy", stack);
        sam.args(["--s3-bucket", &self.artifacts(), "--template-file", template])
            .args(["--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"])
            .args(["--no-confirm-changeset", "--no-progressbar", "--parameter-overrides"])
            .current_dir(folder);
        for (name, value) in parameters {
            sam.arg(format!("{name}={value}"));
        }
        let emulator = self.run.log("emulator");
        let advice = format!("look at the log's end; the emulator's is {}", emulator.display());
        let failed = format!("{template} can't be deployed");
        child::run(sam, &self.run.log(log), &failed, &advice).await
    }

    /// The bucket that templates are deployed from.
    fn artifacts(&self) -> String {
        format!("{}-artifacts", self.stack_name)
    }

    /// Gathers what all functions have logged into one file, a line for each message.
    pub(crate) async fn logs(&self) -> Result<PathBuf, Failure> {
        let raw = self.run.log("functions-raw");
        let mut sam = self.command("logs", self.stack_name);
        sam.args(["--output", "json"]);
        let advice = "look at the log groups themselves with any tool of AWS's";
        child::run(sam, &raw, "The functions' logs can't be read", advice).await?;

        let log = self.run.log("functions");
        let gathered = fs::read_to_string(&raw).and_then(|lines| fs::write(&log, messages(&lines)));
        gathered.or_fail(|| format!("{} can't be written", log.display()))?;
        Ok(log)
    }

    /// `sam`, told of the emulator, and of nothing of AWS.
    fn command(&self, what: &str, stack: &str) -> Command {
        let mut sam = Command::new(self.tools.deployers().join("sam"));
        sam.args([what, "--stack-name", stack, "--region", REGION])
            .env("AWS_ENDPOINT_URL", self.endpoint)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY.0)
            .env("AWS_SECRET_ACCESS_KEY", ACCESS_KEY.1)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            // No account that whoever runs this is signed in to.
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .env("SAM_CLI_TELEMETRY", "0")
            .env("SAM_CLI_POLL_DELAY", "0.2")
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("no_proxy", "127.0.0.1,localhost");
        sam
    }

    /// A folder from which `sam` sees the checkout's own template, and beside it the target folder in use, wherever that
    /// is.
    fn template_folder(&self) -> Result<PathBuf, Failure> {
        let folder = self.run.folder().join("deploy");
        let linked = fs::create_dir_all(&folder).and_then(|()| {
            for name in ["template.yaml", "infra"] {
                symlink(self.place.checkout().join(name), folder.join(name))?;
            }
            symlink(self.place.target(), folder.join("target"))
        });
        linked.or_fail(|| format!("{} can't be written", folder.display()))?;
        Ok(folder)
    }
}

/// The programs' own messages in the order of their time, without the platform's lines around each call.
fn messages(lines: &str) -> String {
    #[derive(Deserialize)]
    struct Line {
        timestamp: i64,
        message: String,
    }
    let mut lines: Vec<Line> = lines
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    lines.sort_by_key(|line| line.timestamp);
    let platform = ["START ", "END ", "REPORT ", "INIT_"];
    let own = lines
        .iter()
        .filter(|line| !platform.iter().any(|word| line.message.starts_with(word)));
    own.map(|line| format!("{}\n", line.message.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_the_programs_own_messages_by_time() {
        let lines = concat!(
            r#"{"timestamp": 3, "message": "{\"level\":\"WARN\"}\n"}"#,
            "\n",
            r#"{"timestamp": 1, "message": "START RequestId: 1"}"#,
            "\nnot a line of its own\n",
            r#"{"timestamp": 2, "message": "{\"level\":\"INFO\"}"}"#,
        );
        assert_eq!(messages(lines), "{\"level\":\"INFO\"}\n{\"level\":\"WARN\"}\n");
    }
}
