//! The program around the library.

use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ring-simulator");

#[test]
fn help_teaches_with_an_example() {
    let help = Command::new(PROGRAM).arg("--help").output().expect("it runs");
    let text = String::from_utf8(help.stdout).expect("a text");
    assert!(help.status.success());
    for word in [
        "--demo-world",
        "--webhook-url",
        "--push-header",
        "Example",
        "curl",
        "/_sim",
    ] {
        assert!(text.contains(word), "{word} is missing in:\n{text}");
    }
}

#[tokio::test]
async fn it_prints_where_it_is_and_a_taken_port_is_said() {
    let mut program = Command::new(PROGRAM)
        .args(["--port", "0", "--demo-world"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let stdout = program.stdout.take().expect("piped");
    let urls: serde_json::Value = serde_json::Deserializer::from_reader(stdout)
        .into_iter()
        .next()
        .expect("a value")
        .expect("JSON");
    let control = urls["control_url"].as_str().expect("a URL").to_owned();
    let health = reqwest::get(format!("{control}/_sim/health")).await.expect("an answer");
    assert_eq!(health.status(), 200);
    let taken = control.rsplit(':').next().expect("a port").to_owned();
    let second = Command::new(PROGRAM)
        .args(["--port", &taken])
        .output()
        .expect("it runs");
    program.kill().expect("it was running");
    program.wait().expect("it ended");
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("--port N"));
}
