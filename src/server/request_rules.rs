//! What requests are held to before a route is looked for, by the listener that they came by.

use super::listener_numbers::ListenerNumbers;
use crate::certificates::HttpChallenges;
use crate::config::{Listener, ResolvedConfig};
use crate::http::{HostRule, HttpsRedirect};

/// What the requests of listeners are held to.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestRules {
    /// The hosts that they may name, by the number of the listener.
    pub(super) hosts: Vec<HostRule>,
    /// Where they are redirected to, by the number of the listener.
    pub(super) redirects: Vec<Option<HttpsRedirect>>,
    /// What answers challenges on those listeners.
    pub(super) challenges: HttpChallenges,
}

impl RequestRules {
    /// The rules of these listeners. Those of listeners that are closed stay what they are.
    pub(super) fn next(&self, settings: &ResolvedConfig, listeners: &ListenerNumbers) -> Self {
        let hosts = settings.listeners.iter().map(|own| own.hosts.rule(own.address));
        let (hosts, none) = (hosts.collect::<Vec<_>>(), HostRule::List(Vec::new()));
        Self {
            hosts: listeners.by_number(&hosts, &self.hosts, &none),
            redirects: self.next_redirects(settings, listeners),
            challenges: self.challenges.clone(),
        }
    }

    fn next_redirects(
        &self,
        settings: &ResolvedConfig,
        listeners: &ListenerNumbers,
    ) -> Vec<Option<HttpsRedirect>> {
        if self.redirects.is_empty() && !settings.listeners.iter().any(Listener::redirects) {
            return Vec::new();
        }
        let mut served = listeners.served().iter().zip(&settings.listeners);
        let https = served.find(|(_, listener)| listener.is_https());
        let https_port = https.map_or(HTTPS_PORT, |(own, _)| own.address().port());
        let redirect = |listener: &Listener| {
            let given = listener.redirect_port.and_then(|port| u16::try_from(port).ok());
            let redirect = || HttpsRedirect::to_port(given.unwrap_or(https_port));
            listener.redirects().then(redirect)
        };
        let redirects: Vec<_> = settings.listeners.iter().map(redirect).collect();
        listeners.by_number(&redirects, &self.redirects, &None)
    }
}

/// The port of `https` (RFC 9110 section 4.2.2), for a configuration that was not validated.
const HTTPS_PORT: u16 = 443;
