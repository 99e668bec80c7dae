//! What captures stand on, in their own words: where slots are kept, together with what was asked for.

use std::fmt::Debug;

use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;

use super::Slot;
use crate::edge::table::StoreError;
use crate::media::{Medium, MediumId};

/// Where slots are kept. Each change is made from the version before it; [`StoreError::Conflict`] says that somebody else was
/// there first.
pub trait Captures: Clone + Debug + Send + Sync + 'static {
    /// A device's slot, as it was left.
    fn slot(
        &self,
        account: &AccountId,
        device: &DeviceId,
    ) -> impl Future<Output = Result<Option<Slot>, StoreError>> + Send;

    /// Which capture stands for what was asked for under this id; `None`: nobody has asked.
    fn asked(&self, id: &MediumId) -> impl Future<Output = Result<Option<MediumId>, StoreError>> + Send;

    /// A capture has the slot, and its medium is requested: both or none. `Err(Conflict)`: it was asked for before, or the
    /// slot is not as it was read.
    fn take(&self, slot: &Slot, medium: &Medium) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The capture in the slot is prolonged, and stands for what was asked for under this id: both or none.
    fn prolong(&self, slot: &Slot, asked: &MediumId) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A changed slot.
    fn change(&self, slot: &Slot) -> impl Future<Output = Result<(), StoreError>> + Send;
}
