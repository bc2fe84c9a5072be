//! What backends are being asked about connections, and the commands that wait for that.
//!
//! A backend is asked about many channels of a connection at once. But commands about one channel are done in
//! their order, and so are the calls of a connection: those behind a question wait, each by itself, until it
//! is answered. A connection about which nothing is asked and of which nothing is passed on has no entry.

use std::collections::HashMap;
use std::sync::Arc;

use crate::centrifugo::{Command, Method, OwnSubscription, Publish, SubscribeRequest};
use crate::inspect::ChannelAnswer;
use crate::key::ConnKey;
use crate::mail::Reply;
use crate::services::{ClientHeaders, SharedChannelProxy};
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
    asked: Vec<Asked>,
    held: Vec<Held>,
}

/// A command that waits.
struct Held {
    lane: Lane,
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

    fn is(&self, method: &Method<'_>) -> bool {
        match self {
            Self::Channel(own) => method.channel().is_some_and(|channel| *channel == **own),
            Self::Calls => matches!(method, Method::Rpc(_)),
            Self::Apart => false,
        }
    }
}

impl Dialog {
    /// Whether a command is to wait.
    pub(super) fn blocks(&self, method: &Method<'_>) -> bool {
        self.asked.iter().any(|own| own.lane.is(method))
            || self.held.iter().any(|own| own.lane.is(method))
    }

    /// Questions that are not answered, and commands that wait.
    pub(super) fn waiting(&self) -> usize {
        self.asked.len() + self.held.len()
    }

    /// Whether something was asked for this.
    pub(super) fn has_asked(&self, what: &AskedFor) -> bool {
        self.asked.iter().any(|own| own.what == *what)
    }

    /// Has a command wait; the bytes that it takes.
    pub(super) fn hold(&mut self, command: Command<'_>) -> usize {
        let Some(lane) = Lane::of(&command.method) else { return 0 };
        let command = command.into_owned();
        let bytes = command.held_bytes() + size_of::<Held>();
        self.held.push(Held { lane, command, bytes });
        bytes
    }

    /// The first command that waits for nothing any more, and the bytes that it took.
    fn next_free(&mut self) -> Option<(Command<'static>, usize)> {
        let is_free = |(index, own): &(usize, &Held)| {
            !self.asked.iter().any(|asked| asked.lane == own.lane)
                && !self.held.iter().take(*index).any(|before| before.lane == own.lane)
        };
        let position = self.held.iter().enumerate().find(is_free).map(|(index, _)| index)?;
        let Held { command, bytes, .. } = self.held.remove(position);
        self.held.shrink_if_sparse(0);
        Some((command, bytes))
    }

    fn is_empty(&self) -> bool {
        let Self { headers, meta, asked, held } = self;
        headers.is_none() && meta.is_none() && asked.is_empty() && held.is_empty()
    }

    /// What was asked about a connection that is gone, and the bytes that are held for it.
    pub(super) fn into_rest(self) -> (Vec<Asked>, usize) {
        let held = self.held.iter().map(|own| own.bytes).sum::<usize>();
        let bytes = held + self.asked.iter().map(|own| own.bytes).sum::<usize>();
        (self.asked, bytes)
    }
}

/// The connections of a loop of which something is kept because of backends.
#[derive(Default)]
pub(super) struct Dialogs {
    by_key: HashMap<ConnKey, Box<Dialog>>,
    /// Questions that are not answered.
    asked: usize,
    serials_used: u32,
    /// Calls that other backends have made, by the numbers of their questions.
    calls: HashMap<u32, Reply<ChannelAnswer>>,
}

impl Dialogs {
    /// Whether no question waits for an answer: then no command waits either.
    pub(super) fn are_idle(&self) -> bool {
        self.asked == 0
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
        self.entry(key).asked.push(asked);
    }

    /// A question is answered; `None` if its connection is gone.
    pub(super) fn answered(&mut self, key: ConnKey, serial: u32) -> Option<Asked> {
        let dialog = self.by_key.get_mut(&key)?;
        let position = dialog.asked.iter().position(|own| own.serial == serial)?;
        let asked = dialog.asked.swap_remove(position);
        dialog.asked.shrink_if_sparse(0);
        self.asked -= 1;
        Some(asked)
    }

    /// The first command of a connection that waits for nothing any more, and the bytes that it took.
    pub(super) fn next_free(&mut self, key: ConnKey) -> Option<(Command<'static>, usize)> {
        self.by_key.get_mut(&key)?.next_free()
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
    use crate::services::{ChannelProxy, Peer, ProxyRequest};

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
                while let Some((free, _)) = dialogs.next_free(KEY) {
                    ask(&mut dialogs, &mut open, free.id, lane_of(&free));
                }
            }
            while let Some((serial, lane)) = open.pop() {
                prop_assert!(dialogs.answered(KEY, serial).is_some());
                prop_assert!(dialogs.answered(KEY, serial).is_none());
                done.push((serial, lane));
                while let Some((free, _)) = dialogs.next_free(KEY) {
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
