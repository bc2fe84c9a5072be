//! What replies about channels hold: it is bounded, however much is asked for and however slowly it is read.
//!
//! A call of a few bytes may be answered with megabytes of members or publications, and a batch has up to 1,000
//! calls. What a reply holds counts from the answer of a call until all of the reply has been written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::centrifugo::{ApiCall, ErrorCode};
use crate::metrics::ControlCounters;

/// The replies to all requests.
#[derive(Debug)]
pub(super) struct Replies {
    held: AtomicUsize,
    /// Answers that may be waited for at once, of this gateway and of all that share an engine: of the others
    /// one may be slow.
    own_answers: Semaphore,
    answers_of_all: Semaphore,
    counters: Arc<ControlCounters>,
}

/// The reply to one request, while it grows and until it is written.
#[derive(Debug)]
pub(super) struct ReplyAccount {
    all: Arc<Replies>,
    held: AtomicUsize,
}

/// How long the answer of a call may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Short,
    Long,
    /// Long, and given by a backend, which may take its time and is asked once in any case.
    OfBackend,
}

impl Replies {
    pub(super) fn new(counters: Arc<ControlCounters>) -> Self {
        let [own_answers, answers_of_all] = [(); 2].map(|()| Semaphore::new(ANSWERS_MAX));
        Self { held: AtomicUsize::new(0), own_answers, answers_of_all, counters }
    }

    /// Begins a reply.
    pub(super) fn begin(self: &Arc<Self>) -> Arc<ReplyAccount> {
        Arc::new(ReplyAccount { all: Arc::clone(self), held: AtomicUsize::new(0) })
    }
}

impl ReplyAccount {
    /// Waits until a call may be answered, which is then in `answer`; `is_about_all` for one that all gateways
    /// which share an engine have a part in.
    ///
    /// # Errors
    /// [`ErrorCode::LimitExceeded`] if the reply is full, and [`ErrorCode::TooManyRequests`] if all replies are, or
    /// too many calls are before it. The call is not to be made then.
    pub(super) async fn admit(
        &self,
        call: &ApiCall,
        is_about_all: bool,
    ) -> Result<Option<SemaphorePermit<'_>>, ErrorCode> {
        match length_of(call) {
            Length::Short => return Ok(None),
            Length::OfBackend => return self.check_own().map(|()| None),
            Length::Long => self.check()?,
        }
        let answers = if is_about_all { &self.all.answers_of_all } else { &self.all.own_answers };
        let permit = timeout(PATIENCE, answers.acquire()).await;
        let permit = permit.ok().and_then(Result::ok).ok_or(ErrorCode::TooManyRequests)?;
        // Those before it may have filled it.
        self.check()?;
        Ok(Some(permit))
    }

    /// Counts a call that has come.
    pub(super) fn called(&self) {
        self.all.counters.api_calls.add(1);
    }

    /// Counts a call that has failed, if it was one too many.
    pub(super) fn failed(&self, code: ErrorCode) {
        if matches!(code, ErrorCode::LimitExceeded | ErrorCode::TooManyRequests) {
            self.all.counters.api_refused.add(1);
        }
    }

    /// Counts an answer that the reply holds.
    pub(super) fn add(&self, answer: &str) {
        self.held.fetch_add(answer.len(), Ordering::Relaxed);
        self.all.held.fetch_add(answer.len(), Ordering::Relaxed);
    }

    /// The body of the reply.
    pub(super) fn into_body(self: Arc<Self>, text: String) -> Bytes {
        Bytes::from_owner(HeldText { text, _account: self })
    }

    fn check_own(&self) -> Result<(), ErrorCode> {
        match self.held.load(Ordering::Relaxed) >= REPLY_BYTES_MAX {
            true => Err(ErrorCode::LimitExceeded),
            false => Ok(()),
        }
    }

    fn check(&self) -> Result<(), ErrorCode> {
        self.check_own()?;
        match self.all.held.load(Ordering::Relaxed) >= REPLIES_BYTES_MAX {
            true => Err(ErrorCode::TooManyRequests),
            false => Ok(()),
        }
    }
}

impl Drop for ReplyAccount {
    fn drop(&mut self) {
        self.all.held.fetch_sub(*self.held.get_mut(), Ordering::Relaxed);
    }
}

/// A text that counts until its last byte has been taken.
struct HeldText {
    text: String,
    _account: Arc<ReplyAccount>,
}

impl AsRef<[u8]> for HeldText {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

fn length_of(call: &ApiCall) -> Length {
    match call {
        ApiCall::Presence(_)
        // Of several gateways, all members are told.
        | ApiCall::PresenceStats(_)
        | ApiCall::History(_)
        | ApiCall::Channels(_) => Length::Long,
        ApiCall::Rpc(_) => Length::OfBackend,
        ApiCall::Publish(..)
        | ApiCall::HistoryRemove(_)
        | ApiCall::Info
        | ApiCall::Subscribe(_)
        | ApiCall::Refresh(_)
        | ApiCall::Unsubscribe(_)
        | ApiCall::Disconnect(_) => Length::Short,
    }
}

/// What one reply may hold before further long answers to its calls are refused: a few of the longest, such as a
/// history of 300 publications with 20 KB each, or 10,000 members with half a kilobyte each.
const REPLY_BYTES_MAX: usize = 16 << 20;
/// The same of all replies, which a backend that reads its own slowly may hold for as long as its connections last.
const REPLIES_BYTES_MAX: usize = 4 * REPLY_BYTES_MAX;
/// Long answers that are made at once; by as many the bounds may be exceeded. A loop gives 2 ms of a turn to all of
/// them, so more would not be answered sooner.
const ANSWERS_MAX: usize = 8;
/// How long a call waits for those before it: as long as for the answer of a loop.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;
    use tokio::task::yield_now;

    use super::*;
    use crate::centrifugo::{ApiCall, parse_call};

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    fn replies() -> Arc<Replies> {
        Arc::new(Replies::new(Arc::default()))
    }

    fn call(method: &str) -> ApiCall {
        let body = br#"{"channel":"a","user":"u","method":"m","data":1}"#;
        parse_call(method, body).unwrap()
    }

    /// Whether a call is answered, with this many megabytes.
    async fn ask(reply: &ReplyAccount, method: &str, megabytes: usize) -> Result<(), ErrorCode> {
        let _permit = reply.admit(&call(method), false).await?;
        reply.add(&"x".repeat(megabytes << 20));
        Ok(())
    }

    const LONG: [&str; 5] = ["history", "presence", "presence_stats", "channels", "rpc"];

    #[test]
    fn a_full_reply_has_no_further_long_answer_and_is_not_in_the_way_of_others() {
        block_on(async {
            let all = replies();
            let (reply, other) = (all.begin(), all.begin());
            assert_eq!(ask(&reply, "history", 15).await, Ok(()));
            assert_eq!(ask(&reply, "presence", 15).await, Ok(()));
            for method in LONG {
                assert_eq!(ask(&reply, method, 1).await, Err(ErrorCode::LimitExceeded), "{method}");
                assert_eq!(ask(&other, method, 1).await, Ok(()), "{method}");
            }
            // What changes something is carried out all the same, and what has a short answer.
            for method in ["publish", "unsubscribe", "info"] {
                assert_eq!(ask(&reply, method, 0).await, Ok(()), "{method}");
            }
        });
    }

    #[test]
    fn all_replies_are_bounded_until_they_are_written() {
        block_on(async {
            let all = replies();
            let mut bodies = Vec::new();
            for _ in 0..4 {
                let reply = all.begin();
                assert_eq!(ask(&reply, "history", 16).await, Ok(()));
                bodies.push(reply.into_body("text".to_owned()));
            }
            for method in &LONG[..4] {
                let refused = ask(&all.begin(), method, 1).await;
                assert_eq!(refused, Err(ErrorCode::TooManyRequests), "{method}");
            }
            assert_eq!(ask(&all.begin(), "publish", 0).await, Ok(()));
            // A backend is asked all the same.
            assert_eq!(ask(&all.begin(), "rpc", 0).await, Ok(()));
            // A part of a body holds all of it.
            let part = bodies.pop().unwrap().split_off(3);
            assert_eq!(ask(&all.begin(), "history", 1).await, Err(ErrorCode::TooManyRequests));
            assert_eq!(&*part, b"t");
            drop(part);
            assert_eq!(ask(&all.begin(), "history", 1).await, Ok(()));
            drop(bodies);
            assert_eq!(all.held.load(Ordering::Relaxed), 0);
        });
    }

    #[test]
    fn long_answers_are_made_a_few_at_once() {
        block_on(async {
            let all = replies();
            let replies = [(); ANSWERS_MAX].map(|()| all.begin());
            let mut permits = Vec::new();
            for reply in &replies {
                permits.push(reply.admit(&call("history"), false).await.unwrap());
            }
            let late = all.begin();
            let task = tokio::spawn(async move { ask(&late, "presence", 1).await });
            for _ in 0..10 {
                yield_now().await;
            }
            assert!(!task.is_finished());
            // Those of other gateways, of backends and short ones do not wait for these.
            let other = all.begin();
            assert!(other.admit(&call("presence"), true).await.unwrap().is_some());
            assert_eq!(
                (ask(&other, "rpc", 0).await, ask(&other, "info", 0).await),
                (Ok(()), Ok(()))
            );
            permits.pop();
            assert_eq!(task.await.unwrap(), Ok(()));
        });
    }
}
