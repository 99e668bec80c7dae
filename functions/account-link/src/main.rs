//! Wires account linking: see the library for what it does.

use account_link::{App, Config, SERVICE, router};
use lambda_http::{Error, run};
use shared::edge::{aws, config::Process, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init(SERVICE, &Process);
    let config = Config::read(&Process)?;
    let app = App::new(&aws::config().await, config)?;
    app.warm().await;
    run(router(app)).await
}
