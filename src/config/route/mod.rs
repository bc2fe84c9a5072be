//! What answers on which paths.

mod built_in;
mod chat;
mod events;
mod keys;
mod origins;
mod publish;
mod relay;
mod room;
mod service;
mod websocket;

use super::declare::{Entry, Keys as _};
use super::reader::TableReader;
use super::refusal::Refusal;
use crate::http::HostPattern;
use crate::services::RouteId;

pub(super) use built_in::built_in;
pub use chat::ChatOptions;
pub use events::{EventsDialect, EventsOptions, PingChoice};
pub(super) use keys::RouteKeys;
pub use origins::Origins;
pub(super) use publish::PublishOptions;
pub use relay::{ForwardOptions, RelayMode, RelayOptions};
pub use room::{NameKind, RoomOptions};
pub use service::{RouteService, ServiceKind};
pub use websocket::WebSocketOptions;

/// A service, and the paths where it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Path of the request, starting with `/`, without query. A segment `:name`, `:room` or
    /// `:token` of a room's path stands for any that is not empty.
    pub path: String,
    /// The hosts that the route is for; empty for any.
    pub hosts: Vec<String>,
    /// Further paths of the same service.
    pub aliases: Vec<String>,
    /// What answers, with the options that it takes.
    pub service: RouteService,
}

impl Route {
    /// A route with the default of every key that has one. One that passes requests on has no upstream yet.
    pub fn new(path: impl Into<String>, service: ServiceKind) -> Self {
        let service = RouteService::new(service);
        Self { path: path.into(), hosts: Vec::new(), aliases: Vec::new(), service }
    }

    /// Every path, the first one first.
    pub fn paths(&self) -> impl Iterator<Item = &str> + Clone {
        std::iter::once(&self.path).chain(&self.aliases).map(String::as_str)
    }

    /// The hosts that the route is for. What is no host is left out; loading has refused it.
    pub fn host_patterns(&self) -> Vec<HostPattern> {
        self.hosts.iter().filter_map(|host| HostPattern::parse(host)).collect()
    }

    /// What the route is, from one configuration to the next: its service, its first host and its first
    /// path. A route of which only options, aliases, further hosts or the place in the file change is
    /// the same route.
    pub fn id(&self) -> RouteId {
        RouteId::with_hosts(self.service.word(), &self.path, &self.host_patterns())
    }

    pub(super) fn read(table: &TableReader<'_>) -> Result<Self, Refusal> {
        let RouteKeys { path, service, hosts, aliases } = RouteKeys::read(table)?;
        Ok(Self { path, hosts, aliases, service: RouteService::read(service, table)? })
    }

    /// Every key that the service takes, with its value.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let keys = RouteKeys {
            path: self.path.clone(),
            service: self.service.kind(),
            hosts: self.hosts.clone(),
            aliases: self.aliases.clone(),
        };
        let mut entries = keys.entries();
        entries.extend(self.service.entries());
        entries
    }
}
