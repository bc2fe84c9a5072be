//! What backends are being asked about connections, and the commands that wait for that.
//!
//! A backend is asked about many channels of a connection at once. But commands about one channel are done in
//! their order, and so are the calls of a connection: those behind a question wait, each by itself, until it
//! is answered. A connection about which nothing is asked and of which nothing is passed on has no entry.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::centrifugo::{Command, Method, OwnSubscription, Publish, SubscribeRequest};
use crate::inspect::ChannelAnswer;
use crate::key::ConnKey;
use crate::mail::Reply;
use crate::services::{ClientHeaders, Peer, SharedChannelProxy};
use crate::shrink::Shrink as _;

/// Which commands wait behind which questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Those about this channel.
    Channel(Box<str>),
    /// Calls.
    Calls,
    /// None.
    Apart,
}

/// What a question was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AskedFor {
    /// The command with this ID, and where the client was before in channels that the server has given it.
    Connect(u32, Vec<(String, OwnSubscription<'static>)>),
    /// The time of the connection has expired.
    Refresh,
    /// The time of the subscription with this number has expired.
    SubRefresh(u16),
    /// The command with this ID.
    Subscribe(u32, Box<SubscribeRequest<'static>>),
    /// The command with this ID.
    Publish(u32, Box<Publish<'static>>),
    /// The command with this ID.
    Call(u32),
}

/// A question that is not answered yet.
pub(super) struct Asked {
    pub(super) serial: u32,
    pub(super) lane: Lane,
    pub(super) what: AskedFor,
    pub(super) proxy: SharedChannelProxy,
    /// Bytes that were charged for it.
    pub(super) bytes: usize,
}

/// What is kept of a connection because of backends.
#[derive(Default)]
pub(super) struct Dialog {
    /// What of its request is passed on.
    pub(super) headers: Option<Arc<ClientHeaders>>,
    /// What a backend wants to be told of it, as JSON.
    pub(super) meta: Option<Arc<[u8]>>,
    /// By their numbers.
    asked: BTreeMap<u32, Asked>,
    /// What is asked whether it lasts longer: the connection, or subscriptions by their numbers.
    renewed: BTreeSet<Option<u16>>,
    /// By their lanes, so that none has to be looked for among those of others.
    calls: Waiting,
    channels: HashMap<Box<str>, Waiting>,
    /// Commands that wait, in all lanes.
    held: usize,
}

/// A lane in which something is asked, or waits.
#[derive(Default)]
struct Waiting {
    /// Questions that are not answered.
    asked: usize,
    held: VecDeque<Held>,
}

/// A command that waits.
struct Held {
    command: Command<'static>,
    bytes: usize,
}

impl Lane {
    /// That of a command; `None` for one that never waits.
    fn of(method: &Method<'_>) -> Option<Self> {
        match method {
            Method::Rpc(_) => Some(Self::Calls),
            Method::Subscribe(_)
            | Method::Unsubscribe(_)
            | Method::Publish(_)
            | Method::Presence(_)
            | Method::PresenceStats(_)
            | Method::History(_)
            | Method::SubRefresh(..) => method.channel().map(|own| Self::Channel(own.into())),
            Method::Connect(_)
            | Method::Send
            | Method::Refresh(_)
            | Method::Pong
            | Method::Unknown => None,
        }
    }
}

impl AskedFor {
    /// What is to last longer, if it is that.
    fn renewed(&self) -> Option<Option<u16>> {
        match self {
            Self::Refresh => Some(None),
            Self::SubRefresh(serial) => Some(Some(*serial)),
            Self::Connect(..) | Self::Subscribe(..) | Self::Publish(..) | Self::Call(_) => None,
        }
    }
}

impl Waiting {
    fn is_busy(&self) -> bool {
        self.asked > 0 || !self.held.is_empty()
    }
}

impl Dialog {
    /// Whether a command is to wait.
    pub(super) fn blocks(&self, method: &Method<'_>) -> bool {
        match method {
            Method::Rpc(_) => self.calls.is_busy(),
            Method::Connect(_)
            | Method::Subscribe(_)
            | Method::Unsubscribe(_)
            | Method::Publish(_)
            | Method::Presence(_)
            | Method::PresenceStats(_)
            | Method::History(_)
            | Method::Send
            | Method::Refresh(_)
            | Method::SubRefresh(..)
            | Method::Pong
            | Method::Unknown => {
                let own = method.channel().and_then(|channel| self.channels.get(channel));
                own.is_some_and(Waiting::is_busy)
            }
        }
    }

    /// Questions that are not answered, and commands that wait.
    pub(super) fn waiting(&self) -> usize {
        self.asked.len() + self.held
    }

    /// Whether it is asked whether the connection lasts longer, or the subscription with this number.
    pub(super) fn is_renewed(&self, serial: Option<u16>) -> bool {
        self.renewed.contains(&serial)
    }

    /// Has a command wait; the bytes that it takes.
    pub(super) fn hold(&mut self, command: Command<'_>) -> usize {
        let Some(lane) = Lane::of(&command.method) else { return 0 };
        let command = command.into_owned();
        let bytes = command.held_bytes() + size_of::<Held>();
        if let Some(waiting) = self.lane_mut(lane) {
            waiting.held.push_back(Held { command, bytes });
            self.held += 1;
        }
        bytes
    }

    fn ask(&mut self, asked: Asked) {
        self.renewed.extend(asked.what.renewed());
        if let Some(waiting) = self.lane_mut(asked.lane.clone()) {
            waiting.asked += 1;
        }
        self.asked.insert(asked.serial, asked);
    }

    fn answered(&mut self, serial: u32) -> Option<Asked> {
        let asked = self.asked.remove(&serial)?;
        if self.asked.is_empty() {
            // An empty one may keep room.
            (self.asked, self.renewed) = (BTreeMap::new(), BTreeSet::new());
        } else if let Some(renewed) = asked.what.renewed() {
            self.renewed.remove(&renewed);
        }
        if let Some(waiting) = self.lane_mut(asked.lane.clone()) {
            waiting.asked -= 1;
        }
        self.tidy(&asked.lane);
        Some(asked)
    }

    /// The first command of a lane, if it waits for nothing any more, and the bytes that it took.
    fn next_free(&mut self, lane: &Lane) -> Option<(Command<'static>, usize)> {
        let waiting = match lane {
            Lane::Channel(own) => self.channels.get_mut(own),
            Lane::Calls => Some(&mut self.calls),
            Lane::Apart => None,
        };
        let waiting = waiting.filter(|own| own.asked == 0)?;
        let Held { command, bytes } = waiting.held.pop_front()?;
        waiting.held.shrink_if_sparse(0);
        self.held -= 1;
        self.tidy(lane);
        Some((command, bytes))
    }

    fn lane_mut(&mut self, lane: Lane) -> Option<&mut Waiting> {
        match lane {
            Lane::Channel(own) => Some(self.channels.entry(own).or_default()),
            Lane::Calls => Some(&mut self.calls),
            Lane::Apart => None,
        }
    }

    /// Keeps nothing of a lane in which nothing waits.
    fn tidy(&mut self, lane: &Lane) {
        if let Lane::Channel(own) = lane
            && self.channels.get(own).is_some_and(|waiting| !waiting.is_busy())
        {
            self.channels.remove(own);
            self.channels.shrink_if_sparse(0);
        }
    }

    fn is_empty(&self) -> bool {
        let Self { headers, meta, asked, renewed: _, calls: _, channels: _, held } = self;
        headers.is_none() && meta.is_none() && asked.is_empty() && *held == 0
    }

    /// What was asked about a connection that is gone, and the bytes that are held for it.
    pub(super) fn into_rest(self) -> (Vec<Asked>, usize) {
        let lanes = self.channels.into_values().chain([self.calls]);
        let held: usize = lanes.flat_map(|own| own.held).map(|own| own.bytes).sum();
        let asked: Vec<Asked> = self.asked.into_values().collect();
        let bytes = held + asked.iter().map(|own| own.bytes).sum::<usize>();
        (asked, bytes)
    }
}

/// The connections of a loop of which something is kept because of backends.
#[derive(Default)]
pub(super) struct Dialogs {
    by_key: HashMap<ConnKey, Box<Dialog>>,
    /// Questions that are not answered.
    asked: usize,
    serials_used: u32,
    /// Lanes in which nothing is asked any more, and in which commands wait for their turn; of connections that are
    /// gone too, until then.
    free: VecDeque<(Peer, Lane)>,
    /// Calls that other backends have made, by the numbers of their questions.
    calls: HashMap<u32, Reply<ChannelAnswer>>,
}

impl Dialogs {
    /// Whether no question waits for an answer, and so no command.
    pub(super) fn are_idle(&self) -> bool {
        self.asked == 0 && self.free.is_empty()
    }

    pub(super) fn get(&self, key: ConnKey) -> Option<&Dialog> {
        self.by_key.get(&key).map(|own| &**own)
    }

    /// Bytes that are kept of a connection as long as it is there.
    pub(super) fn kept_bytes(&self, key: ConnKey) -> usize {
        self.get(key).map_or(0, |own| {
            let headers = own.headers.as_ref().map_or(0, |own| own.held_bytes());
            headers + own.meta.as_ref().map_or(0, |own| own.len())
        })
    }

    /// What is kept of a connection, from now on in any case.
    pub(super) fn entry(&mut self, key: ConnKey) -> &mut Dialog {
        self.by_key.entry(key).or_default()
    }

    /// A number for a question.
    pub(super) fn next_serial(&mut self) -> u32 {
        self.serials_used = self.serials_used.wrapping_add(1);
        self.serials_used
    }

    /// A question is asked about a connection.
    pub(super) fn ask(&mut self, key: ConnKey, asked: Asked) {
        self.asked += 1;
        self.entry(key).ask(asked);
    }

    /// A question is answered; `None` if its connection is gone.
    pub(super) fn answered(&mut self, key: ConnKey, serial: u32) -> Option<Asked> {
        let asked = self.by_key.get_mut(&key)?.answered(serial)?;
        self.asked -= 1;
        Some(asked)
    }

    /// The first command of a connection in a lane, if it waits for nothing any more, and the bytes that it took.
    pub(super) fn next_free(
        &mut self,
        key: ConnKey,
        lane: &Lane,
    ) -> Option<(Command<'static>, usize)> {
        self.by_key.get_mut(&key)?.next_free(lane)
    }

    /// The commands of a lane wait for their turn.
    pub(super) fn put_off(&mut self, peer: Peer, lane: Lane) {
        self.free.push_back((peer, lane));
    }

    /// The lane whose turn it is.
    pub(super) fn next_lane(&mut self) -> Option<(Peer, Lane)> {
        let next = self.free.pop_front();
        self.free.shrink_if_sparse(0);
        next
    }

    /// Whether commands wait for their turn.
    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// A backend waits for the answer to the question with this number.
    pub(super) fn await_call(&mut self, serial: u32, reply: Reply<ChannelAnswer>) {
        self.calls.insert(serial, reply);
    }

    /// The backend that waits for the answer to this question.
    pub(super) fn take_call(&mut self, serial: u32) -> Option<Reply<ChannelAnswer>> {
        let reply = self.calls.remove(&serial);
        self.calls.shrink_if_sparse(DIALOGS_KEPT);
        reply
    }

    /// Keeps nothing of a connection of which nothing is to be kept.
    pub(super) fn tidy(&mut self, key: ConnKey) {
        if self.by_key.get(&key).is_some_and(|own| own.is_empty()) {
            self.by_key.remove(&key);
            self.by_key.shrink_if_sparse(DIALOGS_KEPT);
        }
    }

    /// A connection is gone.
    pub(super) fn remove(&mut self, key: ConnKey) -> Option<Box<Dialog>> {
        let dialog = self.by_key.remove(&key)?;
        self.asked -= dialog.asked.len();
        self.by_key.shrink_if_sparse(DIALOGS_KEPT);
        Some(dialog)
    }
}

impl std::fmt::Debug for Dialogs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (connections, asked) = (self.by_key.len(), self.asked);
        f.debug_struct("Dialogs")
            .field("connections", &connections)
            .field("asked", &asked)
            .finish_non_exhaustive()
    }
}

/// Entries for which the map keeps room.
const DIALOGS_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::centrifugo::Rpc;
    use crate::services::{ChannelProxy, ProxyRequest};

    struct Nothing;

    impl ChannelProxy for Nothing {
        fn ask(&self, _: ProxyRequest) {}
        fn cancel(&self, _: Peer) {}
    }

    const KEY: ConnKey = ConnKey { index: 1, generation: 1 };

    fn asked(serial: u32, lane: Lane) -> Asked {
        let proxy = Arc::new(Nothing) as SharedChannelProxy;
        Asked { serial, lane, what: AskedFor::Call(serial), proxy, bytes: 0 }
    }

    fn command(id: u32, lane: usize) -> Command<'static> {
        let method = match lane {
            0 => Method::Rpc(Rpc::default()),
            lane => Method::Unsubscribe(lane.to_string().into()),
        };
        Command { id, method }
    }

    proptest! {
        /// However commands come and answers go, those of one lane are done in their order, no two questions
        /// of a lane are open at once, and in the end nothing is kept.
        #[test]
        fn each_lane_keeps_its_order(
            lanes in prop::collection::vec(0_usize..4, 1..40),
            answers: Vec<prop::sample::Index>,
        ) {
            let mut dialogs = Dialogs::default();
            let mut open: Vec<(u32, usize)> = Vec::new();
            let mut done: Vec<(u32, usize)> = Vec::new();
            let mut answers = answers.into_iter();
            let ask = |dialogs: &mut Dialogs, open: &mut Vec<_>, id: u32, lane: usize| {
                let own = Lane::of(&command(id, lane).method).unwrap();
                assert!(!open.iter().any(|(_, other)| *other == lane));
                dialogs.ask(KEY, asked(id, own));
                open.push((id, lane));
            };
            let lane_of = |own: &Command<'_>| own.method.channel().map_or(0, |own| own.parse().unwrap());
            for (id, lane) in (1_u32..).zip(&lanes) {
                let own = command(id, *lane);
                if dialogs.get(KEY).is_some_and(|dialog| dialog.blocks(&own.method)) {
                    dialogs.entry(KEY).hold(own);
                } else {
                    ask(&mut dialogs, &mut open, id, *lane);
                }
                let Some(answer) = answers.next().filter(|_| !open.is_empty()) else { continue };
                let (serial, lane) = open.swap_remove(answer.index(open.len()));
                prop_assert!(dialogs.answered(KEY, serial).is_some());
                done.push((serial, lane));
                let own = Lane::of(&command(serial, lane).method).unwrap();
                while let Some((free, _)) = dialogs.next_free(KEY, &own) {
                    ask(&mut dialogs, &mut open, free.id, lane_of(&free));
                }
            }
            while let Some((serial, lane)) = open.pop() {
                prop_assert!(dialogs.answered(KEY, serial).is_some());
                prop_assert!(dialogs.answered(KEY, serial).is_none());
                done.push((serial, lane));
                let own = Lane::of(&command(serial, lane).method).unwrap();
                while let Some((free, _)) = dialogs.next_free(KEY, &own) {
                    ask(&mut dialogs, &mut open, free.id, lane_of(&free));
                }
            }
            for lane in 0..4 {
                let of_lane = |all: Vec<(u32, usize)>| -> Vec<u32> {
                    all.into_iter().filter(|(_, own)| *own == lane).map(|(id, _)| id).collect()
                };
                let sent = (1_u32..).zip(lanes.iter().copied()).collect();
                prop_assert_eq!(of_lane(done.clone()), of_lane(sent));
            }
            dialogs.tidy(KEY);
            prop_assert!(dialogs.are_idle() && dialogs.get(KEY).is_none());
        }
    }

    /// As many as may wait, each behind a question of its own: if all of them were looked at for each, this would
    /// take minutes.
    #[test]
    fn no_command_is_looked_for_among_others() {
        const COUNT: u32 = 65_536;
        let mut dialogs = Dialogs::default();
        let lane = |number: u32| Lane::Channel(number.to_string().into());
        let waits = |number: u32| command(COUNT + number, number as usize);
        for number in 1..=COUNT {
            let what = AskedFor::SubRefresh(u16::try_from(number % 1000).unwrap());
            dialogs.ask(KEY, Asked { what, ..asked(number, lane(number)) });
            assert!(
                dialogs.get(KEY).unwrap().is_renewed(Some(u16::try_from(number % 1000).unwrap()))
            );
            assert!(dialogs.get(KEY).unwrap().blocks(&waits(number).method));
            dialogs.entry(KEY).hold(waits(number));
        }
        assert_eq!(dialogs.get(KEY).unwrap().waiting(), 2 * COUNT as usize);
        for number in (1..=COUNT).rev() {
            assert!(dialogs.next_free(KEY, &lane(number)).is_none());
            let answered = dialogs.answered(KEY, number).unwrap();
            let (free, _) = dialogs.next_free(KEY, &answered.lane).unwrap();
            assert_eq!(free.id, COUNT + number);
            assert!(dialogs.next_free(KEY, &answered.lane).is_none());
        }
        dialogs.tidy(KEY);
        assert!(dialogs.are_idle() && dialogs.get(KEY).is_none());
    }

    #[test]
    fn what_is_kept_of_a_connection_grows_and_shrinks_with_what_waits() {
        let mut dialogs = Dialogs::default();
        dialogs.entry(KEY).meta = Some(b"1".as_slice().into());
        for number in 1..100 {
            let lane = Lane::Channel(number.to_string().into());
            dialogs.ask(KEY, asked(number, lane));
            dialogs.entry(KEY).hold(command(1000 + number, number as usize));
        }
        for number in 1..100 {
            let lane = dialogs.answered(KEY, number).unwrap().lane;
            assert!(dialogs.next_free(KEY, &lane).is_some());
        }
        let own = dialogs.get(KEY).unwrap();
        assert_eq!((own.channels.capacity(), own.calls.held.capacity(), own.held), (0, 0, 0));
    }

    #[test]
    fn a_connection_that_goes_leaves_nothing() {
        let mut dialogs = Dialogs::default();
        dialogs.ask(KEY, Asked { bytes: 5, ..asked(1, Lane::Calls) });
        let held = dialogs.entry(KEY).hold(command(2, 0));
        let (asked, bytes) = dialogs.remove(KEY).unwrap().into_rest();
        assert_eq!((asked.len(), bytes), (1, 5 + held));
        assert!(dialogs.are_idle() && dialogs.answered(KEY, 1).is_none());
    }
}
