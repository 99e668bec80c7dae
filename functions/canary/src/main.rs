//! Wires the canary: see the library for what it does.

use canary::{Canary, Config, SERVICE};
use lambda_runtime::{Error, run, service_fn};
use shared::edge::{aws, config::Process, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init(SERVICE, &Process);
    let config = Config::read(&Process)?;
    let canary = Canary::new(&aws::config().await, config)?;
    run(service_fn(|_: lambda_runtime::LambdaEvent<canary::Wake>| {
        canary.handle()
    }))
    .await
}
