//! What asks backends about connections of channels: one for each `[[channels.proxy]]`, kept as long as the
//! configuration names it.

#[cfg(feature = "http-backends")]
use std::collections::HashMap;
use std::error::Error;
#[cfg(feature = "http-backends")]
use std::sync::Arc;

#[cfg(feature = "http-backends")]
use hyper::header::{HeaderName, HeaderValue};

use super::lookups::Lookups;
#[cfg(feature = "http-backends")]
use crate::config::ProxyOptions;
use crate::config::ResolvedConfig;
#[cfg(feature = "http-backends")]
use crate::control::{HttpProxy, ProxySettings};
use crate::server;
#[cfg(feature = "http-backends")]
use crate::upstream::{ServerSet, Upstream};

/// The proxies of a configuration.
#[derive(Default)]
pub(super) struct ChannelProxies {
    #[cfg(feature = "http-backends")]
    own: HashMap<String, Arc<HttpProxy>>,
    by_name: server::ChannelProxies,
}

type Failure = Box<dyn Error + Send + Sync>;

#[cfg(feature = "http-backends")]
impl ChannelProxies {
    /// Those of the next configuration. One that stays is the same, with the settings that it has had, until
    /// [`ChannelProxies::take_over`].
    ///
    /// # Errors
    /// Those of starting the control thread, which the first of them needs.
    pub(super) fn next(
        &self,
        settings: &ResolvedConfig,
        lookups: &mut Lookups,
        upstreams: &server::Upstreams,
    ) -> Result<Self, Failure> {
        let mut next = Self::default();
        for options in &settings.proxies {
            let proxy = match self.own.get(&options.name) {
                Some(proxy) => Arc::clone(proxy),
                None => lookups.control()?.channel_proxy(settings_of(options, upstreams)),
            };
            next.by_name.insert(options.name.clone(), Arc::clone(&proxy) as _);
            next.own.insert(options.name.clone(), proxy);
        }
        Ok(next)
    }

    /// From now on they go by this configuration.
    pub(super) fn take_over(&self, settings: &ResolvedConfig, upstreams: &server::Upstreams) {
        for options in &settings.proxies {
            if let Some(proxy) = self.own.get(&options.name) {
                proxy.set(settings_of(options, upstreams));
            }
        }
    }
}

#[cfg(not(feature = "http-backends"))]
impl ChannelProxies {
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "other builds have backends")]
    pub(super) fn next(
        &self,
        _: &ResolvedConfig,
        _: &mut Lookups,
        _: &server::Upstreams,
    ) -> Result<Self, Failure> {
        Ok(Self::default())
    }

    #[expect(clippy::unused_self, reason = "other builds have backends")]
    pub(super) fn take_over(&self, _: &ResolvedConfig, _: &server::Upstreams) {}
}

impl ChannelProxies {
    /// What asks, by the names of the configuration.
    pub(super) fn by_name(&self) -> &server::ChannelProxies {
        &self.by_name
    }
}

#[cfg(feature = "http-backends")]
fn settings_of(options: &ProxyOptions, upstreams: &server::Upstreams) -> ProxySettings {
    let known = upstreams.get(&options.upstream).cloned();
    let lower = |names: &[String]| names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let host = options.host.as_ref().unwrap_or(&options.upstream);
    ProxySettings {
        name: options.name.as_str().into(),
        upstream: known.unwrap_or_else(|| Upstream::new(&options.upstream, ServerSet::default())),
        path: options.path.clone(),
        // A name of an upstream that cannot be a host is one by itself nowhere.
        host: HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static("localhost")),
        headers: lower(&options.headers),
        emulated_headers: lower(&options.emulated_headers),
        set_headers: options.set_headers.iter().filter_map(|line| header(line)).collect(),
        timeout_ms: options.timeout_ms,
        requests_max: options.requests_max,
        waiting_max: options.waiting_max,
        reply_bytes_max: options.reply_bytes_max,
        failures_max: options.failures_max,
        statuses: options.replies(),
    }
}

/// A header of the configuration. Loading has refused what is none.
#[cfg(feature = "http-backends")]
fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    Some((name, HeaderValue::from_str(value.trim_ascii()).ok()?))
}
