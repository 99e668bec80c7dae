//! Wires the pages: see the library for what they are.

use lambda_http::{Error, run};
use portal::{Config, SERVICE, router};
use shared::edge::{config::Process, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init(SERVICE, &Process);
    run(router(&Config::read(&Process)?)).await
}
