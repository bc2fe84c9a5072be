//! A connection: 64 bytes in one slot, and the rules of its life.
//!
//! | bytes | field | at rest | owner |
//! |--:|---|---|---|
//! | 4 | `socket` (a descriptor in release builds) | the descriptor | [`stream`](crate::stream) |
//! | 4 | `generation` | serial number | `table` |
//! | 12 | `timer` | filed in the wheel | `schedule` |
//! | 4 | `seen` | tick of the last sign of life | |
//! | 16 | `queue` | empty | `send` |
//! | 4 | `partial` | none | `receive` |
//! | 4 | `link` | none | `fanout`, or `relay` |
//! | 4 | `cold` | none | `cold` |
//! | 4 | `decoder` | zero | `receive` |
//! | 1 | `under_way` | nothing | |
//! | 1 | `route` | number of its service | `services` |
//! | 1 | `state` | open | `state` |
//! | 1 | `protocol` | WebSocket | |
//! | 4 | `flags` | what was agreed | |
//!
//! The way of bytes: `receive` takes them from the stream, makes messages of them and gives these
//! to services, whose answers gather in the output; `send` writes it out. What comes from others
//! takes the way through `fanout`.
//!
//! An event resolves its connection once, as an `active` one with the owners that its steps may
//! use. Each owner keeps its fields to itself. A step that cannot go on by itself, because what
//! comes next concerns other connections or ends this one, gives an outcome, and `connections`
//! carries that out.

mod access;
mod active;
mod addresses;
mod ages;
mod cold;
mod compact_address;
mod connections;
mod control_frames;
mod deadline;
mod fanout;
mod flags;
mod identities;
mod inspect;
mod observed;
mod outbox;
mod population;
mod proxies;
mod rates;
mod receive;
mod relay;
mod room_lists;
mod schedule;
mod send;
mod services;
mod settings;
#[cfg(any(test, feature = "sim"))]
mod simulated;
mod slot;
mod state;
mod table;
mod traces;
mod turn;
mod under_way;

pub use addresses::AddressVerdict;
#[cfg(any(test, feature = "sim"))]
pub use connections::check_invariants;
pub use connections::{ClosesSent, Connections, Verdict};
pub use proxies::{Opening, ProxySettings};
pub use relay::ConnectOrder;
pub use settings::ConnSettings;
