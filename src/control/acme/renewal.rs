//! The task that has a certificate got when it is due, and tries again when that fails.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::cache::Cache;
use super::error::AcmeError;
use super::order::order;
use super::schedule::{jitter, renewal, retry_ms};
use super::settings::AcmeSettings;
use crate::certificates::{HttpChallenges, ServerCertificate};
use crate::control::tasks::{Job, Tasks};
use crate::metrics::ControlCounters;
use crate::os::SystemClock;
use crate::timer::{Clock as _, WallTime};

/// A certificate that is got and renewed, once a control thread is given this. It ends when this is
/// dropped.
pub struct AcmeRenewal {
    work: Arc<Work>,
    task: Mutex<Option<AbortHandle>>,
}

/// What the task works with.
struct Work {
    settings: AcmeSettings,
    cache: Cache,
    challenges: HttpChallenges,
    /// Called when there is a new certificate.
    renewed: Box<dyn Fn() + Send + Sync>,
    counters: Arc<ControlCounters>,
    clock: SystemClock,
    retry: Notify,
    /// How much earlier than needed it is renewed, as a random number.
    jitter: u64,
}

/// What a try came to.
enum Tried {
    /// There is a certificate.
    Got,
    /// Another process is at it.
    Busy,
}

impl fmt::Debug for AcmeRenewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcmeRenewal").field("settings", &self.work.settings).finish_non_exhaustive()
    }
}

impl AcmeRenewal {
    /// A certificate by these settings. Challenges are answered by `challenges`; `renewed` is called on
    /// the control thread when the file holds a new one, and must not wait.
    #[must_use]
    pub fn new(
        settings: AcmeSettings,
        challenges: HttpChallenges,
        counters: Arc<ControlCounters>,
        renewed: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let cache = Cache::new(&settings);
        let work = Work {
            settings,
            cache,
            challenges,
            renewed: Box::new(renewed),
            counters,
            clock: SystemClock::start(),
            retry: Notify::new(),
            jitter: random(),
        };
        Self { work: Arc::new(work), task: Mutex::default() }
    }

    /// Tries now what was to be tried later after a failure.
    pub fn retry(&self) {
        self.work.retry.notify_one();
    }

    fn replace_task(&self, next: Option<AbortHandle>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(former) = std::mem::replace(&mut *task, next) {
            former.abort();
        }
    }
}

impl Job for AcmeRenewal {
    fn begin(&self, tasks: &Tasks) {
        let work = Arc::clone(&self.work);
        self.replace_task(Some(tasks.spawn(async move { work.run().await })));
    }

    fn end(&self) {
        self.replace_task(None);
    }
}

impl Drop for AcmeRenewal {
    fn drop(&mut self) {
        self.replace_task(None);
    }
}

impl Work {
    async fn run(&self) {
        let mut failures: u32 = 0;
        // The last failure that was said.
        let mut said = String::new();
        loop {
            self.answer_challenges();
            let due_ms = self.due_in();
            let wait = if due_ms > 0 {
                due_ms.min(LOOK_MS)
            } else {
                match self.try_now().await {
                    Ok(Tried::Got) => {
                        (failures, said) = (0, String::new());
                        continue;
                    }
                    Ok(Tried::Busy) => BUSY_MS,
                    Err(error) => {
                        failures += 1;
                        let wait = retry_ms(failures, random());
                        self.failed(&error, wait, &mut said);
                        wait
                    }
                }
            };
            // The wait is over, or cut short by an operator.
            let _ = timeout(Duration::from_millis(wait), self.retry.notified()).await;
        }
    }

    /// Another process that shares the folder may have made the account, and the authority may reach
    /// this one.
    fn answer_challenges(&self) {
        if let Some(account) = self.cache.account(&self.settings.directory) {
            self.challenges.set_thumbprint(Some(account.thumbprint));
        }
    }

    /// Milliseconds until a certificate is due; 0 if it is.
    fn due_in(&self) -> u64 {
        let certificate = self.cache.certificate(&self.settings.directory);
        let Some(certificate) = certificate.filter(|own| self.is_for_all(own)) else { return 0 };
        let (from, expires) = (certificate.valid_from(), certificate.expires());
        let (WallTime(at), before) = renewal(from, expires, self.settings.renew_days);
        let at = at.saturating_sub(jitter(before, self.jitter));
        at.saturating_sub(self.clock.wall_now().0)
    }

    /// Whether a certificate is for all names that are wanted. One that is for more is as good until it is
    /// renewed.
    fn is_for_all(&self, certificate: &ServerCertificate) -> bool {
        let names = certificate.names();
        self.settings.domains.iter().all(|domain| match domain.parse::<IpAddr>() {
            Ok(address) => names.addresses.contains(&address),
            Err(_) => names.dns.contains(&domain.to_ascii_lowercase()),
        })
    }

    async fn try_now(&self) -> Result<Tried, AcmeError> {
        let Some(_lock) = self.cache.lock()? else { return Ok(Tried::Busy) };
        // Another process may have got it just before.
        if self.due_in() == 0 {
            let certificate = self.order().await?;
            // Or the authority would be asked without end.
            if self.due_in() == 0 {
                return Err(AcmeError::Useless);
            }
            self.counters.acme_certificates.add(1);
            log::info!(
                "got a certificate for {} from {}",
                certificate.names(),
                self.settings.directory
            );
        }
        (self.renewed)();
        Ok(Tried::Got)
    }

    /// Orders, and again where a nonce was forgotten as often as the library goes on with others: then
    /// nothing was refused, and there is nothing to wait for.
    async fn order(&self) -> Result<ServerCertificate, AcmeError> {
        let Self { settings, cache, challenges, .. } = self;
        let mut tries_left = NONCE_TRIES_MAX;
        loop {
            let ordered = order(settings, cache, challenges).await;
            tries_left -= 1;
            match ordered {
                Err(ref error) if error.is_about_a_nonce() && tries_left > 0 => {}
                Ok(_) | Err(_) => return ordered,
            }
        }
    }

    fn failed(&self, error: &AcmeError, wait_ms: u64, said: &mut String) {
        self.counters.acme_failures.add(1);
        let text = error.to_string();
        if text == *said {
            log::debug!("no certificate once more: {text}");
            return;
        }
        log::warn!(
            "no certificate for {} from {}: {text}; it is tried again in {} s and at longer and longer \
             intervals, and on SIGHUP",
            self.settings.domains.join(", "),
            self.settings.directory,
            wait_ms / 1000
        );
        *said = text;
    }
}

/// A random number, which need not be one that cannot be guessed.
fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without any the waits are as long as usual.
    let _ = SystemRandom::new().fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

/// Orders one after the other that come to nothing for a nonce.
const NONCE_TRIES_MAX: u32 = 6;
/// How often the certificate is looked at: the wall clock may be set, and the file may be removed.
const LOOK_MS: u64 = 3_600_000;
/// How often to look whether another process is done.
const BUSY_MS: u64 = 10_000;
