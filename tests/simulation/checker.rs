//! Whether what a client heard is what it must have heard.

use std::collections::BTreeMap;

use crate::actor::{Actor, Pace};
use crate::script::{Answer, End};
use crate::services::{Entries, name_of_text};
use crate::wire::{CLOSE, Frame, PONG, TEXT};

/// What happened in a run that may have come between a client and its answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Disturbances {
    /// Places or descriptors ran out: a client may be turned away or dropped.
    pub(crate) places_scarce: bool,
    /// Memory ran out: a connection may end with 1013, 503 or abruptly.
    pub(crate) memory_scarce: bool,
    /// Pushes were dropped or slow peers closed.
    pub(crate) pushes_lost: bool,
    /// The server shut down before the clients were done.
    pub(crate) cut_short: bool,
    /// The server shut down in the end.
    pub(crate) drained: bool,
}

/// Judges one client.
pub(crate) fn checker(
    actor: &Actor,
    disturbances: Disturbances,
    journal: &Entries,
) -> Result<(), String> {
    let heard = &actor.client.heard;
    let is_excused = disturbances.places_scarce
        || disturbances.memory_scarce
        || disturbances.cut_short
        || actor.has_reset()
        || matches!(actor.pace, Pace::Stops(_));
    if actor.client.connection.was_reset() && !is_excused {
        return Err("reset though it read".into());
    }
    match (&actor.script.answer, heard.status) {
        (_, None) if is_excused => Ok(()),
        (Answer::Nothing, None) => match actor.client.is_gone() {
            true => Ok(()),
            false => Err("never dropped".into()),
        },
        (_, Some(503))
            if disturbances.places_scarce || disturbances.memory_scarce || disturbances.drained =>
        {
            Ok(())
        }
        (Answer::Reply(expected), Some(status)) if *expected == status => {
            whole_end(actor, is_excused)
        }
        (Answer::Socket { is_relay, replies, end }, Some(101)) => {
            let is_whole = if *is_relay {
                judge_relay(actor, replies, disturbances, journal)?
            } else {
                judge_echo(heard.data(), replies)?
            };
            judge_end(actor, *end, *is_relay, is_whole, disturbances, is_excused)
        }
        (answer, status) => Err(format!("status {status:?} for {answer:?}")),
    }
}

/// Whether all replies came; those that came must be the first ones, byte by byte.
fn judge_echo(data: &[Frame], replies: &[Frame]) -> Result<bool, String> {
    for (serial, frame) in data.iter().enumerate() {
        if replies.get(serial) != Some(frame) {
            let expected = replies.get(serial).map(brief);
            return Err(format!("reply {serial}: {:?} for {expected:?}", brief(frame)));
        }
    }
    Ok(data.len() == replies.len())
}

/// Whether all texts came that were sent to this client so far. Only for one that is still open,
/// and if no pushes were lost.
pub(crate) fn judge_deliveries(actor: &Actor, journal: &Entries) -> Result<(), String> {
    let Some(name) = actor.relay_name() else { return Ok(()) };
    let Some(sent) = journal.sent.get(&name).filter(|_| journal.open.contains(&name)) else {
        return Ok(());
    };
    let sent: usize = sent.values().map(Vec::len).sum();
    let heard = actor.client.heard.data().iter().filter(|frame| frame.opcode == TEXT).count();
    match heard == 1 + sent {
        true => Ok(()),
        false => Err(format!("{heard} texts instead of {sent} and the greeting")),
    }
}

/// Whether all pongs came. Texts must be those that were sent to this peer: by each source in
/// order, and without a gap unless pushes were lost.
fn judge_relay(
    actor: &Actor,
    replies: &[Frame],
    disturbances: Disturbances,
    journal: &Entries,
) -> Result<bool, String> {
    let data = actor.client.heard.data();
    let (pongs, texts): (Vec<_>, Vec<_>) = data.iter().cloned().partition(|f| f.opcode == PONG);
    let is_whole = judge_echo(&pongs, replies)?;
    let mut texts = texts.iter().map(|frame| String::from_utf8_lossy(&frame.payload));
    let Some(name) = texts.next() else { return Ok(false) };
    let nothing = BTreeMap::new();
    let sent = journal.sent.get(&*name).unwrap_or(&nothing);
    let mut next: BTreeMap<&str, usize> = sent.keys().map(|k| (&**k, 0)).collect();
    for text in texts {
        let source = name_of_text(&text);
        let (from_source, at) = sent
            .get(source)
            .zip(next.get_mut(source))
            .ok_or_else(|| format!("{source} never sent anything to {name}"))?;
        let found = from_source[*at..].iter().position(|sent| *sent == text);
        match found {
            Some(0) => *at += 1,
            Some(gap) if disturbances.pushes_lost => *at += gap + 1,
            _ => return Err(format!("out of order: {:.60} for {name}, {found:?} on", &*text)),
        }
    }
    Ok(is_whole)
}

fn judge_end(
    actor: &Actor,
    end: End,
    is_relay: bool,
    is_whole: bool,
    disturbances: Disturbances,
    is_excused: bool,
) -> Result<(), String> {
    let close = actor.client.heard.close();
    let code = close.map(Frame::close_code);
    let from_outside = match code {
        Some(Some(1001)) => disturbances.drained && (disturbances.cut_short || end == End::Open),
        Some(Some(1013)) => disturbances.memory_scarce,
        Some(Some(4000 | 4004)) => is_relay,
        Some(Some(4002)) => is_relay && disturbances.pushes_lost,
        _ => false,
    };
    let as_played = match end {
        End::Closed(own) => close == Some(&echoed(own)) && is_whole,
        End::Broken(expected) => code == Some(Some(expected)),
        End::Dismissed => code == Some(Some(1000)),
        End::Open => close.is_none() && is_whole,
    };
    match () {
        // Whatever closed it orderly sent the replies first, if they were made at all.
        () if as_played || from_outside => whole_end(actor, is_excused),
        () if is_excused && close.is_none() => Ok(()),
        () => Err(format!("ended with {code:?}, all replies: {is_whole}, by {end:?}")),
    }
}

/// The server ended in good order.
fn whole_end(actor: &Actor, is_excused: bool) -> Result<(), String> {
    match actor.client.ended_well() || is_excused {
        true => Ok(()),
        false => Err("no orderly end".into()),
    }
}

fn echoed(code: Option<u16>) -> Frame {
    Frame::new(CLOSE, &code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec()))
}

fn brief(frame: &Frame) -> (u8, usize, &[u8]) {
    (frame.opcode, frame.payload.len(), &frame.payload[..frame.payload.len().min(20)])
}
