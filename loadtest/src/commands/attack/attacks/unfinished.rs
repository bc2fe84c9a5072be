//! Messages and requests that are begun and never ended.

use std::time::Duration;

use crate::commands::attack::attackers::Attackers;
use crate::commands::attack::frames::begun_frame;
use crate::driver::ConnKey;
use crate::error::CommandError;
use crate::load::clients::NextTurn;
use crate::system::clock;
use crate::target::ECHO_PATH;
use crate::websocket::DataKind;

/// Half of a message on each connection. The answers to the server's pings follow, which then count
/// as parts of the message: a few bytes for each ping. A connection that ends is followed by another.
pub(super) fn messages(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    let half = begun_frame(DataKind::Binary, MESSAGE_BYTES, MESSAGE_BYTES / 2 + 1);
    let connections = attackers.options.connections;
    let mut opened_max = connections.saturating_mul(ROUNDS_MAX);
    let mut unsent = attackers.open(ECHO_PATH, connections)?;
    attackers.begin()?;
    let mut next_connects = clock::now();
    attackers.drive(|driver, counts| {
        unsent.retain(|key| !counts.feed(driver, *key, &half));
        let now = clock::now();
        if next_connects <= now {
            next_connects = now + CONNECTS_INTERVAL;
            let missing = connections.saturating_sub(driver.len()).min(CONNECTS_AT_ONCE);
            for _ in 0..missing.min(opened_max) {
                opened_max -= 1;
                unsent.extend(driver.connect_to(None, counts));
            }
        }
        NextTurn::Wait(CONNECTS_INTERVAL)
    })
}

/// Requests byte by byte on half of the connections, nothing on the others. A connection that ends is
/// followed by another.
pub(super) fn requests(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    let connections = attackers.options.connections;
    let mut opened_max = connections.saturating_mul(ROUNDS_MAX);
    let (mut next_byte, mut next_connects) = (clock::now(), clock::now());
    attackers.driver().hold_requests_after(0);
    attackers.begin()?;
    attackers.drive(|driver, counts| {
        let now = clock::now();
        if next_connects <= now {
            next_connects = now + CONNECTS_INTERVAL;
            let missing = connections.saturating_sub(driver.len()).min(CONNECTS_AT_ONCE);
            for _ in 0..missing.min(opened_max) {
                opened_max -= 1;
                driver.connect_to(None, counts);
            }
        }
        if next_byte <= now {
            next_byte = now + BYTE_INTERVAL;
            for key in driver.keys().into_iter().filter(sends_bytes) {
                let mut sent_bytes = 0;
                driver.with(key, |connection| sent_bytes = connection.send_held_request(1));
                counts.figures.sent_bytes += sent_bytes as u64;
            }
        }
        NextTurn::Wait(next_byte.min(next_connects).saturating_duration_since(clock::now()))
    })
}

fn sends_bytes(key: &ConnKey) -> bool {
    key.serial().is_multiple_of(2)
}

const MESSAGE_BYTES: usize = 1024 * 1024;
/// Slow enough that a request is never whole within the server's time for it.
const BYTE_INTERVAL: Duration = Duration::from_millis(200);
/// A server that ends every connection at once must not be connected to without end.
const ROUNDS_MAX: usize = 20;
const CONNECTS_INTERVAL: Duration = Duration::from_millis(10);
const CONNECTS_AT_ONCE: usize = 5;
