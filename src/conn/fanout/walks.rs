//! Publications that are on their way: the walk over the members of a topic ends with the share of
//! the turn, and goes on in the next. Later publications to the topic queue behind it, so each
//! member receives them in their order.
//!
//! What else is sent to a member must not pass what was published before. So a member that is sent
//! something, leaves, or is read is served first with all that waits for it, and is then ahead of the
//! walk. A new member is ahead from the beginning: what waits was published before it came.
//!
//! ```text
//!   topic "lobby"   publications  [7, on its way] [8] [9]
//!                   members       a b c │ d e f          the cursor of the hub
//!                   ahead         e: 9                   has 7 to 9 already
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::frame_batch::FrameBatch;
use super::shared_frame::SharedFrame;
use super::volume::Volume;
use crate::effects::{Content, Publication, RouteOptions};
use crate::key::ConnKey;
use crate::metrics::Counters;
use crate::pool::Backlog;
use crate::shrink::Shrink as _;

/// The walks of one loop.
#[derive(Debug, Default)]
pub(crate) struct Walks {
    /// By the number of the route, then by topic.
    walks: Vec<HashMap<Arc<str>, Walk>>,
    /// Whose turn it is; each topic with a walk stands in it once.
    order: VecDeque<(u8, Arc<str>)>,
    /// Publications in all walks.
    publications: usize,
    /// Connections with publications that wait, and how many.
    publishers: HashMap<ConnKey, usize>,
    /// Whose messages are being acted on.
    publisher: Option<ConnKey>,
}

/// The publications to one topic that are not delivered to all members.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// The first is on its way.
    queue: VecDeque<Waiting>,
    /// The serial number of the first.
    first: u64,
    /// Members that have more than the walk has brought them: all up to this serial number.
    ahead: HashMap<ConnKey, u64>,
}

#[derive(Debug)]
struct Waiting {
    publication: Publication,
    /// From its first recipient on.
    encoded: Option<Encoded>,
    /// Who is not read until it is delivered.
    publisher: Option<ConnKey>,
    /// What it is charged to the pool with.
    charged_bytes: usize,
}

/// A publication in the encodings that its recipients need.
#[derive(Debug)]
pub(crate) enum Encoded {
    /// A frame by itself.
    Frame(SharedFrame),
    /// Several that travel together.
    Batch(FrameBatch),
    /// None: the members are to go, for this reason.
    Dismissal(u8),
}

impl Encoded {
    /// For connections of a route with these options.
    pub(crate) fn new(publication: &Publication, options: &RouteOptions) -> Self {
        match &publication.content {
            Content::Frames(frame, more) if more.is_empty() => {
                Self::Frame(SharedFrame::new(frame.clone(), options))
            }
            Content::Frames(..) => Self::Batch(FrameBatch::new(publication.frames(), options)),
            Content::Dismissal(reason) => Self::Dismissal(*reason),
        }
    }

    /// The frames, in their order, to be pushed one by one.
    pub(crate) fn frames_mut(&mut self) -> &mut [SharedFrame] {
        match self {
            Self::Frame(frame) => std::slice::from_mut(frame),
            Self::Batch(batch) => &mut batch.alone,
            Self::Dismissal(_) => &mut [],
        }
    }

    /// What each member gets.
    pub(crate) fn volume(&self) -> Volume {
        match self {
            Self::Frame(frame) => Volume::of(frame),
            Self::Batch(batch) => batch.volume(),
            Self::Dismissal(_) => Volume::default(),
        }
    }

    /// Ends the sharing of its frames: each is freed when its last recipient has it.
    pub(crate) fn release(&self, backlog: &mut Backlog, counters: &Counters) {
        match self {
            Self::Frame(frame) => frame.release(backlog, counters),
            Self::Batch(batch) => batch.release(backlog, counters),
            Self::Dismissal(_) => {}
        }
    }
}

/// What is left of a publication that is delivered.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) encoded: Option<Encoded>,
    /// The connection that may be read again.
    pub(crate) publisher: Option<ConnKey>,
    /// What goes back to the pool.
    pub(crate) charged_bytes: usize,
}

impl Walks {
    /// Bytes charged for publications that are on their way.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn charged_bytes(&self) -> usize {
        let walks = self.walks.iter().flat_map(HashMap::values);
        walks.flat_map(|walk| &walk.queue).map(|own| own.charged_bytes).sum()
    }

    /// Whether nothing is on its way.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.publications == 0
    }

    /// Topics with publications on their way.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether so much is on its way that nothing should be added from elsewhere.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.publications >= PUBLICATIONS_MAX
    }

    /// Whether publications to a topic are on their way.
    #[inline]
    pub(crate) fn has(&self, route: u8, topic: &str) -> bool {
        !self.is_empty() && self.get(route, topic).is_some()
    }

    fn get(&self, route: u8, topic: &str) -> Option<&Walk> {
        self.walks.get(usize::from(route))?.get(topic)
    }

    /// The connection whose messages lead to what is published next; `None` when that is over.
    pub(crate) fn set_publisher(&mut self, publisher: Option<ConnKey>) {
        self.publisher = publisher;
    }

    /// Whether publications of a connection wait.
    #[inline]
    pub(crate) fn waits_for(&self, publisher: ConnKey) -> bool {
        !self.publishers.is_empty() && self.publishers.contains_key(&publisher)
    }

    /// Adds a publication behind those that wait, or joins it to the last of them. `encoded` is there
    /// if it has begun. `charged_bytes` are given back with it.
    pub(crate) fn add(
        &mut self,
        route: u8,
        publication: Publication,
        encoded: Option<Encoded>,
        charged_bytes: usize,
    ) {
        let route_index = usize::from(route);
        if self.walks.len() <= route_index {
            self.walks.resize_with(route_index + 1, HashMap::new);
        }
        let topic = Arc::clone(&publication.topic);
        let publisher = self.publisher;
        let walks = &mut self.walks[route_index];
        let walk = walks.entry(Arc::clone(&topic)).or_insert_with(|| {
            self.order.push_back((route, topic));
            Walk::default()
        });
        let last = walk.queue.back_mut();
        let joinable = last.filter(|last| last.encoded.is_none() && last.publisher == publisher);
        let publication = match joinable {
            Some(last) => match last.publication.absorb(publication) {
                Ok(()) => {
                    last.charged_bytes += charged_bytes;
                    return;
                }
                Err(publication) => publication,
            },
            None => publication,
        };
        self.publications += 1;
        if let Some(publisher) = publisher {
            *self.publishers.entry(publisher).or_default() += 1;
        }
        walk.queue.push_back(Waiting { publication, encoded, publisher, charged_bytes });
    }

    /// The topic whose turn it is. It is to be [put back](Walks::put_back).
    pub(crate) fn next(&mut self) -> Option<(u8, Arc<str>)> {
        self.order.pop_front()
    }

    /// Takes a walk out while it goes on. What is published to its topic meanwhile is kept for it.
    pub(crate) fn take(&mut self, route: u8, topic: &str) -> Option<Walk> {
        self.walks.get_mut(usize::from(route))?.get_mut(topic).map(std::mem::take)
    }

    /// Puts a walk back that [`Walks::take`] gave.
    pub(crate) fn put_back(&mut self, route: u8, topic: &Arc<str>, mut walk: Walk) {
        let Some(own) = self.walks.get_mut(usize::from(route)) else { return };
        let Some(place) = own.get_mut(topic) else { return };
        walk.queue.append(&mut place.queue);
        *place = walk;
    }

    /// After its turn, a topic is last in the order, or out of it if nothing is left.
    pub(crate) fn end_turn(&mut self, route: u8, topic: Arc<str>) {
        let Some(own) = self.walks.get_mut(usize::from(route)) else { return };
        if own.get(&topic).is_some_and(|walk| !walk.queue.is_empty()) {
            self.order.push_back((route, topic));
            return;
        }
        own.remove(&topic);
        if self.order.is_empty() {
            // Tables of a burst.
            self.walks = Vec::new();
            self.publishers.shrink_if_sparse(KEPT);
            self.order.shrink_if_sparse(KEPT);
        }
    }

    /// Takes the first publication off a walk, which all members have. Who published it may be read
    /// again when no other of its publications waits.
    pub(crate) fn delivered(&mut self, walk: &mut Walk) -> Option<Delivered> {
        let Waiting { encoded, publisher, charged_bytes, .. } = walk.queue.pop_front()?;
        walk.first += 1;
        if walk.queue.is_empty() {
            walk.ahead = HashMap::new();
        }
        self.publications -= 1;
        let publisher = publisher.filter(|publisher| {
            let Some(count) = self.publishers.get_mut(publisher) else { return false };
            *count -= 1;
            let is_last = *count == 0;
            if is_last {
                self.publishers.remove(publisher);
            }
            is_last
        });
        Some(Delivered { encoded, publisher, charged_bytes })
    }

    /// A connection becomes a member of a topic: what is on its way is not for it.
    pub(crate) fn joined(&mut self, route: u8, topic: &str, member: ConnKey) {
        let Some(own) = self.walks.get_mut(usize::from(route)) else { return };
        if let Some(walk) = own.get_mut(topic) {
            walk.pass(member);
        }
    }
}

impl Walk {
    /// The publication that is on its way with its encodings, the members that are ahead of the walk,
    /// and its serial number: who is ahead by that or more has it.
    pub(crate) fn current(
        &mut self,
        options: &RouteOptions,
    ) -> Option<(&Publication, &mut Encoded, (&Ahead, u64))> {
        let Self { queue, ahead, first } = self;
        let waiting = queue.front_mut()?;
        let publication = &waiting.publication;
        let encoded = waiting.encoded.get_or_insert_with(|| Encoded::new(publication, options));
        Some((publication, encoded, (ahead, *first)))
    }

    /// One of the publications that a member lacks, by its number among them. The first of the queue is one
    /// of them if it `is_remaining`.
    pub(crate) fn lacking(
        &mut self,
        member: ConnKey,
        is_remaining: bool,
        number: usize,
        options: &RouteOptions,
    ) -> Option<(&Publication, &mut Encoded)> {
        let next = self.first + u64::from(!is_remaining);
        let next = self.ahead.get(&member).map_or(next, |has| next.max(has + 1));
        let skipped = usize::try_from(next - self.first).unwrap_or(usize::MAX);
        let waiting = self.queue.get_mut(skipped.saturating_add(number))?;
        let publication = &waiting.publication;
        let encoded = waiting.encoded.get_or_insert_with(|| Encoded::new(publication, options));
        Some((publication, encoded))
    }

    /// A member has all that waits now.
    pub(crate) fn pass(&mut self, member: ConnKey) {
        if let Some(last) = self.queue.len().checked_sub(1) {
            self.ahead.insert(member, self.first + last as u64);
        }
    }
}

/// Members that have all publications up to a serial number.
pub(crate) type Ahead = HashMap<ConnKey, u64>;

/// Publications on their way before mail waits in its mailbox, whose bounds then hold up the loops
/// that send it.
const PUBLICATIONS_MAX: usize = 1024;
const KEPT: usize = 64;
