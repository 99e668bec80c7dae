//! Processes that the runner starts. A tool runs to its end and leaves a log; a server runs for as long as its handle.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Doing, Failure};

const SUPERVISOR: &str = include_str!("supervisor.py");
/// A little longer than the supervisor waits before it insists.
const END_WITHIN: Duration = Duration::from_secs(6);

/// cargo in a folder, without what an outer cargo told this process about itself: some build scripts look at it, and
/// would run again.
pub(crate) fn cargo(folder: &Path) -> tokio::process::Command {
    let mut cargo = tokio::process::Command::new("cargo");
    cargo.current_dir(folder).kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        let named = name.to_string_lossy();
        let outer = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
            "CARGO_PRIMARY_",
            "CARGO_TARGET_TMPDIR",
        ];
        if outer.iter().any(|prefix| named.starts_with(prefix)) {
            cargo.env_remove(&name);
        }
    }
    cargo.env_remove("LD_LIBRARY_PATH");
    cargo
}

/// Runs a tool to its end. What it says goes to the log; the end of the log is in the failure.
pub(crate) async fn run(
    mut command: tokio::process::Command,
    log: &Path,
    what: &str,
    advice: &str,
) -> Result<(), Failure> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let written = log_file(log)?;
    let also = written
        .try_clone()
        .or_fail(|| format!("The log {} can't be written", log.display()))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(written)
        .stderr(also)
        .kill_on_drop(true)
        .status()
        .await
        .or_fail(|| format!("{program} can't be started"))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(what)
        .because(format!("{program} ended with {status}"))
        .advise(advice)
        .with_log(log))
}

fn log_file(log: &Path) -> Result<File, Failure> {
    let opened = fs::create_dir_all(log.parent().unwrap_or(log)).and_then(|()| File::create(log));
    opened.or_fail(|| format!("The log {} can't be written", log.display()))
}

/// A server under the supervisor: it ends with this handle, or with this process, however that ends.
pub(crate) struct Server {
    supervisor: Child,
    held: Option<ChildStdin>,
}

impl Server {
    /// Starts a program, with its arguments and exactly the environment given, under a Python that runs the supervisor.
    pub(crate) fn start<'a>(
        python: &Path,
        program: &[&OsStr],
        environment: impl IntoIterator<Item = (&'a str, String)>,
        log: &Path,
    ) -> Result<Self, Failure> {
        let written = log_file(log)?;
        let also = written
            .try_clone()
            .or_fail(|| format!("The log {} can't be written", log.display()))?;
        let mut supervisor = Command::new(python)
            .args(["-I", "-c", SUPERVISOR])
            .args(program)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(written)
            .stderr(also)
            .process_group(0)
            .spawn()
            .or_fail(|| format!("{} can't be started", python.display()))?;
        let held = supervisor.stdin.take();
        Ok(Self { supervisor, held })
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.supervisor.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.held.take());
        let deadline = Instant::now() + END_WITHIN;
        while !self.has_ended() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server with a child of its own that leaves the process group, as the hardest to end do.
    const STUBBORN: &str =
        "#!/bin/sh\n(setsid sh -c 'echo $$ > child; exec sleep 600') &\necho $$ > parent\nexec sleep 600\n";

    fn alive(pid: &str) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_server_and_all_that_it_started_end_with_the_handle() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = folder.path().join("stubborn");
        fs::write(
            &script,
            STUBBORN.replace("> ", &format!("> {}/", folder.path().display())),
        )
        .expect("written");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("made executable");
        let log = folder.path().join("log");
        let server = Server::start(
            &python(),
            &[script.as_os_str()],
            [("PATH", "/usr/bin:/bin".to_owned())],
            &log,
        )
        .expect("started");
        let pid = |name: &str| {
            let deadline = Instant::now() + Duration::from_secs(20);
            loop {
                match fs::read_to_string(folder.path().join(name)) {
                    Ok(pid) if pid.ends_with('\n') => return pid,
                    _ => assert!(Instant::now() < deadline, "{name} did not start"),
                }
                thread::sleep(Duration::from_millis(10));
            }
        };
        let (parent, child) = (pid("parent"), pid("child"));
        assert!(alive(&parent) && alive(&child));
        drop(server);
        assert!(!alive(&parent) && !alive(&child));
    }

    fn python() -> std::path::PathBuf {
        let found = Command::new("python3")
            .args(["-c", "import sys; print(sys.executable)"])
            .output()
            .expect("python3");
        String::from_utf8(found.stdout).expect("a path").trim().into()
    }
}
