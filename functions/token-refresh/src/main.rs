//! Wires the token refresh: see the library for what it does.

use lambda_runtime::{Error, run, service_fn};
use shared::edge::{aws, config::Process, telemetry};
use token_refresh::{Config, Program, SERVICE};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init(SERVICE, &Process);
    let config = Config::read(&Process)?;
    let token_refresh = Program::new(&aws::config().await, config)?;
    run(service_fn(|event| token_refresh.handle(event))).await
}
