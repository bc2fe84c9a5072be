//! The engine of channels that several gateways share, from the first configuration on.

#[cfg(feature = "nats")]
use std::collections::{BTreeMap, HashSet};
use std::error::Error;
#[cfg(any(feature = "nats", feature = "redis"))]
use std::sync::Arc;

#[cfg(any(feature = "nats", feature = "redis"))]
use ring::rand::{SecureRandom as _, SystemRandom};

use super::lookups::Lookups;
#[cfg(any(feature = "nats", feature = "redis"))]
use crate::channels::remote::FollowerLimits;
#[cfg(feature = "nats")]
use crate::channels::remote::Retention;
#[cfg(any(feature = "nats", feature = "redis"))]
use crate::config::EngineKind;
#[cfg(feature = "redis")]
use crate::config::EngineOptions;
#[cfg(feature = "redis")]
use crate::config::RedisDeployment;
use crate::config::ResolvedConfig;
#[cfg(feature = "nats")]
use crate::config::{ResolvedRoute, RouteService};
#[cfg(feature = "admin")]
use crate::control::admin::Gateway;
#[cfg(all(feature = "admin", any(feature = "nats", feature = "redis")))]
use crate::control::api::GatewayAnswerer;
#[cfg(any(feature = "nats", feature = "redis"))]
use crate::control::engine::SharedEngine;
#[cfg(feature = "nats")]
use crate::control::engine::nats::{
    NatsEngineSettings, NatsLogin, NatsStorage, NatsUrl, SubjectPrefix,
};
#[cfg(feature = "redis")]
use crate::control::engine::redis::{RedisEngineSettings, RedisKind};
#[cfg(feature = "admin")]
use crate::control::node_calls::AskNodes;
#[cfg(feature = "redis")]
use crate::control::{RedisUrl, Trust};
#[cfg(feature = "nats")]
use crate::server::channel_namespaces;
use crate::services::SharedEngineLink;
#[cfg(feature = "nats")]
use crate::services::{Order, TOPICS_NAMESPACE, topics_namespace};

/// The engine, if it is not in the process.
#[derive(Clone, Default)]
pub(super) struct Engine {
    #[cfg(any(feature = "nats", feature = "redis"))]
    own: Option<Arc<SharedEngine>>,
    link: Option<SharedEngineLink>,
    /// The namespaces whose histories it has made places for; `None` if it makes them as they come.
    #[cfg(feature = "nats")]
    histories: Option<Arc<HashSet<String>>>,
}

type Failure = Box<dyn Error + Send + Sync>;

impl Engine {
    /// The way to it.
    pub(super) fn link(&self) -> Option<&SharedEngineLink> {
        self.link.as_ref()
    }

    /// Whether it can do what this configuration wants of it: NATS makes its streams at the start.
    ///
    /// # Errors
    /// What it cannot, in one line.
    #[cfg_attr(not(feature = "nats"), expect(clippy::unused_self, reason = "for NATS alone"))]
    pub(super) fn check(&self, settings: &ResolvedConfig) -> Result<(), String> {
        #[cfg(feature = "nats")]
        if let Some(made) = &self.histories
            && let Some(name) = histories(settings).into_keys().find(|name| !made.contains(name))
        {
            let what = if name == TOPICS_NAMESPACE {
                "a room or broadcast with order = \"room\" is new".to_owned()
            } else if name.is_empty() {
                "the channels.namespace without a name has a history now".to_owned()
            } else {
                format!("the channels.namespace \"{name}\" has a history now")
            };
            return Err(format!(
                "{what}, and with engine.kind = \"nats\" that needs a restart, at which its streams are made"
            ));
        }
        #[cfg(not(feature = "nats"))]
        let _ = settings;
        Ok(())
    }
}

#[cfg(any(feature = "nats", feature = "redis"))]
impl Engine {
    /// That of the next configuration, which is the same from the first on: another one needs a restart.
    ///
    /// # Errors
    /// Those of starting the control thread, and of what the configuration names.
    pub(super) fn next(
        &self,
        settings: &ResolvedConfig,
        lookups: &mut Lookups,
    ) -> Result<Self, Failure> {
        if self.own.is_some() {
            return Ok(self.clone());
        }
        let options = &settings.engine;
        let limits = FollowerLimits {
            pending_max: options.waiting_max,
            channels_max: settings.channels.channels_max,
            queue_bytes_max: options.queue_bytes_max,
            queue_ms: options.queue_ms,
        };
        let mut node = [0; 8];
        SystemRandom::new().fill(&mut node).map_err(|_| "the kernel gives no random number")?;
        let node = u64::from_ne_bytes(node);
        let own = match options.kind {
            EngineKind::Memory => return Ok(Self::default()),
            #[cfg(feature = "redis")]
            EngineKind::Redis => {
                lookups.control()?.redis_engine(redis_settings(options, node)?, limits)
            }
            #[cfg(feature = "nats")]
            EngineKind::Nats => {
                lookups.control()?.nats_engine(nats_settings(settings, node)?, limits)
            }
            #[cfg(not(feature = "redis"))]
            EngineKind::Redis => return Err(NOT_BUILT.into()),
            #[cfg(not(feature = "nats"))]
            EngineKind::Nats => return Err(NOT_BUILT.into()),
        };
        let link = Some(Arc::clone(&own) as _);
        Ok(Self {
            own: Some(own),
            link,
            #[cfg(feature = "nats")]
            histories: (options.kind == EngineKind::Nats)
                .then(|| Arc::new(histories(settings).into_keys().collect())),
        })
    }

    /// This process ends, and says so to those that share it.
    pub(super) fn finish(&self) {
        if let Some(own) = &self.own {
            own.finish();
        }
    }

    /// Whether it can be reached, or is in the process.
    #[cfg(feature = "admin")]
    pub(super) fn is_available(&self) -> bool {
        self.own.as_ref().is_none_or(|own| own.is_available())
    }

    /// The gateways that share it.
    #[cfg(feature = "admin")]
    pub(super) fn nodes(&self) -> Option<Arc<dyn AskNodes>> {
        self.own.clone().map(|own| own as _)
    }

    /// From now on this gateway answers the others.
    #[cfg(feature = "admin")]
    pub(super) fn answer_nodes(&self, gateway: Arc<dyn Gateway>) {
        if let Some(own) = &self.own {
            own.set_answerer(Arc::new(GatewayAnswerer::new(gateway)));
        }
    }
}

#[cfg(not(any(feature = "nats", feature = "redis")))]
impl Engine {
    #[expect(clippy::unnecessary_wraps, reason = "other builds have engines elsewhere")]
    pub(super) fn next(&self, _: &ResolvedConfig, _: &mut Lookups) -> Result<Self, Failure> {
        Ok(self.clone())
    }

    #[expect(clippy::unused_self, reason = "other builds have engines elsewhere")]
    pub(super) fn finish(&self) {}

    #[cfg(feature = "admin")]
    #[expect(clippy::unused_self, reason = "other builds have engines elsewhere")]
    pub(super) fn is_available(&self) -> bool {
        true
    }

    #[cfg(feature = "admin")]
    #[expect(clippy::unused_self, reason = "other builds have engines elsewhere")]
    pub(super) fn nodes(&self) -> Option<std::sync::Arc<dyn AskNodes>> {
        None
    }

    #[cfg(feature = "admin")]
    #[expect(clippy::unused_self, reason = "other builds have engines elsewhere")]
    pub(super) fn answer_nodes(&self, _: std::sync::Arc<dyn Gateway>) {}
}

#[cfg(all(
    any(feature = "nats", feature = "redis"),
    not(all(feature = "nats", feature = "redis"))
))]
const NOT_BUILT: &str = "engine.kind: this program was built without it";

#[cfg(feature = "redis")]
fn redis_settings(options: &EngineOptions, node: u64) -> Result<RedisEngineSettings, Failure> {
    let password = options.password.as_ref().map(|own| own.expose().to_owned());
    let trust = match &options.tls_ca {
        Some(file) => Some(Trust::from_pem(&std::fs::read(file.path())?)?),
        None => None,
    };
    let mut urls = Vec::new();
    for text in &options.urls {
        let url = RedisUrl::parse(text).map_err(|error| format!("engine.urls: {text} {error}"))?;
        let url = url.with_user(options.user.as_deref(), password.as_deref());
        urls.push(match &trust {
            Some(trust) => url.with_trust(trust.clone()),
            None => url,
        });
    }
    let kind = match options.deployment {
        RedisDeployment::Single => RedisKind::Single,
        RedisDeployment::Cluster => RedisKind::Cluster,
        RedisDeployment::Sentinel => {
            RedisKind::Sentinel { master: options.sentinel_master.as_str().into(), login: None }
        }
    };
    let request = std::time::Duration::from_millis(options.request_ms);
    let prefix = options.prefix.as_str().into();
    Ok(RedisEngineSettings { urls, kind, prefix, node, connect: request, request })
}

#[cfg(feature = "nats")]
fn nats_settings(settings: &ResolvedConfig, node: u64) -> Result<NatsEngineSettings, Failure> {
    use crate::config::NatsStorage as Storage;

    let options = &settings.engine;
    let urls = options
        .urls
        .iter()
        .map(|text| NatsUrl::parse(text).map_err(|error| format!("engine.urls: {text} {error}")));
    let password = options.password.as_ref().map(|own| own.expose().to_owned());
    let login = match (&options.credentials, &options.user, password) {
        (Some(file), _, _) => NatsLogin::CredentialsFile(file.path().to_owned()),
        (None, Some(user), Some(password)) => NatsLogin::Password { user: user.clone(), password },
        (None, None, Some(token)) => NatsLogin::Token(token),
        (None, _, None) => NatsLogin::None,
    };
    Ok(NatsEngineSettings {
        login,
        ca_file: options.tls_ca.as_ref().map(|file| file.path().to_owned()),
        prefix: SubjectPrefix::parse(&options.prefix)?,
        replicas: u8::try_from(options.replicas)?,
        storage: match options.storage {
            Storage::File => NatsStorage::File,
            Storage::Memory => NatsStorage::Memory,
        },
        partitions: u16::try_from(options.partitions)?,
        request_timeout: std::time::Duration::from_millis(options.request_ms),
        namespaces: histories(settings),
        ..NatsEngineSettings::new(urls.collect::<Result<_, _>>()?, node)
    })
}

/// The namespaces of which something is kept, those of rooms too.
#[cfg(feature = "nats")]
fn histories(settings: &ResolvedConfig) -> BTreeMap<String, Retention> {
    let channels = channel_namespaces(settings);
    let has_order = |route: &ResolvedRoute| match &route.service {
        RouteService::Broadcast { order, .. } | RouteService::Room { order, .. } => {
            *order == Order::Topic
        }
        RouteService::Channels { .. }
        | RouteService::Chat { .. }
        | RouteService::Echo { .. }
        | RouteService::Events { .. }
        | RouteService::Hall
        | RouteService::Page
        | RouteService::Relay { .. } => false,
    };
    let topics = settings.routes.iter().any(has_order).then(topics_namespace);
    let namespaces = channels.iter().map(|own| &**own).chain(&topics);
    namespaces.filter_map(|own| Some((own.name.clone(), Retention::of(own)?))).collect()
}
