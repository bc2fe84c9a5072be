//! Stores of certificates, as a gateway would make them.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::time_provider::DefaultTimeProvider;
use tidegate::certificates::{
    CertificateStore, ClientAuthorities, ClientCertificates, ListenerSettings, ServerCertificate,
    StoreSettings, TicketRoots, TlsVersion, UnknownSni, provider,
};
use tidegate::timer::Millis;

use crate::certificates::{Authority, Issued};

pub(crate) fn settings() -> StoreSettings {
    StoreSettings {
        provider: provider(),
        version_min: TlsVersion::Tls12,
        unknown_sni: UnknownSni::Default,
        clock: Arc::new(DefaultTimeProvider),
        key_log: None,
    }
}

pub(crate) fn certificate(issued: &Issued) -> ServerCertificate {
    let (chain, key) = (issued.certificate.as_bytes(), issued.key.as_bytes());
    ServerCertificate::from_pem(chain, key, &provider()).unwrap()
}

pub(crate) fn authorities(of: &[&Authority]) -> ClientAuthorities {
    let pem: String = of.iter().map(|authority| authority.pem()).collect();
    ClientAuthorities::from_pem(pem.as_bytes(), &provider()).unwrap()
}

/// A listener that asks for no certificates.
pub(crate) fn open() -> Option<ListenerSettings> {
    Some(ListenerSettings {
        is_http: true,
        client_certificates: ClientCertificates::Off,
        authorities: None,
    })
}

/// A listener that asks for certificates of this authority.
pub(crate) fn asking(
    client_certificates: ClientCertificates,
    of: &Authority,
) -> Option<ListenerSettings> {
    let authorities = Some(authorities(&[of]));
    Some(ListenerSettings { is_http: true, client_certificates, authorities })
}

/// Secrets of tickets that every store with the same seed shares.
pub(crate) fn shared_roots(seed: u8) -> TicketRoots {
    let bytes: Vec<u8> = (0..32).map(|at| at ^ seed).collect();
    TicketRoots::from_file(&bytes).unwrap()
}

/// A store with these certificates and listeners, and its configurations.
pub(crate) fn store(
    issued: &[&Issued],
    listeners: Vec<Option<ListenerSettings>>,
) -> (CertificateStore, Vec<Arc<ServerConfig>>) {
    let roots = TicketRoots::random(Millis(0)).unwrap();
    store_with(&settings(), issued, listeners, roots)
}

pub(crate) fn store_with(
    settings: &StoreSettings,
    issued: &[&Issued],
    listeners: Vec<Option<ListenerSettings>>,
    roots: TicketRoots,
) -> (CertificateStore, Vec<Arc<ServerConfig>>) {
    let certificates = issued.iter().map(|issued| certificate(issued)).collect();
    let store = CertificateStore::new(settings, certificates, listeners, roots).unwrap();
    let configs = configs(&store);
    (store, configs)
}

/// What handshakes that begin now go by.
pub(crate) fn configs(store: &CertificateStore) -> Vec<Arc<ServerConfig>> {
    store.listener_configs().into_iter().flatten().map(|own| own.now()).collect()
}
