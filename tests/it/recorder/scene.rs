//! A device at the offline Ring, and a recorder of it: real WebRTC between them, a store in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use local::{Place, Tools};
use reqwest::Method;
use ring_partner::Ring;
use ring_partner::client::Settings;
use ring_partner::devices::DeviceId;
use ring_partner::integrations::IntegrationStatus;
use ring_partner::nonce::Nonce;
use ring_partner::oauth::{AccessToken, AuthorizationCode, Credentials};
use ring_partner::whep::{Offer, OpenError, SessionUrl};
use ring_simulator::{Config, Settings as RingSettings, Simulator};
use serde_json::{Value, json};
use shared::capture::manifest::{Film, Manifest};
use shared::edge::clock;
use shared::world::System;
use stream_capture::capture::{Means, Order, Over, finish, order};
use stream_capture::ports::{NotOpened, Opened, Sessions, Sink, SinkError};
use stream_capture::receiver;
use stream_capture::recording::{Object, Recording, Reel};
use stream_capture::session::Patience;
use tokio::process::Command;
use tokio::sync::watch;

/// Where the film is to lie.
pub(crate) const FILM: &str = "media/a/d/med_1.mp4";

/// A linked user with one device.
pub(crate) struct Scene {
    simulator: Simulator,
    http: reqwest::Client,
    ring: Ring,
    token: AccessToken,
    device: DeviceId,
    offered: Arc<Mutex<Option<String>>>,
    pub(crate) patience: Patience,
}

impl Scene {
    /// With a device that behaves so in live sessions.
    pub(crate) async fn with(preset: &str, live: Value) -> Self {
        let simulator = Simulator::start(Config::default())
            .await
            .expect("the offline Ring starts");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let order = async |method: Method, path: &str, body: Value| -> Value {
            let url = format!("{}/_sim/{path}", simulator.control_url());
            let answer = http.request(method, url).json(&body).send().await.expect("an answer");
            assert!(answer.status().is_success(), "{path}: {}", answer.status());
            answer.json().await.expect("JSON")
        };
        let device = json!({ "preset": preset, "online": true, "power": "mains", "live": live });
        let user = order(Method::POST, "users", json!({ "devices": [device] })).await;
        let id = user["id"].as_str().expect("an id");
        let api = simulator.api_url().parse().expect("a URL");
        let oauth = simulator.oauth_url().parse().expect("a URL");
        let ring = Ring::new(Settings::new(api, oauth)).expect("a client of Ring's");

        let installed = order(Method::POST, &format!("users/{id}/install"), json!({ "push": false })).await;
        let code = AuthorizationCode::new(installed["code"].as_str().expect("a code")).expect("a code");
        let settings = RingSettings::default();
        let us = Credentials::new(settings.client_id, settings.client_secret).expect("credentials");
        let token = ring.exchange_code(&us, &code, None).await.expect("tokens").access_token;
        let confirmed = order(Method::POST, &format!("users/{id}/confirm"), json!({})).await;
        let nonce = Nonce::parse(confirmed["nonce"].as_str().expect("a nonce")).expect("a nonce");
        ring.confirm_link(&token, None, &nonce).await.expect("a link");
        let completed = Some(IntegrationStatus::Completed);
        ring.update_integration(&token, None, completed)
            .await
            .expect("it is completed");
        let device = ring.devices(&token).await.expect("devices").remove(0).id;
        Self {
            simulator,
            http,
            ring,
            token,
            device,
            offered: Arc::default(),
            patience: Patience::default(),
        }
    }

    /// Records for so long.
    pub(crate) async fn record(&self, duration: Duration) -> Recorded {
        let (_order, orders) = watch::channel(order(clock::now(), duration));
        self.recorded_as(orders).await
    }

    /// Records for as long as the orders say.
    pub(crate) async fn recorded_as(&self, orders: watch::Receiver<Order>) -> Recorded {
        let store = Store::default();
        let means = Means {
            peers: receiver::Settings {
                bind: vec!["127.0.0.1:0".parse().expect("an address")],
                stun: Vec::new(),
                gather_within: Duration::from_secs(2),
            },
            sessions: Door {
                ring: self.ring.clone(),
                token: Arc::new(self.token.expose().to_owned()),
                device: self.device.clone(),
                offered: self.offered.clone(),
            },
            sink: store.clone(),
            nature: System,
            patience: self.patience,
        };
        let recording = Recording::new(Manifest::new("med_1"), FILM).expect("a new recording");
        let (recording, over) = means.record(recording, orders).await.expect("the store takes all");
        let recording = finish(&store, recording).await.expect("a film");
        let sessions = self.sessions().await;
        assert!(
            sessions.iter().all(|session| session["open"] == false),
            "every session is closed: {sessions:?}"
        );
        Recorded {
            manifest: recording.manifest().clone(),
            over,
            store,
            sessions,
        }
    }

    /// The last offer that Ring was sent.
    pub(crate) fn offered(&self) -> Option<String> {
        self.offered.lock().expect("no test panics in here").clone()
    }

    /// What the offline Ring tells of its sessions.
    async fn sessions(&self) -> Vec<Value> {
        let url = format!("{}/_sim/live", self.simulator.control_url());
        let answer: Value = self
            .http
            .get(url)
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        answer["items"].as_array().cloned().unwrap_or_default()
    }
}

/// What came of it.
pub(crate) struct Recorded {
    pub(crate) manifest: Manifest,
    pub(crate) over: Over,
    pub(crate) store: Store,
    pub(crate) sessions: Vec<Value>,
}

impl Recorded {
    /// What FFmpeg's libraries see in the film; they have nothing to say of it.
    pub(crate) async fn film(&self) -> Value {
        let seen = self.seen(FILM).await;
        assert_eq!(seen["said"], json!([]), "FFmpeg has nothing to say of the film: {seen}");
        seen
    }

    pub(crate) async fn seen(&self, key: &str) -> Value {
        let place = Place::find().await.expect("a checkout");
        let python = Tools::films(&place).await.expect("FFmpeg's libraries");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("film.mp4");
        std::fs::write(&path, self.store.object(key).expect("a film")).expect("a file");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/it/recorder/look.py");
        let looked = Command::new(python)
            .arg(script)
            .arg(&path)
            .output()
            .await
            .expect("Python runs");
        let said = String::from_utf8_lossy(&looked.stderr);
        assert!(looked.status.success(), "{said}");
        serde_json::from_slice(&looked.stdout).expect("JSON")
    }

    /// A sum over its sessions.
    pub(crate) fn sum(&self, count: impl Fn(&shared::capture::manifest::Counts) -> u64) -> u64 {
        self.manifest.parts.iter().map(|part| count(&part.counts)).sum()
    }
}

/// A store in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store(Arc<Mutex<BTreeMap<String, Bytes>>>);

impl Store {
    pub(crate) fn object(&self, key: &str) -> Option<Bytes> {
        self.0.lock().expect("no test panics in here").get(key).cloned()
    }

    pub(crate) fn is_empty(&self) -> bool {
        let objects = self.0.lock().expect("no test panics in here");
        objects.keys().all(|key| key.ends_with("manifest.json"))
    }
}

impl Sink for Store {
    async fn put(&self, object: Object) -> Result<(), SinkError> {
        self.0
            .lock()
            .expect("no test panics in here")
            .insert(object.key, object.body);
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, SinkError> {
        Ok(self.object(key))
    }

    async fn join(&self, reel: &Reel) -> Result<Film, SinkError> {
        let mut film = reel.start.to_vec();
        for key in &reel.fragments {
            film.extend_from_slice(&self.object(key).ok_or_else(|| SinkError("it is not there".into()))?);
        }
        let bytes = film.len() as u64;
        self.0
            .lock()
            .expect("no test panics in here")
            .insert(reel.key.clone(), film.into());
        Ok(Film {
            key: reel.key.clone(),
            bytes,
            sha256: "-".to_owned(),
        })
    }
}

/// The door of the offline Ring, without our own tables behind it.
#[derive(Clone, Debug)]
struct Door {
    ring: Ring,
    token: Arc<String>,
    device: DeviceId,
    offered: Arc<Mutex<Option<String>>>,
}

impl Door {
    fn token(&self) -> AccessToken {
        AccessToken::new(self.token.as_str()).expect("a token")
    }
}

impl Sessions for Door {
    type Session = SessionUrl;

    async fn open(&self, offer: &str) -> Result<Opened<SessionUrl>, NotOpened> {
        *self.offered.lock().expect("no test panics in here") = Some(offer.to_owned());
        let offer = Offer::parse(offer).expect("our own offer is usable");
        match self.ring.open_live(&self.token(), &self.device, &offer).await {
            Ok(session) => Ok(Opened {
                session: session.location.expect("a place to close it"),
                answer: session.answer,
                limit: Duration::from_secs(60),
            }),
            Err(OpenError::NotOpened(error)) if error.answer().is_some_and(|answer| answer.status == 409) => {
                Err(NotOpened::Busy {
                    after: Duration::from_secs(1),
                })
            }
            Err(_) => Err(NotOpened::Unavailable),
        }
    }

    async fn close(&self, session: SessionUrl) {
        self.ring
            .close_live(&self.token(), &session)
            .await
            .expect("it is closed");
    }
}
