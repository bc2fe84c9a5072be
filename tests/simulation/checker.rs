//! Checks that each client of the sweep received what it must have received.

use std::collections::BTreeMap;

use crate::actor::{Actor, Pace};
use crate::script::{Answer, End};
use crate::services::{Entries, name_of_text};
use crate::wire::{CLOSE, Frame, PONG, TEXT};

/// What happened in a run that allows a client to receive less than its script says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Disturbances {
    /// Connection slots or descriptors ran out: a client may be refused or dropped.
    pub(crate) slots_scarce: bool,
    /// Memory ran out: a connection may end with 1013, 503 or abruptly.
    pub(crate) memory_scarce: bool,
    /// A client was closed because its pong did not come in time.
    pub(crate) any_idle: bool,
    /// Messages must be finished in time, for which the clients care nothing.
    pub(crate) messages_timed: bool,
    /// Pushes were dropped or slow peers closed.
    pub(crate) pushes_lost: bool,
    /// The server drained before the clients had sent everything.
    pub(crate) cut_short: bool,
    /// An operator sent texts and closed connections.
    pub(crate) has_operator: bool,
    /// The server drained at the end.
    pub(crate) drained: bool,
}

/// Checks one client.
pub(crate) fn check_client(
    actor: &Actor,
    disturbances: Disturbances,
    journal: &Entries,
) -> Result<(), String> {
    let received = &actor.client.received;
    let is_excused = disturbances.slots_scarce
        || disturbances.memory_scarce
        || disturbances.cut_short
        || actor.has_reset()
        || matches!(actor.pace, Pace::Stops(_))
        // The ping lay behind bytes that it read more slowly than anybody is waited for.
        || (disturbances.any_idle && actor.was_too_slow);
    if actor.client.connection.was_reset() && !is_excused {
        return Err("reset though it read".into());
    }
    if let Some(failure) = actor.client.tls().and_then(|tls| tls.borrow().failure().cloned())
        && !is_excused
    {
        return Err(format!("TLS failed: {failure}"));
    }
    match (&actor.script.answer, received.status) {
        (_, None) if is_excused => Ok(()),
        (Answer::Nothing, None) => match actor.client.is_gone() {
            true => Ok(()),
            false => Err("never dropped".into()),
        },
        (_, Some(503))
            if disturbances.slots_scarce || disturbances.memory_scarce || disturbances.drained =>
        {
            Ok(())
        }
        (Answer::Reply(expected), Some(status)) if *expected == status => {
            whole_end(actor, is_excused)
        }
        (Answer::Socket { is_relay, replies, end }, Some(101)) => {
            let is_whole = if *is_relay {
                check_relay(actor, replies, disturbances, journal)?
            } else {
                check_echo(received.data(), replies)?
            };
            check_end(actor, *end, *is_relay, is_whole, disturbances, is_excused)
        }
        (answer, status) => Err(format!("status {status:?} for {answer:?}")),
    }
}

/// Returns whether all replies arrived. Those that did must be a prefix of `replies`.
fn check_echo(data: &[Frame], replies: &[Frame]) -> Result<bool, String> {
    for (serial, frame) in data.iter().enumerate() {
        if replies.get(serial) != Some(frame) {
            let expected = replies.get(serial).map(brief);
            return Err(format!("reply {serial}: {:?} for {expected:?}", brief(frame)));
        }
    }
    Ok(data.len() == replies.len())
}

/// Checks that all texts sent to this client so far have arrived. Valid only while no push was
/// dropped; a client that is no longer open is not checked.
pub(crate) fn check_deliveries(actor: &Actor, journal: &Entries) -> Result<(), String> {
    let Some(name) = actor.relay_name() else { return Ok(()) };
    let Some(sent) = journal.sent.get(&name).filter(|_| journal.open.contains(&name)) else {
        return Ok(());
    };
    let sent: usize = sent.values().map(Vec::len).sum();
    let received = actor.client.received.data().iter().filter(|frame| frame.opcode == TEXT).count();
    match received == 1 + sent {
        true => Ok(()),
        false => Err(format!("{received} texts instead of {sent} and the greeting")),
    }
}

/// Returns whether all pongs arrived. Texts must be those that were sent to this peer: in order for
/// each source, and without a gap unless pushes were dropped.
fn check_relay(
    actor: &Actor,
    replies: &[Frame],
    disturbances: Disturbances,
    journal: &Entries,
) -> Result<bool, String> {
    let data = actor.client.received.data();
    let (pongs, texts): (Vec<_>, Vec<_>) = data.iter().cloned().partition(|f| f.opcode == PONG);
    let is_whole = check_echo(&pongs, replies)?;
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

fn check_end(
    actor: &Actor,
    end: End,
    is_relay: bool,
    is_whole: bool,
    disturbances: Disturbances,
    is_excused: bool,
) -> Result<(), String> {
    let close = actor.client.received.close();
    let code = close.map(Frame::close_code);
    let from_outside = match code {
        Some(Some(1001)) => disturbances.drained && (disturbances.cut_short || end == End::Open),
        Some(Some(1008)) => disturbances.messages_timed,
        Some(Some(1013)) => disturbances.memory_scarce,
        Some(Some(4000 | 4004)) => is_relay,
        Some(Some(4002)) => (is_relay || disturbances.has_operator) && disturbances.pushes_lost,
        Some(Some(4321)) => disturbances.has_operator,
        _ => false,
    };
    let as_played = match end {
        End::Closed(own) => close == Some(&echoed(own)) && is_whole,
        End::Broken(expected) => code == Some(Some(expected)),
        End::Dismissed => code == Some(Some(1000)),
        End::Open => close.is_none() && is_whole,
    };
    match () {
        // A close frame from the server comes after the replies that had been produced by then.
        () if as_played || from_outside => whole_end(actor, is_excused),
        () if is_excused && close.is_none() => Ok(()),
        () => Err(format!("ended with {code:?}, all replies: {is_whole}, by {end:?}")),
    }
}

/// Checks that the connection ended without a reset and with whole frames.
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
