//! Who may connect, by their addresses.

mod network_set;

pub use network_set::NetworkSet;
