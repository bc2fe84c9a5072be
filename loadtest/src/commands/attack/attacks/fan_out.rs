//! One client whose messages a thousand others receive.

use crate::commands::attack::attackers::Attackers;
use crate::commands::attack::frames::frame;
use crate::driver::ConnKey;
use crate::error::CommandError;
use crate::load::clients::NextTurn;
use crate::websocket::DataKind;

/// 140 KiB of frames with one byte each.
pub(super) const MESSAGES: usize = 140 * 1024 / 7;

/// Into a room, half of whose members receive events and half lines.
pub(super) fn room(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    let (members, path) = (attackers.options.connections, "/room");
    let mut keys = attackers.open(path, members - members / 2)?;
    attackers.driver().offer_subprotocol(Some(EVENTS));
    keys.extend(attackers.open(path, members / 2)?);
    send_at_once(attackers, &keys)
}

/// To all that are connected to a broadcast.
pub(super) fn broadcast(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    let keys = attackers.open("/broadcast", attackers.options.connections)?;
    send_at_once(attackers, &keys)
}

/// The first of the members sends all messages in one write, and all of them read.
fn send_at_once(attackers: &mut Attackers<'_>, members: &[ConnKey]) -> Result<(), CommandError> {
    let messages = attackers.options.messages;
    let burst = frame(DataKind::Text, b"a").repeat(messages);
    attackers.begin()?;
    if let Some(sender) = members.first() {
        attackers.drive(|driver, counts| {
            counts.feed(driver, *sender, &burst);
            NextTurn::Done
        })?;
    }
    attackers.await_messages((messages * members.len()) as u64)
}

/// The subprotocol of a room's events (`docs/chat.md`).
const EVENTS: &str = "tidegate.chat.v1";
