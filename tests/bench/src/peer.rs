//! Peers: what they need is pinned, and lies in the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;

/// Copies a peer's files to where it lies.
pub fn placed(from: &Path, folder: &Path, files: &[&str]) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    for file in files {
        fs::copy(from.join(file), folder.join(file))?;
    }
    Ok(())
}

/// Installs what this file of the folder pins, unless that is what is installed.
pub fn once(folder: &Path, pins: &str, install: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let (pinned, stamp) = (fs::read(folder.join(pins))?, folder.join("installed"));
    if fs::read(&stamp).is_ok_and(|installed| installed == pinned) {
        return Ok(());
    }
    install()?;
    Ok(fs::write(stamp, pinned)?)
}

/// The virtual environment of a folder, with what its `requirements.txt` pins.
pub fn python(folder: &Path) -> Result<PathBuf, Failure> {
    let environment = folder.join("venv");
    once(folder, "requirements.txt", || {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(&environment);
        ran(&mut venv, "python3 makes a virtual environment")?;
        let mut pip = Command::new(environment.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "-r"]);
        ran(pip.arg(folder.join("requirements.txt")), "pip installs what is pinned")
    })?;
    Ok(environment)
}

/// Runs a command to its end. What it prints goes where it does not spoil the figures.
pub fn ran(command: &mut Command, what: &str) -> Result<(), Failure> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("it does not hold that {what}: {status}").into()),
        Err(error) => Err(format!("it does not hold that {what}: {error}").into()),
    }
}
