//! Wires the event processor: see the library for what it does.

use event_processor::{Config, EventProcessor, SERVICE};
use lambda_runtime::{Error, run, service_fn};
use shared::edge::{aws, config::Process, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init(SERVICE, &Process);
    let config = Config::read(&Process)?;
    let processor = EventProcessor::new(&aws::config().await, config)?;
    run(service_fn(|event| processor.handle(event))).await
}
