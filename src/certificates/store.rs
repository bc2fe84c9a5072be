//! All that listeners with TLS share and have of their own: what makes their `rustls::ServerConfig`,
//! and what of it may be replaced while the process runs.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use super::error::CertificateError;
use super::listener::{ListenerConfig, TlsListener};

use super::pair::ServerCertificate;
use super::resolver::{Choice, Resolver};
use super::settings::{ClientAuthorities, ListenerSettings, StoreSettings};
use super::ticket_roots::TicketRoots;
use crate::timer::Millis;

/// Everything that listeners with TLS serve by. One thread owns it and replaces parts of it; handshakes
/// on other threads see the new part from then on, and nothing waits for anything.
#[derive(Debug)]
pub struct CertificateStore {
    settings: StoreSettings,
    resolver: Arc<Resolver>,
    roots: TicketRoots,
    listeners: Vec<Option<TlsListener>>,
}

impl CertificateStore {
    /// Of these certificates, the default one first. Without any, handshakes are refused by an alert.
    /// `listeners` has `None` for those without TLS.
    ///
    /// # Errors
    /// If the library refuses a setting.
    pub fn new(
        settings: &StoreSettings,
        certificates: Vec<ServerCertificate>,
        listeners: Vec<Option<ListenerSettings>>,
        roots: TicketRoots,
    ) -> Result<Self, CertificateError> {
        let resolver = Resolver::new(Choice::new(certificates), settings.unknown_sni);
        let resolver = Arc::new(resolver);
        let listener = |own: Option<ListenerSettings>| {
            own.map(|own| TlsListener::new(settings, own, &resolver, &roots)).transpose()
        };
        let listeners = listeners.into_iter().map(listener).collect::<Result<_, _>>()?;
        Ok(Self { settings: settings.clone(), resolver, roots, listeners })
    }

    /// What each listener's handshakes go by; `None` for those without TLS.
    #[must_use]
    pub fn listener_configs(&self) -> Vec<Option<ListenerConfig>> {
        let config = |own: &Option<TlsListener>| own.as_ref().map(|own| own.config().clone());
        self.listeners.iter().map(config).collect()
    }

    /// The certificates, for other threads to look at.
    #[must_use]
    pub fn certificates(&self) -> CertificateView {
        CertificateView { resolver: Arc::clone(&self.resolver) }
    }

    /// Replaces the certificate at this position for handshakes to come, or adds it as the last one.
    pub fn replace_certificate(&mut self, position: usize, certificate: ServerCertificate) {
        let mut certificates = self.resolver.current().certificates.clone();
        match certificates.get_mut(position) {
            Some(own) => *own = certificate,
            None => certificates.push(certificate),
        }
        self.resolver.replace(Choice::new(certificates));
    }

    /// Replaces the authorities of a listener's clients. Its tickets so far, and those of handshakes
    /// under way, are worth nothing any more.
    ///
    /// # Errors
    /// If the library refuses them; then all stays as it was.
    pub fn replace_authorities(
        &mut self,
        listener: usize,
        authorities: ClientAuthorities,
    ) -> Result<(), CertificateError> {
        let Self { settings, resolver, roots, listeners } = self;
        match listeners.get_mut(listener) {
            Some(Some(own)) => own.replace_authorities(settings, authorities, resolver, roots),
            Some(None) | None => Ok(()),
        }
    }

    /// Replaces the secrets of tickets. What no key accepts any more is a full handshake.
    pub fn replace_ticket_roots(&mut self, roots: TicketRoots) {
        self.roots = roots;
        self.replace_ticket_keys();
    }

    /// Accepts the tickets of another store, and goes on with its secrets. What they are bound to is this
    /// store's own, so that tickets of a listener with other rules are worth nothing.
    pub fn take_over_tickets(&mut self, former: &Self) {
        self.replace_ticket_roots(former.roots.clone());
    }

    /// Does what is due: replaces random secrets of tickets. To be called every minute or so.
    ///
    /// # Errors
    /// If the system gives no random bytes; then the secrets stay as they were.
    pub fn rotate(&mut self, now: Millis) -> Result<(), CertificateError> {
        if self.roots.rotate(now)? {
            self.replace_ticket_keys();
        }
        Ok(())
    }

    fn replace_ticket_keys(&self) {
        for own in self.listeners.iter().flatten() {
            own.replace_ticket_keys(&self.roots);
        }
    }
}

/// The certificates that are served, as they are replaced.
#[derive(Clone, Debug)]
pub struct CertificateView {
    resolver: Arc<Resolver>,
}

impl CertificateView {
    /// The certificates as they are now, the default one first: their names, and until when each is
    /// valid.
    #[must_use]
    pub fn now(&self) -> Vec<ServerCertificate> {
        self.resolver.current().certificates.clone()
    }
}

/// The cryptography of TLS: the suites and groups of rustls with ring, all of which are safe.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
