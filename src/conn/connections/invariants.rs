//! What must hold between two turns, whatever happened: checked by the simulation after each.

use super::Connections;
use crate::conn::flags::Flags;
use crate::conn::slot::{Conn, Protocol};
use crate::conn::state::Phase;
use crate::key::ConnKey;
use crate::pool::NOTED_BYTES;
use crate::timer::Tick;

/// Fails with the name of the invariant and the connection it does not hold for.
macro_rules! hold {
    ($condition:expr, $invariant:literal, $key:expr, $conn:expr) => {
        if !$condition {
            let Conn { state, protocol, flags, .. } = $conn;
            return Err(format!("{}: {:?} {state:?} {protocol:?} {flags:?}", $invariant, $key));
        }
    };
}

/// Checks everything that can be checked between turns.
///
/// # Errors
/// The first invariant that does not hold, with the connection concerned.
pub fn check_invariants<S>(own: &Connections<S>) -> Result<(), String> {
    let (mut open, mut half_open, mut refused, mut partial, mut cold) = (0, 0, 0, 0, 0);
    let (mut inflating, mut queued) = (0, 0);
    for (key, conn) in own.table.iter() {
        check_connection(own, key, conn)?;
        open += usize::from(conn.state.is_open());
        half_open += usize::from(conn.flags.has(Flags::HALF_OPEN));
        refused += usize::from(conn.flags.has(Flags::REFUSED));
        partial += usize::from(!conn.partial.is_none());
        cold += usize::from(!conn.cold.is_none());
        inflating += usize::from(conn.flags.has(Flags::INFLATING));
        queued += usize::from(conn.flags.has(Flags::QUEUED));
    }
    let in_queues = own.schedule.queued(|key| own.table.get(key).is_some());
    if in_queues != queued {
        return Err(format!("{in_queues} connections stand in queues, and {queued} say so"));
    }
    let population = &own.population;
    let counted = [population.open(), own.schedule.half_open.count(), population.refused()];
    if counted != [open, half_open, refused] {
        return Err(format!("counts {counted:?} for {:?}", [open, half_open, refused]));
    }
    let held = [own.input.partial_count(), own.cold.count()];
    if held != [partial, cold] {
        return Err(format!("{held:?} partial reads and records, {:?} links", [partial, cold]));
    }
    let waiting = own.input.inflated().waiting().len();
    if waiting != inflating {
        return Err(format!("{waiting} messages wait to be inflated, for {inflating} connections"));
    }
    if !own.output.has_nothing_gathered() || own.output.wants_close() {
        return Err("output left over between turns".into());
    }
    if population.open() == 0 && own.membership.subscription_count() > 0 {
        return Err("members without connections".into());
    }
    let is_idle = own.table.len() == 0 && own.walks.is_empty();
    let waiting = own.output.backlog().counts();
    if is_idle && waiting != [0, 0, 0] {
        return Err(format!("backlog {waiting:?} without connections"));
    }
    check_memory(own)?;
    check_addresses(own)?;
    check_contexts(own)
}

/// What is charged to the pool is what the owners hold, counted anew.
fn check_memory<S>(own: &Connections<S>) -> Result<(), String> {
    let memory = &own.turn.memory;
    let charged = memory.allocated_bytes() - memory.free_bytes();
    let held = own.input.recount() + own.output.backlog().recount()? + own.cold.recount()?;
    let held = held + own.walks.charged_bytes() + own.services.charged_bytes();
    if charged != held {
        return Err(format!("{charged} bytes are charged for {held}"));
    }
    let mut holders = memory.large_holders().iter();
    if let Some((key, ..)) = holders.find(|(key, ..)| own.table.get(*key).is_none()) {
        return Err(format!("{key:?} holds memory and is no more"));
    }
    for (key, bytes) in own.input.inflated().waiting() {
        let noted = memory.large_holders().inflating(key);
        if noted != bytes && (noted > 0 || bytes >= NOTED_BYTES) {
            return Err(format!("{key:?} inflates in {bytes} bytes, and {noted} are noted"));
        }
    }
    // An idle loop has only what is asked for again soon.
    let kept = own.input.inflated().bytes() + own.cold.recount()?;
    // A backend may still be told what a connection that is gone has sent.
    let kept = kept + own.services.charged_bytes();
    if own.table.len() == 0 && charged != kept {
        return Err(format!("{charged} bytes are charged without connections"));
    }
    Ok(())
}

/// Only connections that are there are counted by their addresses, and those that may come again are
/// refused.
fn check_addresses<S>(own: &Connections<S>) -> Result<(), String> {
    let (slots, marks) = own.turn.addresses.marked();
    if slots.len() != marks {
        return Err(format!(
            "{} slots have marks of addresses, and {marks} are counted",
            slots.len()
        ));
    }
    for slot in slots {
        let conn = own.table.key_of(slot).and_then(|key| own.table.get(key));
        let is_told = own.turn.addresses.retry_after_s(slot).is_some();
        if conn.is_none_or(|conn| is_told && !conn.flags.has(Flags::REFUSED)) {
            return Err(format!("slot {slot} has the mark of another connection's address"));
        }
    }
    Ok(())
}

/// Only open connections that agreed on it have contexts.
fn check_contexts<S>(own: &Connections<S>) -> Result<(), String> {
    let may_have = |slot: u32, agreed: fn(Flags) -> bool| {
        let conn = own.table.key_of(slot).and_then(|key| own.table.get(key));
        conn.is_some_and(|conn| conn.state.is_open() && agreed(conn.flags))
    };
    let incoming = own.input.inflated().contexts();
    let outgoing = own.output.compressor().contexts();
    let stray = incoming
        .slots()
        .find(|slot| !may_have(*slot, |flags| flags.client_context(0).is_some()))
        .or_else(|| {
            outgoing.slots().find(|slot| !may_have(*slot, |flags| flags.has(Flags::TAKES_OVER)))
        });
    match stray {
        Some(slot) => Err(format!("slot {slot} has a context that was not agreed on")),
        None => Ok(()),
    }
}

fn check_connection<S>(own: &Connections<S>, key: ConnKey, conn: &Conn<S>) -> Result<(), String> {
    let flags = conn.flags;
    let phase = conn.state.phase();
    if phase == Phase::Dead {
        hold!(own.schedule.dead.contains(&key), "the dead wait for the reaper", key, conn);
        return Ok(());
    }
    hold!(!flags.has(Flags::REARM), "a deadline that came nearer is filed", key, conn);
    let next_tick = Tick(own.turn.tick.0 + 1);
    let waits_for_backend =
        matches!(conn.protocol, Protocol::Exchange | Protocol::Relay) && phase == Phase::Handshake;
    // One of two has a deadline, or both wait for a third.
    let exchanges = phase == Phase::Exchanging
        || phase == Phase::Reaching && conn.protocol == Protocol::ExchangeBackend;
    let has_no_pings =
        !conn.protocol.has_frames() && phase == Phase::Open || waits_for_backend || exchanges;
    let due = own.deadlines().of(key, conn);
    let in_wheel = due.map_or(has_no_pings, |due| {
        conn.timer.is_filed() && conn.timer.due() <= due.max(next_tick)
    });
    // What is to be written in the next turn at once gets its deadline there, if any is left.
    let is_written_next = flags.has(Flags::DIRTY) && !flags.has(Flags::WRITE_BLOCKED);
    let ends_next = phase == Phase::Lingering && flags.has(Flags::CLOSE_RECEIVED);
    hold!(in_wheel || is_written_next || ends_next, "every deadline is in the wheel", key, conn);
    hold!(!ends_next || flags.has(Flags::QUEUED), "after both close frames it ends", key, conn);
    hold!(
        !flags.has(Flags::UNDECIDED) || phase == Phase::Handshake,
        "a decision is waited for in the handshake",
        key,
        conn
    );
    let has_input = flags.has(Flags::INPUT_PENDING) || flags.has(Flags::UNDECODED);
    hold!(
        !has_input || flags.is_paused() || flags.has(Flags::QUEUED),
        "input without a further edge is in the run queue",
        key,
        conn
    );
    let has_records = own.cold.has_whole_unopened(conn.cold);
    hold!(
        !has_records || flags.is_paused() || flags.has(Flags::QUEUED),
        "whole records that are here are opened without a further edge",
        key,
        conn
    );
    hold!(
        conn.is_flushed() || flags.has(Flags::WRITE_BLOCKED) || flags.has(Flags::DIRTY),
        "output waits for an edge or for its turn",
        key,
        conn
    );
    hold!(
        !flags.has(Flags::WRITE_BLOCKED) || flags.has(Flags::WRITE_INTEREST),
        "an edge that is waited for will come",
        key,
        conn
    );
    hold!(
        !flags.has(Flags::PAUSED_BY_BACKLOG)
            || conn.queue.bytes() >= own.turn.settings.backlog_high_bytes / 2,
        "reading is paused only while output waits",
        key,
        conn
    );
    check_waiting(own, key, conn)
}

/// What waits for a share of its own leads to one.
fn check_waiting<S>(own: &Connections<S>, key: ConnKey, conn: &Conn<S>) -> Result<(), String> {
    let (flags, phase) = (conn.flags, conn.state.phase());
    hold!(
        !flags.has(Flags::INFLATING) || flags.has(Flags::UNDECODED),
        "a message that waits to be inflated is decoded further",
        key,
        conn
    );
    hold!(
        !flags.has(Flags::PAUSED_BY_FANOUT) || own.walks.waits_for(key),
        "who waits for its publications has some",
        key,
        conn
    );
    hold!(
        flags.has(Flags::HALF_OPEN) == (phase == Phase::Handshake),
        "half-open means waiting for a request",
        key,
        conn
    );
    hold!(
        phase != Phase::Closing || !conn.is_flushed(),
        "closing means that output waits",
        key,
        conn
    );
    Ok(())
}
