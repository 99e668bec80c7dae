//! The recorder under measurement: records all devices that it is told of, until its input ends.

use std::io::{BufRead as _, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use bench::Failure;
use jiff::SignedDuration;
use ring_partner::Ring;
use ring_partner::client::Settings;
use ring_partner::devices::DeviceId;
use ring_partner::oauth::AccessToken;
use ring_partner::whep::{Offer, OpenError, SessionUrl};
use serde::Deserialize;
use serde_json::json;
use shared::capture::manifest::Manifest;
use shared::edge::clock;
use shared::world::System;
use stream_capture::capture::{Means, Over, finish, order};
use stream_capture::ports::{NotOpened, Opened, Sessions};
use stream_capture::receiver;
use stream_capture::recording::Recording;
use stream_capture::session::Patience;
use tokio::sync::watch;

use crate::folder::Folder;

/// What this process is told.
#[derive(Deserialize)]
struct Told {
    api: String,
    oauth: String,
    token: String,
    devices: Vec<String>,
    limit_seconds: u64,
    folder: PathBuf,
}

/// Records, and says at the end what came of it.
pub(crate) async fn all() -> Result<(), Failure> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let told: Told = serde_json::from_str(&line)?;
    let ring = Ring::new(Settings::new(told.api.parse()?, told.oauth.parse()?))?;
    let day = Duration::from_secs(24 * 3600);
    let (tell, orders) = watch::channel(order(clock::now(), day));
    let mut films = tokio::task::JoinSet::new();
    for (number, device) in told.devices.iter().enumerate() {
        let door = Door {
            ring: ring.clone(),
            token: told.token.clone(),
            device: device.parse()?,
            limit: Duration::from_secs(told.limit_seconds),
        };
        films.spawn(film(door, Folder::new(told.folder.clone()), number, orders.clone()));
    }
    // Until the input ends.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    tell.send_modify(|order| order.until = clock::now() - SignedDuration::from_millis(1));
    let mut said = Vec::new();
    while let Some(film) = films.join_next().await {
        said.push(film??);
    }
    println!("{}", json!(said));
    Ok(())
}

async fn film(
    door: Door,
    folder: Folder,
    number: usize,
    orders: watch::Receiver<stream_capture::capture::Order>,
) -> Result<serde_json::Value, Failure> {
    let means = Means {
        peers: receiver::Settings {
            bind: vec!["127.0.0.1:0".parse()?],
            stun: Vec::new(),
            gather_within: Duration::from_secs(2),
        },
        sessions: door,
        sink: folder.clone(),
        nature: System,
        patience: Patience::default(),
    };
    let recording = Recording::new(Manifest::new(format!("med_{number}")), format!("{number}.mp4"))?;
    let (recording, over) = means.record(recording, orders).await?;
    if over != Over::Complete {
        return Err(format!("a capture ended early: {over:?}").into());
    }
    let manifest = finish(&folder, recording).await?.manifest().clone();
    let sum = |count: fn(&shared::capture::manifest::Counts) -> u64| -> u64 {
        manifest.parts.iter().map(|part| count(&part.counts)).sum()
    };
    Ok(json!({
        "file": folder.path().join(format!("{number}.mp4")),
        "frames": sum(|counts| counts.frames_kept),
        "dropped": sum(|counts| counts.frames_dropped + counts.frames_damaged),
        "lost": sum(|counts| counts.packets_lost + counts.packets_overrun),
        "sessions": manifest.parts.len(),
        "first_stored_ms": folder.first().map(|first| u64::try_from(first.as_millis()).unwrap_or(u64::MAX)),
        "first_frame_ms": manifest.parts.first().and_then(|part| part.first_frame_after),
        "longest_gap_ms": manifest.gaps.iter().map(|gap| gap.window.duration).max().unwrap_or_default(),
    }))
}

/// Ring's door, without our tables behind it.
#[derive(Clone, Debug)]
struct Door {
    ring: Ring,
    token: String,
    device: DeviceId,
    limit: Duration,
}

impl Door {
    fn token(&self) -> Result<AccessToken, NotOpened> {
        AccessToken::new(self.token.as_str()).map_err(|_| NotOpened::Never("no_token"))
    }
}

impl Sessions for Door {
    type Session = SessionUrl;

    async fn open(&self, offer: &str) -> Result<Opened<SessionUrl>, NotOpened> {
        let offer = Offer::parse(offer).map_err(|_| NotOpened::Never("no_offer"))?;
        match self.ring.open_live(&self.token()?, &self.device, &offer).await {
            Ok(session) => Ok(Opened {
                session: session.location.map_err(|_| NotOpened::Unavailable)?,
                answer: session.answer,
                limit: self.limit,
            }),
            Err(OpenError::NotOpened(error)) if error.answer().is_some_and(|answer| answer.status == 409) => {
                Err(NotOpened::Busy {
                    after: Duration::from_millis(200),
                })
            }
            Err(_) => Err(NotOpened::Unavailable),
        }
    }

    async fn close(&self, session: SessionUrl) {
        if let Ok(token) = self.token() {
            // The cameras tell of a session that is left open.
            let _closed = self.ring.close_live(&token, &session).await;
        }
    }
}
