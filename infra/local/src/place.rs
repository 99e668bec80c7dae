//! Where things lie: the checkout, the target folder in use, and this run's own folder in it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process;

use serde::Deserialize;

use crate::child;
use crate::failure::{Doing, Failure};

/// The checkout and its target folder, which may lie elsewhere (`CARGO_TARGET_DIR`).
#[derive(Clone, Debug)]
pub struct Place {
    checkout: PathBuf,
    target: PathBuf,
}

impl Place {
    /// Asks cargo where the target folder of this checkout is.
    pub async fn find() -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Metadata {
            workspace_root: PathBuf,
            target_directory: PathBuf,
        }
        let mut cargo = child::cargo(Path::new(env!("CARGO_MANIFEST_DIR")));
        cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
        let answer = cargo.output().await.or_fail(|| "cargo can't be started".into())?;
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        let found: Metadata = serde_json::from_slice(&answer.stdout)
            .map_err(|_| Failure::new("cargo does not say where the workspace is").because(said))?;
        Ok(Self {
            checkout: found.workspace_root,
            target: found.target_directory,
        })
    }

    /// The folder of the workspace's manifest.
    pub fn checkout(&self) -> &Path {
        &self.checkout
    }

    /// The target folder in use.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Where the local stack keeps what it makes.
    pub(crate) fn local(&self) -> PathBuf {
        self.target.join("local")
    }

    /// Where the bootstrap of a program lies, as the template's `CodeUri` has it.
    pub fn bootstrap(&self, package: &str) -> PathBuf {
        self.target.join("lambda").join(package).join("bootstrap")
    }

    /// Each file that `outputs.json` is written to: in the target folder in use, and in the checkout's own.
    pub fn outputs(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.local(), self.checkout.join("target/local")];
        folders.dedup();
        folders.into_iter().map(|folder| folder.join("outputs.json")).collect()
    }
}

/// This process's own folder, and the lock that says that the process lives. What earlier ones left behind is swept.
pub(crate) struct Run {
    folder: PathBuf,
    // Held for as long as the process lives; the kernel lets go of it however that ends.
    _lock: File,
}

impl Run {
    pub(crate) fn begin(place: &Place, kind: &str) -> Result<Self, Failure> {
        let runs = place.local().join("runs");
        let folder = runs.join(format!("{kind}-{}", process::id()));
        let begun = fs::create_dir_all(&runs).and_then(|()| {
            sweep(&runs)?;
            fs::create_dir_all(&folder)?;
            let lock = File::create(folder.join("lock"))?;
            lock.lock()?;
            Ok(lock)
        });
        let lock = begun.or_fail(|| format!("The folder {} can't be made", folder.display()))?;
        Ok(Self { folder, _lock: lock })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn log(&self, tool: &str) -> PathBuf {
        self.folder.join(format!("{tool}.log"))
    }
}

/// Removes the folders of runs whose process is gone. Their logs were there to be read until now.
fn sweep(runs: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(runs)? {
        let folder = entry?.path();
        let held = match File::open(folder.join("lock")) {
            Ok(lock) => matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
            // No lock yet: it is being made at this very moment.
            Err(_) => true,
        };
        if !held {
            fs::remove_dir_all(&folder)?;
        }
    }
    Ok(())
}

/// A lock that one process at a time holds, for work that several may start at once.
pub(crate) fn lock(path: &Path) -> Result<File, Failure> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent)
        .and_then(|()| {
            let lock = File::create(path)?;
            lock.lock()?;
            Ok(lock)
        })
        .or_fail(|| format!("The lock {} can't be taken", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_sweeps_what_the_dead_left_and_leaves_the_living_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = Place {
            checkout: folder.path().join("checkout"),
            target: folder.path().join("target"),
        };
        let runs = place.local().join("runs");
        for name in ["dead", "living"] {
            fs::create_dir_all(runs.join(name)).expect("made");
            File::create(runs.join(name).join("lock")).expect("made");
        }
        let living = File::open(runs.join("living/lock")).expect("there");
        living.lock().expect("locked");

        let run = Run::begin(&place, "test").expect("begun");
        assert!(run.folder().is_dir());
        assert!(!runs.join("dead").exists());
        assert!(runs.join("living").exists());
    }

    #[test]
    fn outputs_also_lie_in_the_checkout_where_the_target_folder_is_elsewhere() {
        fn check(target: &str, files: &[&str]) {
            let place = Place {
                checkout: "/repo".into(),
                target: target.into(),
            };
            assert_eq!(place.outputs(), files.iter().map(PathBuf::from).collect::<Vec<_>>());
        }
        check("/repo/target", &["/repo/target/local/outputs.json"]);
        check(
            "/cache",
            &["/cache/local/outputs.json", "/repo/target/local/outputs.json"],
        );
    }
}
