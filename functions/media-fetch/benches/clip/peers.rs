//! Those who fetch: ourselves, and `curl | aws s3 cp -`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use bench::Failure;
use tokio::process::{Child, Command};

use crate::servers::Servers;

/// Ourselves.
pub(crate) fn ours(servers: &Servers) -> Result<Vec<Child>, Failure> {
    let mut fetch = Command::new(std::env::current_exe()?);
    fetch.arg("--fetch").arg(servers.address());
    Ok(vec![spoken_to(&mut fetch, servers).spawn()?])
}

/// A pipe from one to the other.
pub(crate) fn curl_and_cli(cli: &Path, servers: &Servers) -> Result<Vec<Child>, Failure> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail"])
        .arg(format!("{}/clip", servers.address()));
    let mut curl = curl.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let clip: Stdio = curl.stdout.take().ok_or("no pipe")?.try_into()?;
    let mut copy = Command::new(cli);
    copy.args(["s3", "cp", "--no-progress", "-", "s3://media/clip.mp4"])
        .stdin(clip);
    Ok(vec![curl, spoken_to(&mut copy, servers).spawn()?])
}

/// With the environment of a function.
fn spoken_to<'c>(command: &'c mut Command, servers: &Servers) -> &'c mut Command {
    command
        .env("AWS_ENDPOINT_URL", servers.address())
        .env("AWS_ACCESS_KEY_ID", "bench")
        .env("AWS_SECRET_ACCESS_KEY", "bench")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdout(Stdio::null())
        .kill_on_drop(true)
}

/// The program of the AWS CLI, from PyPI, installed at first use.
pub(crate) fn aws_cli() -> Result<PathBuf, Failure> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers/aws-cli");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/clip");
    bench::placed(&here, &folder, &["requirements.txt"])?;
    Ok(bench::python(&folder)?.join("bin/aws"))
}
