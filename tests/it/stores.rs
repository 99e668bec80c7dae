//! The tables and the rescue queue keep the contract that the simulation's twins keep: what holds over the twins holds over
//! them.

use jiff::Timestamp;
use shared::audit::store::Audit;
use shared::device::store::Devices;
use shared::edge::clock;
use shared::edge::queue::Queue;
use shared::event::store::Events;
use shared::grant::store::GrantTable;
use shared::link::store::{LinkLedger, LinkTable};
use simulation::contract::{Stores, all};
use simulation::events;

use crate::stack::{alone_on_the_stack, on_the_stack};

#[test]
fn the_tables_keep_the_contract() {
    alone_on_the_stack(async |stack| {
        let aws = &stack.aws().config;
        let outputs = stack.outputs();
        let grants = GrantTable::new(aws, &outputs.tables["grant"]);
        let now = Timestamp::from_millisecond(clock::now().as_millisecond()).expect("an instant of this century");
        all(&Stores {
            links: LinkLedger::new(
                LinkTable::new(aws, &outputs.tables["link"]),
                grants.clone(),
                Audit::new(aws, &outputs.tables["audit"], 1, &outputs.tables["link"]),
            ),
            grants,
            rescue: Queue::new(aws, &outputs.queues["rescue"]),
            now,
        })
        .await;
    });
}

#[test]
fn the_tables_of_events_and_devices_keep_the_contract() {
    on_the_stack(async |stack| {
        let (aws, tables) = (&stack.aws().config, &stack.outputs().tables);
        let records = Events::new(aws, &tables["event"]);
        let stores = events::contract::Stores {
            records: records.clone(),
            devices: Devices::new(aws, &tables["device"]),
            now: Timestamp::from_millisecond(clock::now().as_millisecond()).expect("an instant of this century"),
        };
        events::contract::all(&stores, async |account| {
            records.parked(account).await.expect("they are listed")
        })
        .await;
    });
}
