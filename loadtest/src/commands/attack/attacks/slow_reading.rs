//! Readers that read little, or nothing.

use std::time::Duration;

use crate::commands::attack::attackers::{Attackers, TURN_MAX};
use crate::commands::attack::frames::{begun_frame, frame};
use crate::driver::ConnKey;
use crate::error::CommandError;
use crate::load::clients::NextTurn;
use crate::system::clock;
use crate::target::ECHO_PATH;
use crate::websocket::DataKind;

/// Each connection sends one message to an echo and reads its reply so slowly that it never ends.
/// The small messages of some connections take what memory the large ones of the others have left.
pub(super) fn trickle(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    let [large, small] = [MESSAGE_BYTES, SMALL_MESSAGE_BYTES]
        .map(|bytes| begun_frame(DataKind::Binary, bytes, bytes));
    attackers.driver().limit_receive_buffers(RECEIVE_BUFFER_BYTES);
    let keys = attackers.open(ECHO_PATH, attackers.options.connections)?;
    for key in &keys {
        attackers.driver().pause_reading(*key);
    }
    attackers.begin()?;
    let larges = keys.len() - keys.len() / 4;
    let mut unsent: Vec<(ConnKey, &[u8])> = keys.iter().map(|key| (*key, &large[..])).collect();
    unsent[larges..].iter_mut().for_each(|(_, message)| *message = &small);
    let mut next_read = clock::now();
    attackers.drive(|driver, counts| {
        unsent.retain(|(key, message)| !counts.feed(driver, *key, message));
        let now = clock::now();
        if next_read <= now {
            next_read = now + READ_INTERVAL;
            for key in &keys {
                driver.read_some(*key, READ_BYTES, counts);
            }
        }
        NextTurn::Wait(next_read.saturating_duration_since(now))
    })
}

/// One client publishes to readers that do not read at all.
pub(super) fn slow_readers(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    let messages = attackers.options.messages;
    attackers.driver().limit_receive_buffers(RECEIVE_BUFFER_BYTES);
    let readers = attackers.open(PATH, attackers.options.connections)?;
    for reader in readers {
        attackers.driver().pause_reading(reader);
    }
    // The publisher receives its own messages, and reads them as fast as it can.
    attackers.driver().limit_receive_buffers(PUBLISHER_BUFFER_BYTES);
    let publisher = attackers.open(PATH, 1)?;
    let publication = frame(DataKind::Binary, &[b'a'; PUBLICATION_BYTES]);
    let mut unsent = messages;
    attackers.begin()?;
    attackers.drive(|driver, counts| {
        let Some(publisher) = publisher.first() else { return NextTurn::Done };
        while unsent > 0 {
            let batch = unsent.min(BATCH_MESSAGES);
            if !counts.feed(driver, *publisher, &publication.repeat(batch)) {
                return if driver.len() == 0 { NextTurn::Done } else { NextTurn::Wait(TURN_MAX) };
            }
            unsent -= batch;
        }
        NextTurn::Done
    })?;
    attackers.await_messages(messages as u64)
}

const PATH: &str = "/broadcast";
/// Without the header of the frame, so that the message stays below the default limit.
const MESSAGE_BYTES: usize = 1024 * 1024 - 64;
const SMALL_MESSAGE_BYTES: usize = 32 * 1024;
/// The smallest that the kernel grants is somewhat more.
const RECEIVE_BUFFER_BYTES: usize = 4096;
const PUBLISHER_BUFFER_BYTES: usize = 1024 * 1024;
const READ_BYTES: usize = 4096;
const READ_INTERVAL: Duration = Duration::from_millis(500);
const PUBLICATION_BYTES: usize = 64;
const BATCH_MESSAGES: usize = 500;
