//! What the recorder reads from its environment, and from its command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use shared::edge::config::{ConfigError, Environment, RingConfig, list, parsed, parsed_or_empty, required};
use shared::policy::Regions;
use url::Url;

/// Records live video: takes captures from the queue until it is told to end (SIGTERM).
#[derive(Debug, Parser)]
#[command(version, after_help = ENVIRONMENT)]
pub struct Arguments {
    /// Records this one, {"medium_id": "…"}, as it would lie in the queue, and ends.
    #[arg(long, value_name = "JOB")]
    pub once: Option<String>,
}

const ENVIRONMENT: &str = "\
Environment:
  RING_API_URL, RING_OAUTH_URL, RING_BEARER_HOSTS, RING_MEDIA_HOSTS, RING_SHARE, RING_SHARED_BY
                           where Ring is, and how much of its rate is this program's
  GRANTS_TABLE, LINKS_TABLE, DEVICES_TABLE, MEDIA_TABLE
                           the tables
  MEDIA_BUCKET             where captures are stored
  CAPTURES_QUEUE_URL       where captures come from
  MEDIA_QUEUE_URL          who has live sessions closed that nobody else closes
  EVENT_BUS_NAME           who is told of them
  TOKEN_KEY_ID, TOKEN_REFRESH_FUNCTION
                           the key of access tokens, and who renews them
  PRIVACY_REGIONS          where privacy zones are obscured at the least
  CAPTURES_AT_ONCE         how many captures one process records
  SESSION_SECONDS          how long Ring lets a session be of a device of which nothing is known: on a battery (30), on mains (60)
  MOTION_SESSION_SECONDS   and where motion has begun it (20)
  MEDIA_RETENTION_DAYS     after how many days recordings are forgotten, 0 for never; the bucket's own rule goes by the same
  SESSIONS_A_DAY           how many sessions one device may have in a day; each drains a battery
  ICE_BIND                 what to bind to, with commas between; 0.0.0.0:0 is every interface but the loopback
  ICE_SERVERS              STUN servers, stun:host:port, with commas between; may be empty
  METRICS_NAMESPACE        what its metrics stand under
  ECS_AGENT_URI            set by Amazon ECS: who is asked for protection from being scaled in
  LOG_LEVEL                info, unless it says otherwise
  AWS_…                    as the AWS SDK has them";

/// The settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where Ring is.
    pub ring: RingConfig,
    /// `GRANTS_TABLE`.
    pub grants_table: String,
    /// `LINKS_TABLE`.
    pub links_table: String,
    /// `DEVICES_TABLE`.
    pub devices_table: String,
    /// `MEDIA_TABLE`.
    pub media_table: String,
    /// `MEDIA_BUCKET`.
    pub media_bucket: String,
    /// `MEDIA_RETENTION_DAYS`: after how many days media are forgotten; 0 is never.
    pub media_retention_days: u64,
    /// `CAPTURES_QUEUE_URL`: where captures come from.
    pub captures_queue_url: String,
    /// `MEDIA_QUEUE_URL`: whose worker closes what nobody else does.
    pub media_queue_url: String,
    /// `EVENT_BUS_NAME`.
    pub event_bus_name: String,
    /// `TOKEN_KEY_ID`: the KMS key that tokens are sealed under.
    pub token_key_id: String,
    /// `TOKEN_REFRESH_FUNCTION`: who renews tokens.
    pub token_refresh_function: String,
    /// `PRIVACY_REGIONS`: where privacy zones are obscured at the least.
    pub privacy_regions: Regions,
    /// `CAPTURES_AT_ONCE`.
    pub captures_at_once: usize,
    /// `SESSION_SECONDS`: how long Ring lets a session be.
    pub session: Duration,
    /// `MOTION_SESSION_SECONDS`: how long, where motion has begun it.
    pub motion_session: Duration,
    /// `SESSIONS_A_DAY`: how many sessions one device may have in a day.
    pub sessions_a_day: u64,
    /// `ICE_BIND`: what to bind to.
    pub bind: Vec<SocketAddr>,
    /// `ICE_SERVERS`: STUN servers.
    pub ice_servers: Vec<String>,
    /// `METRICS_NAMESPACE`: what our metrics stand under.
    pub metrics_namespace: String,
    /// `ECS_AGENT_URI`: the agent of Amazon ECS, where this is a task of it.
    pub ecs_agent: Option<Url>,
}

impl Config {
    /// Reads all of them, or names the one that is missing.
    pub fn read(env: &impl Environment) -> Result<Self, ConfigError> {
        let bind = list(env, "ICE_BIND");
        let bind: Vec<SocketAddr> = bind
            .iter()
            .map(|address| address.parse())
            .collect::<Result<_, _>>()
            .map_err(|_| ConfigError::Invalid {
                name: "ICE_BIND",
                why: "an address and a port, 0.0.0.0:0 for instance".to_owned(),
            })?;
        if bind.is_empty() {
            return Err(ConfigError::Missing("ICE_BIND"));
        }
        Ok(Self {
            ring: RingConfig::read(env)?,
            grants_table: required(env, "GRANTS_TABLE")?,
            links_table: required(env, "LINKS_TABLE")?,
            devices_table: required(env, "DEVICES_TABLE")?,
            media_table: required(env, "MEDIA_TABLE")?,
            media_bucket: required(env, "MEDIA_BUCKET")?,
            media_retention_days: parsed(env, "MEDIA_RETENTION_DAYS")?,
            captures_queue_url: required(env, "CAPTURES_QUEUE_URL")?,
            media_queue_url: required(env, "MEDIA_QUEUE_URL")?,
            event_bus_name: required(env, "EVENT_BUS_NAME")?,
            token_key_id: required(env, "TOKEN_KEY_ID")?,
            token_refresh_function: required(env, "TOKEN_REFRESH_FUNCTION")?,
            privacy_regions: parsed_or_empty(env, "PRIVACY_REGIONS")?,
            captures_at_once: parsed(env, "CAPTURES_AT_ONCE")?,
            session: parsed(env, "SESSION_SECONDS").map(Duration::from_secs)?,
            motion_session: parsed(env, "MOTION_SESSION_SECONDS").map(Duration::from_secs)?,
            sessions_a_day: parsed(env, "SESSIONS_A_DAY")?,
            bind,
            ice_servers: list(env, "ICE_SERVERS"),
            metrics_namespace: required(env, "METRICS_NAMESPACE")?,
            ecs_agent: match env.get("ECS_AGENT_URI") {
                Some(_) => Some(parsed(env, "ECS_AGENT_URI")?),
                None => None,
            },
        })
    }
}
