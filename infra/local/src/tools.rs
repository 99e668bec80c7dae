//! The tools from Python's registry, pinned, each file of requirements in a virtual environment of its own: the emulator
//! pins libraries apart from `sam`. From npm's there is what makes the client in TypeScript.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use crate::child;
use crate::failure::{Doing, Failure};
use crate::place::{self, Place};

/// What the client in TypeScript is made and checked with, pinned.
const PACKAGES: &str = include_str!("../../../clients/typescript/package.json");
const PACKAGES_LOCK: &str = include_str!("../../../clients/typescript/package-lock.json");

/// The programs that make and check the client in TypeScript.
#[derive(Clone, Debug)]
pub struct TypeScript {
    /// Where `openapi-typescript` and `tsc` are.
    pub programs: PathBuf,
    /// The Node that runs them, and whatever else is written for it.
    pub node: PathBuf,
    /// The `PATH` with the Node that runs them.
    pub path: OsString,
}

/// The virtual environments, made.
pub struct Tools {
    emulator: PathBuf,
    sam: PathBuf,
    made: usize,
}

impl Tools {
    /// Makes what is missing. Nothing is done where the requirements are those of the last time.
    pub async fn ready(place: &Place) -> Result<Self, Failure> {
        let (emulator, sam) = tokio::try_join!(
            environment(place, "emulator", include_str!("../requirements/emulator.txt")),
            environment(place, "sam", include_str!("../requirements/sam.txt")),
        )?;
        let made = usize::from(emulator.1) + usize::from(sam.1);
        Ok(Self {
            emulator: emulator.0,
            sam: sam.0,
            made,
        })
    }

    /// The Python that has FFmpeg's libraries, for tests that look at films.
    pub async fn films(place: &Place) -> Result<PathBuf, Failure> {
        let (folder, _) = environment(place, "film", include_str!("../requirements/film.txt")).await?;
        Ok(folder.join("bin/python"))
    }

    /// What asks the API whatever its description allows, and whatever it does not.
    pub async fn schemathesis(place: &Place) -> Result<PathBuf, Failure> {
        let requirements = include_str!("../requirements/schemathesis.txt");
        let (folder, _) = environment(place, "schemathesis", requirements).await?;
        Ok(folder.join("bin/schemathesis"))
    }

    /// The folder of `checkov`, which looks templates over.
    pub async fn checkov(place: &Place) -> Result<PathBuf, Failure> {
        let (folder, _) = environment(place, "checkov", include_str!("../requirements/checkov.txt")).await?;
        Ok(folder.join("bin"))
    }

    /// The folder of `cargo-lambda`, which builds the programs for either processor.
    pub async fn lambda(place: &Place) -> Result<PathBuf, Failure> {
        let (folder, _) = environment(place, "lambda", include_str!("../requirements/lambda.txt")).await?;
        Ok(folder.join("bin"))
    }

    /// The programs that make and check the client in TypeScript, and the `PATH` that they need: they are of npm's registry.
    pub async fn typescript(place: &Place) -> Result<TypeScript, Failure> {
        let (node, _) = environment(place, "node", include_str!("../requirements/node.txt")).await?;
        let (folder, _) = once(place, "typescript", PACKAGES_LOCK, async |folder| {
            packages(place, &node, folder).await
        })
        .await?;
        let path = std::env::join_paths([node.join("bin"), "/usr/bin".into(), "/bin".into()]);
        Ok(TypeScript {
            programs: folder.join("node_modules/.bin"),
            node: node.join("bin/node"),
            path: path.or_fail(|| format!("{} can't be in a PATH", node.display()))?,
        })
    }

    /// The Python that has a browser's remote control, for tests of the pages.
    pub(crate) async fn pages(place: &Place) -> Result<PathBuf, Failure> {
        let (folder, _) = environment(place, "pages", include_str!("../requirements/pages.txt")).await?;
        Ok(folder.join("bin/python"))
    }

    /// The Python that has aiortc, a WebRTC peer, for tests that record from it.
    pub async fn peers(place: &Place) -> Result<PathBuf, Failure> {
        let (folder, _) = environment(place, "peer", include_str!("../requirements/peer.txt")).await?;
        Ok(folder.join("bin/python"))
    }

    /// The Python that has the emulator.
    pub(crate) fn python(&self) -> PathBuf {
        self.emulator.join("bin/python")
    }

    /// The folder with `sam`, and with `cfn-lint` beside it.
    pub fn deployers(&self) -> PathBuf {
        self.sam.join("bin")
    }

    /// How many were made just now.
    pub(crate) fn made(&self) -> usize {
        self.made
    }
}

/// The folder of one environment, and whether it was made just now.
async fn environment(place: &Place, name: &str, requirements: &str) -> Result<(PathBuf, bool), Failure> {
    once(place, name, requirements, async |folder| {
        make(place, name, requirements, folder).await
    })
    .await
}

/// The folder of what is pinned by `pins`, and whether it was made just now.
async fn once(
    place: &Place,
    name: &str,
    pins: &str,
    make: impl AsyncFnOnce(&Path) -> Result<(), Failure>,
) -> Result<(PathBuf, bool), Failure> {
    let digest = hex::encode(Sha256::digest(pins));
    let tools = place.local().join("tools");
    let folder = tools.join(format!("{name}-{}", &digest[..12]));
    let stamp = folder.join("complete");
    if stamp.exists() {
        return Ok((folder, false));
    }
    let lock_path = tools.join(format!("{name}.lock"));
    // Another process may be making the very same.
    let _lock = tokio::task::spawn_blocking(move || place::lock(&lock_path))
        .await
        .or_fail(|| "Waiting for a lock was cut short".into())??;
    if stamp.exists() {
        return Ok((folder, false));
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).or_fail(|| format!("{} can't be removed", folder.display()))?;
    }
    let made = make(&folder).await;
    if made.is_err() {
        // Half of it is of no use; the next run starts anew, whether or not this works.
        let _ = fs::remove_dir_all(&folder);
    }
    made?;
    fs::write(&stamp, &digest).or_fail(|| format!("{} can't be written", stamp.display()))?;
    Ok((folder, true))
}

async fn packages(place: &Place, node: &Path, folder: &Path) -> Result<(), Failure> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).or_fail(|| format!("{} can't be written", path.display()))
    };
    fs::create_dir_all(folder).or_fail(|| format!("{} can't be made", folder.display()))?;
    write("package.json", PACKAGES)?;
    write("package-lock.json", PACKAGES_LOCK)?;
    let mut npm = Command::new(node.join("bin/npm"));
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(folder);
    child::run(
        npm,
        &place.local().join("tools/typescript.log"),
        "npm can't install what makes the client in TypeScript",
        "look at the log's end: mostly the package registry is out of reach",
    )
    .await
}

async fn make(place: &Place, name: &str, requirements: &str, folder: &Path) -> Result<(), Failure> {
    let log = place.local().join("tools").join(format!("{name}.log"));
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(folder);
    let advice = "install Python 3.10 or newer with its `venv` module (on Debian: apt-get install python3-venv)";
    child::run(
        venv,
        &log,
        &format!("Python can't make a virtual environment for {name}"),
        advice,
    )
    .await?;

    let pinned = folder.join("requirements.txt");
    fs::write(&pinned, requirements).or_fail(|| format!("{} can't be written", pinned.display()))?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar=off",
        "-r",
    ])
    .arg(pinned);
    let advice = "look at the log's end: mostly the package registry is out of reach, or this Python is too old";
    child::run(
        pip,
        &log,
        &format!("The pinned tools of {name} can't be installed"),
        advice,
    )
    .await
}
