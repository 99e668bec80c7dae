//! The client in TypeScript is the one that the description makes, its types let through what they should, and the pages keep
//! to them.

use std::fs;
use std::path::Path;

use local::{Place, Tools, TypeScript};
use tokio::process::Command;

/// Runs one of the programs at the root of the repository; fails with what it says.
async fn runs(tools: &TypeScript, program: &str, arguments: &[&str]) {
    let mut command = Command::new(tools.programs.join(program));
    command.args(arguments).env("PATH", &tools.path).current_dir(root());
    let output = command.output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[tokio::test]
async fn the_typescript_client_is_what_the_description_makes_of_it_and_the_pages_keep_to_its_types() {
    let place = Place::find().await.unwrap_or_else(|failure| panic!("{failure}"));
    let tools = Tools::typescript(&place)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    let folder = tempfile::tempdir().expect("a folder");
    let made = folder.path().join("schema.d.ts");
    let made_at = made.to_str().expect("a path in UTF-8");
    runs(
        &tools,
        "openapi-typescript",
        &["functions/partner-api/openapi.json", "--output", made_at],
    )
    .await;
    assert!(
        fs::read(made).expect("it was made")
            == fs::read(root().join("clients/typescript/schema.d.ts")).expect("it is there"),
        "make it anew: cd clients/typescript && npm ci && npm run generate"
    );
    runs(&tools, "tsc", &["--project", "clients/typescript"]).await;
    runs(&tools, "tsc", &["--project", "functions/portal/pages"]).await;
}
