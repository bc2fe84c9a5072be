//! The files of TLS: read at start, and read again when they change.

mod dates;
mod files;
mod folders;
mod key_log;
mod load;
mod reload;
mod upstream;
mod watch;

use std::fmt::Write as _;
use std::io;

use crate::certificates::ListenerConfig;
use crate::config::{
    CertificateFiles, ClientCertificates, FilePath, Listener, ListenerKind, ResolvedConfig,
    TlsOptions,
};
use crate::os::SystemClock;
use crate::timer::{Clock as _, Millis, WallTime};

pub use dates::certificate_lines;
pub use files::CertificateFileError;
pub use upstream::{LoadedUpstreamTls, UpstreamTlsError};
pub(crate) use watch::CertificateWatch;

/// The certificates of a server that is about to start; nothing if no listener speaks TLS.
#[derive(Debug)]
pub(super) struct Certificates {
    loaded: Option<load::Loaded>,
    listeners: usize,
}

impl Certificates {
    /// Reads all files that the listeners need.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub(super) fn load(
        settings: &ResolvedConfig,
        clock: SystemClock,
    ) -> Result<Self, CertificateFileError> {
        let loaded = settings.has_tls().then(|| load::load(settings, clock.now())).transpose()?;
        Ok(Self { loaded, listeners: settings.listeners.len() })
    }

    /// What the handshakes of each listener go by, in the order of the configuration; `None` for those
    /// without TLS.
    pub(super) fn listener_configs(&self) -> Vec<Option<ListenerConfig>> {
        match &self.loaded {
            Some(loaded) => loaded.store.listener_configs(),
            None => vec![None; self.listeners],
        }
    }

    /// Keeps them up to date from now on in place of others, on the same thread where there is one, and
    /// ends it where no listener speaks TLS any more.
    ///
    /// # Errors
    /// If the system gives no thread, which is asked for only if there was none.
    pub(super) fn watch_instead(
        self,
        former: Option<CertificateWatch>,
        clock: SystemClock,
    ) -> io::Result<Option<CertificateWatch>> {
        match (former, self.loaded) {
            (None, loaded) => Self { loaded, ..self }.watch(clock),
            (Some(mut watch), Some(loaded)) => {
                watch.replace(loaded);
                Ok(Some(watch))
            }
            (Some(watch), None) => {
                watch.stop();
                Ok(None)
            }
        }
    }

    /// Keeps them up to date from now on, if there are any.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn watch(self, clock: SystemClock) -> io::Result<Option<CertificateWatch>> {
        self.loaded.map(|loaded| CertificateWatch::start(loaded, clock)).transpose()
    }
}

/// Whatever of a configuration decides about certificates and handshakes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CertificateOptions {
    certificates: Vec<CertificateFiles>,
    acme: Option<FilePath>,
    tls: TlsOptions,
    /// In the order of the configuration; `None` for those without TLS.
    listeners: Vec<Option<(ListenerKind, ClientCertificates, Option<FilePath>)>>,
}

impl CertificateOptions {
    pub(super) fn of(settings: &ResolvedConfig) -> Self {
        let listener = |own: &Listener| {
            own.tls.then(|| (own.kind, own.client_certificates, own.client_ca.clone()))
        };
        Self {
            certificates: settings.certificates.clone(),
            acme: settings.acme.certificate_file(),
            tls: settings.tls.clone(),
            listeners: settings.listeners.iter().map(listener).collect(),
        }
    }
}

/// The certificates of a configuration as comments of `--check`, with what is worth a warning; empty if no
/// listener speaks TLS.
///
/// # Errors
/// The first file that cannot be used.
pub fn check_certificates(
    settings: &ResolvedConfig,
    now: WallTime,
) -> Result<String, CertificateFileError> {
    let mut text = String::new();
    if !settings.has_tls() {
        return Ok(text);
    }
    let loaded = load::load(settings, Millis(0))?;
    let certificates = loaded.store.certificates().now();
    let tls = settings.listeners.iter().filter(|listener| listener.tls);
    let addresses: Vec<String> = tls.map(|listener| listener.address.to_string()).collect();
    // A string takes all that is written to it.
    let _ = writeln!(text, "#\n# TLS on {}, with:", addresses.join(", "));
    for (position, own) in certificates.iter().enumerate() {
        let _ = writeln!(text, "#   {}", dates::described(position, own));
    }
    if settings.acme.is_on() && certificates.len() == settings.certificates.len() {
        let domains = settings.acme.domains.join(", ");
        let _ = writeln!(text, "#   none yet for {domains}: the gateway gets one when it serves");
    }
    for warning in dates::warnings(&certificates, now) {
        let _ = writeln!(text, "#\n# Warning: {warning}");
    }
    Ok(text)
}
