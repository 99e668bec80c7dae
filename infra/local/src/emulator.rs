//! The emulator of AWS, as a server of this process.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::child::Server;
use crate::failure::{Doing, Failure};
use crate::place::Run;
use crate::tools::Tools;

/// The one region that there is.
pub(crate) const REGION: &str = "us-east-1";
/// The key that the emulator takes for the account's root.
pub(crate) const ACCESS_KEY: (&str, &str) = ("test", "test");

/// The emulator's own program, with what its alarms and its checks of rights lack.
const PROGRAM: &str = concat!(include_str!("alarms.py"), include_str!("emulator.py"));
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Another process may take a free port between the look and the start.
const ATTEMPTS: u32 = 3;

/// The emulator, up.
pub(crate) struct Emulator {
    port: u16,
    _server: Server,
}

impl Emulator {
    /// Starts it on the port given, or on a free one, and waits until it answers. The functions find it there, or where
    /// `for_functions` says.
    pub(crate) async fn start(
        tools: &Tools,
        run: &Run,
        port: Option<u16>,
        for_functions: Option<String>,
        http: &reqwest::Client,
    ) -> Result<Self, Failure> {
        let mut attempt = 1;
        loop {
            let chosen = match port {
                Some(port) => vacant(port)?,
                None => vacant(0)?,
            };
            match begin(tools, run, chosen, for_functions.as_deref(), http).await {
                Err(_) if port.is_none() && attempt < ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn begin(
    tools: &Tools,
    run: &Run,
    port: u16,
    for_functions: Option<&str>,
    http: &reqwest::Client,
) -> Result<Emulator, Failure> {
    let log = run.log("emulator");
    let itself = format!("http://127.0.0.1:{port}");
    let environment = environment(run.folder(), port, for_functions.unwrap_or(&itself));
    let environment = environment.iter().map(|(name, value)| (*name, value.clone()));
    let python = tools.python();
    let program = [python.as_os_str(), OsStr::new("-c"), OsStr::new(PROGRAM)];
    let mut server = Server::start(&python, &program, environment, &log)?;
    let health = format!("http://127.0.0.1:{port}/_ministack/health");
    let since = Instant::now();
    loop {
        if http
            .get(&health)
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            return Ok(Emulator { port, _server: server });
        }
        if server.has_ended() {
            return Err(Failure::new("The emulator ended as it started").with_log(&log));
        }
        if since.elapsed() > READY_WITHIN {
            return Err(Failure::new(format!(
                "The emulator does not answer after {} s",
                READY_WITHIN.as_secs()
            ))
            .advise("start again; a busy machine may need a second try")
            .with_log(&log));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Nothing but what is named here: the functions inherit it, and none of them may reach the real AWS, or an account that
/// whoever runs this is signed in to.
fn environment(folder: &Path, port: u16, for_functions: &str) -> Vec<(&'static str, String)> {
    let mut environment = vec![
        ("BIND_HOST", "127.0.0.1".to_owned()),
        ("GATEWAY_PORT", port.to_string()),
        ("AWS_ENDPOINT_URL", for_functions.to_owned()),
        // Each call is held to the policies of the role that makes it, so that a right that is missing in the template is
        // missing here too.
        ("AUTH", "true".to_owned()),
        // As many processes at once as AWS allows an account, and the template takes for granted, whatever this machine has.
        ("LAMBDA_ACCOUNT_CONCURRENCY", "1000".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("IOT_MTLS_ENABLED", "0".to_owned()),
        ("HOME", folder.display().to_string()),
        ("TMPDIR", folder.display().to_string()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("RUST_BACKTRACE", "1".to_owned()),
    ];
    // Where this machine keeps its root certificates: needed with another Ring than the simulator.
    for name in ["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        if let Some(value) = std::env::var_os(name).as_deref().and_then(OsStr::to_str) {
            environment.push((name, value.to_owned()));
        }
    }
    environment
}

/// A port of loopback that nobody listens on; 0 asks for any.
fn vacant(port: u16) -> Result<u16, Failure> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    let address = bound.or_fail(|| format!("Port {port} of this machine is taken"));
    address.map(|address| address.port()).map_err(|failure| {
        failure.advise(
            "give another with --port, or none to have a free one chosen; `cargo run -p local` may be up already",
        )
    })
}
