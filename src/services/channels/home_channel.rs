//! A channel at its home: how many members it has in each format, and the topics that they hear.
//!
//! What is published is encoded once for each format in which there are members, and members that speak Protobuf
//! hear topics of their own. The topics of those who speak JSON are those that [`ChannelRef`] has, so a channel
//! without members of the other kind costs nothing more.

use std::sync::Arc;

use super::awaiting::RareMembers;
use super::channel_ref::ChannelRef;
use super::to_home::Dismissal;
use crate::centrifugo::Format;
use crate::channels::Presence;
use crate::services::{Effects, Order, Peer};
use crate::ws::EncodedFrame;

/// A channel with members.
#[derive(Debug)]
pub(super) struct HomeChannel {
    pub(super) channel: Arc<ChannelRef>,
    json_members: u32,
    /// Whether something was published that members which speak JSON cannot be given. Those who were there
    /// then have to go, and are given nothing more; none is let in before they are gone.
    is_closed_to_json: bool,
    /// Whether a member was let in since there is one, and that is told.
    pub(super) is_occupied: bool,
    /// Whether what is published reaches this home, where the engine is elsewhere.
    pub(super) is_heard: bool,
    /// `None` where no member speaks Protobuf.
    protobuf: Option<Box<ProtobufMembers>>,
    /// `None` where nothing is told of members.
    pub(super) presence: Option<Box<Presence<Peer>>>,
    /// What few channels have.
    pub(super) rare: Option<Box<RareMembers>>,
}

#[derive(Debug)]
struct ProtobufMembers {
    count: u32,
    topic: Arc<str>,
    joins: Arc<str>,
}

/// What is published to members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Publications,
    /// Who comes and goes, for those who asked, or for all.
    Joins,
}

impl HomeChannel {
    /// A channel without members yet.
    pub(super) fn new(channel: &Arc<ChannelRef>) -> Self {
        let channel = Arc::clone(channel);
        Self {
            channel,
            json_members: 0,
            is_closed_to_json: false,
            is_occupied: false,
            is_heard: false,
            protobuf: None,
            presence: None,
            rare: None,
        }
    }

    /// Members of all formats, those included that are refused and have yet to leave.
    pub(super) fn members(&self) -> u32 {
        self.json_members + self.protobuf.as_ref().map_or(0, |own| own.count)
    }

    /// One more member. It hears nothing before [`HomeChannel::subscribe`].
    pub(super) fn add(&mut self, format: Format) {
        match format {
            Format::Json => self.json_members += 1,
            Format::Protobuf => {
                let name = &self.channel.name;
                let own = self.protobuf.get_or_insert_with(|| ProtobufMembers::of(name));
                own.count += 1;
            }
        }
    }

    /// A member less.
    pub(super) fn remove(&mut self, format: Format) {
        match format {
            Format::Json => {
                self.json_members = self.json_members.saturating_sub(1);
                self.is_closed_to_json &= self.json_members > 0;
            }
            Format::Protobuf => {
                if let Some(own) = &mut self.protobuf {
                    own.count = own.count.saturating_sub(1);
                    if own.count == 0 {
                        self.protobuf = None;
                    }
                }
            }
        }
    }

    /// Members that speak JSON get nothing from now on. Whether there are any that are to be told.
    pub(super) fn close_to_json(&mut self) -> bool {
        let is_news = self.json_members > 0 && !self.is_closed_to_json;
        self.is_closed_to_json |= is_news;
        is_news
    }

    /// Whether a new member cannot be let in for now.
    pub(super) fn is_closed_to(&self, format: Format) -> bool {
        format == Format::Json && self.is_closed_to_json
    }

    /// A member hears what is published. The channel is as the member knows it, as its options may have
    /// changed meanwhile.
    pub(super) fn subscribe(
        &self,
        channel: &ChannelRef,
        peer: Peer,
        format: Format,
        hears_joins: bool,
        effects: &mut Effects<'_>,
    ) {
        if let Some((topic, joins)) = self.topics(channel, format) {
            effects.subscribe(peer, topic);
            if let Some(joins) = joins.filter(|_| hears_joins) {
                effects.subscribe(peer, joins);
            }
        }
    }

    /// Those who are members now, and speak this, are given no publication any more. They have yet to leave.
    pub(super) fn dismiss(&mut self, format: Format, why: Dismissal, effects: &mut Effects<'_>) {
        if let Some((topic, _)) = self.topics(&self.channel, format) {
            effects.dismiss(topic, why.number());
        }
        if let Some(rare) = &mut self.rare {
            rare.dismiss(format, why);
        }
    }

    /// As above, whatever they speak.
    pub(super) fn dismiss_all(&mut self, why: Dismissal, effects: &mut Effects<'_>) {
        for format in [Format::Json, Format::Protobuf] {
            self.dismiss(format, why, effects);
        }
    }

    /// A member hears nothing more.
    pub(super) fn unsubscribe(
        &self,
        channel: &ChannelRef,
        peer: Peer,
        format: Format,
        effects: &mut Effects<'_>,
    ) {
        if let Some((topic, joins)) = self.topics(channel, format) {
            effects.unsubscribe(peer, topic);
            if let Some(joins) = joins {
                effects.unsubscribe(peer, joins);
            }
        }
    }

    /// Publishes what `encode` writes, which is called once for each format that has members.
    pub(super) fn publish(
        &mut self,
        channel: &ChannelRef,
        what: Topic,
        effects: &mut Effects<'_>,
        mut encode: impl FnMut(Format) -> EncodedFrame,
    ) {
        let hears_json = self.json_members > 0 && !self.is_closed_to_json;
        let speaks_protobuf = self.protobuf.is_some();
        let mut rare = self.rare.take();
        let mut encode = |format| {
            let frame = encode(format);
            if let Some(rare) = &mut rare {
                let is_apart = what == Topic::Joins && channel.joins.is_some();
                rare.keep(&frame, format, is_apart);
            }
            frame
        };
        let json = hears_json.then(|| encode(Format::Json));
        let protobuf = speaks_protobuf.then(|| encode(Format::Protobuf));
        self.rare = rare;
        let topic = |format| {
            let (topic, joins) = self.topics(channel, format)?;
            Some(if what == Topic::Joins { joins.unwrap_or(topic) } else { topic })
        };
        let json = topic(Format::Json).zip(json);
        match (json, topic(Format::Protobuf).zip(protobuf)) {
            (Some((topic, frame)), None) | (None, Some((topic, frame))) => {
                effects.publish(topic, frame, Order::Sender);
            }
            (Some(json), Some(own)) => effects.publish_each([json, own], None, Order::Sender),
            (None, None) => {}
        }
    }

    pub(super) fn forget_rare(&mut self) {
        self.rare.take_if(|own| own.is_empty());
    }

    /// The topic of publications, and that of who comes and goes if it is another; `None` where no member
    /// speaks that.
    fn topics<'t>(
        &'t self,
        channel: &'t ChannelRef,
        format: Format,
    ) -> Option<(&'t Arc<str>, Option<&'t Arc<str>>)> {
        match format {
            Format::Json => Some((&channel.name, channel.joins.as_ref())),
            Format::Protobuf => {
                let own = self.protobuf.as_ref()?;
                Some((&own.topic, channel.joins.is_some().then_some(&own.joins)))
            }
        }
    }
}

impl ProtobufMembers {
    fn of(name: &str) -> Box<Self> {
        let joins = Arc::from(format!("{PROTOBUF}\n{name}"));
        Box::new(Self { count: 0, topic: format!("{PROTOBUF}{name}").into(), joins })
    }
}

/// The topic of a channel's publications for those who speak this.
pub(super) fn topic_in(format: Format, name: &Arc<str>) -> Arc<str> {
    match format {
        Format::Json => Arc::clone(name),
        Format::Protobuf => format!("{PROTOBUF}{name}").into(),
    }
}

/// The channel of such a topic.
pub(super) fn channel_of(topic: &str) -> &str {
    topic.strip_prefix(PROTOBUF).unwrap_or(topic)
}

/// What topics begin with that those hear who speak Protobuf. No channel has a control character in its name.
const PROTOBUF: char = '\r';
