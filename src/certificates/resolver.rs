//! Chooses the certificate of a handshake by the name that the client asks for and by the
//! signatures that it can verify.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::by_name::ByName;
use super::options::UnknownSni;
use super::pair::ServerCertificate;

/// Chooses certificates. What it chooses from may be replaced at any time; handshakes under way and
/// open connections keep what they have.
#[derive(Debug)]
pub(super) struct Resolver {
    current: ArcSwap<Choice>,
    unknown_sni: UnknownSni,
}

/// All certificates, and their positions by name.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) certificates: Vec<ServerCertificate>,
    by_name: ByName,
    has_rsa: bool,
}

impl Choice {
    /// Chooses from these; the first is the default.
    pub(super) fn new(certificates: Vec<ServerCertificate>) -> Self {
        let by_name = ByName::new(certificates.iter().map(|own| own.names().dns.as_slice()));
        let is_rsa = |own: &ServerCertificate| own.key.key.algorithm() == SignatureAlgorithm::RSA;
        let has_rsa = certificates.iter().any(is_rsa);
        Self { certificates, by_name, has_rsa }
    }

    /// The certificate for a client that asks for `name` and can verify `schemes`. A name whose
    /// certificates all have keys of other kinds is known nevertheless: its first one is chosen, and
    /// the handshake fails with the alert that says so.
    fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
        unknown_sni: UnknownSni,
    ) -> Option<Arc<CertifiedKey>> {
        let first_that_fits = |positions: &mut dyn Iterator<Item = usize>| {
            let mut found = None;
            for certificate in positions.filter_map(|position| self.certificates.get(position)) {
                if certificate.key.key.choose_scheme(schemes).is_some() {
                    return Some(Arc::clone(&certificate.key));
                }
                found.get_or_insert(certificate);
            }
            found.map(|certificate| Arc::clone(&certificate.key))
        };
        let named = name.and_then(|name| first_that_fits(&mut self.by_name.named(name)));
        let is_refused = name.is_some() && unknown_sni == UnknownSni::Refuse;
        named.or_else(|| {
            if is_refused { None } else { first_that_fits(&mut self.by_name.without_name()) }
        })
    }
}

impl Resolver {
    /// Chooses from these certificates.
    pub(super) fn new(choice: Choice, unknown_sni: UnknownSni) -> Self {
        Self { current: ArcSwap::from_pointee(choice), unknown_sni }
    }

    /// What is chosen from now.
    pub(super) fn current(&self) -> Arc<Choice> {
        self.current.load_full()
    }

    /// Whether one of them has a key of RSA.
    pub(super) fn has_rsa(&self) -> bool {
        self.current.load().has_rsa
    }

    /// Chooses from these certificates from now on.
    pub(super) fn replace(&self, choice: Choice) {
        self.current.store(Arc::new(choice));
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        self.current.load().choose(hello.server_name(), schemes, self.unknown_sni)
    }
}
