//! Brokers of channels that several gateways share: each adapter carries out the commands of
//! [`remote`](crate::channels::remote), and says what it hears.
//!
//! An adapter runs until its commands are closed. It never ends by itself: it connects again, with a pause of
//! 50 ms to 2 s between attempts, and sends `Up` and `Down`. What it says goes into a queue that is bounded in
//! number and in bytes; while that is full, it takes no more of what it is sent.
//!
//! | module | what it is |
//! |---|---|
//! | `shared_engine` | between loops and a broker |
//! | `event_queue` | what a broker says, on its way to the loops |
//! | `decimal` | numbers as text |
//! | `redis` | Redis: one server, Sentinel, or Cluster |
//! | `nats` | NATS: JetStream for what is kept, core NATS for all else |

mod decimal;
mod event_queue;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "redis")]
pub mod redis;
mod shared_engine;

pub use event_queue::{EventReceiver, EventSender, EventsClosed, QueuedEvent, event_queue};
pub(super) use shared_engine::RunBroker;
pub use shared_engine::SharedEngine;
