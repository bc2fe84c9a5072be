//! Chat rooms: names, logins, and lines to everyone in the room.

mod line_format;
mod settings;

pub use line_format::{InvalidLineFormat, LineFormat};
pub use settings::{Logins, NameSource, Newlines, RoomSettings, Tokens};
