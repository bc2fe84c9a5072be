//! Clients that connect, are let in or refused, and come again at once.

use std::rc::Rc;
use std::time::Duration;

use crate::commands::attack::attackers::Attackers;
use crate::driver::Driver;
use crate::error::CommandError;
use crate::load::clients::NextTurn;

/// Each connection that ends is followed by another, and those that open stay.
pub(super) fn hold(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    come_again(attackers, None, |_| {})
}

/// As [`hold`], but each connection leaves as soon as it is open, as a page does that reconnects in a
/// loop.
pub(super) fn leave(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    come_again(attackers, None, |driver| {
        for key in driver.keys() {
            driver.with(key, |connection| {
                if connection.is_open() {
                    connection.close();
                }
            });
        }
    })
}

/// As [`hold`], with requests that no server takes (RFC 3986 §2.1).
pub(super) fn fail(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    come_again(attackers, Some(&"/ec%6".into()), |_| {})
}

/// As [`hold`], on this path, and calls `act` before each turn.
pub(super) fn come_again(
    attackers: &mut Attackers<'_>,
    path: Option<&Rc<str>>,
    mut act: impl FnMut(&mut Driver),
) -> Result<(), CommandError> {
    let connections = attackers.options.connections;
    attackers.begin()?;
    attackers.drive(|driver, counts| {
        act(driver);
        let free = CONNECTING_MAX.saturating_sub(driver.awaiting());
        for _ in 0..connections.saturating_sub(driver.len()).min(free) {
            driver.connect_to(path, counts);
        }
        counts.note_held(driver.len());
        NextTurn::Wait(WAIT_MAX)
    })
}

/// Connections that are not answered yet, so that the load generator goes round them quickly.
const CONNECTING_MAX: usize = 200;
const WAIT_MAX: Duration = Duration::from_millis(5);
