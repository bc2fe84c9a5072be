//! What must hold between two turns, whatever happened: checked by the simulation after each.

use super::{Conn, Connections, Flags, Phase};
use crate::key::ConnKey;
use crate::timer::Tick;
use crate::transport::Transport;

/// Fails with the name of the invariant and the connection it does not hold for.
macro_rules! hold {
    ($condition:expr, $invariant:literal, $key:expr, $conn:expr) => {
        if !$condition {
            return Err(format!("{}: {:?} {:?} {:?}", $invariant, $key, $conn.phase, $conn.flags));
        }
    };
}

impl<S: Transport> Connections<S> {
    /// Checks everything that can be checked between turns.
    ///
    /// # Errors
    /// The first invariant that does not hold, with the connection concerned.
    pub fn check_invariants(&self) -> Result<(), String> {
        let (mut open, mut half_open, mut refused, mut partial_reads) = (0, 0, 0, 0);
        for (key, conn) in self.table.iter() {
            self.check_connection(key, conn)?;
            open += usize::from(conn.phase == Phase::Open);
            half_open += usize::from(conn.flags.has(Flags::HALF_OPEN));
            refused += usize::from(conn.flags.has(Flags::REFUSED));
            partial_reads += usize::from(!conn.partial.is_none());
        }
        let counted = [self.open_count, self.half_open.count(), self.refused_count];
        if counted != [open, half_open, refused] {
            return Err(format!("counts {counted:?} for {:?}", [open, half_open, refused]));
        }
        if self.partial_reads.count() != partial_reads {
            return Err(format!(
                "{} partial_reads, {partial_reads} links",
                self.partial_reads.count()
            ));
        }
        if !self.outgoing.is_empty() || self.outgoing.wants_close() {
            return Err("output left over between turns".into());
        }
        if self.is_walking_members || !self.left_while_walking.is_empty() {
            return Err("a walk over members left over between turns".into());
        }
        let is_idle = self.table.len() == 0;
        if self.open_count == 0 && self.hubs.iter().any(|hub| hub.counts().1 > 0) {
            return Err("members without connections".into());
        }
        if is_idle && self.backlog.counts() != [0, 0, 0] {
            return Err(format!("backlog {:?} without connections", self.backlog.counts()));
        }
        let lent = self.buffers.allocated_bytes() - self.buffers.free_bytes();
        if is_idle && lent != self.inflater.bytes() {
            return Err("buffers lent without connections".into());
        }
        self.check_contexts()
    }

    /// Only open connections that agreed on it have contexts.
    fn check_contexts(&self) -> Result<(), String> {
        let may_have = |slot: u32, agreed: fn(Flags) -> bool| {
            let conn = self.table.key_of(slot).and_then(|key| self.table.get(key));
            conn.is_some_and(|conn| conn.phase == Phase::Open && agreed(conn.flags))
        };
        let incoming = self.inflater.contexts();
        let outgoing = self.outgoing.compressor().contexts();
        let stray = incoming
            .slots()
            .find(|slot| !may_have(*slot, |flags| flags.client_context(0).is_some()))
            .or_else(|| {
                outgoing.slots().find(|slot| !may_have(*slot, |flags| flags.has(Flags::TAKES_OVER)))
            });
        match stray {
            Some(slot) => Err(format!("slot {slot} has a context that nobody agreed on")),
            None => Ok(()),
        }
    }

    fn check_connection(&self, key: ConnKey, conn: &Conn<S>) -> Result<(), String> {
        let flags = conn.flags;
        if conn.phase == Phase::Dead {
            hold!(self.dead.contains(&key), "the dead wait for the reaper", key, conn);
            return Ok(());
        }
        let next_tick = Tick(self.tick.0 + 1);
        let in_wheel = self.deadline(key).map_or_else(
            || flags.has(Flags::LINES) && conn.phase == Phase::Open,
            |due| conn.timer.is_filed() && conn.timer.due() <= due.max(next_tick),
        );
        // What is to be written in the next turn at once gets its deadline there, if any is left.
        let is_written_next = flags.has(Flags::DIRTY) && !flags.has(Flags::WRITE_BLOCKED);
        let ends_next = conn.phase == Phase::Lingering && flags.has(Flags::SAID_CLOSE);
        hold!(
            in_wheel || is_written_next || ends_next,
            "every deadline is in the wheel",
            key,
            conn
        );
        hold!(!ends_next || flags.has(Flags::QUEUED), "after both close frames it ends", key, conn);

        let is_paused = flags.has(Flags::PAUSED)
            || flags.has(Flags::MAIL_PAUSED)
            || flags.has(Flags::UNDECIDED);
        hold!(
            !flags.has(Flags::UNDECIDED) || conn.phase == Phase::Handshake,
            "a decision is waited for in the handshake",
            key,
            conn
        );
        let has_input = flags.has(Flags::INPUT_PENDING) || flags.has(Flags::UNDECODED);
        hold!(
            !has_input || is_paused || flags.has(Flags::QUEUED),
            "input without a further edge is in the run queue",
            key,
            conn
        );
        hold!(
            conn.queue.is_empty() || flags.has(Flags::WRITE_BLOCKED) || flags.has(Flags::DIRTY),
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
            !flags.has(Flags::PAUSED) || conn.queue.bytes() >= self.settings.backlog_high_bytes / 2,
            "reading is paused only while output waits",
            key,
            conn
        );
        hold!(
            flags.has(Flags::HALF_OPEN) == (conn.phase == Phase::Handshake),
            "half-open means waiting for a request",
            key,
            conn
        );
        hold!(
            conn.phase != Phase::Closing || !conn.queue.is_empty(),
            "closing means that output waits",
            key,
            conn
        );
        Ok(())
    }
}
