//! What the handshakes of one listener go by, as it is replaced while the process runs.
//!
//! What depends on the authorities of clients is replaced as a whole: a handshake that began before
//! keeps the ticket keys of its beginning. So whatever its client was verified by, its tickets are
//! bound to the authorities that are no longer there, and no later handshake accepts them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::SupportedProtocolVersion;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};

use super::clients::ClientVerifier;
use super::error::CertificateError;
use super::options::{ClientCertificates, TlsVersion};
use super::resolver::Resolver;
use super::settings::{ClientAuthorities, ListenerSettings, StoreSettings};
use super::ticket_roots::TicketRoots;
use super::tickets::{Binding, Keys, Tickets};

/// What the handshakes of a listener go by, shared with those who do them.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    current: Arc<ArcSwap<ServerConfig>>,
    /// What the server's certificates are chosen by, if the store made this.
    resolver: Option<Arc<Resolver>>,
}

impl ListenerConfig {
    /// What a handshake that begins now goes by, to its end.
    #[must_use]
    pub fn now(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Whether the server may sign with a key of RSA, which takes several times as long as with others.
    #[must_use]
    pub fn may_sign_with_rsa(&self) -> bool {
        self.resolver.as_ref().is_some_and(|resolver| resolver.has_rsa())
    }

    /// Whether handshakes that begin now go by `config`, which this gave.
    #[must_use]
    pub fn is(&self, config: &Arc<ServerConfig>) -> bool {
        Arc::ptr_eq(&self.current.load(), config)
    }
}

impl From<Arc<ServerConfig>> for ListenerConfig {
    /// One that is never replaced.
    fn from(config: Arc<ServerConfig>) -> Self {
        Self { current: Arc::new(ArcSwap::new(config)), resolver: None }
    }
}

/// What one listener with TLS has of its own.
#[derive(Debug)]
pub(super) struct TlsListener {
    config: ListenerConfig,
    is_http: bool,
    verifier: Option<Arc<ClientVerifier>>,
    tickets: Arc<Tickets>,
    binding: Binding,
}

impl TlsListener {
    pub(super) fn new(
        settings: &StoreSettings,
        own: ListenerSettings,
        resolver: &Arc<Resolver>,
        roots: &TicketRoots,
    ) -> Result<Self, CertificateError> {
        let ListenerSettings { is_http, client_certificates, authorities } = own;
        let authorities_digest = authorities.as_ref().map_or([0; 32], |own| own.digest);
        let binding = Binding { client_certificates, authorities: authorities_digest };
        let verifier = match (client_certificates, authorities) {
            (ClientCertificates::Off, _) => None,
            (ClientCertificates::Optional | ClientCertificates::Required, None) => {
                return Err(CertificateError::Setup("clients have no authorities".to_owned()));
            }
            (ClientCertificates::Optional | ClientCertificates::Required, Some(authorities)) => {
                let is_required = client_certificates == ClientCertificates::Required;
                let authorities = authorities.authorities;
                Some(Arc::new(ClientVerifier::new(authorities, is_required, &settings.provider)))
            }
        };
        let tickets = tickets(settings, roots, binding);
        let config = config(settings, is_http, resolver, verifier.as_ref(), &tickets)?;
        let current = Arc::new(ArcSwap::from_pointee(config));
        let config = ListenerConfig { current, resolver: Some(Arc::clone(resolver)) };
        Ok(Self { config, is_http, verifier, tickets, binding })
    }

    /// What its handshakes go by.
    pub(super) fn config(&self) -> &ListenerConfig {
        &self.config
    }

    /// Verifies clients by these authorities from now on, in handshakes under way too. Tickets so far
    /// are worth nothing to handshakes that begin from now on.
    pub(super) fn replace_authorities(
        &mut self,
        settings: &StoreSettings,
        authorities: ClientAuthorities,
        resolver: &Arc<Resolver>,
        roots: &TicketRoots,
    ) -> Result<(), CertificateError> {
        let Some(verifier) = &self.verifier else { return Ok(()) };
        if self.binding.authorities == authorities.digest {
            return Ok(());
        }
        let binding = Binding { authorities: authorities.digest, ..self.binding };
        let verifier = Arc::new(verifier.replaced_by(authorities.authorities));
        let tickets = tickets(settings, roots, binding);
        let config = config(settings, self.is_http, resolver, Some(&verifier), &tickets)?;
        (self.verifier, self.tickets, self.binding) = (Some(verifier), tickets, binding);
        self.config.current.store(Arc::new(config));
        Ok(())
    }

    pub(super) fn replace_ticket_keys(&self, roots: &TicketRoots) {
        self.tickets.replace(Keys::derive(roots, self.binding));
    }
}

fn tickets(settings: &StoreSettings, roots: &TicketRoots, binding: Binding) -> Arc<Tickets> {
    Arc::new(Tickets::new(Keys::derive(roots, binding), Arc::clone(&settings.clock)))
}

fn config(
    settings: &StoreSettings,
    is_http: bool,
    resolver: &Arc<Resolver>,
    verifier: Option<&Arc<ClientVerifier>>,
    tickets: &Arc<Tickets>,
) -> Result<ServerConfig, CertificateError> {
    let by: Arc<dyn ClientCertVerifier> = match verifier {
        Some(verifier) => Arc::<ClientVerifier>::clone(verifier),
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let (provider, clock) = (Arc::clone(&settings.provider), Arc::clone(&settings.clock));
    let mut config = ServerConfig::builder_with_details(provider, clock)
        .with_protocol_versions(versions(settings.version_min))
        .map_err(|error| CertificateError::Setup(error.to_string()))?
        .with_client_cert_verifier(by)
        .with_cert_resolver(Arc::<Resolver>::clone(resolver));
    config.ticketer = Arc::<Tickets>::clone(tickets);
    // Sessions are resumed by tickets alone: what the process kept would be memory for each client.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
    // Early data may be replayed (RFC 8446 section 8).
    config.max_early_data_size = 0;
    config.enable_secret_extraction = true;
    if is_http {
        config.alpn_protocols = vec![HTTP.to_vec()];
    }
    if let Some(key_log) = &settings.key_log {
        config.key_log = Arc::clone(key_log);
    }
    Ok(config)
}

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static ALL: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    match min {
        TlsVersion::Tls12 => ALL,
        TlsVersion::Tls13 => &ALL[..1],
    }
}

/// The name of HTTP/1.1 in ALPN (RFC 7301 section 6).
const HTTP: &[u8] = b"http/1.1";
/// A browser keeps more than one connection, and a ticket is used once (RFC 8446 appendix C.4).
const TICKETS_PER_HANDSHAKE: usize = 2;
