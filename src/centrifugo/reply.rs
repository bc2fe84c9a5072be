//! What a client is answered and told.

use std::sync::Arc;

use crate::channels::{ClientId, ClientInfo, Page, Position};

/// When a credential must be renewed, in seconds from now; 0 if the client does not have to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ttl(pub u32);

/// What a command leads to, other than an error.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply<'r> {
    /// The client is connected.
    Connected(Connected<'r>),
    /// It is a member.
    Subscribed(&'r Subscribed),
    /// It is a member no longer.
    Unsubscribed,
    /// It is published.
    Published,
    /// Who is there.
    Presence(&'r [ClientInfo]),
    /// How many clients are there, and how many users.
    PresenceStats(usize, usize),
    /// What was published.
    History(&'r HistoryPage),
    /// What the backend says: JSON, or other bytes for a client that speaks Protobuf.
    Rpc(&'r [u8]),
    /// The connection lasts as long as this.
    Refreshed(ClientId, Ttl),
    /// The subscription lasts as long as this.
    SubRefreshed(Ttl),
}

/// A connected client.
#[derive(Clone, Debug, PartialEq)]
pub struct Connected<'r> {
    /// The connection.
    pub client: ClientId,
    /// The version of the gateway.
    pub version: &'r str,
    /// When its token must be renewed.
    pub ttl: Ttl,
    /// From the backend: JSON, or other bytes for a client that speaks Protobuf.
    pub data: Option<&'r [u8]>,
    /// Channels to which the server has subscribed it.
    pub subs: &'r [(Arc<str>, Subscribed)],
    /// Seconds between pings.
    pub ping_s: u32,
    /// Whether pings are to be answered.
    pub pong: bool,
}

/// A member of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscribed {
    /// When its token must be renewed.
    pub ttl: Ttl,
    /// Whether it may recover what it misses.
    pub is_recoverable: bool,
    /// Whether its position is watched.
    pub is_positioned: bool,
    /// Where the stream is, or where the client was if it has recovered.
    pub position: Option<Position>,
    /// Whether it has asked for what it has missed.
    pub was_recovering: bool,
    /// Whether it got that.
    pub is_recovered: bool,
    /// What it has missed.
    pub publications: Page,
    /// From the backend, as JSON.
    pub data: Option<Arc<[u8]>>,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// Publications with their offsets.
    pub publications: Page,
    /// Where the stream is.
    pub position: Position,
}
