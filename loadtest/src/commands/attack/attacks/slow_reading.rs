//! Readers that read little, or nothing.

use std::time::Duration;

use crate::commands::attack::attackers::{Attackers, TURN_MAX};
use crate::commands::attack::frames::{begun_frame, frame};
use crate::error::CommandError;
use crate::load::clients::NextTurn;
use crate::system::clock;
use crate::target::ECHO_PATH;
use crate::websocket::DataKind;

/// Each connection sends one large message to an echo and reads its reply so slowly that it never
/// ends. A connection that ends is followed by another, which takes what memory has become free.
pub(super) fn trickle(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    let connections = attackers.options.connections;
    let message = begun_frame(DataKind::Binary, MESSAGE_BYTES, MESSAGE_BYTES);
    attackers.driver().limit_receive_buffers(RECEIVE_BUFFER_BYTES);
    let mut unsent = attackers.open(ECHO_PATH, connections)?;
    for key in &unsent {
        attackers.driver().pause_reading(*key);
    }
    attackers.begin()?;
    let mut opened_max = connections.saturating_mul(ROUNDS_MAX);
    let mut next_read = clock::now();
    attackers.drive(|driver, counts| {
        unsent.retain(|key| !counts.feed(driver, *key, &message));
        let now = clock::now();
        if next_read <= now {
            next_read = now + READ_INTERVAL;
            for key in driver.keys() {
                driver.read_some(key, READ_BYTES, counts);
            }
            let missing = connections.saturating_sub(driver.len()).min(opened_max);
            opened_max -= missing;
            for _ in 0..missing {
                let Some(key) = driver.connect_to(None, counts) else { continue };
                driver.pause_reading(key);
                unsent.push(key);
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
/// The smallest that the kernel grants is somewhat more.
const RECEIVE_BUFFER_BYTES: usize = 4096;
const PUBLISHER_BUFFER_BYTES: usize = 1024 * 1024;
const READ_BYTES: usize = 1024;
const READ_INTERVAL: Duration = Duration::from_millis(200);
/// A server that ends every connection at once must not be connected to without end.
const ROUNDS_MAX: usize = 20;
const PUBLICATION_BYTES: usize = 64;
const BATCH_MESSAGES: usize = 500;
