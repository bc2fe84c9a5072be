//! Channels with history, recovery and presence, for clients that speak the Centrifugo client protocol.
//!
//! Each loop has an instance of the service, and an instance has two roles. For the connections of its own
//! loop it reads commands (`commands`), decides what they may (`permissions` by the namespaces), and keeps who
//! they are (`clients`). For the channels whose names hash to its loop it is the `home`, which alone knows the
//! order of what is published and who is there. The first role sends actions to the second as service
//! messages, on the same loop too.
//!
//! ```text
//!   member's loop                          home loop of the channel
//!   subscribe    ── Subscribe ───────────► reads what the member lacks, replies, subscribes, tells of the join
//!   publish      ── Publish ─────────────► the engine gives it an offset; one frame for all members
//!   presence, history ───────────────────► replies
//!   unsubscribe  ── Leave ───────────────► unsubscribes, replies, tells of the leave
//!                ◄───────────── Refused ── the member was not let in
//! ```
//!
//! Replies that need the home are sent by the home itself, in one order with publications.

mod awaiting;
mod backend;
mod behind;
mod channel_ref;
mod charges;
mod client_ids;
mod clients;
mod commands;
mod connect;
mod connecting;
mod dialogs;
mod handover;
mod held_frames;
mod home;
mod home_channel;
mod home_engine;
mod listings;
mod occupancy;
mod operations;
mod proxied;
mod proxies;
mod publish_rate;
mod published;
mod service;
mod settings;
mod subscribe;
mod timers;
mod to_home;
mod tokens;
mod users;

pub use occupancy::OccupancySettings;
pub use proxies::{ChannelProxies, NamespaceProxies};
pub use service::Channels;
pub use settings::{ChannelsLimits, ChannelsSettings, ChannelsTimes};
