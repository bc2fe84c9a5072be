//! Chat rooms: names, logins, and lines to everyone in the room.
//!
//! Each loop has an instance of the service, and an instance has two roles. For the connections of
//! its own loop it reads join requests (`join_request`) and keeps members (`local_members`). For the
//! rooms whose names hash to its loop it is the `home`, which alone knows all their members and the
//! order of what happens in them. The first role sends actions (`home::RoomAction`) to the second as
//! service messages, on the same loop too, so a home sees the actions of each connection in order.
//!
//! ```text
//!   member's loop                       home loop of the room
//!   admit      ── Claim ──────────────► takes the name, closes its former holder, announces
//!              ◄────────────── Granted ─┘
//!   on_open    ── Open ───────────────► sends the snapshot, subscribes
//!   on_message ── Say ────────────────► publishes: one order for all members
//!   on_close   ── Leave ──────────────► removes the member if it was not replaced, announces
//! ```
//!
//! Where a name may have many holders, or comes only with the first text, there is no claim:
//! `on_open` sends `Enter`, which does the work of `Claim` and `Open`.
//!
//! Where several gateways share an engine, each has a home for a room. They tell each other what their own
//! connections do (`entry`), in one order, and each knows the members of all (`shared_room`, `across`).

mod across;
mod allowance;
mod broadcast_line;
mod entry;
mod event;
mod home;
mod join_request;
mod line_format;
mod local_members;
mod room_ref;
mod roster;
mod service;
mod settings;
mod shared_room;

pub use super::name::NAME_BYTES_MAX;
pub(crate) use super::name::is_name;
#[cfg(feature = "sim")]
pub use entry::rewrite_room_entry;
pub use event::CHAT_SUBPROTOCOL;
pub use line_format::{InvalidLineFormat, LineFormat};
pub use roster::{LISTED_MAX, RELISTED_BELOW};
pub use service::Room;
pub use settings::{IdentityRights, Logins, NameSource, Newlines, RoomSettings};
