//! Wires the webhook intake: see the library for what it does.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::edge::{config::Process, direct::Account, telemetry};
use webhook_intake::{Call, Config, Intake, SERVICE};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init(SERVICE, &Process);
    let config = Config::read(&Process)?;
    let intake = Intake::new(&Account::read(&Process)?, config);
    intake.warm().await;
    run(service_fn(async |event: LambdaEvent<Call>| {
        intake
            .handle(event.payload, event.context.xray_trace_id.as_deref())
            .await
            .map_err(Error::from)
    }))
    .await
}
