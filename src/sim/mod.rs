//! The fake kernel, on which tests run whole event loops deterministically, from a seed.
//!
//! [`Network`] holds the sockets, listeners and the clock; each loop gets a [`SimPoller`] on it, and
//! a test drives the clients through [`SimClient`]. The kernel behaves as Linux does where the loop
//! relies on it: readiness is edge-triggered, a queue that was not emptied is not announced again, a
//! socket that is closed with unread input resets its peer and loses what was under way. The kernel
//! injects the [`Faults`] that Linux allows: events come late, in any order, or for nothing; writes
//! fall short; calls are interrupted; descriptors run out.

mod client;
mod clock;
mod kernel;
mod network;
mod poller;
mod random;
mod server;

pub use client::SimClient;
pub use clock::SimClock;
pub use kernel::{Faults, OnConnect};
pub use network::Network;
pub use poller::{SimListener, SimPoller, SimSocket};
pub use random::Random;
pub use server::{ServerSettings, SimServer};
