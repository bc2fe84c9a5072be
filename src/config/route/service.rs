//! The built-in services, each with the options that it takes and no others.

use super::{
    ChatOptions, EventsOptions, ForwardOptions, PublishOptions, RelayOptions, RoomOptions,
    WebSocketOptions,
};
use crate::config::declare::{Entry, Keys as _};
use crate::config::reader::TableReader;
use crate::config::refusal::Refusal;
use crate::config::word::Word as _;
use crate::services::Order;

/// What answers on a route, with its options. `W` are the options of a route that speaks WebSocket:
/// as they are configured, or resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteService<W = WebSocketOptions> {
    /// Sends every message to all connections of the route, the sender's too.
    Broadcast {
        /// What every WebSocket route has.
        websocket: W,
        /// In which order the connections see messages.
        order: Order,
    },
    /// Channels with history and presence, for clients that speak the Centrifugo client protocol.
    Channels {
        /// What every WebSocket route has.
        websocket: W,
    },
    /// Answers a plain GET with the page of a chat on channels, and logs its users in.
    Chat {
        /// Who is logged in.
        chat: ChatOptions,
    },
    /// Sends every message back.
    Echo {
        /// What every WebSocket route has.
        websocket: W,
    },
    /// Tells a backend that speaks plain HTTP of connections and messages.
    Events {
        /// What every WebSocket route has.
        websocket: W,
        /// How requests are passed on.
        forward: ForwardOptions,
        /// How the backend is told.
        events: Box<EventsOptions>,
    },
    /// Answers a plain GET with the page of the hall, whose members log in with tokens.
    Hall,
    /// Answers a plain GET with the chat page.
    Page,
    /// Passes requests on to a server of an upstream, and then all that either side sends.
    Relay {
        /// What every WebSocket route has, of which the origins hold here.
        websocket: W,
        /// How requests are passed on.
        forward: ForwardOptions,
        /// What is passed on after them.
        relay: RelayOptions,
    },
    /// Sends every message to all members of the sender's room, under its name.
    Room {
        /// What every WebSocket route has.
        websocket: W,
        /// In which order the members see messages.
        order: Order,
        /// How the room works.
        room: RoomOptions,
    },
}

/// The word for a [`RouteService`] in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceKind {
    /// [`RouteService::Broadcast`].
    Broadcast,
    /// [`RouteService::Channels`].
    Channels,
    /// [`RouteService::Chat`].
    Chat,
    /// [`RouteService::Echo`].
    Echo,
    /// [`RouteService::Events`].
    Events,
    /// [`RouteService::Hall`].
    Hall,
    /// [`RouteService::Page`].
    Page,
    /// [`RouteService::Relay`].
    Relay,
    /// [`RouteService::Room`].
    Room,
}

impl RouteService {
    /// A service with the default of all its options.
    pub fn new(kind: ServiceKind) -> Self {
        let websocket = WebSocketOptions::default();
        let order = PublishOptions::default().order;
        match kind {
            ServiceKind::Broadcast => Self::Broadcast { websocket, order },
            ServiceKind::Channels => Self::Channels { websocket },
            ServiceKind::Chat => Self::Chat { chat: ChatOptions::default() },
            ServiceKind::Echo => Self::Echo { websocket },
            ServiceKind::Events => Self::Events {
                websocket,
                forward: ForwardOptions::to_none(),
                events: Box::default(),
            },
            ServiceKind::Hall => Self::Hall,
            ServiceKind::Page => Self::Page,
            ServiceKind::Relay => Self::Relay {
                websocket,
                forward: ForwardOptions::to_none(),
                relay: RelayOptions::default(),
            },
            ServiceKind::Room => Self::Room { websocket, order, room: RoomOptions::default() },
        }
    }

    pub(in crate::config) fn read(
        kind: ServiceKind,
        table: &TableReader<'_>,
    ) -> Result<Self, Refusal> {
        let websocket = || WebSocketOptions::read(table);
        let order = || PublishOptions::read(table).map(|publish| publish.order);
        Ok(match kind {
            ServiceKind::Broadcast => Self::Broadcast { websocket: websocket()?, order: order()? },
            ServiceKind::Channels => Self::Channels { websocket: websocket()? },
            ServiceKind::Chat => Self::Chat { chat: ChatOptions::read(table)? },
            ServiceKind::Echo => Self::Echo { websocket: websocket()? },
            ServiceKind::Events => Self::Events {
                websocket: websocket()?,
                forward: ForwardOptions::read(table)?,
                events: Box::new(EventsOptions::read(table)?),
            },
            ServiceKind::Hall => Self::Hall,
            ServiceKind::Page => Self::Page,
            ServiceKind::Relay => Self::Relay {
                websocket: websocket()?,
                forward: ForwardOptions::read(table)?,
                relay: RelayOptions::read(table)?,
            },
            ServiceKind::Room => Self::Room {
                websocket: websocket()?,
                order: order()?,
                room: RoomOptions::read(table)?,
            },
        })
    }

    /// Every key that the service takes, with its value.
    pub(in crate::config) fn entries(&self) -> Vec<Entry> {
        let mut entries = self.websocket().map(WebSocketOptions::entries).unwrap_or_default();
        match self {
            Self::Broadcast { order, .. } | Self::Room { order, .. } => {
                entries.extend(PublishOptions { order: *order }.entries());
            }
            Self::Channels { .. }
            | Self::Chat { .. }
            | Self::Echo { .. }
            | Self::Events { .. }
            | Self::Hall
            | Self::Page
            | Self::Relay { .. } => {}
        }
        entries.extend(self.forward().map(ForwardOptions::entries).unwrap_or_default());
        entries.extend(self.chat().map(ChatOptions::entries).unwrap_or_default());
        entries.extend(self.events().map(EventsOptions::entries).unwrap_or_default());
        entries.extend(self.relay().map(RelayOptions::entries).unwrap_or_default());
        entries.extend(self.room().map(RoomOptions::entries).unwrap_or_default());
        entries
    }
}

impl<W> RouteService<W> {
    /// Which service this is.
    pub fn kind(&self) -> ServiceKind {
        match self {
            Self::Broadcast { .. } => ServiceKind::Broadcast,
            Self::Channels { .. } => ServiceKind::Channels,
            Self::Chat { .. } => ServiceKind::Chat,
            Self::Echo { .. } => ServiceKind::Echo,
            Self::Events { .. } => ServiceKind::Events,
            Self::Hall => ServiceKind::Hall,
            Self::Page => ServiceKind::Page,
            Self::Relay { .. } => ServiceKind::Relay,
            Self::Room { .. } => ServiceKind::Room,
        }
    }

    /// The word for it in a file.
    pub fn word(&self) -> &'static str {
        self.kind().name()
    }

    /// Whether it speaks WebSocket, rather than answering plain requests.
    pub fn is_websocket(&self) -> bool {
        self.websocket().is_some()
    }

    /// The options of a service that speaks WebSocket.
    pub fn websocket(&self) -> Option<&W> {
        match self {
            Self::Broadcast { websocket, .. }
            | Self::Channels { websocket }
            | Self::Echo { websocket }
            | Self::Events { websocket, .. }
            | Self::Relay { websocket, .. }
            | Self::Room { websocket, .. } => Some(websocket),
            Self::Chat { .. } | Self::Hall | Self::Page => None,
        }
    }

    /// The same, to be changed.
    pub fn websocket_mut(&mut self) -> Option<&mut W> {
        match self {
            Self::Broadcast { websocket, .. }
            | Self::Channels { websocket }
            | Self::Echo { websocket }
            | Self::Events { websocket, .. }
            | Self::Relay { websocket, .. }
            | Self::Room { websocket, .. } => Some(websocket),
            Self::Chat { .. } | Self::Hall | Self::Page => None,
        }
    }

    /// How requests are passed on, by a service that does so.
    pub fn forward(&self) -> Option<&ForwardOptions> {
        match self {
            Self::Events { forward, .. } | Self::Relay { forward, .. } => Some(forward),
            Self::Broadcast { .. }
            | Self::Channels { .. }
            | Self::Chat { .. }
            | Self::Echo { .. }
            | Self::Hall
            | Self::Page
            | Self::Room { .. } => None,
        }
    }

    /// The options of a chat.
    pub fn chat(&self) -> Option<&ChatOptions> {
        match self {
            Self::Chat { chat } => Some(chat),
            Self::Broadcast { .. }
            | Self::Channels { .. }
            | Self::Echo { .. }
            | Self::Events { .. }
            | Self::Hall
            | Self::Page
            | Self::Relay { .. }
            | Self::Room { .. } => None,
        }
    }

    /// How a backend is told of events.
    pub fn events(&self) -> Option<&EventsOptions> {
        match self {
            Self::Events { events, .. } => Some(events),
            Self::Broadcast { .. }
            | Self::Channels { .. }
            | Self::Chat { .. }
            | Self::Echo { .. }
            | Self::Hall
            | Self::Page
            | Self::Relay { .. }
            | Self::Room { .. } => None,
        }
    }

    /// The options of a room.
    pub fn room(&self) -> Option<&RoomOptions> {
        match self {
            Self::Room { room, .. } => Some(room),
            Self::Broadcast { .. }
            | Self::Channels { .. }
            | Self::Chat { .. }
            | Self::Echo { .. }
            | Self::Events { .. }
            | Self::Hall
            | Self::Page
            | Self::Relay { .. } => None,
        }
    }

    /// The options of a relay.
    pub fn relay(&self) -> Option<&RelayOptions> {
        match self {
            Self::Relay { relay, .. } => Some(relay),
            Self::Broadcast { .. }
            | Self::Channels { .. }
            | Self::Chat { .. }
            | Self::Echo { .. }
            | Self::Events { .. }
            | Self::Hall
            | Self::Page
            | Self::Room { .. } => None,
        }
    }

    /// The same service with other options of the WebSocket route.
    pub(in crate::config) fn with_websocket<V>(&self, make: impl Fn(&W) -> V) -> RouteService<V> {
        match self {
            Self::Broadcast { websocket, order } => {
                RouteService::Broadcast { websocket: make(websocket), order: *order }
            }
            Self::Channels { websocket } => RouteService::Channels { websocket: make(websocket) },
            Self::Chat { chat } => RouteService::Chat { chat: chat.clone() },
            Self::Echo { websocket } => RouteService::Echo { websocket: make(websocket) },
            Self::Events { websocket, forward, events } => RouteService::Events {
                websocket: make(websocket),
                forward: forward.clone(),
                events: events.clone(),
            },
            Self::Hall => RouteService::Hall,
            Self::Page => RouteService::Page,
            Self::Relay { websocket, forward, relay } => RouteService::Relay {
                websocket: make(websocket),
                forward: forward.clone(),
                relay: relay.clone(),
            },
            Self::Room { websocket, order, room } => {
                RouteService::Room { websocket: make(websocket), order: *order, room: room.clone() }
            }
        }
    }
}
