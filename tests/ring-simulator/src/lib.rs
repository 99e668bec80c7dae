//! The offline Ring: all of Ring's side of the Partner API on loopback, so that a partner's back end can be built and tested
//! without an account, a device or a network.
//!
//! It has four listeners, as Ring has its hosts: the API, the OAuth server, the origin of presigned media, and (Ring has
//! none) a control API under `/_sim/`, by which users are made, apps installed, events emitted, the clock moved and faults
//! ordered. It is written from Ring's documentation and uses no client library for Ring, so that the two check each other.
//! Live video comes by real WebRTC connections that send films of its own.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use ring_simulator::{Config, Simulator};
//!
//! let ring = Simulator::start(Config { demo_world: true, ..Config::default() }).await?;
//! println!("{} {}", ring.api_url(), ring.control_url());
//! ring.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod clock;
mod config;
mod control;
mod devices;
mod error;
mod faults;
mod integrations;
mod journal;
mod listen;
mod live;
mod media;
mod oauth;
mod rate;
mod ring;
mod users;
mod webhooks;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, middleware};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use config::{Config, PushFormat, RefreshMode, Settings};

use error::ApiError;
use ring::{Origins, Ring};

/// How long requests under way may take to end at a shutdown.
const FAREWELL: Duration = Duration::from_secs(2);

/// A running simulator. Dropping it stops it as [`Simulator::shutdown`] does, without waiting.
pub struct Simulator {
    ring: Arc<Ring>,
    servers: JoinSet<()>,
}

impl Simulator {
    /// Binds the four listeners and serves them.
    ///
    /// # Errors
    /// A port that can't be bound.
    pub async fn start(config: Config) -> io::Result<Self> {
        let bind = async |port| TcpListener::bind(SocketAddr::new(config.bind, port)).await;
        let api = bind(config.api_port).await?;
        let oauth = bind(config.oauth_port).await?;
        let media = bind(config.media_port).await?;
        let control = bind(config.control_port).await?;
        let origin = |listener: &TcpListener| Ok::<_, io::Error>(format!("http://{}", listener.local_addr()?));
        let origins = Origins {
            api: origin(&api)?,
            oauth: origin(&oauth)?,
            media: origin(&media)?,
            control: origin(&control)?,
        };
        let ring = Arc::new(Ring::new(config.settings, origins, config.bind)?);
        if config.demo_world {
            ring.users().populate(ring.clock.now());
        }

        let api_routes = users::router(Arc::clone(&ring))
            .merge(integrations::router(Arc::clone(&ring)))
            .merge(devices::router(Arc::clone(&ring)))
            .merge(media::router(Arc::clone(&ring)))
            .merge(live::router(Arc::clone(&ring)))
            .fallback(async || ApiError::not_found())
            .layer(middleware::from_fn_with_state(Arc::clone(&ring), rate::limit));
        let mut servers = JoinSet::new();
        for (listener, routes) in [
            (api, watched(api_routes, "api", &ring)),
            (oauth, watched(oauth::router(Arc::clone(&ring)), "oauth", &ring)),
            (
                media,
                watched(media::presigned_router(Arc::clone(&ring)), "media", &ring),
            ),
            (control, control::router(Arc::clone(&ring))),
        ] {
            servers.spawn(listen::serve(listener, routes, ring.closing.subscribe()));
        }
        Ok(Self { ring, servers })
    }

    /// The origin of Ring's API, without a slash at its end.
    #[must_use]
    pub fn api_url(&self) -> &str {
        &self.ring.origins.api
    }

    /// The token endpoint, path included, as `https://oauth.ring.com/oauth/token` is.
    #[must_use]
    pub fn oauth_url(&self) -> String {
        format!("{}/oauth/token", self.ring.origins.oauth)
    }

    /// The origin of the control API; its paths begin with `/_sim/`.
    #[must_use]
    pub fn control_url(&self) -> &str {
        &self.ring.origins.control
    }

    /// The origin that presigned media URLs lead to.
    #[must_use]
    pub fn media_url(&self) -> &str {
        &self.ring.origins.media
    }

    /// Stops all listeners and deliveries; what is under way has two seconds to end.
    pub async fn shutdown(mut self) {
        self.ring.closing.send_replace(true);
        let farewell = async { while self.servers.join_next().await.is_some() {} };
        // An error means that somebody still holds a connection: dropping the servers ends them all the same.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.ring.closing.send_replace(true);
    }
}

/// Routes with the journal around them, and within it the faults.
fn watched(routes: Router, door: &'static str, ring: &Arc<Ring>) -> Router {
    routes
        .layer(middleware::from_fn_with_state((Arc::clone(ring), door), faults::strike))
        .layer(middleware::from_fn_with_state((Arc::clone(ring), door), journal::keep))
}
