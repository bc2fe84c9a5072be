//! From settings to a store of certificates: reads every file once, at start.

use std::sync::Arc;

use rustls::KeyLog;
use rustls::time_provider::DefaultTimeProvider;

use super::files::{CertificateFileError, Content, Digest, Source};
use super::key_log::KeyLogFile;
use crate::certificates::{
    CertificateError, CertificateStore, ListenerSettings, StoreSettings, TicketRoots, provider,
};
use crate::config::{FilePath, ListenerKind, ResolvedConfig};
use crate::timer::Millis;

/// A store, and where its parts came from.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) settings: StoreSettings,
    pub(super) store: CertificateStore,
    /// Each source with the state of its files.
    pub(super) sources: Vec<(Source, Digest)>,
}

/// Reads all files that the listeners need, at least one of which speaks TLS.
///
/// # Errors
/// The first file that cannot be used.
pub(super) fn load(settings: &ResolvedConfig, now: Millis) -> Result<Loaded, CertificateFileError> {
    let key_log = settings.tls.key_log_file.as_ref().map(open_key_log).transpose()?;
    let store_settings = StoreSettings {
        provider: provider(),
        version_min: settings.tls.version_min,
        unknown_sni: settings.tls.unknown_sni,
        clock: Arc::new(DefaultTimeProvider),
        key_log,
    };
    let mut certificates = Vec::new();
    let mut listeners: Vec<_> = settings.listeners.iter().map(listener).collect();
    let mut roots = None;
    let mut digests = Vec::new();
    let sources = sources(settings);
    for source in &sources {
        let bytes = source.read()?;
        digests.push(bytes.digest());
        let content = match source.parse(&bytes, &store_settings.provider) {
            // A new one will be got.
            Err(error) if matches!(source, Source::Acme { .. }) => {
                log::warn!("{error}; it is not served");
                Content::Absent
            }
            content => content?,
        };
        match (source, content) {
            (Source::Authorities { listener, .. }, Content::Authorities(authorities)) => {
                if let Some(Some(own)) = listeners.get_mut(*listener) {
                    own.authorities = Some(authorities);
                }
            }
            (_, Content::Pair(pair)) => certificates.push(*pair),
            (_, Content::TicketKeys(keys)) => roots = Some(keys),
            (_, Content::Absent | Content::Authorities(_)) => {}
        }
    }
    // What the library itself refuses.
    let about_all = |error: CertificateError| {
        let file = settings.certificates.first().map(|own| own.certificate.clone());
        let file = file.unwrap_or_else(|| FilePath::new("".as_ref()));
        CertificateFileError::content("certificate[0].certificate".to_owned(), &file, error)
    };
    let roots = roots.map_or_else(|| TicketRoots::random(now), Ok).map_err(about_all)?;
    let store = CertificateStore::new(&store_settings, certificates, listeners, roots);
    let store = store.map_err(about_all)?;
    let sources = sources.into_iter().zip(digests).collect();
    Ok(Loaded { settings: store_settings, store, sources })
}

fn listener(own: &crate::config::Listener) -> Option<ListenerSettings> {
    own.tls.then(|| ListenerSettings {
        is_http: own.kind == ListenerKind::Http,
        client_certificates: own.client_certificates,
        authorities: None,
    })
}

fn sources(settings: &ResolvedConfig) -> Vec<Source> {
    let pairs = settings.certificates.iter().enumerate().map(|(position, own)| Source::Pair {
        position,
        certificate: own.certificate.clone(),
        key: own.key.clone(),
    });
    // Behind the others, so that theirs stay where they are when it comes.
    let position = settings.certificates.len();
    let acme = settings.acme.certificate_file().map(|file| Source::Acme { position, file });
    let authorities = settings.listeners.iter().enumerate().filter_map(|(listener, own)| {
        let file = own.client_ca.clone().filter(|_| own.tls)?;
        Some(Source::Authorities { listener, file })
    });
    let ticket_keys = settings.tls.ticket_keys_file.clone();
    let ticket_keys = ticket_keys.map(|file| Source::TicketKeys { file });
    pairs.chain(acme).chain(authorities).chain(ticket_keys).collect()
}

fn open_key_log(file: &FilePath) -> Result<Arc<dyn KeyLog>, CertificateFileError> {
    match KeyLogFile::open(file.path()) {
        Ok(log) => Ok(Arc::new(log)),
        Err(error) => Err(CertificateFileError::system("tls.key_log_file", file, &error)),
    }
}
