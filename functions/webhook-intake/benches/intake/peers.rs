//! Those that are measured beside the release program: the same intake in Python and in Node, and a function that does
//! nothing. What they need is pinned, and lies in the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bench::{Failure, once, ran};

use crate::aws::Aws;
use crate::program::Recipe;

/// What the table calls the release program.
pub(crate) const INTAKE: &str = "intake";
/// And the function that does nothing.
pub(crate) const HELLO_WORLD: &str = "hello world";

/// The release program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_webhook-intake");

/// The intake itself.
pub(crate) fn intake(aws: &Aws) -> Result<Recipe, Failure> {
    Ok(Recipe {
        name: INTAKE,
        command: vec![PROGRAM.into()],
        variables: vec![("AWS_CA_BUNDLE", aws.certificate().into())],
        size: fs::metadata(PROGRAM)?.len(),
    })
}

/// The least that a function in Rust can be, built as the intake is.
pub(crate) fn hello_world() -> Result<Recipe, Failure> {
    let mut build = Command::new(env!("CARGO"));
    build.args([
        "build",
        "--quiet",
        "--package",
        "webhook-intake",
        "--example",
        "hello-world",
    ]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    ran(
        build.current_dir(env!("CARGO_MANIFEST_DIR")),
        "cargo builds the example hello-world",
    )?;
    let folder = Path::new(PROGRAM).parent().unwrap_or(Path::new("."));
    let program = folder.join("examples/hello-world");
    Ok(Recipe {
        name: HELLO_WORLD,
        size: fs::metadata(&program)?.len(),
        command: vec![program.into()],
        variables: Vec::new(),
    })
}

/// The intake in Python: awslambdaric and boto3.
pub(crate) fn python(aws: &Aws) -> Result<Recipe, Failure> {
    let folder = placed("python", &["intake.py", "requirements.txt"])?;
    let environment = bench::python(&folder)?;
    let libraries = fs::read_dir(environment.join("lib"))?
        .next()
        .ok_or("no libraries")??
        .path();
    Ok(Recipe {
        name: "Python",
        command: vec![
            environment.join("bin/python").into(),
            "-m".into(),
            "awslambdaric".into(),
            "intake.handler".into(),
        ],
        variables: vec![
            ("AWS_CA_BUNDLE", aws.bundle().into()),
            ("LAMBDA_TASK_ROOT", folder.clone().into()),
            ("PYTHONPATH", folder.into()),
        ],
        size: size(&libraries.join("site-packages"), &["pip", "setuptools"])?,
    })
}

/// The intake in Node: the SDK, version 3.
pub(crate) fn node(aws: &Aws) -> Result<Recipe, Failure> {
    let files = ["intake.mjs", "runtime.mjs", "package.json", "package-lock.json"];
    let folder = placed("node", &files)?;
    once(&folder, "package-lock.json", || {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--silent", "--no-audit", "--no-fund"]);
        ran(npm.current_dir(&folder), "npm installs what is pinned")
    })?;
    let found = Command::new("node").args(["--print", "process.execPath"]).output()?;
    let found = String::from_utf8(found.stdout)?;
    Ok(Recipe {
        name: "Node",
        command: vec![found.trim().into(), folder.join("runtime.mjs").into()],
        variables: vec![("NODE_EXTRA_CA_CERTS", aws.bundle().into())],
        size: size(&folder.join("node_modules"), &[])?,
    })
}

/// Where this peer lies in the target folder, its files as they are here.
fn placed(name: &str, files: &[&str]) -> Result<PathBuf, Failure> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers").join(name);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("benches/intake/peers")
        .join(name);
    bench::placed(&here, &folder, files)?;
    Ok(folder)
}

/// The bytes of all files in a folder, but for those whose first folder's name begins with one of these.
fn size(folder: &Path, without: &[&str]) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if without.iter().any(|start| name.to_string_lossy().starts_with(start)) {
            continue;
        }
        let kind = entry.file_type()?;
        bytes += if kind.is_dir() {
            size(&entry.path(), &[])?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(bytes)
}
