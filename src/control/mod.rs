//! The control threads: work that waits for others, away from the event loops.
//!
//! An event loop never waits. Work for operators and for certificates runs on one thread, named `admin`, and work that needs
//! an answer from other servers on another, named `backends`, so that a backend that hangs never hides
//! health or drain. Only this module is asynchronous, and it touches no client's socket. A thread that
//! fails is started again, and the look-ups under way are answered as unavailable; the loops notice
//! nothing else. The result of a look-up returns as a service message to the service that asked. That
//! thread is started only if a route needs it:
//!
//! ```no_run
//! use std::sync::Arc;
//! use tidegate::control::{ControlRole, ControlThread, RedisSettings, RedisUrl};
//! use tidegate::services::TokenLookup;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let url = RedisUrl::parse("redis://127.0.0.1:6379/")?;
//! let control = ControlThread::start(ControlRole::Backends, &Arc::default())?;
//! let tokens: Arc<dyn TokenLookup> = Arc::new(control.redis_tokens(RedisSettings::new(url)));
//! // … rooms are given `tokens`, the server serves, drains, and its loops end …
//! control.stop();
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "acme")]
pub mod acme;
#[cfg(feature = "admin")]
pub mod admin;
#[cfg(feature = "admin")]
pub mod api;
#[cfg(feature = "http-backends")]
mod breaker;
#[cfg(feature = "http-backends")]
pub mod callback;
#[cfg(any(feature = "admin", feature = "http-backends"))]
mod connection_id;
#[cfg(any(feature = "nats", feature = "redis"))]
pub mod engine;
#[cfg(feature = "http-backends")]
pub mod events;
#[cfg(feature = "http-backends")]
mod fetch;
mod health;
#[cfg(feature = "admin")]
mod http_listener;
#[cfg(feature = "http-backends")]
pub mod key_sets;
mod names;
#[cfg(any(feature = "admin", feature = "nats", feature = "redis"))]
pub mod node_calls;
pub mod panics;
#[cfg(feature = "http-backends")]
pub mod proxies;
#[cfg(feature = "redis")]
mod redis_stream;
#[cfg(feature = "redis")]
mod redis_url;
mod role;
mod tasks;
mod thread;
#[cfg(feature = "redis")]
pub mod tokens;
#[cfg(any(feature = "http-backends", feature = "redis"))]
mod trust;
#[cfg(any(feature = "admin", feature = "http-backends"))]
mod wall_now;
#[cfg(feature = "http-backends")]
pub mod webhooks;
#[cfg(feature = "admin")]
mod write_deadline;

#[cfg(feature = "http-backends")]
pub use callback::{CallbackIdentity, CallbackSettings};
#[cfg(feature = "http-backends")]
pub use events::{
    EventBackendSettings, EventBackends, EventRequests, GripSigner, new_event_requests,
};
#[cfg(feature = "http-backends")]
pub use fetch::{HttpUrl, HttpUrlError};
pub use health::HealthChecks;
#[cfg(feature = "admin")]
pub use http_listener::{BindError, InheritedSocket, ListenPlace};
#[cfg(feature = "http-backends")]
pub use key_sets::{KeySetSettings, RemoteKeys};
pub use names::{NameLookups, Resolved, Resolver, SystemResolver};
#[cfg(feature = "http-backends")]
pub use proxies::{HttpProxy, ProxySettings};
#[cfg(feature = "redis")]
pub use redis_url::{RedisLogin, RedisUrl, RedisUrlError};
pub use role::ControlRole;
pub use thread::ControlThread;
#[cfg(feature = "redis")]
pub use tokens::{RedisSettings, RedisTokens};
#[cfg(any(feature = "http-backends", feature = "redis"))]
pub use trust::{Trust, TrustError};
#[cfg(feature = "http-backends")]
pub use webhooks::{Webhook, WebhookSettings};
