//! The templates as CloudFormation gets them: what SAM's transform makes of them, without AWS. There is no role and no right
//! that they give only there.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::child;
use crate::emulator::REGION;
use crate::failure::{Doing, Failure};
use crate::place::Place;
use crate::tools::Tools;

const PROGRAM: &str = include_str!("expand.py");

/// Writes each template of the checkout into this folder, in JSON, by its path: `infra-capture.json`.
pub async fn expand(place: &Place, folder: &Path) -> Result<(), Failure> {
    let tools = Tools::ready(place).await?;
    let made = fs::create_dir_all(folder).and_then(|()| folder.canonicalize());
    let folder = made.or_fail(|| format!("{} can't be made", folder.display()))?;
    let mut python = Command::new(tools.python());
    python
        .args(["-c", PROGRAM])
        .arg(folder)
        .args(found(place)?)
        .current_dir(place.checkout())
        .env("AWS_DEFAULT_REGION", REGION);
    child::run(
        python,
        &place.local().join("expand.log"),
        "A template can't be expanded",
        "look at the log's end; `sam validate` says more of what is wrong with a template",
    )
    .await
}

/// Where templates are, from the checkout's root.
fn found(place: &Place) -> Result<Vec<PathBuf>, Failure> {
    let within = |folder: &str| -> Result<Vec<PathBuf>, Failure> {
        let path = place.checkout().join(folder);
        let entries = fs::read_dir(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = entries.or_fail(|| format!("{} can't be read", path.display()))?;
        let names = entries.iter().map(|entry| Path::new(folder).join(entry.file_name()));
        Ok(names.collect())
    };
    let examples = within("infra/examples")?;
    let examples = examples.iter().map(|example| example.join("template.yaml"));
    let mut found: Vec<_> = within("infra")?.into_iter().chain(examples).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "yaml") && place.checkout().join(path).is_file());
    found.push("template.yaml".into());
    found.sort();
    Ok(found)
}
