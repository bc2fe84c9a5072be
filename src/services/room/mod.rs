//! Chat rooms: names, logins, and lines to everyone in the room.
//!
//! Each loop has an instance of the service, and an instance plays two parts. To the connections
//! of its own loop it is the [door] and the place where [people] are kept. To the
//! rooms whose names hash to its loop it is their [home], the one place that knows who is in
//! them and in which order things happen. The first part tells the second by [letter], on
//! the same loop too, so a room hears of each connection in the order of what it did.
//!
//! ```text
//!   member's loop                       home loop of the room
//!   admit      ── Claim ──────────────► takes the name, closes who had it, tells all
//!              ◄────────────── Granted ─┘
//!   on_open    ── Open ───────────────► tells it who is there, subscribes
//!   on_message ── Say ────────────────► publishes: one order for everybody
//!   on_close   ── Leave ──────────────► forgets, if it is still there, and tells all
//! ```
//!
//! Where a name may be had by many, or is said only later, there is no claim: on_open tells `Enter`,
//! which is all of it at once.

mod broadcast_line;
mod event;
mod home;
mod home_message;
mod join_request;
mod line_format;
mod local_members;
mod name;
mod room_ref;
mod roster;
mod service;
mod settings;
mod token;

pub use event::CHAT_SUBPROTOCOL;
pub use line_format::{InvalidLineFormat, LineFormat};
pub use name::NAME_BYTES_MAX;
pub(crate) use name::is_name;
pub use roster::{LISTED_MAX, RELISTED_BELOW};
pub use service::Room;
pub use settings::{Logins, NameSource, Newlines, RoomSettings, Tokens};
