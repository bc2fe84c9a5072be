//! The tables of the configuration file, and which keys each takes.

use super::acme::AcmeOptions;
use super::addresses::AddressOptions;
use super::admin::AdminOptions;
use super::api::ApiOptions;
use super::channel_proxies::{ProxyOptions, RpcOptions};
use super::channels::{ChannelsOptions, NamespaceOptions};
use super::declare::Keys;
use super::engine::EngineOptions;
use super::identity::{
    BackendOptions, CallbackOptions, CertificateOptions, CookieOptions, HeaderOptions,
    IdentityKeys, JwtOptions, QueryOptions, RedisOptions, Token, TokenKey, TokenPlace,
};
use super::key::{FILE_SUFFIX, Key, split};
use super::limits::Limits;
use super::listener::Listener;
use super::log::LogOptions;
use super::overload::OverloadOptions;
use super::process::ProcessOptions;
use super::route::{
    ChatOptions, EventsOptions, ForwardOptions, PublishOptions, RelayOptions, RoomOptions,
    RouteKeys, WebSocketOptions,
};
use super::socket::SocketOptions;
use super::timeouts::Timeouts;
use super::tls::{CertificateFiles, TlsOptions};
use super::turn::Turn;
use super::upstream::UpstreamOptions;
use super::webhooks::WebhookOptions;

/// A table of the configuration file, or the top of the file.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Dotted name, empty for the top of the file.
    pub name: &'static str,
    /// Whether there may be several, as in `[[route]]`.
    pub is_array: bool,
    /// The key whose word decides what a table takes; empty if it takes everything.
    pub chosen_by: &'static str,
    /// The words of the table around with which it takes this one; empty if with any.
    pub takers: &'static [&'static str],
    /// Its keys.
    pub groups: &'static [Group],
}

/// Keys that are taken together.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The words of [`Section::chosen_by`] with which a table takes them; empty if with any.
    pub takers: &'static [&'static str],
    /// The keys.
    pub keys: &'static [Key],
}

/// Every table, in the order of `docs/configuration.md`.
pub const SECTIONS: &[Section] = &[
    table("", &[all::<ProcessOptions>()]),
    array("listener", &[all::<Listener>()]),
    array("certificate", &[all::<CertificateFiles>()]),
    table("acme", &[all::<AcmeOptions>()]),
    table("tls", &[all::<TlsOptions>()]),
    table("admin", &[all::<AdminOptions>()]),
    table("api", &[all::<ApiOptions>()]),
    table("webhooks", &[all::<WebhookOptions>()]),
    table("log", &[all::<LogOptions>()]),
    table("limits", &[all::<Limits>()]),
    table("addresses", &[all::<AddressOptions>()]),
    table("overload", &[all::<OverloadOptions>()]),
    table("timeouts", &[all::<Timeouts>()]),
    table("turn", &[all::<Turn>()]),
    table("socket", &[all::<SocketOptions>()]),
    Section {
        chosen_by: "service",
        ..array(
            "route",
            &[
                all::<RouteKeys>(),
                of::<WebSocketOptions>(&[
                    "broadcast",
                    "channels",
                    "echo",
                    "events",
                    "relay",
                    "room",
                ]),
                of::<ChatOptions>(&["chat"]),
                of::<PublishOptions>(&["broadcast", "room"]),
                of::<ForwardOptions>(&["events", "relay"]),
                of::<EventsOptions>(&["events"]),
                of::<RelayOptions>(&["relay"]),
                of::<RoomOptions>(&["room"]),
            ],
        )
    },
    Section {
        chosen_by: "kind",
        ..array(
            "identity",
            &[
                all::<IdentityKeys>(),
                of::<TokenPlace>(&["redis", "tokens"]),
                of::<RedisOptions>(&["redis"]),
                of::<CertificateOptions>(&["certificate"]),
                of::<CookieOptions>(&["cookie"]),
                of::<HeaderOptions>(&["header"]),
                of::<QueryOptions>(&["query"]),
                of::<JwtOptions>(&["jwt"]),
                of::<CallbackOptions>(&["callback"]),
                of::<BackendOptions>(&["callback", "jwt"]),
            ],
        )
    },
    Section { takers: &["tokens"], ..array("identity.tokens", &[all::<Token>()]) },
    Section { takers: &["jwt"], ..array("identity.keys", &[all::<TokenKey>()]) },
    array("upstream", &[all::<UpstreamOptions>()]),
    table("channels", &[all::<ChannelsOptions>()]),
    array("channels.namespace", &[all::<NamespaceOptions>()]),
    array("channels.proxy", &[all::<ProxyOptions>()]),
    array("channels.rpc", &[all::<RpcOptions>()]),
    table("engine", &[all::<EngineOptions>()]),
];

/// Names that were renamed, and what to write instead.
pub(super) const RENAMED: &[(&str, &str)] = &[
    ("redis", "[[identity]] with kind = \"redis\""),
    ("route.tokens", "route.identity = [...], the names of [[identity]] tables"),
    ("token", "[[identity]] with kind = \"tokens\" and tokens = [{ name = ..., token = ... }]"),
];

impl Section {
    /// The header as it is written in a file.
    pub fn header(&self) -> String {
        let Self { name, is_array, .. } = self;
        if *is_array { format!("[[{name}]]") } else { format!("[{name}]") }
    }

    /// Every key of the table.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.groups.iter().flat_map(|group| group.keys)
    }

    /// The key with this name inside the table, which may be the one that names a file.
    pub(super) fn key(&self, leaf: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.leaf() == leaf || key.file_leaf().as_deref() == Some(leaf))
    }
}

/// Every key that a configuration file may hold, in the order of `docs/configuration.md`.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(Section::keys)
}

/// The key with this dotted name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    keys().find(|key| key.name == name)
}

/// The table with this dotted name.
pub(super) fn find_section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// The tables inside another, or at the top of the file.
pub(super) fn inner_sections(name: &str) -> impl Iterator<Item = &'static Section> {
    SECTIONS.iter().filter(move |own| !own.name.is_empty() && split(own.name).0 == name)
}

/// Whether the dotted name is that of a key which names a file.
pub(super) fn is_file_leaf(name: &str) -> bool {
    name.strip_suffix(FILE_SUFFIX).and_then(find).is_some_and(|key| key.rule.is_secret())
}

/// What to write instead of the dotted name.
pub(super) fn renamed(name: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(old, _)| *old == name).map(|(_, new)| *new)
}

const fn all<T: Keys>() -> Group {
    of::<T>(&[])
}

const fn of<T: Keys>(takers: &'static [&'static str]) -> Group {
    Group { takers, keys: T::KEYS }
}

const fn table(name: &'static str, groups: &'static [Group]) -> Section {
    Section { name, is_array: false, chosen_by: "", takers: &[], groups }
}

const fn array(name: &'static str, groups: &'static [Group]) -> Section {
    Section { is_array: true, ..table(name, groups) }
}

#[cfg(test)]
mod tests;
