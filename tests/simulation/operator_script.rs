//! An operator in the sweep: questions and orders at any time, and a model of what the answers must hold.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::inspect::{
    ClosedSlice, ConnectionDetail, ConnectionFilter, ConnectionPhase, ConnectionSlice, Query,
    RoomSlice, SentSlice, TraceEvent, TraceEventKind, TraceId, TraceSink,
};
use tidegate::key::ConnKey;
use tidegate::mail::{NoReply, ReplyReceiver};
use tidegate::services::{CloseReason, Peer};
use tidegate::sim::Random;

use crate::operator::{all, close_request, send};
use crate::services::{Entries, name_of};
use crate::wire::OPERATORS_TEXT;
use crate::world::World;

/// What a trace has told.
type TraceJournal = Arc<Mutex<Vec<TraceEvent>>>;

/// What an operator has asked, and what is known of the answers.
#[derive(Default)]
pub(crate) struct ScriptedOperator {
    pending: Vec<(usize, Pending)>,
    /// Connections that a list has shown.
    known: Vec<Peer>,
    walk: Option<Walk>,
    traces: Vec<(usize, TraceId, TraceJournal)>,
    next_trace: u64,
    /// Texts that loops said they have sent.
    pub(crate) sent: usize,
    pub(crate) closed: usize,
}

/// A question under way.
enum Pending {
    List(ReplyReceiver<ConnectionSlice>),
    /// The key, and whether it was of an open connection when that was asked.
    Show(ConnKey, bool, ReplyReceiver<Option<ConnectionDetail>>),
    /// As for `Show`.
    CloseOne(ConnKey, bool, ReplyReceiver<bool>),
    Close(ReplyReceiver<ClosedSlice>),
    SendOne(ReplyReceiver<bool>),
    Send(ReplyReceiver<SentSlice>),
    Rooms(ReplyReceiver<RoomSlice>),
    Publish(ReplyReceiver<bool>),
    Trace(ReplyReceiver<()>),
}

/// A list of a loop's connections, in slices between which everything else goes on.
struct Walk {
    loop_index: usize,
    from: u32,
    count_max: usize,
    /// Those that were open when it began.
    expected: BTreeSet<String>,
    seen: BTreeSet<String>,
}

impl ScriptedOperator {
    /// Asks or orders something.
    pub(crate) fn act(&mut self, world: &World, loops: usize, random: &mut Random) -> String {
        let loop_index = random.below(loops);
        if world.server.state(loop_index).is_none() {
            return "finds the loop ended".into();
        }
        let known = self.known_on(loop_index, random);
        let peer = Peer { loop_index: u16::try_from(loop_index).unwrap_or(0), key: known };
        let was_open = world.journal.entries().open.contains(&name_of(peer));
        let dice = random.below(100);
        let (what, pending) = match dice {
            0..=29 => return self.go_on_listing(world, loop_index, random),
            30..=49 => {
                let key = known;
                let reply = send(world, loop_index, |reply| Query::Show { key, reply });
                ("shows", Pending::Show(key, was_open, reply))
            }
            50..=54 => {
                let (key, request) = (known, close_request(4321, "by an operator"));
                let query = |reply| Query::CloseOne { key, request, reply };
                ("closes one", Pending::CloseOne(key, was_open, send(world, loop_index, query)))
            }
            55 => {
                let filter = Arc::new(ConnectionFilter {
                    route: Some("/echo".to_owned()),
                    phase: Some(ConnectionPhase::Open),
                    ..all()
                });
                let (from, request) = (known.index, close_request(4321, "by an operator"));
                let query = |reply| Query::Close { filter, from, request, reply };
                ("closes some", Pending::Close(send(world, loop_index, query)))
            }
            56..=69 => {
                let (key, text) = (known, OPERATORS_TEXT.into());
                let query = |reply| Query::SendOne { key, text, reply };
                ("sends to one", Pending::SendOne(send(world, loop_index, query)))
            }
            70..=74 => {
                let (filter, text) = (Arc::new(all()), OPERATORS_TEXT.into());
                let query = |reply| Query::Send { filter, from: known.index, text, reply };
                ("sends to some", Pending::Send(send(world, loop_index, query)))
            }
            75..=79 => (
                "lists rooms",
                Pending::Rooms(send(world, loop_index, |reply| Query::Rooms { reply })),
            ),
            80..=84 => {
                let text = OPERATORS_TEXT.into();
                let query = |reply| Query::Publish {
                    route: "/broadcast".into(),
                    room: "".into(),
                    text,
                    reply,
                };
                ("publishes", Pending::Publish(send(world, loop_index, query)))
            }
            _ => return self.trace(world, loop_index, random),
        };
        self.pending.push((loop_index, pending));
        format!("{what} of loop {loop_index}, {known:?}")
    }

    /// A connection of a loop that was seen there, or one that never was.
    fn known_on(&self, loop_index: usize, random: &mut Random) -> ConnKey {
        let own = self.known.iter().filter(|peer| usize::from(peer.loop_index) == loop_index);
        let own: Vec<ConnKey> = own.map(|peer| peer.key).collect();
        match own.len() {
            0 => ConnKey { index: 0, generation: 1 },
            count => own[random.below(count)],
        }
    }

    fn go_on_listing(&mut self, world: &World, loop_index: usize, random: &mut Random) -> String {
        if self.pending.iter().any(|(_, pending)| matches!(pending, Pending::List(_))) {
            return "waits for its list".into();
        }
        let walk = self.walk.get_or_insert_with(|| {
            let prefix = format!("{loop_index}/");
            let entries = world.journal.entries();
            let open = entries.open.iter().filter(|name| name.starts_with(&prefix));
            Walk {
                loop_index,
                from: 0,
                count_max: 1 + random.below(4),
                expected: open.cloned().collect(),
                seen: BTreeSet::new(),
            }
        });
        let Walk { loop_index, from, count_max, .. } = *walk;
        let filter = Arc::new(all());
        let query = |reply| Query::List { filter, from, count_max, reply };
        self.pending.push((loop_index, Pending::List(send(world, loop_index, query))));
        format!("lists loop {loop_index} from {from}")
    }

    fn trace(&mut self, world: &World, loop_index: usize, random: &mut Random) -> String {
        if random.percent(50)
            && let Some((loop_index, id, _)) = self.traces.pop()
        {
            // The answer to it is that nothing more comes.
            world
                .server
                .command(loop_index, tidegate::reactor::LoopCommand::Query(Query::Untrace { id }));
            return format!("ends the trace {id:?}");
        }
        if self.traces.len() >= 8 {
            return "has traces enough".into();
        }
        let id = TraceId(self.next_trace);
        self.next_trace += 1;
        let events: Arc<Mutex<Vec<TraceEvent>>> = Arc::default();
        let into = Arc::clone(&events);
        let sink = TraceSink::new(move |event| into.lock().unwrap().push(event));
        let route = ["/echo", "/broadcast", "/relay"][random.below(3)];
        let filter = Arc::new(ConnectionFilter { route: Some(route.to_owned()), ..all() });
        let query = |reply| Query::Trace { id, filter, payload_bytes_max: 10, sink, reply };
        self.pending.push((loop_index, Pending::Trace(send(world, loop_index, query))));
        self.traces.push((loop_index, id, events));
        format!("traces {route} on loop {loop_index}")
    }

    /// Looks at the answers; all loops are at rest.
    pub(crate) fn check(&mut self, world: &World) -> Result<(), String> {
        let entries = world.journal.entries();
        for (loop_index, pending) in std::mem::take(&mut self.pending) {
            let has_ended = world.server.state(loop_index).is_none();
            self.check_one(loop_index, pending, has_ended, &entries)?;
        }
        for (_, id, events) in &self.traces {
            check_trace(&events.lock().unwrap()).map_err(|error| format!("{id:?}: {error}"))?;
        }
        Ok(())
    }

    fn check_one(
        &mut self,
        loop_index: usize,
        pending: Pending,
        has_ended: bool,
        entries: &Entries,
    ) -> Result<(), String> {
        let peer = |key: ConnKey| Peer { loop_index: u16::try_from(loop_index).unwrap_or(0), key };
        match pending {
            Pending::List(reply) => match answer(reply, has_ended)? {
                Some(slice) => self.check_slice(slice, entries)?,
                None => self.walk = None,
            },
            Pending::Show(key, was_open, reply) => {
                let Some(shown) = answer(reply, has_ended)? else { return Ok(()) };
                let is_open = entries.open.contains(&name_of(peer(key)));
                match shown {
                    // One that has opened since may have been asked about too early.
                    None if is_open && was_open => {
                        return Err(format!("{key:?} is open and not shown"));
                    }
                    Some(detail) if detail.summary.peer != peer(key) => {
                        return Err(format!("{key:?} shown as {:?}", detail.summary));
                    }
                    None | Some(_) => {}
                }
            }
            Pending::CloseOne(key, was_open, reply) => {
                let is_closed = answer(reply, has_ended)?.unwrap_or(false);
                self.closed += usize::from(is_closed);
                let end = entries.ends.get(&name_of(peer(key)));
                if is_closed && !matches!(end, Some(CloseReason::Operator(_))) {
                    return Err(format!("{key:?} closed and ended by {end:?}"));
                }
                let is_open = entries.open.contains(&name_of(peer(key)));
                if is_open && (was_open || is_closed) {
                    return Err(format!("{key:?} still open after it was closed"));
                }
            }
            Pending::Close(reply) => {
                self.closed += answer(reply, has_ended)?.map_or(0, |slice| slice.closed);
            }
            Pending::SendOne(reply) => {
                self.sent += usize::from(answer(reply, has_ended)?.unwrap_or(false));
            }
            Pending::Send(reply) => {
                self.sent += answer(reply, has_ended)?.map_or(0, |slice| slice.sent);
            }
            Pending::Rooms(reply) => {
                let Some(RoomSlice { rooms, total }) = answer(reply, has_ended)? else {
                    return Ok(());
                };
                if rooms.len() != total || total > 1 {
                    return Err(format!("one topic is there at most, not {rooms:?}"));
                }
            }
            Pending::Publish(reply) => {
                if answer(reply, has_ended)? == Some(false) {
                    return Err("no such route to publish to".into());
                }
                // To as many as there are members.
                self.sent = usize::MAX / 2;
            }
            Pending::Trace(reply) => drop(answer(reply, has_ended)?),
        }
        Ok(())
    }

    fn check_slice(&mut self, slice: ConnectionSlice, entries: &Entries) -> Result<(), String> {
        let Some(walk) = &mut self.walk else { return Err("a slice of no list".into()) };
        let ConnectionSlice { connections, next } = slice;
        if connections.len() > walk.count_max {
            return Err(format!("{} of at most {}", connections.len(), walk.count_max));
        }
        for row in &connections {
            let is_there = row.peer.key.index >= walk.from
                && next.is_none_or(|next| row.peer.key.index < next)
                && usize::from(row.peer.loop_index) == walk.loop_index;
            if !is_there || !walk.seen.insert(name_of(row.peer)) {
                return Err(format!("listed twice or out of place: {row:?}"));
            }
            let was_open = entries.open.contains(&name_of(row.peer))
                || entries.ends.contains_key(&name_of(row.peer));
            if row.phase == ConnectionPhase::Open && !was_open {
                return Err(format!("open for operators only: {row:?}"));
            }
        }
        self.known.extend(connections.iter().map(|row| row.peer));
        if let Some(next) = next {
            walk.from = next;
            return Ok(());
        }
        let missing =
            walk.expected.difference(&walk.seen).find(|name| entries.open.contains(*name));
        let result =
            missing.map_or(Ok(()), |name| Err(format!("{name} stayed and was not listed")));
        self.walk = None;
        result
    }
}

/// The answer; `None` if the loop has ended.
fn answer<T>(reply: ReplyReceiver<T>, has_ended: bool) -> Result<Option<T>, String> {
    match reply.wait(Duration::ZERO) {
        Ok(answer) => Ok(Some(answer)),
        Err(NoReply::Ended) if has_ended => Ok(None),
        Err(error) => Err(format!("no answer at rest: {error}")),
    }
}

/// Each connection is open first, is closed last if at all, and both once.
fn check_trace(events: &[TraceEvent]) -> Result<(), String> {
    let (mut open, mut closed) = (BTreeSet::new(), BTreeSet::new());
    for event in events {
        let name = name_of(event.peer);
        let is_known = open.contains(&name) && !closed.contains(&name);
        let is_right = match &event.kind {
            TraceEventKind::Open(summary) => {
                summary.peer == event.peer && !closed.contains(&name) && open.insert(name)
            }
            TraceEventKind::Received { bytes, payload, .. } => {
                is_known && payload.len() == *bytes.min(&10)
            }
            TraceEventKind::Sent { bytes, payload, .. } => {
                is_known && (payload.is_empty() || payload.len() == *bytes.min(&10))
            }
            TraceEventKind::Closed(_) => is_known && closed.insert(name),
        };
        if !is_right {
            return Err(format!("out of order: {event:?}"));
        }
    }
    Ok(())
}
