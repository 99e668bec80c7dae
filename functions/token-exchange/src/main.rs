//! Wires the token exchange: see the library for what it does.

use lambda_http::{Error, run, service_fn};
use shared::edge::{aws, config::Process, telemetry};
use token_exchange::{Config, SERVICE, TokenExchange};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init(SERVICE, &Process);
    let config = Config::read(&Process)?;
    let exchange = TokenExchange::new(&aws::config().await, config)?;
    exchange.warm().await;
    run(service_fn(|request| exchange.answer(request))).await
}
