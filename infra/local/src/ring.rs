//! The Ring that the stack talks to: the simulator in this process, or another that was named.

use reqwest::Method;
use ring_simulator::{Config, Settings, Simulator};
use serde_json::{Value, json};

use crate::failure::{Doing, Failure};
use crate::outputs::RingUrls;

/// Which Ring the stack is to talk to.
#[derive(Clone, Debug, Default)]
pub enum RingChoice {
    /// The offline Ring, in this process.
    #[default]
    Simulator,
    /// Another: Ring's own, or a simulator that runs elsewhere.
    At {
        /// The base of its API.
        api_url: String,
        /// Its token endpoint.
        oauth_url: String,
        /// What it knows this partner by.
        credentials: Credentials,
    },
}

/// What Ring gave the partner, and what goes into the stack's two secrets.
#[derive(Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) hmac_signing_key: String,
}

/// Those of a simulator that was started without others.
impl Default for Credentials {
    fn default() -> Self {
        let Settings {
            client_id,
            client_secret,
            signing_key,
            ..
        } = Settings::default();
        Self {
            client_id,
            client_secret,
            hmac_signing_key: signing_key,
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// A Ring, up.
pub struct Ring {
    urls: RingUrls,
    credentials: Credentials,
    media_hosts: String,
    http: reqwest::Client,
    _simulator: Option<Simulator>,
}

impl Ring {
    pub(crate) async fn start(choice: RingChoice, http: reqwest::Client) -> Result<Self, Failure> {
        match choice {
            RingChoice::Simulator => {
                let config = Config {
                    demo_world: true,
                    ..Config::default()
                };
                let credentials = Credentials::default();
                let simulator = Simulator::start(config)
                    .await
                    .or_fail(|| "The offline Ring can't be started".into())?;
                let urls = RingUrls {
                    api_url: simulator.api_url().to_owned(),
                    oauth_url: simulator.oauth_url(),
                    control_url: Some(simulator.control_url().to_owned()),
                };
                let media_hosts = "127.0.0.1".to_owned();
                Ok(Self {
                    urls,
                    credentials,
                    media_hosts,
                    http,
                    _simulator: Some(simulator),
                })
            }
            RingChoice::At {
                api_url,
                oauth_url,
                credentials,
            } => {
                // A Ring over plain http is a simulator, and its media lie beside it.
                let host = api_url
                    .strip_prefix("http://")
                    .and_then(|rest| rest.split([':', '/']).next());
                let media_hosts = host.unwrap_or_default().to_owned();
                let urls = RingUrls {
                    api_url,
                    oauth_url,
                    control_url: None,
                };
                Ok(Self {
                    urls,
                    credentials,
                    media_hosts,
                    http,
                    _simulator: None,
                })
            }
        }
    }

    /// Where it is.
    pub fn urls(&self) -> &RingUrls {
        &self.urls
    }

    /// The key that it signs with, as it was at the start.
    pub fn signing_key(&self) -> &str {
        &self.credentials.hmac_signing_key
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Hosts that its media may come from, where plain http and loopback have to be named.
    pub(crate) fn media_hosts(&self) -> &str {
        &self.media_hosts
    }

    /// Gives the simulator an order through its control API, and returns its answer. `path` comes after `/_sim/`.
    pub async fn order(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let what = || format!("The offline Ring did not carry out {method} /_sim/{path}");
        let Some(control_url) = &self.urls.control_url else {
            let why = "this is another Ring than the simulator, and takes no orders";
            return Err(Failure::new(what()).because(why));
        };
        let mut request = self.http.request(method.clone(), format!("{control_url}/_sim/{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.or_fail(what)?;
        let status = answer.status();
        let text = answer.text().await.or_fail(what)?;
        if !status.is_success() {
            return Err(Failure::new(what()).because(format!("{status}: {text}")));
        }
        if text.is_empty() {
            Ok(json!(null))
        } else {
            serde_json::from_str(&text).or_fail(what)
        }
    }
}
