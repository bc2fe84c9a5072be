//! TLS handshakes: very many at once, and those that are begun and never ended.

use std::time::Duration;

use crate::commands::attack::attackers::{Attackers, TURN_MAX};
use crate::driver::TlsStall;
use crate::error::CommandError;
use crate::load::clients::NextTurn;

/// All connections begin their handshakes at once, and each upgrades as soon as it can. Ends when all
/// are open or have failed.
pub(super) fn complete(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    attackers.begin()?;
    connect_all(attackers)
}

/// Half of a ClientHello on each connection, and nothing after it.
pub(super) fn half_hello(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    stall(attackers, TlsStall::HalfHello)
}

/// A whole ClientHello on each connection, which the server answers in full, and nothing after it.
pub(super) fn whole_hello(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    stall(attackers, TlsStall::WholeHello)
}

/// Ends when the server has ended all connections, and none comes again: what one of them costs is
/// the growth of memory divided by their number.
fn stall(attackers: &mut Attackers<'_>, stall: TlsStall) -> Result<(), CommandError> {
    attackers.driver().stall_handshakes(Some(stall));
    attackers.begin()?;
    connect_all(attackers)
}

/// Opens all connections, and serves them until the server owes an answer to none of them.
fn connect_all(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    let connections = attackers.options.connections;
    let mut started = 0;
    attackers.drive(|driver, counts| {
        let next = connections.min(started + CONNECTS_AT_ONCE);
        while started < next {
            driver.connect_to(None, counts);
            started += 1;
        }
        counts.note_held(driver.len());
        if started < connections {
            NextTurn::Wait(Duration::ZERO)
        } else if driver.awaiting() == 0 {
            NextTurn::Done
        } else {
            NextTurn::Wait(TURN_MAX)
        }
    })
}

/// Between two of these the connections are served, so that the first handshakes do not wait for the
/// last connection.
const CONNECTS_AT_ONCE: usize = 250;
