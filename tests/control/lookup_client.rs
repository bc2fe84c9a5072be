//! A control thread with token look-ups, and a channel that receives their answers.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use tidegate::control::{ControlRole, ControlThread, RedisSettings, RedisTokens, RedisUrl};
use tidegate::key::ConnKey;
use tidegate::metrics::ControlCounters;
use tidegate::services::{
    Peer, ServiceSender, TokenAnswer, TokenInquiry, TokenLookup as _, TokenVerdict, TooManyLookups,
};

use crate::wait::{NEVER_MS, TIMEOUT};

/// Starts look-ups and receives their answers.
#[derive(Debug)]
pub(crate) struct LookupClient {
    tokens: RedisTokens,
    answers: Receiver<TokenAnswer>,
    answer_to: ServiceSender,
    control: ControlThread,
}

impl LookupClient {
    /// A client of the Redis at `url`.
    pub(crate) fn at(url: &str) -> Self {
        Self::with(settings(url))
    }

    pub(crate) fn with(settings: RedisSettings) -> Self {
        let control = ControlThread::start(ControlRole::Backends, &Arc::default()).unwrap();
        let tokens = control.redis_tokens(settings);
        let (sender, answers) = mpsc::channel();
        Self { tokens, answers, answer_to: service_sender(sender), control }
    }

    /// Looks a token up for peer 0 and waits for the verdict.
    pub(crate) fn verdict(&self, name: &str, token: &str) -> TokenVerdict {
        self.ask(0, name, token).unwrap();
        let answer = self.answer();
        assert_eq!(answer.peer, peer(0));
        answer.verdict
    }

    pub(crate) fn ask(&self, index: u32, name: &str, token: &str) -> Result<(), TooManyLookups> {
        self.ask_for(index, name, token, self.answer_to.clone())
    }

    /// Starts a look-up whose answer goes to `answer_to`.
    pub(crate) fn ask_for(
        &self,
        index: u32,
        name: &str,
        token: &str,
        answer_to: ServiceSender,
    ) -> Result<(), TooManyLookups> {
        let (name, token) = (name.to_owned(), token.to_owned());
        self.tokens.ask(TokenInquiry { peer: peer(index), name, token, answer_to })
    }

    pub(crate) fn cancel(&self, index: u32) {
        self.tokens.cancel(peer(index));
    }

    /// The next answer.
    pub(crate) fn answer(&self) -> TokenAnswer {
        self.answers.recv_timeout(TIMEOUT).expect("an answer comes")
    }

    /// Whether no unread answer is left.
    pub(crate) fn is_quiet(&self) -> bool {
        self.answers.try_recv().is_err()
    }

    pub(crate) fn counters(&self) -> &ControlCounters {
        self.control.counters()
    }

    /// Stops the control thread and returns the unread answers.
    pub(crate) fn stop(self) -> Vec<TokenAnswer> {
        self.control.stop();
        self.answers.try_iter().collect()
    }

    /// Makes the control thread panic.
    pub(crate) fn fail(&self) {
        self.fail_with("injected by a test");
    }

    /// Makes the control thread panic with a text.
    pub(crate) fn fail_with(&self, text: &'static str) {
        self.control.inject(move || panic!("{text}"));
    }
}

/// The default settings with a timeout for busy machines.
pub(crate) fn settings(url: &str) -> RedisSettings {
    let url = RedisUrl::parse(url).unwrap();
    RedisSettings {
        lookup_ms: u64::try_from(TIMEOUT.as_millis()).unwrap(),
        deadline_ms: NEVER_MS,
        ..RedisSettings::new(url)
    }
}

pub(crate) fn peer(index: u32) -> Peer {
    Peer { loop_index: 1, key: ConnKey { index, generation: 7 } }
}

/// Sends the answers that a service is told to a channel.
pub(crate) fn service_sender<T: Send + 'static>(answers: Sender<T>) -> ServiceSender {
    ServiceSender::new(Arc::new(move |message| {
        let answer = message.downcast().expect("a message is an answer");
        let _ = answers.send(*answer);
    }))
}
