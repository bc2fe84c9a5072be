//! What tells backends of the events of connections: one for each route with service `events`, kept as
//! long as the route is there, and the webhooks.

#[cfg(feature = "http-backends")]
use std::collections::HashMap;
use std::error::Error;
#[cfg(feature = "http-backends")]
use std::sync::Arc;

use super::channel_proxies::ChannelProxies;
use super::engine::Engine;
use super::lookups::Lookups;
#[cfg(feature = "http-backends")]
use super::webhooks::Webhooks;
use crate::config::ResolvedConfig;
#[cfg(feature = "http-backends")]
use crate::config::{ForwardOptions, ResolvedRoute};
#[cfg(feature = "http-backends")]
use crate::control::{
    EventBackendSettings, EventBackends, EventRequests, GripSigner, new_event_requests,
};
#[cfg(feature = "http-backends")]
use crate::jwt::SharedSecret;
use crate::server;
#[cfg(feature = "http-backends")]
use crate::services::RouteId;
#[cfg(feature = "admin")]
use crate::services::{EventClient, Peer};
#[cfg(feature = "http-backends")]
use crate::upstream::{ServerSet, Upstream};

/// The backends of a configuration.
#[derive(Default)]
pub(super) struct EventRoutes {
    #[cfg(feature = "http-backends")]
    own: HashMap<RouteId, Arc<EventBackends>>,
    /// The requests at once of all of them, from the first configuration on.
    #[cfg(feature = "http-backends")]
    all_requests: Option<EventRequests>,
    #[cfg(feature = "http-backends")]
    webhooks: Webhooks,
    by_route: server::EventBackends,
    #[cfg(not(feature = "http-backends"))]
    observers: server::RouteObservers,
    /// What is asked about connections of channels.
    proxies: ChannelProxies,
    engine: Engine,
}

type Failure = Box<dyn Error + Send + Sync>;

#[cfg(feature = "http-backends")]
impl EventRoutes {
    /// Those of the next configuration. One of a route that stays is the same, with the settings that it
    /// has had, until [`EventRoutes::take_over`].
    ///
    /// # Errors
    /// Those of starting the control thread, which the first of them needs.
    pub(super) fn next(
        &self,
        settings: &ResolvedConfig,
        lookups: &mut Lookups,
        upstreams: &server::Upstreams,
    ) -> Result<Self, Failure> {
        let limit = settings.limits.event_requests_max;
        let all = self.all_requests.clone().unwrap_or_else(|| new_event_requests(limit));
        let webhooks = self.webhooks.next(settings, lookups)?;
        let proxies = self.proxies.next(settings, lookups, upstreams)?;
        let engine = self.engine.next(settings, lookups)?;
        let all_requests = Some(Arc::clone(&all));
        let mut next = Self { all_requests, webhooks, proxies, engine, ..Self::default() };
        for route in &settings.routes {
            let Some(wanted) = settings_of(route, upstreams, &all) else { continue };
            let backend = match self.own.get(&route.id) {
                Some(backend) => Arc::clone(backend),
                None => lookups.control()?.event_backend(wanted),
            };
            next.by_route.insert(route.id.clone(), Arc::clone(&backend) as _);
            next.own.insert(route.id.clone(), backend);
        }
        // A route that is gone for now may come back while its connections are still there: they are known to this one.
        for (id, backend) in &self.own {
            if backend.has_connections() {
                next.own.entry(id.clone()).or_insert_with(|| Arc::clone(backend));
            }
        }
        Ok(next)
    }

    /// No connection is left: waits until webhooks are told what has happened, as far as they answer.
    pub(super) fn finish(&self) {
        self.webhooks.finish();
    }

    /// What tells the events of each route, and what is told of its connections.
    pub(super) fn by_route(&self) -> (&server::EventBackends, &server::RouteObservers) {
        (&self.by_route, self.webhooks.observers())
    }

    /// From now on they go by this configuration.
    pub(super) fn take_over(&self, settings: &ResolvedConfig, upstreams: &server::Upstreams) {
        self.proxies.take_over(settings, upstreams);
        let Some(all) = &self.all_requests else { return };
        for route in &settings.routes {
            let wanted = settings_of(route, upstreams, all);
            if let (Some(backend), Some(wanted)) = (self.own.get(&route.id), wanted) {
                backend.set(wanted);
            }
        }
    }
}

#[cfg(not(feature = "http-backends"))]
impl EventRoutes {
    pub(super) fn next(
        &self,
        settings: &ResolvedConfig,
        lookups: &mut Lookups,
        upstreams: &server::Upstreams,
    ) -> Result<Self, Failure> {
        let proxies = self.proxies.next(settings, lookups, upstreams)?;
        let engine = self.engine.next(settings, lookups)?;
        Ok(Self { proxies, engine, ..Self::default() })
    }

    pub(super) fn take_over(&self, settings: &ResolvedConfig, upstreams: &server::Upstreams) {
        self.proxies.take_over(settings, upstreams);
    }

    #[expect(clippy::unused_self, reason = "other builds have webhooks")]
    pub(super) fn finish(&self) {}

    pub(super) fn by_route(&self) -> (&server::EventBackends, &server::RouteObservers) {
        (&self.by_route, &self.observers)
    }
}

impl EventRoutes {
    /// A client of any route, by what its backend was told.
    #[cfg(feature = "admin")]
    pub(super) fn client(&self, peer: Peer) -> Option<EventClient> {
        #[cfg(feature = "http-backends")]
        return self.own.values().find_map(|own| own.client(peer));
        #[cfg(not(feature = "http-backends"))]
        {
            let _ = peer;
            None
        }
    }

    /// What is asked about connections of channels, by its name, and the engine of channels if it is elsewhere.
    pub(super) fn for_channels(&self) -> server::ForChannels<'_> {
        (self.proxies.by_name(), self.engine.link())
    }

    /// The engine of channels.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// How the backend of a route is told of events, if it is.
#[cfg(feature = "http-backends")]
fn settings_of(
    route: &ResolvedRoute,
    upstreams: &server::Upstreams,
    all: &EventRequests,
) -> Option<EventBackendSettings> {
    let events = route.service.events()?;
    let ForwardOptions { upstream, .. } = route.service.forward()?;
    let known = upstreams.get(upstream).cloned();
    Some(EventBackendSettings {
        route: route.paths.first().map_or("", String::as_str).into(),
        upstream: known.unwrap_or_else(|| Upstream::new(upstream, ServerSet::default())),
        requests_max: events.requests_max,
        all_requests: Arc::clone(all),
        gateway_style: events.gateway_style().map(Arc::new),
        grip: events.grip_key.as_ref().map(|key| GripSigner {
            key: SharedSecret::from_text(key.expose()),
            issuer: events.grip_iss.clone(),
        }),
        reply_bytes_max: events.reply_bytes_max,
        failures_max: events.failures_max,
        limits: events.limits(),
    })
}
