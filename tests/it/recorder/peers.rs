//! The recorder, against peers that nobody here wrote: aiortc, and GStreamer's `webrtcbin`. Each is a program that reads an offer,
//! answers it, and sends until its input ends.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use local::{Place, Tools};
use serde_json::json;
use shared::capture::manifest::Manifest;
use shared::edge::clock;
use shared::world::System;
use stream_capture::capture::{Means, Over, finish, order};
use stream_capture::ports::{NotOpened, Opened, Sessions};
use stream_capture::receiver;
use stream_capture::recording::Recording;
use stream_capture::session::Patience;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use super::scene::{FILM, Recorded, Store};
use super::seconds;

/// How long a peer may take to answer, and to end.
const WITHIN: Duration = Duration::from_secs(20);

/// A peer, in place of Ring: each session is a process.
#[derive(Clone, Debug)]
struct Foreign {
    python: PathBuf,
    script: &'static str,
    /// What it sent, as it says at its end.
    sent: watch::Sender<Option<u64>>,
}

/// A process that sends.
#[derive(Debug)]
struct Sender {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Foreign {
    async fn answered(&self, offer: &str) -> std::io::Result<(Sender, String)> {
        let mut process = Command::new(&self.python)
            .arg(self.script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (mut input, output) = (
            process.stdin.take().expect("a pipe"),
            process.stdout.take().expect("a pipe"),
        );
        input.write_all(format!("{offer}\n.\n").as_bytes()).await?;
        let mut output = BufReader::new(output);
        let mut answer = String::new();
        loop {
            let mut line = String::new();
            if output.read_line(&mut line).await? == 0 {
                return Err(std::io::Error::other("it ended without an answer"));
            }
            if line.trim_end() == "." {
                break;
            }
            answer.push_str(line.trim_end());
            answer.push_str("\r\n");
        }
        let sender = Sender { process, input, output };
        Ok((sender, answer))
    }
}

impl Sessions for Foreign {
    type Session = Sender;

    async fn open(&self, offer: &str) -> Result<Opened<Sender>, NotOpened> {
        match timeout(WITHIN, self.answered(offer)).await {
            Ok(Ok((session, answer))) => Ok(Opened {
                session,
                answer,
                limit: seconds(60),
            }),
            failed => {
                eprintln!("the peer does not answer: {failed:?}");
                Err(NotOpened::Never("no_peer"))
            }
        }
    }

    async fn close(&self, session: Sender) {
        let Sender {
            mut process,
            input,
            mut output,
        } = session;
        drop(input);
        let mut said = String::new();
        let ended = timeout(WITHIN, async {
            output.read_to_string(&mut said).await?;
            process.wait().await
        });
        ended.await.expect("it ends in time").expect("it ends");
        self.sent.send_replace(said.trim().parse().ok());
    }
}

/// Records from a peer for eight seconds: what came of it, and how many frames were sent.
async fn recorded_from(python: PathBuf, script: &'static str, bind: &str) -> (Recorded, Option<u64>) {
    let store = Store::default();
    let sent = watch::Sender::new(None);
    let means = Means {
        peers: receiver::Settings {
            bind: vec![bind.parse().expect("an address")],
            stun: Vec::new(),
            gather_within: seconds(2),
        },
        sessions: Foreign {
            python,
            script,
            sent: sent.clone(),
        },
        sink: store.clone(),
        nature: System,
        patience: Patience::default(),
    };
    let (_order, orders) = watch::channel(order(clock::now(), seconds(8)));
    let recording = Recording::new(Manifest::new("med_1"), FILM).expect("a new recording");
    let (recording, over) = means.record(recording, orders).await.expect("the store takes all");
    let recording = finish(&store, recording).await.expect("a film");
    let recorded = Recorded {
        manifest: recording.manifest().clone(),
        over,
        store,
        sessions: Vec::new(),
    };
    let sent = *sent.borrow();
    (recorded, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_by_aiortc_is_recorded_frame_for_frame() {
    let place = Place::find().await.expect("a checkout");
    let python = Tools::peers(&place).await.expect("aiortc");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/it/recorder/aiortc_camera.py");
    let (recorded, sent) = recorded_from(python, script, "127.0.0.1:0").await;
    is_whole(&recorded, sent, "h264").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "GStreamer comes from the system's packages: `.ci/full live` installs it, and runs this"]
async fn a_camera_by_gstreamer_is_recorded_frame_for_frame_in_h265() {
    // The Python of the system, whose packages GStreamer's are. It sends from any interface but the loopback.
    let python = PathBuf::from("/usr/bin/python3");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/it/recorder/gstreamer_camera.py");
    let (recorded, sent) = recorded_from(python, script, "0.0.0.0:0").await;
    is_whole(&recorded, sent, "hevc").await;
}

/// What was recorded is what was sent, from the first key frame on, and decodes without a word.
async fn is_whole(recorded: &Recorded, sent: Option<u64>, codec: &str) {
    assert_eq!(recorded.over, Over::Complete);
    let film = recorded.film().await;
    let kept = recorded.sum(|counts| counts.frames_kept);
    assert_eq!((&film["codec"], film["frames"].as_u64()), (&json!(codec), Some(kept)));
    assert_eq!(film["sizes"], json!([[640, 360]]));
    assert_eq!(recorded.manifest.parts.len(), 1, "one session was enough");
    let gone = recorded.sum(|counts| counts.packets_lost + counts.frames_dropped + counts.payloads_malformed);
    assert_eq!(gone, 0, "{:?}", recorded.manifest.parts);
    // It sends from its answer on, and an encoder holds some back.
    let sent = sent.expect("it says what it sent");
    assert!(kept >= 60 && kept <= sent, "{kept} of {sent}");
}
