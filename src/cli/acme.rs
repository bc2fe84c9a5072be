//! The certificate that the gateway gets itself: begun, changed and ended with the configuration.

use std::io;
use std::sync::Arc;

use super::admin_thread::AdminThreadRef;
use crate::config::{AcmeOptions, ResolvedConfig};
use crate::control::acme::{AcmeRenewal, AcmeSettings};
use crate::metrics::ControlCounters;
use crate::server::Handle;

/// The certificate that is got and renewed, if there is one. It goes on until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Acme {
    options: AcmeOptions,
    renewal: Option<Arc<AcmeRenewal>>,
    thread: AdminThreadRef,
}

impl Acme {
    /// Nothing yet; what is begun later is on this thread.
    pub(super) fn on(thread: AdminThreadRef) -> Self {
        Self { thread, ..Self::default() }
    }

    /// What the next configuration asks for. One that stays goes on, and tries at once what it was to try
    /// again after a failure.
    /// [`Acme::prepare`] comes before.
    pub(super) fn next(
        &self,
        settings: &ResolvedConfig,
        server: &Arc<Handle>,
        counters: &Arc<ControlCounters>,
    ) -> Self {
        let options = settings.acme.clone();
        if options == self.options {
            self.retry();
            let (renewal, thread) = (self.renewal.clone(), self.thread.clone());
            return Self { options, renewal, thread };
        }
        let challenges = server.challenges();
        let renewal = acme_settings(&options).map(|settings| {
            let server = Arc::downgrade(server);
            let renewed = move || {
                // The folder may be on a file system that gives no sign of changes.
                if let Some(server) = server.upgrade() {
                    server.reload_certificates();
                }
            };
            let counters = Arc::clone(counters);
            Arc::new(AcmeRenewal::new(settings, challenges.clone(), counters, renewed))
        });
        // That of the account before is worth nothing to the next.
        challenges.set_thumbprint(None);
        if let Some(renewal) = &renewal
            && let Err(error) =
                self.thread.with(counters, |thread| thread.renew_certificate(renewal))
        {
            log::error!("no certificate is got: {error}");
        }
        Self { options, renewal, thread: self.thread.clone() }
    }

    /// Starts the thread if these settings need it.
    ///
    /// # Errors
    /// If the system gives none.
    pub(super) fn prepare(
        &self,
        settings: &ResolvedConfig,
        counters: &Arc<ControlCounters>,
    ) -> io::Result<()> {
        if settings.acme.is_on() { self.thread.with(counters, |_| ()) } else { Ok(()) }
    }

    /// Tries now what was to be tried later after a failure: an operator asks.
    pub(super) fn retry(&self) {
        if let Some(renewal) = &self.renewal {
            renewal.retry();
        }
    }
}

fn acme_settings(options: &AcmeOptions) -> Option<AcmeSettings> {
    let (folder, file) = (options.cache_dir.as_ref()?, options.certificate_file()?);
    Some(AcmeSettings {
        domains: options.domains.clone(),
        contact: options.contact.clone(),
        directory: options.directory.clone(),
        directory_ca: options.directory_ca.as_ref().map(|file| file.path().to_owned()),
        cache_dir: folder.path().to_owned(),
        certificate_file: file.path().to_owned(),
        renew_days: options.renew_days,
    })
}
