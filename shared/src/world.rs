//! What the nouns stand on: time, chance, and the family of ports that a program is built over. A walk (an exchange, a
//! renewal, a link) is written over a [`World`]; deployed, that is AWS and Ring, and under test it is in memory, with a
//! clock that is moved and faults on order.

use std::fmt::Debug;
use std::sync::Arc;

use jiff::Timestamp;

use crate::capture::ports::Captures;
use crate::edge::queue::Queue;
use crate::edge::quota::Counters;
use crate::edge::secret::{self, ClientSecrets, Secret};
use crate::edge::{clock, key};
use crate::event::ports::{DeviceEndpoint, Devices, Inbox, LargeBodies, Media, Publisher, Records, Workers};
use crate::grant::ports::{Client, Grants, Keys, Rescue, TokenEndpoint};
use crate::link::ports::{Effects, Integrations, Links};

/// One family of ports. It has no values of its own: a program holds those that it needs.
pub trait World: Clone + Debug + Send + Sync + 'static {
    /// Time and chance.
    type Nature: Nature;
    /// Where grants are kept.
    type Grants: Grants;
    /// Where links are kept.
    type Links: Links;
    /// What wraps data keys.
    type Keys: Keys;
    /// Our id and secret at Ring.
    type Client: Client;
    /// Ring.
    type Ring: TokenEndpoint + Integrations;
    /// Where a pair waits that the table did not take.
    type Rescue: Rescue;
    /// Where shared limits are counted.
    type Counters: Counters;
    /// What follows from a link.
    type Effects: Effects;
}

/// What the processing of events stands on besides.
pub trait EventWorld: World<Ring: DeviceEndpoint> {
    /// Where events are kept.
    type Records: Records;
    /// Where devices are kept.
    type Devices: Devices;
    /// Where media are kept.
    type Media: Media;
    /// Who has which device to record.
    type Captures: Captures;
    /// Who fetches and records.
    type Workers: Workers;
    /// Who is told.
    type Bus: Publisher;
}

/// What taking in webhooks stands on: little, as somebody waits for the answer.
pub trait IntakeWorld: Debug + Send + Sync + 'static {
    /// Time and chance.
    type Nature: Nature;
    /// Where the signing keys are read.
    type Secret: secret::Source;
    /// The queue of events.
    type Inbox: Inbox;
    /// Where a body goes that no queue takes.
    type LargeBodies: LargeBodies;
}

/// The world as it is deployed.
#[derive(Clone, Copy, Debug)]
pub struct Deployed;

impl World for Deployed {
    type Nature = System;
    type Grants = crate::grant::store::GrantTable;
    type Links = crate::link::store::LinkLedger;
    type Keys = crate::grant::vault::Kms;
    type Client = Arc<Secret<ClientSecrets>>;
    type Ring = ring_partner::Ring;
    type Rescue = Queue;
    type Counters = crate::edge::table::Table;
    type Effects = crate::link::effects::Downstream;
}

impl EventWorld for Deployed {
    type Records = crate::event::store::Events;
    type Devices = crate::device::store::Devices;
    type Media = crate::media::store::Media;
    type Captures = crate::capture::store::Slots;
    type Workers = crate::event::ports::Queues;
    type Bus = crate::edge::bus::Bus;
}

/// Time and chance, passed in so that a test can set both.
pub trait Nature: Clone + Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
    /// 128 bits that nobody can guess.
    fn random(&self) -> u128;

    /// A new id: a prefix that says of what, and something that nobody can guess.
    fn id(&self, prefix: &str) -> String {
        key::with_prefix(prefix, self.random())
    }

    /// A number in 0..1, to spread what would else happen at once.
    fn fraction(&self) -> f64 {
        key::fraction_of(self.random())
    }
}

/// This machine's clock, and its source of randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Nature for System {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn random(&self) -> u128 {
        key::random_bits()
    }
}
