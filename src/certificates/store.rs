//! All that listeners with TLS share and have of their own: what makes their `rustls::ServerConfig`,
//! and what of it may be replaced while the process runs.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{KeyLog, ServerConfig, SupportedProtocolVersion};

use super::clients::{Authorities, ClientVerifier};
use super::error::CertificateError;
use super::options::{ClientCertificates, TlsVersion, UnknownSni};
use super::pair::ServerCertificate;
use super::resolver::{Choice, Resolver};
use super::ticket_roots::TicketRoots;
use super::tickets::{Binding, Keys, Tickets};
use crate::timer::Millis;

/// What listeners with TLS have in common.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// What signs, verifies and exchanges keys: [`provider`].
    pub provider: Arc<CryptoProvider>,
    /// The oldest version that is spoken.
    pub version_min: TlsVersion,
    /// What becomes of clients that ask for an unknown name.
    pub unknown_sni: UnknownSni,
    /// How long a handshake may take, in milliseconds.
    pub handshake_ms: u64,
    /// What writes the secrets of connections down, for debugging.
    pub key_log: Option<Arc<dyn KeyLog>>,
}

/// What one listener asks of its clients, and speaks with them.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Whether clients speak HTTP, which is agreed by ALPN (RFC 7301).
    pub is_http: bool,
    /// Whether clients are asked for certificates.
    pub client_certificates: ClientCertificates,
    /// Where their certificates must come from; given where they are asked for any.
    pub authorities: Option<ClientAuthorities>,
}

/// The authorities that certificates of clients must come from.
#[derive(Clone, Debug)]
pub struct ClientAuthorities {
    authorities: Authorities,
    digest: [u8; 32],
}

impl ClientAuthorities {
    /// Reads their certificates from PEM.
    ///
    /// # Errors
    /// If there is none, or one that cannot be an authority.
    pub fn from_pem(pem: &[u8], provider: &Arc<CryptoProvider>) -> Result<Self, CertificateError> {
        let authorities = Authorities::from_pem(pem, provider)?;
        let mut own = [0; 32];
        own.copy_from_slice(digest(&SHA256, pem).as_ref());
        Ok(Self { authorities, digest: own })
    }
}

/// Everything that listeners with TLS serve by. One thread owns it and replaces parts of it; handshakes
/// on other threads see the new part from then on, and nothing waits for anything.
#[derive(Debug)]
pub struct CertificateStore {
    resolver: Arc<Resolver>,
    roots: TicketRoots,
    listeners: Vec<Option<TlsListener>>,
    handshake_ms: u64,
}

/// What one listener with TLS has of its own.
#[derive(Debug)]
struct TlsListener {
    config: Arc<ServerConfig>,
    verifier: Option<Arc<ClientVerifier>>,
    tickets: Arc<Tickets>,
    binding: Binding,
    /// Until when no tickets are made.
    tickets_from: Option<Millis>,
}

impl CertificateStore {
    /// Of these certificates, which are not empty, the default one first. `listeners` has `None` for
    /// those without TLS.
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
        Ok(Self { resolver, roots, listeners, handshake_ms: settings.handshake_ms })
    }

    /// What each listener's handshakes go by; `None` for those without TLS. They stay the same for the
    /// life of the store: what is replaced is replaced inside them.
    #[must_use]
    pub fn server_configs(&self) -> Vec<Option<Arc<ServerConfig>>> {
        let config = |own: &Option<TlsListener>| own.as_ref().map(|own| Arc::clone(&own.config));
        self.listeners.iter().map(config).collect()
    }

    /// The certificates, for other threads to look at.
    #[must_use]
    pub fn certificates(&self) -> CertificateView {
        CertificateView { resolver: Arc::clone(&self.resolver) }
    }

    /// Replaces the certificate at this position for handshakes to come.
    pub fn replace_certificate(&mut self, position: usize, certificate: ServerCertificate) {
        let mut certificates = self.resolver.current().certificates.clone();
        if let Some(own) = certificates.get_mut(position) {
            *own = certificate;
            self.resolver.replace(Choice::new(certificates));
        }
    }

    /// Replaces the authorities of a listener's clients for handshakes to come. Its tickets so far are
    /// worth nothing any more, and new ones are made only when the handshakes under way have ended: one
    /// of those may have been verified by the old authorities.
    pub fn replace_authorities(
        &mut self,
        listener: usize,
        authorities: ClientAuthorities,
        now: Millis,
    ) {
        let Some(Some(own)) = self.listeners.get_mut(listener) else { return };
        let Some(verifier) = &own.verifier else { return };
        verifier.replace(authorities.authorities);
        if own.binding.authorities != authorities.digest {
            own.binding.authorities = authorities.digest;
            // Twice: what a handshake waits for the loop itself is not counted as its time.
            own.tickets_from = Some(now.plus(2 * self.handshake_ms));
            own.replace_ticket_keys(&self.roots);
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

    /// Does what is due: replaces random secrets of tickets, and has tickets made again. To be called
    /// every minute or so.
    ///
    /// # Errors
    /// If the system gives no random bytes; then the secrets stay as they were.
    pub fn rotate(&mut self, now: Millis) -> Result<(), CertificateError> {
        for own in self.listeners.iter_mut().flatten() {
            if own.tickets_from.is_some_and(|from| from <= now) {
                own.tickets_from = None;
                own.replace_ticket_keys(&self.roots);
            }
        }
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

impl TlsListener {
    fn new(
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
        let tickets = Arc::new(Tickets::new(Keys::derive(roots, binding, true)));
        let by: Arc<dyn ClientCertVerifier> = match &verifier {
            Some(verifier) => Arc::<ClientVerifier>::clone(verifier),
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&settings.provider))
            .with_protocol_versions(versions(settings.version_min))
            .map_err(|error| CertificateError::Setup(error.to_string()))?
            .with_client_cert_verifier(by)
            .with_cert_resolver(Arc::<Resolver>::clone(resolver));
        config.ticketer = Arc::<Tickets>::clone(&tickets);
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
        Ok(Self { config: Arc::new(config), verifier, tickets, binding, tickets_from: None })
    }

    fn replace_ticket_keys(&self, roots: &TicketRoots) {
        let makes_tickets = self.tickets_from.is_none();
        self.tickets.replace(Keys::derive(roots, self.binding, makes_tickets));
    }
}

/// The cryptography of TLS: the suites and groups of rustls with ring, all of which are safe.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
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
