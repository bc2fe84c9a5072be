//! The service of `/echo`: every message is sent back unchanged.

use super::{Effects, Message, Peer, Service};

/// Sends every message back to its sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Service for Echo {
    fn on_message(&mut self, _: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        effects.reply_in_place(message);
    }
}
