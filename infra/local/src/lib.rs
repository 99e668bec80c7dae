//! The local stack: the repository's own template on an emulator of AWS, against the offline Ring, with nothing installed
//! but Rust and Python. The program `local` brings it up and walks through it; the system tests use it as a library.
//!
//! It leaves out what only production has: TLS at the gateway, limits of memory, and time.

mod aws;
mod browser;
mod child;
mod emulator;
mod failure;
pub mod journey;
mod life;
mod outputs;
pub mod outside;
mod place;
mod programs;
mod progress;
mod recorder;
mod ring;
mod sam;
mod stack;
mod templates;
mod tools;
mod users;
mod welcome;

pub use aws::Aws;
pub use browser::Browser;
pub use failure::{Failure, Reason};
pub use life::Life;
pub use outputs::{Outputs, RingUrls};
pub use place::Place;
pub use programs::{Profile, RECORDER, packages};
pub use progress::{Part, Progress, seconds};
pub use recorder::Recorder;
pub use ring::{Credentials, Ring, RingChoice};
pub use stack::{Options, Stack};
pub use templates::expand;
pub use tools::{Tools, TypeScript};
pub use users::{PASSWORD, sign_in};
pub use welcome::welcome;
