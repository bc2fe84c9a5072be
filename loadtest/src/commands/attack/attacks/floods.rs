//! Floods of frames that are cheap to send, each with a cost for who decodes it.

use crate::commands::attack::attackers::{Attackers, TURN_MAX};
use crate::commands::attack::frames::{control_frame, fragment, frame};
use crate::error::CommandError;
use crate::load::clients::NextTurn;
use crate::target::ECHO_PATH;
use crate::websocket::DataKind;

/// Every connection sends messages of one byte.
pub(super) fn messages(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    flood(attackers, &[], &frame(DataKind::Text, b"x"))
}

/// Every connection sends pings, each of which is to be answered.
pub(super) fn pings(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    flood(attackers, &[], &control_frame(PING))
}

/// Every connection begins a message, and goes on with empty fragments.
pub(super) fn fragments(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    flood(attackers, &fragment(TEXT), &fragment(CONTINUATION))
}

/// Sends `first` once on each connection, and then copies of a frame as fast as the server takes them.
fn flood(attackers: &mut Attackers<'_>, first: &[u8], frame: &[u8]) -> Result<(), CommandError> {
    let keys = attackers.open(ECHO_PATH, attackers.options.connections)?;
    attackers.begin()?;
    let frames = frame.repeat(BYTES_AT_ONCE / frame.len());
    let mut is_begun = first.is_empty();
    attackers.drive(|driver, counts| {
        for key in &keys {
            if !is_begun {
                counts.feed(driver, *key, first);
            }
            counts.fill(driver, *key, &frames);
        }
        is_begun = true;
        if driver.len() == 0 { NextTurn::Done } else { NextTurn::Wait(TURN_MAX) }
    })
}

/// Opcodes of RFC 6455 §5.2.
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const PING: u8 = 0x9;
/// About as much as a socket takes, so that the load generator pays less for it than the server.
const BYTES_AT_ONCE: usize = 64 * 1024;
