//! Cameras of the offline Ring, and a film for them: full HD at about 3 Mbit/s, by GStreamer's encoder.

use std::path::{Path, PathBuf};
use std::process::Command;

use bench::Failure;
use reqwest::Method;
use ring_partner::Ring;
use ring_partner::client::Settings;
use ring_partner::integrations::IntegrationStatus;
use ring_partner::nonce::Nonce;
use ring_partner::oauth::{AuthorizationCode, Credentials};
use ring_simulator::{Config, Settings as RingSettings, Simulator};
use serde_json::{Value, json};

/// The Python of the system, which GStreamer's packages are for.
pub(crate) const PYTHON: &str = "/usr/bin/python3";
/// What GStreamer does here: makes the film, records, decodes.
pub(crate) const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/recorder/gstreamer.py");

/// The devices of one linked user.
pub(crate) struct Cameras {
    simulator: Simulator,
    /// What a recorder is told: where Ring is, the access token, the devices.
    pub(crate) told: Value,
    /// How many they are.
    pub(crate) count: usize,
}

impl Cameras {
    /// So many that send this film, in sessions that nobody ends meanwhile.
    pub(crate) async fn sending(count: usize, film: &Path) -> Result<Self, Failure> {
        let live = json!({ "film": film, "limit_ms": 3_600_000 });
        Self::linked(count, live, 3_600, 2).await
    }

    /// So many that send the usual film, in sessions of a minute.
    pub(crate) async fn usual(count: usize) -> Result<Self, Failure> {
        Self::linked(count, json!({}), 60, 2).await
    }

    /// One, whose sessions end after five seconds.
    pub(crate) async fn chained(at_once: u32, film: &Path) -> Result<Self, Failure> {
        Self::linked(1, json!({ "film": film, "limit_ms": 5_000 }), 5, at_once).await
    }

    async fn linked(count: usize, live: Value, limit_seconds: u64, at_once: u32) -> Result<Self, Failure> {
        let simulator = Simulator::start(Config::default()).await?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let order = async |method: Method, path: &str, body: Value| -> Result<Value, Failure> {
            let url = format!("{}/_sim/{path}", simulator.control_url());
            let answer = http.request(method, url).json(&body).send().await?;
            Ok(answer.error_for_status()?.json().await?)
        };
        order(
            Method::PUT,
            "config",
            json!({ "live_sessions_per_device": at_once, "rate_per_second": 0 }),
        )
        .await?;
        let device = json!({ "preset": "doorbell", "online": true, "power": "mains", "live": live });
        let user = order(Method::POST, "users", json!({ "devices": vec![device; count] })).await?;
        let id = text(&user["id"])?;
        let ring = Ring::new(Settings::new(
            simulator.api_url().parse()?,
            simulator.oauth_url().parse()?,
        ))?;
        let installed = order(Method::POST, &format!("users/{id}/install"), json!({ "push": false })).await?;
        let settings = RingSettings::default();
        let us = Credentials::new(settings.client_id, settings.client_secret)?;
        let code = AuthorizationCode::new(text(&installed["code"])?)?;
        let token = ring.exchange_code(&us, &code, None).await?.access_token;
        let confirmed = order(Method::POST, &format!("users/{id}/confirm"), json!({})).await?;
        ring.confirm_link(&token, None, &Nonce::parse(text(&confirmed["nonce"])?)?)
            .await?;
        ring.update_integration(&token, None, Some(IntegrationStatus::Completed))
            .await?;
        let devices = ring.devices(&token).await?;
        let devices: Vec<_> = devices.iter().map(|device| device.id.as_str()).collect();
        let told = json!({
            "api": simulator.api_url(),
            "oauth": simulator.oauth_url(),
            "token": token.expose(),
            "devices": devices,
            "limit_seconds": limit_seconds,
        });
        Ok(Self { simulator, told, count })
    }

    /// The frames that were sent, all together; and that no session is left open.
    pub(crate) async fn sent(&self) -> Result<u64, Failure> {
        let url = format!("{}/_sim/live", self.simulator.control_url());
        let sessions: Value = reqwest::Client::builder()
            .no_proxy()
            .build()?
            .get(url)
            .send()
            .await?
            .json()
            .await?;
        let items = sessions["items"].as_array().cloned().unwrap_or_default();
        if items.iter().any(|session| session["open"] != false) {
            return Err("a session was left open".into());
        }
        Ok(items.iter().filter_map(|session| session["frames"].as_u64()).sum())
    }
}

fn text(value: &Value) -> Result<&str, Failure> {
    value.as_str().ok_or_else(|| format!("no text: {value}").into())
}

/// The film. It is made once.
pub(crate) fn film() -> Result<PathBuf, Failure> {
    let film = Path::new(env!("CARGO_TARGET_TMPDIR")).join("full-hd.h264");
    if !film.exists() {
        let made = Command::new(PYTHON).arg(SCRIPT).arg("film").arg(&film).output()?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr);
            return Err(format!("GStreamer can't make the film (see --help for its packages): {said}").into());
        }
    }
    Ok(film)
}
