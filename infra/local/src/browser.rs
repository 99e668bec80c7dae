//! A real browser, for tests of the pages. No registry of packages has one that decodes H.264, so it is the system's Chromium.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::child;
use crate::failure::Failure;
use crate::place::{self, Place};
use crate::tools::Tools;

/// What it may be called.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// A browser, and the Python that drives it.
#[derive(Clone, Debug)]
pub struct Browser {
    /// The Python with Playwright.
    pub python: PathBuf,
    /// The browser's program.
    pub program: PathBuf,
}

impl Browser {
    /// Finds it, and installs it where this machine is Debian's and the user may.
    pub async fn ready(place: &Place) -> Result<Self, Failure> {
        let python = Tools::pages(place).await?;
        let lock_path = place.local().join("tools/browser.lock");
        let lock = tokio::task::spawn_blocking(move || place::lock(&lock_path));
        let _lock = lock
            .await
            .map_err(|error| Failure::new("Waiting for a lock was cut short").because(error.to_string()))??;
        if let Some(program) = found() {
            return Ok(Self { python, program });
        }
        install(place).await?;
        let program = found().ok_or_else(|| Failure::new("Chromium is installed, and can't be found"))?;
        Ok(Self { python, program })
    }
}

fn found() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    let of = |name: &str| {
        folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
    };
    NAMES.into_iter().find_map(of)
}

async fn install(place: &Place) -> Result<(), Failure> {
    let log = place.local().join("tools/browser.log");
    let advice = "install Chromium or Chrome (on Debian: apt-get install chromium), which the tests of the pages need";
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(Failure::new("There is no browser on this machine").advise(advice));
    }
    for arguments in [
        &["update"][..],
        &[
            "install",
            "--yes",
            "--no-install-recommends",
            "chromium",
            "fonts-dejavu-core",
        ],
    ] {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        child::run(apt, &log, "Chromium can't be installed", advice).await?;
    }
    Ok(())
}
