//! How much one step may do for rooms that are on several gateways, and what that costs.

/// What is left for one step, in units of [`crate::work`].
#[derive(Debug)]
pub(super) struct Allowance {
    left: u64,
    spent: u64,
}

impl Allowance {
    pub(super) fn new(units: u64) -> Self {
        Self { left: units, spent: 0 }
    }

    /// Whether the step is to begin nothing more.
    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Something has cost this much, which may be more than was left.
    pub(super) fn spend(&mut self, units: u64) {
        self.left = self.left.saturating_sub(units);
        self.spent += units;
    }

    /// What all of it has cost so far.
    pub(super) fn spent(&self) -> u64 {
        self.spent
    }
}

/// What one step may cost: half a millisecond, as what it begins last and what it publishes may cost as much again.
pub(super) const STEP: u64 = 500_000;
/// An entry is read or said, without its members and its bytes.
pub(super) const ENTRY_WORK: u64 = 1_500;
/// A member elsewhere comes or goes: the tables and the roster. What is announced is charged by itself.
pub(super) const MEMBER_WORK: u64 = 1_500;
/// A member is written into a list.
pub(super) const LISTED_WORK: u64 = 400;
/// A member is read in a list, from its text to its place in the tables.
pub(super) const READ_WORK: u64 = 1_500;
/// A member is moved among those who are not listed.
pub(super) const MOVE_WORK: u64 = 300;
/// A member here is looked up.
pub(super) const LOOK_WORK: u64 = 100;
/// The key of a member here is copied.
pub(super) const KEY_WORK: u64 = 8;
/// A room is looked at, in search of the members of a gateway.
pub(super) const ROOM_WORK: u64 = 500;
/// A member elsewhere is forgotten with its room.
pub(super) const FORGET_WORK: u64 = 200;
