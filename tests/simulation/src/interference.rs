//! What may befall a call of a port, and by whose order.

use std::panic::Location;
use std::time::Duration;

/// The ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// The tables.
    Table,
    /// KMS.
    Keys,
    /// The secret.
    Client,
    /// The rescue queue.
    Rescue,
    /// Ring.
    Ring,
    /// What follows from a link.
    Effects,
    /// The queue of events, and quarantine.
    Queue,
    /// The bus.
    Bus,
}

/// One call of a port.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Which port.
    pub port: Port,
    /// What of it.
    pub method: &'static str,
    /// From where in the source.
    pub site: &'static Location<'static>,
    /// Counts the calls of the world, from 0.
    pub ordinal: usize,
}

/// What befalls it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mischief {
    /// How long it takes until it happens.
    pub before: Duration,
    /// How long its answer takes then.
    pub after: Duration,
    /// What goes wrong.
    pub fault: Option<Fault>,
}

/// What may go wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process dies before it happens.
    DiesBefore,
    /// The process dies after it has happened, before it knows.
    DiesAfter,
    /// It does not happen.
    Refused,
    /// It happens, and the answer is lost.
    AnswerLost,
    /// Ring answers with this status, and does nothing.
    Status(u16),
    /// Ring does not take our credentials.
    InvalidClient,
}

impl Fault {
    /// All that may befall a call of this port.
    #[must_use]
    pub fn of(port: Port) -> &'static [Self] {
        match port {
            Port::Ring => &[
                Self::DiesBefore,
                Self::DiesAfter,
                Self::Refused,
                Self::AnswerLost,
                Self::Status(429),
                Self::Status(500),
                Self::InvalidClient,
            ],
            _ => &[Self::DiesBefore, Self::DiesAfter, Self::Refused, Self::AnswerLost],
        }
    }
}

/// Decides what befalls each call.
pub trait Interference: Send + Sync {
    /// What befalls this one. `random` are fresh bits.
    fn at(&self, call: &Call, random: u128) -> Mischief;
}

/// Nothing ever does.
#[derive(Debug)]
pub struct Peace;

impl Interference for Peace {
    fn at(&self, _call: &Call, _random: u128) -> Mischief {
        Mischief::default()
    }
}
