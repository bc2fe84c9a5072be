//! What can be configured: the types of a configuration file, with the default of every key.
//!
//! Each key is declared once, in the struct that holds it: `declare` says how, and how to add one.
//!
//! A configuration makes its way through this folder in the order of the modules below: the
//! command line names a file, [`Config::load`] turns it into a [`Config`] or one
//! [`ConfigError`], `validate` holds it to the rules of the keys, and [`Config::resolve`] fits it
//! to what the machine grants. The loops see only the resulting [`ResolvedConfig`]. Users read
//! `docs/configuration.md`, whose tables of keys a test writes from [`SECTIONS`].
//!
//! Names carry their unit last (`idle_ms`, `message_bytes_max`), and an `Option` that is `None`
//! always means "derived", never "unlimited": nothing here is unlimited.

mod load;

mod access;
mod acme;
mod addresses;
mod admin;
mod api;
mod channel_proxies;
mod channels;
mod file_path;
mod hosts;
mod identity;
mod limits;
mod listener;
mod log;
mod networks;
mod overload;
mod process;
mod route;
mod secret;
mod socket;
mod timeouts;
mod tls;
mod turn;
mod upstream;
mod webhooks;

mod declare;
mod engine;
mod key;
mod reader;
mod sections;
mod setting;
mod surroundings;
mod word;

mod key_path;
mod suggest;

mod grammar;
mod rule;
mod validate;
mod warnings;

mod changes;
mod check;
mod error;
mod mask;
mod refusal;
mod resolved;
mod tables;

#[cfg(test)]
mod arbitrary;

pub use crate::certificates::{ClientCertificates, TlsVersion, UnknownSni};
pub use crate::effects::SlowPolicy;
pub use crate::http::ForwardedHeader;
pub use crate::proxy_protocol::HeaderPolicy;
pub use access::AccessTarget;
pub use acme::{AcmeOptions, CERTIFICATE_FILE, NEEDS_CERTIFICATE};
pub use addresses::AddressOptions;
pub use admin::{AdminAddress, AdminOptions, SocketPath};
pub use api::ApiOptions;
pub use changes::{Changes, KeyChange};
pub use channel_proxies::{ProxyOptions, RpcOptions};
pub use channels::{ChannelsOptions, NamespaceOptions};
pub use engine::{EngineKind, EngineOptions, NEEDS_ENGINE, NatsStorage, RedisDeployment};
pub use error::ConfigError;
pub use file_path::FilePath;
pub use hosts::Hosts;
pub use identity::{
    BackendOptions, CallbackOptions, CertificateOptions, CookieOptions, HeaderOptions, Identity,
    IdentityKind, IdentityWord, JwtOptions, PlaceKind, QueryOptions, RedisOptions, Token, TokenKey,
    TokenPlace,
};
pub use key::Key;
pub use limits::Limits;
pub use listener::{Listener, ListenerKind, Redirect};
pub use log::LogOptions;
pub use overload::OverloadOptions;
pub use process::ProcessOptions;
pub(crate) use refusal::Refusal;
pub use resolved::{
    Adjustment, MachineLimits, ResolvedConfig, ResolvedLimits, ResolvedRoute, ResolvedWebSocket,
};
pub use route::{
    ChatOptions, EventsDialect, EventsOptions, ForwardOptions, NameKind, Origins, PingChoice,
    RelayMode, RelayOptions, RoomOptions, Route, RouteService, ServiceKind, WebSocketOptions,
};
pub use rule::Rule;
pub use secret::{Secret, Secrets, ServerUrl};
pub use sections::{Group, SECTIONS, Section, keys};
pub use socket::SocketOptions;
pub use timeouts::Timeouts;
pub use tls::{CertificateFiles, TlsOptions};
pub use turn::Turn;
pub use upstream::{HealthChoice, UpstreamOptions};
pub use webhooks::WebhookOptions;

/// A whole configuration: what a file and the command line ask for.
///
/// [`Config::default`] is a gateway that works: it listens on 127.0.0.1:8080 and serves an
/// echo, a broadcast, rooms, and pages for trying them.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The keys at the top of the file.
    pub process: ProcessOptions,
    /// Where to listen; `[[listener]]` in the file. Default: 127.0.0.1:8080.
    pub listeners: Vec<Listener>,
    /// The certificates of listeners with TLS, the default one first; `[[certificate]]` in the file.
    /// Default: none.
    pub certificates: Vec<CertificateFiles>,
    /// The certificate that the gateway gets itself.
    pub acme: AcmeOptions,
    /// What listeners with TLS have in common.
    pub tls: TlsOptions,
    /// Where operators see and steer the gateway.
    pub admin: AdminOptions,
    /// What applications ask of the gateway.
    pub api: ApiOptions,
    /// How webhooks are told of connections.
    pub webhooks: WebhookOptions,
    /// What is logged, and how.
    pub log: LogOptions,
    /// How many connections, and how many bytes.
    pub limits: Limits,
    /// How many connections of each address.
    pub addresses: AddressOptions,
    /// When newcomers are refused although there is room for them.
    pub overload: OverloadOptions,
    /// How long each step of a connection may take.
    pub timeouts: Timeouts,
    /// How much of each kind of work one turn of a loop may do.
    pub turn: Turn,
    /// Options of the sockets themselves.
    pub socket: SocketOptions,
    /// Which path is served by what; `[[route]]` in the file. Default: `/echo`, `/broadcast`, rooms
    /// at `/chat`, `/ws` and `/chatroom/ws`, and pages at `/` and `/chatroom`.
    pub routes: Vec<Route>,
    /// How clients prove who they are; `[[identity]]` in the file. Default: none.
    pub identities: Vec<Identity>,
    /// The servers that relays lead to; `[[upstream]]` in the file. Default: none.
    pub upstreams: Vec<UpstreamOptions>,
    /// What all channels have in common.
    pub channels: ChannelsOptions,
    /// What channels allow, by what stands before the `:` in their names; `[[channels.namespace]]` in the
    /// file. Default: none, so that there is no channel.
    pub namespaces: Vec<NamespaceOptions>,
    /// Backends that are asked about connections of channels; `[[channels.proxy]]` in the file. Default: none.
    pub proxies: Vec<ProxyOptions>,
    /// Calls of clients that go to such backends; `[[channels.rpc]]` in the file. Default: none.
    pub rpcs: Vec<RpcOptions>,
    /// Where the order of publications in channels is decided.
    pub engine: EngineOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            process: ProcessOptions::default(),
            listeners: vec![Listener::default()],
            certificates: Vec::new(),
            acme: AcmeOptions::default(),
            tls: TlsOptions::default(),
            admin: AdminOptions::default(),
            api: ApiOptions::default(),
            webhooks: WebhookOptions::default(),
            log: LogOptions::default(),
            limits: Limits::default(),
            addresses: AddressOptions::default(),
            overload: OverloadOptions::default(),
            timeouts: Timeouts::default(),
            turn: Turn::default(),
            socket: SocketOptions::default(),
            routes: route::built_in(),
            identities: Vec::new(),
            upstreams: Vec::new(),
            channels: ChannelsOptions::default(),
            namespaces: Vec::new(),
            proxies: Vec::new(),
            rpcs: Vec::new(),
            engine: EngineOptions::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_configuration_at_all_serves_something() {
        let config = Config::default();
        assert_eq!(config.listeners, [Listener::http("127.0.0.1:8080".parse().unwrap())]);
        let paths: Vec<&str> = config.routes.iter().flat_map(Route::paths).collect();
        assert_eq!(
            paths,
            [
                "/echo",
                "/broadcast",
                "/chat",
                "/",
                "/ws",
                "/chatroom/ws/:name/:token",
                "/connection/websocket",
                "/",
                "/rooms",
                "/chatroom"
            ]
        );
        config.validate("defaults").unwrap();
    }

    #[test]
    fn an_empty_file_is_the_default_configuration() {
        assert_eq!(Config::from_toml("", "empty.toml"), Ok(Config::default()));
    }
}
