//! Bursts of publications, between which nothing happens.

use crate::commands::attack::attackers::{Attackers, TURN_MAX};
use crate::commands::attack::frames::frame;
use crate::error::CommandError;
use crate::load::clients::NextTurn;
use crate::system::clock;
use crate::websocket::DataKind;

/// All connections publish at once as fast as the server takes it, twice, with a pause behind each
/// burst. Each of them receives what all publish.
pub(super) fn publications(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    let keys = attackers.open("/broadcast", attackers.options.connections)?;
    let batch = frame(DataKind::Binary, &[b'a'; PUBLICATION_BYTES]).repeat(BATCH_MESSAGES);
    attackers.begin()?;
    let quarter = attackers.options.duration / 4;
    for _ in 0..BURSTS {
        let end = clock::now() + quarter;
        attackers.drive(|driver, counts| {
            if end <= clock::now() || driver.len() == 0 {
                return NextTurn::Done;
            }
            for key in &keys {
                counts.fill(driver, *key, &batch);
            }
            NextTurn::Wait(TURN_MAX)
        })?;
        attackers.serve_for(quarter)?;
    }
    Ok(())
}

const BURSTS: usize = 2;
/// Small, because what is kept for each message shows most then.
const PUBLICATION_BYTES: usize = 1;
const BATCH_MESSAGES: usize = 10_000;
