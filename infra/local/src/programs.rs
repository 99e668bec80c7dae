//! The functions' programs: built by cargo, and placed where the template's `CodeUri` looks for them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use tokio::process::Command;

use crate::child;
use crate::failure::{Doing, Failure};
use crate::place::{self, Place};

/// How the programs are compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build; what tests use.
    #[default]
    Dev,
    /// As in production.
    Release,
}

impl Profile {
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

/// The one program that is no function of Lambda's: it holds live sessions for longer than a call may last.
pub const RECORDER: &str = "stream-capture";

/// The packages under `functions/` that Lambda runs, by name.
pub fn packages(place: &Place) -> Result<Vec<String>, Failure> {
    let functions = place.checkout().join("functions");
    let entries = fs::read_dir(&functions).or_fail(|| format!("{} can't be read", functions.display()))?;
    let mut packages: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|package| package != RECORDER)
        .collect();
    packages.sort();
    Ok(packages)
}

/// Builds the programs; cargo tells its own progress. For tests that is the whole workspace: one set of features, so that
/// nothing is compiled twice. A release has the programs alone, with the features that they have in production.
pub(crate) async fn build(place: &Place, profile: Profile, quiet: bool) -> Result<(), Failure> {
    let mut cargo = child::cargo(place.checkout());
    cargo.arg("build").stdin(Stdio::null());
    match profile {
        Profile::Dev => _ = cargo.arg("--workspace"),
        Profile::Release => {
            cargo.arg("--release");
            for package in packages(place)?.iter().map(String::as_str).chain([RECORDER]) {
                cargo.args(["--package", package]);
            }
        }
    }
    if quiet {
        cargo.arg("--quiet");
    }
    let status = cargo.status().await.or_fail(|| "cargo can't be started".into())?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new("The functions do not compile")
        .because("cargo says why above")
        .advise("mend that, and start again"))
}

/// Puts each program's bootstrap in its place, stripped where a `strip` is at hand: it is zipped and unzipped on each
/// deployment. Returns how many had changed.
pub(crate) async fn place(place: &Place, profile: Profile) -> Result<usize, Failure> {
    let lock_path = place.local().join("programs.lock");
    let _lock = tokio::task::spawn_blocking(move || place::lock(&lock_path))
        .await
        .or_fail(|| "Waiting for a lock was cut short".into())??;
    let mut changed = 0;
    for package in packages(place)? {
        let built = place.target().join(profile.folder()).join(&package);
        let bootstrap = place.bootstrap(&package);
        let written = modified(&built).or_fail(|| format!("{} was not built", built.display()))?;
        if modified(&bootstrap).is_ok_and(|placed| placed == written) {
            continue;
        }
        put(&built, &bootstrap, written)
            .await
            .or_fail(|| format!("{} can't be written", bootstrap.display()))?;
        changed += 1;
    }
    Ok(changed)
}

fn modified(path: &Path) -> std::io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// Writes beside the place and moves it there, so that nobody sees half a program. The copy keeps the time of what it is a
/// copy of, which is how a later run knows that nothing has changed.
async fn put(built: &Path, bootstrap: &Path, written: SystemTime) -> std::io::Result<()> {
    if let Some(folder) = bootstrap.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = beside(bootstrap);
    let stripped = Command::new("strip")
        .arg("--strip-all")
        .arg("-o")
        .args([&beside, built])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    if !stripped.is_ok_and(|status| status.success()) {
        fs::copy(built, &beside)?;
    }
    File::options().write(true).open(&beside)?.set_modified(written)?;
    fs::rename(&beside, bootstrap)
}

/// Outside the program's own folder, all of which is deployed.
fn beside(bootstrap: &Path) -> PathBuf {
    let folder = bootstrap.parent().unwrap_or(bootstrap);
    folder.with_extension("part")
}
