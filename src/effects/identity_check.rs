//! How a connection proves who it is: what it presents, what checks that, and how the result comes back.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Identity, Peer};
use crate::http::{CookieError, Encoded, QueryError, Rejection, RequestHead};
use crate::jwt::Verified;
use crate::timer::WallTime;

/// Checks credentials of one kind: an `[[identity]]`. One instance serves all loops, so what it keeps
/// needs locks that are held for a moment only: a loop that waits holds up all its connections.
pub trait IdentityCheck: Send + Sync {
    /// Looks for a credential of its kind in what a client presents, and checks it.
    ///
    /// A credential that is there and wrong is [`IdentityOutcome::Refused`], never
    /// [`Checked::Absent`]: the kinds behind this one would be asked, and a client could choose who
    /// judges it.
    fn check(&self, presented: &Presented<'_>, inquiry: &mut Inquiry<'_>) -> Checked;

    /// The connection that [`Checked::Later`] was about has ended. It may have been answered meanwhile.
    fn cancel(&self, peer: Peer) {
        let _ = peer;
    }

    /// Checks a signed token that has come in a message of an open connection and not in a request. `None`
    /// for kinds that know no such tokens. It need not name a user. Where its key is not known, keys may be fetched meanwhile: the
    /// client may try again.
    fn verify_token(&self, peer: Peer, token: &str, now: WallTime) -> Option<Verified> {
        let _ = (peer, token, now);
        None
    }

    /// Whether credentials can be checked at present, as far as is known. It may be asked in any case.
    fn is_available(&self) -> bool {
        true
    }

    /// The scheme of HTTP authentication by which a client may present a credential, with its
    /// parameters: the value of `WWW-Authenticate` where none is presented (RFC 9110 §11.6.1).
    fn challenge(&self) -> Option<&str> {
        None
    }
}

/// What a check came to.
#[derive(Debug)]
pub enum Checked {
    /// The client presents no credential of this kind.
    Absent,
    /// The credential is checked.
    Now(IdentityOutcome),
    /// The outcome comes by [`Inquiry::reply`]. The deadline of the handshake goes on.
    Later,
}

/// What a credential has proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityOutcome {
    /// The credential holds.
    Admitted(Box<Identity>),
    /// The credential does not hold. The body of the rejection has at most
    /// [`REFUSAL_BODY_BYTES_MAX`] bytes and says nothing of the credential.
    Refused(Rejection),
    /// It could not be checked.
    Unavailable(Rejection),
}

impl IdentityOutcome {
    /// 503: it cannot be checked now, and the client may try again after a second.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::Unavailable(Rejection::unavailable(
            RETRY_AFTER_S,
            "identities cannot be checked now, try again later",
        ))
    }

    /// Bytes on the heap, as far as they may be many.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Admitted(identity) => size_of::<Identity>() + identity.held_bytes(),
            Self::Refused(rejection) | Self::Unavailable(rejection) => rejection.body().len(),
        }
    }
}

/// What a client presents before its admission. Nothing of it may reach a log.
#[derive(Clone, Copy)]
pub struct Presented<'p> {
    pub(crate) request: Option<&'p RequestHead<'p>>,
    pub(crate) paths: &'p [String],
    pub(crate) address: Option<SocketAddr>,
    pub(crate) is_from_trusted_proxy: bool,
    pub(crate) certificate_names: Option<&'p str>,
    pub(crate) wall_now: WallTime,
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Presented").field("request", &self.request).finish_non_exhaustive()
    }
}

impl<'p> Presented<'p> {
    /// The head of the request, which has passed the checks of RFC 6455 and of the route's origins; `None`
    /// for a client of a line listener.
    #[must_use]
    pub fn request(&self) -> Option<&'p RequestHead<'p>> {
        self.request
    }

    /// The segment of the path that stands where a path of the route has `:name`.
    #[must_use]
    pub fn path_parameter(&self, name: &str) -> Option<Encoded<'p>> {
        let path = self.request?.path();
        let place = self.paths.iter().find_map(|pattern| {
            let mut segments = pattern.split('/').skip(1);
            segments.position(|segment| segment.strip_prefix(':') == Some(name))
        })?;
        path.segments().nth(place)
    }

    /// The decoded value of a parameter of the query.
    ///
    /// # Errors
    /// [`QueryError`] if it is given twice, or cannot be decoded.
    pub fn query<'n>(&self, name: &'n str) -> Result<Option<Cow<'p, str>>, QueryError<'n>> {
        self.request.map_or(Ok(None), |request| request.query().value(name))
    }

    /// The value of a cookie as it was sent.
    ///
    /// # Errors
    /// [`CookieError`] if it is sent twice: none of the values takes precedence.
    pub fn cookie(&self, name: &str) -> Result<Option<&'p [u8]>, CookieError> {
        self.request.map_or(Ok(None), |request| request.cookie(name))
    }

    /// The address of the client, from when the connection was accepted or as a trusted proxy has said;
    /// `None` where none is kept.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Whether the request comes straight from one of `trusted_proxies`. What a header says of the client
    /// means something only then.
    #[must_use]
    pub fn is_from_trusted_proxy(&self) -> bool {
        self.is_from_trusted_proxy
    }

    /// Whom the certificate names that the client has shown and proved to have: its subject (RFC 4514) in the
    /// first line, and in each further one an alternative name, as
    /// [`names_of`](crate::certificates::names_of) says.
    #[must_use]
    pub fn certificate_names(&self) -> Option<&'p str> {
        self.certificate_names
    }

    /// The date, to compare with the dates of a credential.
    #[must_use]
    pub fn wall_now(&self) -> WallTime {
        self.wall_now
    }
}

/// The question who a connection is.
#[derive(Debug)]
pub struct Inquiry<'i> {
    pub(crate) peer: Peer,
    pub(crate) sender: &'i IdentitySender,
    pub(crate) work: u64,
}

impl Inquiry<'_> {
    /// The connection that asks for its admission.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// By this the outcome of [`Checked::Later`] comes back, from any thread, possibly before the check
    /// returns.
    #[must_use]
    pub fn reply(&self) -> IdentityReply {
        IdentityReply { peer: self.peer, sender: Some(self.sender.clone()) }
    }

    /// What outcomes go to the loop of the connection by. Several may be sent, of which the first counts.
    pub(crate) fn sender(&self) -> &IdentitySender {
        self.sender
    }

    /// Charges the turn with the work that the check has done on the loop.
    pub fn charge(&mut self, units: u64) {
        self.work += units;
    }
}

/// Takes one outcome to the loop of the connection. To drop it is to answer that identities cannot be
/// checked now.
#[derive(Debug)]
pub struct IdentityReply {
    peer: Peer,
    /// `None` once it is used.
    sender: Option<IdentitySender>,
}

impl IdentityReply {
    /// Sends the outcome. It never waits and is never lost. If the connection has ended, it is ignored.
    pub fn send(mut self, outcome: IdentityOutcome) {
        self.post(outcome);
    }

    /// A reply that nothing waits for.
    #[must_use]
    pub fn to_nowhere(peer: Peer) -> Self {
        Self { peer, sender: None }
    }

    /// Drops the reply without an answer, as after [`Checked::Absent`] or [`IdentityCheck::cancel`].
    pub fn discard(mut self) {
        self.sender = None;
    }

    fn post(&mut self, outcome: IdentityOutcome) {
        if let Some(sender) = self.sender.take() {
            sender.post(self.peer, outcome);
        }
    }
}

impl Drop for IdentityReply {
    fn drop(&mut self) {
        self.post(IdentityOutcome::unavailable());
    }
}

/// Takes outcomes to one loop, from any thread.
#[derive(Clone)]
pub struct IdentitySender(Arc<dyn Fn(Peer, IdentityOutcome) + Send + Sync>);

impl IdentitySender {
    /// A sender whose outcomes go to `post`, which must not wait.
    #[must_use]
    pub fn new(post: Arc<dyn Fn(Peer, IdentityOutcome) + Send + Sync>) -> Self {
        Self(post)
    }

    /// Sends an outcome to the loop of a connection, which ignores it if nothing was asked about that.
    pub(crate) fn post(&self, peer: Peer, outcome: IdentityOutcome) {
        (self.0)(peer, outcome);
    }
}

impl fmt::Debug for IdentitySender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("IdentitySender")
    }
}

/// The identities that a route takes, in their order: the first kind of which a client presents a
/// credential decides.
#[derive(Clone, Default)]
pub struct Identities {
    checks: Arc<[Arc<dyn IdentityCheck>]>,
    is_optional: bool,
}

impl Identities {
    /// These checks. If it `is_optional`, a client that presents no credential at all is let in without an
    /// identity; otherwise it is refused with 401.
    #[must_use]
    pub fn new(checks: Vec<Arc<dyn IdentityCheck>>, is_optional: bool) -> Self {
        Self { checks: checks.into(), is_optional }
    }

    /// Whether the route asks for none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    /// Whether a client without a credential is let in.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.is_optional
    }

    /// Has the first check that finds a credential judge it; with [`Checked::Later`], which one that is.
    pub(crate) fn check(
        &self,
        presented: &Presented<'_>,
        inquiry: &mut Inquiry<'_>,
    ) -> (Checked, Option<&Arc<dyn IdentityCheck>>) {
        for check in &*self.checks {
            match check.check(presented, inquiry) {
                Checked::Absent => {}
                checked @ (Checked::Now(_) | Checked::Later) => return (checked, Some(check)),
            }
        }
        (Checked::Absent, None)
    }

    /// The first challenge of a check that has one.
    pub(crate) fn challenge(&self) -> Option<&str> {
        self.checks.iter().find_map(|check| check.challenge())
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Identities")
            .field("checks", &self.checks.len())
            .field("is_optional", &self.is_optional)
            .finish()
    }
}

/// The longest body of a refusal that another server has written, in bytes.
pub const REFUSAL_BODY_BYTES_MAX: usize = 1024;
/// `Retry-After` where identities cannot be checked, in seconds.
const RETRY_AFTER_S: u32 = 1;
