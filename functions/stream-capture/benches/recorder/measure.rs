//! A program that records: started, looked at from outside while it does, and what it recorded.

use std::process::Stdio;
use std::time::Duration;

use bench::{Failure, cpu_time, memory};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::cameras::{Cameras, PYTHON, SCRIPT};

/// Before it is looked at: sessions are opened, and the first groups stored.
const SETTLES: Duration = Duration::from_secs(8);
/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a program may take to finish its films.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// A program that records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorder {
    /// What the table calls it.
    pub(crate) name: &'static str,
    command: fn() -> Result<Command, Failure>,
}

/// Ours.
pub(crate) const RECORDER: Recorder = Recorder {
    name: "recorder",
    command: || {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--record");
        Ok(command)
    },
};
/// `webrtcbin ! mp4mux`.
pub(crate) const GSTREAMER: Recorder = Recorder {
    name: "GStreamer",
    command: || {
        let mut command = Command::new(PYTHON);
        command.arg(SCRIPT).arg("record");
        Ok(command)
    },
};

/// What was measured.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) streams: usize,
    /// CPU time of a stream, in percent of a core.
    pub(crate) cpu_percent: f64,
    /// Resident memory, in bytes, each second.
    pub(crate) memory: Vec<u64>,
    /// Of the films, as they were decoded.
    pub(crate) frames: u64,
    /// Packets and frames that are missing; of GStreamer, which does not tell, only what was decoded.
    pub(crate) lost: u64,
    pub(crate) dropped: u64,
    pub(crate) sessions: u64,
    pub(crate) first_frame_ms: u64,
    pub(crate) first_stored_ms: u64,
    pub(crate) longest_gap_ms: u64,
}

/// Has a program record these cameras for so long, once it has settled. Its films are decoded, and hold what it says.
pub(crate) async fn recorded(recorder: Recorder, cameras: &Cameras, duration: Duration) -> Result<Row, Failure> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut told = cameras.told.clone();
    told["folder"] = json!(folder.path());
    let mut process = (recorder.command)()?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut input = process.stdin.take().ok_or("no input")?;
    input.write_all(format!("{told}\n").as_bytes()).await?;
    sleep(SETTLES).await;
    let (begun, cpu) = (Instant::now(), cpu_time(id(&process)?)?);
    let mut residents = vec![memory(id(&process)?)?.resident];
    while begun.elapsed() < duration {
        sleep(LOOK_EVERY).await;
        residents.push(memory(id(&process)?)?.resident);
    }
    let (took, cpu) = (begun.elapsed(), cpu_time(id(&process)?)? - cpu);
    drop(input);
    let ended = timeout(ENDS_WITHIN, process.wait_with_output()).await??;
    if !ended.status.success() {
        return Err(format!("{} failed", recorder.name).into());
    }
    let said: Vec<Value> = serde_json::from_slice(&ended.stdout)?;
    let sent = cameras.sent().await?;
    let decoded = decoded(&said).await?;
    for (said, frames) in said.iter().zip(&decoded) {
        if said["frames"].as_u64().is_some_and(|kept| kept != *frames) || *frames == 0 {
            return Err(format!("{}: {frames} frames were decoded of {said}", recorder.name).into());
        }
    }
    let sum = |field: &str| said.iter().filter_map(|film| film[field].as_u64()).sum::<u64>();
    let most = |field: &str| {
        said.iter()
            .filter_map(|film| film[field].as_u64())
            .max()
            .unwrap_or_default()
    };
    let frames = decoded.iter().sum::<u64>();
    if frames > sent {
        return Err(format!("{frames} frames of {sent} that were sent").into());
    }
    let streams = cameras.count;
    #[expect(clippy::cast_precision_loss, reason = "there are few streams")]
    let cpu_percent = cpu.as_secs_f64() / took.as_secs_f64() / streams as f64 * 100.0;
    Ok(Row {
        name: recorder.name,
        streams,
        cpu_percent,
        memory: residents,
        frames,
        lost: sum("lost"),
        dropped: sum("dropped"),
        sessions: sum("sessions"),
        first_frame_ms: most("first_frame_ms"),
        first_stored_ms: most("first_stored_ms"),
        longest_gap_ms: most("longest_gap_ms"),
    })
}

/// How many frames each film has, by GStreamer's decoder, which had nothing to say.
async fn decoded(said: &[Value]) -> Result<Vec<u64>, Failure> {
    let files = said.iter().filter_map(|film| film["file"].as_str());
    let decoded = Command::new(PYTHON)
        .arg(SCRIPT)
        .arg("decode")
        .args(files)
        .output()
        .await?;
    let (counts, complaints) = (
        String::from_utf8(decoded.stdout)?,
        String::from_utf8_lossy(&decoded.stderr),
    );
    if !decoded.status.success() || complaints.contains("rror") {
        return Err(format!("a film can't be decoded: {complaints}").into());
    }
    Ok(counts.lines().map(str::parse).collect::<Result<_, _>>()?)
}

fn id(process: &Child) -> Result<u32, Failure> {
    process.id().ok_or_else(|| "the program ended before its time".into())
}
