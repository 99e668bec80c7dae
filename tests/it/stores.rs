//! The tables and the rescue queue keep the contract that the simulation's twins keep: what holds over the twins holds over
//! them.

use jiff::Timestamp;
use shared::audit::store::Audit;
use shared::edge::clock;
use shared::edge::queue::Queue;
use shared::grant::store::GrantTable;
use shared::link::store::{LinkLedger, LinkTable};
use simulation::contract::{Stores, all};

use crate::stack::alone_on_the_stack;

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
                Audit::new(aws, &outputs.tables["audit"], 1),
            ),
            grants,
            rescue: Queue::new(aws, &outputs.queues["rescue"]),
            now,
        })
        .await;
    });
}
