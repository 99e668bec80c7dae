//! The twins keep the contract of the stores; the tables are held to the same by the system tests.

use std::sync::Arc;

use shared::world::Nature as _;
use simulation::contract::{Stores, all};
use simulation::events;
use simulation::house::House;
use simulation::interference::Peace;
use simulation::ring::Character;

#[tokio::test(start_paused = true)]
async fn the_twins_keep_the_contract() {
    let twin = House::new(1, Character::Strict, Arc::new(Peace)).world;
    all(&Stores {
        grants: twin.clone(),
        links: twin.clone(),
        rescue: twin.clone(),
        now: twin.now(),
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_twins_of_events_and_devices_keep_the_contract() {
    let twin = House::new(1, Character::Strict, Arc::new(Peace)).world;
    let stores = events::contract::Stores {
        records: twin.clone(),
        devices: twin.clone(),
        now: twin.now(),
    };
    events::contract::all(&stores, async |account| twin.all().events.parked(account)).await;
}
