//! The webhooks of routes: one for each route that has a URL, kept as long as its settings stay.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use super::lookups::Lookups;
use crate::config::{FilePath, ResolvedConfig, ResolvedRoute, ServerUrl, WebhookOptions};
use crate::control::{HttpUrl, Trust, Webhook, WebhookSettings};
use crate::events::webhook::WebhookLimits;
use crate::server::RouteObservers;
use crate::services::{RouteId, SharedRouteObserver};

/// The webhooks of a configuration.
#[derive(Default)]
pub(super) struct Webhooks {
    begun: HashMap<RouteId, (Begun, Arc<Webhook>)>,
    observers: RouteObservers,
}

/// What a webhook was begun with. One that is the same goes on over a reload, with what waits for it.
#[derive(Clone, PartialEq, Eq)]
struct Begun {
    url: ServerUrl,
    options: WebhookOptions,
}

type Failure = Box<dyn Error + Send + Sync>;

impl Webhooks {
    /// Those of the next configuration. One whose settings have changed begins anew, and what waits for
    /// the one before is told when the last route has let go of that.
    ///
    /// # Errors
    /// Those of starting the control thread, which the first of them needs, and authorities that cannot be
    /// used.
    pub(super) fn next(
        &self,
        settings: &ResolvedConfig,
        lookups: &mut Lookups,
    ) -> Result<Self, Failure> {
        let mut next = Self::default();
        for route in &settings.routes {
            let websocket = route.service.websocket();
            let Some(url) = websocket.and_then(|own| own.webhook.clone()) else { continue };
            let wanted = Begun { url, options: settings.webhooks.clone() };
            let before = self.begun.get(&route.id).filter(|(begun, _)| *begun == wanted);
            let webhook = match before {
                Some((_, webhook)) => Arc::clone(webhook),
                None => lookups.control()?.webhook(wanted.settings(route)?),
            };
            let observer: SharedRouteObserver = Arc::clone(&webhook) as SharedRouteObserver;
            next.observers.insert(route.id.clone(), observer);
            next.begun.insert(route.id.clone(), (wanted, webhook));
        }
        Ok(next)
    }

    /// What is told of the connections of each route.
    pub(super) fn observers(&self) -> &RouteObservers {
        &self.observers
    }

    /// No connection is left: waits until webhooks are told what has happened, as far as they answer.
    pub(super) fn finish(&self) {
        for (begun, webhook) in self.begun.values() {
            webhook.finish(Duration::from_millis(begun.options.request_ms));
        }
    }
}

impl Begun {
    fn settings(&self, route: &ResolvedRoute) -> Result<WebhookSettings, Failure> {
        let host = route.hosts.first().map(ToString::to_string).unwrap_or_default();
        let path = route.paths.first().map_or("", String::as_str);
        let route = format!("{host}{path}");
        let wrong = |error: String| format!("the webhook of route {route}: {error}");
        let url = HttpUrl::parse(self.url.expose()).map_err(|error| wrong(error.to_string()))?;
        let authorities = self.options.tls_ca.as_ref().filter(|_| url.has_tls());
        let trust = match authorities {
            Some(file) => Some(trust(file).map_err(wrong)?),
            None if url.has_tls() => {
                Some(Trust::system().map_err(|error| wrong(format!("{url} {error}")))?)
            }
            None => None,
        };
        let own = &self.options;
        let limits = WebhookLimits {
            waiting_bytes_max: own.waiting_bytes_max,
            batch_events_max: own.batch_events_max,
            batch_bytes_max: own.batch_bytes_max,
        };
        let (delay_ms, request_ms) = (own.delay_ms, own.request_ms);
        Ok(WebhookSettings { route, url, trust, limits, delay_ms, request_ms })
    }
}

/// The authorities in a file.
fn trust(file: &FilePath) -> Result<Trust, String> {
    let pem = fs::read(file.path());
    let pem = pem.map_err(|error| format!("the file {file} cannot be read: {error}"))?;
    Trust::from_pem(&pem).map_err(|error| format!("the file {file} {error}"))
}
