//! Wires the partner API: see the library for what it does.

use lambda_http::{Error, run};
use partner_api::{App, Config, SERVICE, router};
use shared::edge::{aws, config::Process, gateway, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init(SERVICE, &Process);
    let config = Config::read(&Process)?;
    let app = App::new(&aws::config().await, config)?;
    run(gateway::as_meant(router(app))).await
}
