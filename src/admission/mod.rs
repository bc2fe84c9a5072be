//! Who may connect: limits for each address and each network, and the bounded table that counts; and how
//! much each user may send.
//!
//! A client is an address of IPv4, or 64 bits of IPv6. An entry of the table remembers how many
//! connections it has open, and how much of its rates it has used up. It lives as long as it has
//! something to remember: an open connection, or a bucket that is not full again.
//!
//! The table is bounded. No entry gives way that remembers something, so no flood of addresses makes
//! those forget who are there already. When there is no room, newcomers are counted with the network
//! around them, and where that has no room either, not at all: then the limits of the whole process
//! hold.

mod bucket;
mod entry_ref;
mod network;
mod network_set;
mod round;
mod settings;
mod shared;
mod table;
mod user_rates;
mod verdict;

pub use bucket::Rate;
pub use entry_ref::AddressRef;
pub use network::{Network, PrefixBits};
pub use network_set::NetworkSet;
pub use round::{TRIM_INTERVAL_MS, ask_again_at};
pub use settings::{AddressLimits, AddressSettings};
pub use shared::SharedAddresses;
pub use user_rates::{SharedUserRates, USERS_MAX, UserKey, UserLimits};
pub use verdict::{AddressReason, AddressRefusal, AddressUse, Judgement};
