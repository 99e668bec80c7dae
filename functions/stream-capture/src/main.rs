//! Wires the recorder: see the library for what it does.

use std::error::Error;

use clap::Parser as _;
use shared::edge::{aws, config::Process, telemetry};
use stream_capture::{Arguments, Config, SERVICE, StreamCapture};

// One thread: twenty streams take a twentieth of it (`cargo bench -p stream-capture`), and a task has half a processor.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    telemetry::init(SERVICE, &Process);
    let config = Config::read(&Process)?;
    StreamCapture::new(&aws::config().await, config)?
        .run(arguments.once)
        .await?;
    Ok(())
}
