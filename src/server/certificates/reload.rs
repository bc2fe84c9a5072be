//! Reads changed files again, and leaves in place what worked until what is new works too.
//!
//! Renewers write a certificate and its key one after the other. What cannot be used is looked at again
//! 2 s later, and said only then.

use std::sync::Arc;

use super::dates;
use super::files::{CertificateFileError, Content, Digest, Source};
use super::load::Loaded;
use crate::certificates::{CertificateStore, StoreSettings};
use crate::metrics::CertificateCounters;
use crate::timer::Millis;

/// Reads files again.
#[derive(Debug)]
pub(super) struct Reloader {
    settings: StoreSettings,
    store: CertificateStore,
    sources: Vec<Watched>,
    counters: Arc<CertificateCounters>,
}

/// A source, and what became of it.
#[derive(Debug)]
struct Watched {
    source: Source,
    /// The state of the files that is served.
    served: Digest,
    failing: Option<Failing>,
}

/// Files that cannot be used at the moment.
#[derive(Debug)]
struct Failing {
    since: Millis,
    /// What was said of them.
    said: Option<CertificateFileError>,
}

/// What a look at the files came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// What is worth a line of the log.
    pub(super) reloaded: Vec<String>,
    /// What is worth a warning.
    pub(super) failed: Vec<String>,
    /// When to look again; `None` if nothing calls for it.
    pub(super) again: Option<Millis>,
}

impl Reloader {
    pub(super) fn new(loaded: Loaded, counters: Arc<CertificateCounters>) -> Self {
        let Loaded { settings, store, sources } = loaded;
        let watch = |(source, served)| Watched { source, served, failing: None };
        Self { settings, store, sources: sources.into_iter().map(watch).collect(), counters }
    }

    /// Goes on with others. The secrets of tickets stay where both sides have random ones.
    pub(super) fn replace(&mut self, loaded: Loaded) {
        let of_file = |own: &Source| matches!(own, Source::TicketKeys { .. });
        let had_file = self.sources().any(of_file);
        let mut next = Self::new(loaded, Arc::clone(&self.counters));
        if !had_file && !next.sources().any(of_file) {
            next.store.take_over_tickets(&self.store);
        }
        *self = next;
    }

    pub(super) fn store(&self) -> &CertificateStore {
        &self.store
    }

    pub(super) fn store_mut(&mut self) -> &mut CertificateStore {
        &mut self.store
    }

    /// Everything that is read from files.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().map(|own| &own.source)
    }

    /// Has failures said again that were said before: an operator asks.
    pub(super) fn forget_what_was_said(&mut self) {
        self.sources
            .iter_mut()
            .filter_map(|own| own.failing.as_mut())
            .for_each(|own| own.said = None);
    }

    /// Looks at all files, and takes over those that have changed.
    pub(super) fn look(&mut self, now: Millis) -> Look {
        let mut look = Look::default();
        for at in 0..self.sources.len() {
            match self.reload(at) {
                Ok(None) => self.end_failure(at),
                Ok(Some(line)) => {
                    self.counters.certificates_reloaded.add(1);
                    self.end_failure(at);
                    look.reloaded.push(line);
                }
                Err(error) => self.failed(at, error, now, &mut look),
            }
        }
        look
    }

    /// Takes over a source if its files have changed, and says so.
    fn reload(&mut self, at: usize) -> Result<Option<String>, CertificateFileError> {
        let Some(own) = self.sources.get_mut(at) else { return Ok(None) };
        let bytes = own.source.read()?;
        let digest = bytes.digest();
        if digest == own.served {
            return Ok(None);
        }
        let line = match (&own.source, own.source.parse(&bytes, &self.settings.provider)?) {
            (
                Source::Pair { position, .. } | Source::Acme { position, .. },
                Content::Pair(pair),
            ) => {
                let line = format!("reloaded: {}", dates::described(*position, &pair));
                self.store.replace_certificate(*position, *pair);
                line
            }
            (Source::Authorities { listener, .. }, Content::Authorities(authorities)) => {
                let replaced = self.store.replace_authorities(*listener, authorities);
                replaced.map_err(|error| own.source.refused(error))?;
                format!(
                    "reloaded: {}; sessions of clients so far are not resumed",
                    own.source.key()
                )
            }
            (_, Content::TicketKeys(keys)) => {
                self.store.replace_ticket_roots(keys);
                format!("reloaded: {}", own.source.key())
            }
            // One that is removed is served on.
            (_, Content::Absent | Content::Pair(_) | Content::Authorities(_)) => return Ok(None),
        };
        own.served = digest;
        Ok(Some(line))
    }

    fn failed(&mut self, at: usize, error: CertificateFileError, now: Millis, look: &mut Look) {
        let Some(own) = self.sources.get_mut(at) else { return };
        let failing = own.failing.get_or_insert(Failing { since: now, said: None });
        if now.since(failing.since) < PATIENCE_MS {
            let again = failing.since.plus(PATIENCE_MS);
            look.again = Some(look.again.map_or(again, |other| other.min(again)));
        } else if failing.said.as_ref() != Some(&error) {
            self.counters.certificate_reloads_failed.add(1);
            look.failed.push(format!("{error}; what was loaded before is served on"));
            failing.said = Some(error);
        }
    }

    fn end_failure(&mut self, at: usize) {
        if let Some(own) = self.sources.get_mut(at) {
            own.failing = None;
        }
    }
}

/// How long files may disagree, as while they are being renewed.
const PATIENCE_MS: u64 = 2000;

#[cfg(test)]
mod tests;
