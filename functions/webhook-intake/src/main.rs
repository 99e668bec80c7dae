//! Wires the webhook intake: see the library for what it does.

use lambda_http::{Error, run, service_fn};
use shared::edge::{aws, config::Process, telemetry};
use webhook_intake::{Config, Intake, SERVICE};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init(SERVICE, &Process);
    let config = Config::read(&Process)?;
    let intake = Intake::new(&aws::config().await, config);
    intake.warm().await;
    run(service_fn(|request| intake.answer(request))).await
}
