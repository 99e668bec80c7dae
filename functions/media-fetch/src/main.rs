//! Wires the media fetch: see the library for what it does.

use lambda_runtime::{Error, run, service_fn};
use media_fetch::{Config, MediaFetch, SERVICE};
use shared::edge::{aws, config::Process, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init(SERVICE, &Process);
    let config = Config::read(&Process)?;
    let fetch = MediaFetch::new(&aws::config().await, config)?;
    run(service_fn(|event| fetch.handle(event))).await
}
