//! The offline Ring as a program: it starts the simulator, prints where it is, and stays until Ctrl-C.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use ring_simulator::{Config, PushFormat, RefreshMode, Settings, Simulator};
use serde_json::json;

/// The offline Ring: all of Ring's side of the Partner API on loopback.
///
/// Point your back end at the URLs it prints, in place of https://api.amazonvision.com and https://oauth.ring.com, and drive
/// it by its control API: users install your app, devices see motion, the clock moves, faults strike.
#[derive(Parser)]
#[command(version, after_help = EXAMPLE)]
struct Arguments {
    /// Four ports from this one on: API, OAuth, media, control. 0 takes free ones
    #[arg(long, default_value_t = 4600)]
    port: u16,

    /// The address to bind
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,

    /// Start with two users and six varied devices
    #[arg(long)]
    demo_world: bool,

    /// Your client id
    #[arg(long, default_value_t = Settings::default().client_id)]
    client_id: String,

    /// Your client secret
    #[arg(long, default_value_t = Settings::default().client_secret)]
    client_secret: String,

    /// Your HMAC signing key
    #[arg(long, default_value_t = Settings::default().signing_key)]
    signing_key: String,

    /// Where one-time codes are pushed
    #[arg(long, value_name = "URL")]
    token_exchange_url: Option<String>,

    /// Where webhooks are delivered
    #[arg(long, value_name = "URL")]
    webhook_url: Option<String>,

    /// Where users are sent to link their account
    #[arg(long, value_name = "URL")]
    account_link_url: Option<String>,

    /// A header for each push, `Host` too; may be repeated
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    push_header: Vec<(String, String)>,

    /// How codes are pushed
    #[arg(long, value_enum, default_value_t = Format::Json)]
    push_format: Format,

    /// What a spent refresh token is worth: nothing, or the same successor for a minute
    #[arg(long, value_enum, default_value_t = Mode::Strict)]
    refresh_mode: Mode,

    /// Requests a second for each client id; 0 for no limit
    #[arg(long, default_value_t = 100)]
    rate: u32,
}

const EXAMPLE: &str = "\
Example: a user installs the app, and a camera sees somebody

  cargo run -p ring-simulator -- --demo-world --webhook-url http://127.0.0.1:8080/ring/webhook

  SIM=http://127.0.0.1:4603/_sim  USER=ava1.ring.account.DEMO.JOHN_1
  curl -s $SIM/health                                                   # every endpoint
  curl -s -X POST $SIM/users/$USER/install -d '{\"push\": false}'         # a code, good for 60 s
  curl -s -X POST $SIM/users/$USER/events -d '{\"type\": \"motion_detected\", \"wait\": true}'
  curl -s -X POST $SIM/clock -d '{\"advance_seconds\": 4400}'             # all retries, now
  curl -s $SIM/journal";

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Json,
    Form,
    Query,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Strict,
    Grace,
}

impl Arguments {
    fn config(self) -> Config {
        let port = |offset: u16| {
            if self.port == 0 {
                0
            } else {
                self.port.saturating_add(offset)
            }
        };
        Config {
            bind: self.bind,
            api_port: port(0),
            oauth_port: port(1),
            media_port: port(2),
            control_port: port(3),
            demo_world: self.demo_world,
            settings: Settings {
                client_id: self.client_id,
                client_secret: self.client_secret,
                signing_key: self.signing_key,
                token_exchange_url: self.token_exchange_url,
                webhook_url: self.webhook_url,
                account_link_url: self.account_link_url,
                push_headers: self.push_header.into_iter().collect::<BTreeMap<_, _>>(),
                push_format: match self.push_format {
                    Format::Json => PushFormat::Json,
                    Format::Form => PushFormat::Form,
                    Format::Query => PushFormat::Query,
                },
                refresh_mode: match self.refresh_mode {
                    Mode::Strict => RefreshMode::Strict,
                    Mode::Grace => RefreshMode::Grace,
                },
                rate_per_second: self.rate,
                ..Settings::default()
            },
        }
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    let simulator = match Simulator::start(Arguments::parse().config()).await {
        Ok(simulator) => simulator,
        Err(error) => {
            eprintln!("The simulator can't start: {error}. Is a port taken? --port N takes four others.");
            return ExitCode::FAILURE;
        }
    };
    let urls = json!({
        "api_url": simulator.api_url(),
        "oauth_url": simulator.oauth_url(),
        "media_url": simulator.media_url(),
        "control_url": simulator.control_url(),
    });
    println!("{urls:#}");
    eprintln!(
        "The offline Ring runs until Ctrl-C. {}/_sim/health lists what it can do.",
        simulator.control_url()
    );
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("Can't listen for Ctrl-C: {error}");
    }
    simulator.shutdown().await;
    ExitCode::SUCCESS
}
