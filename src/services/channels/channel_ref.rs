//! Channels as the loops of their members know them: the name, the options and the home, once for all members.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use crate::channels::{ChannelName, Namespace, SlowMemberPolicy};
use crate::key::home_loop;
use crate::shrink::Shrink as _;

/// A channel that some connection speaks of.
#[derive(Debug)]
pub(super) struct ChannelRef {
    /// Its name, which is the topic of its publications too.
    pub(super) name: Arc<str>,
    /// The topic of who comes and goes, for members who asked for it. `None` where that goes to none, or to
    /// all.
    pub(super) joins: Option<Arc<str>>,
    pub(super) namespace: Arc<Namespace>,
    /// What frames with its publications are [conflated by](crate::ws::EncodedFrame::conflated_by); 0 where
    /// they are not.
    pub(super) conflation_key: u32,
    /// The loop that orders what happens in it.
    pub(super) home: u16,
}

impl ChannelRef {
    pub(super) fn new(name: &ChannelName<'_>, namespace: &Arc<Namespace>, loop_count: u16) -> Self {
        let is_apart = namespace.join_leave && !namespace.force_push_join_leave;
        let joins = is_apart.then(|| joins_topic(name.as_str()));
        let conflation_key = match namespace.slow_policy {
            SlowMemberPolicy::Disconnect => 0,
            SlowMemberPolicy::KeepLatest => conflation_key(name.as_str()),
        };
        let namespace = Arc::clone(namespace);
        Self {
            name: name.as_str().into(),
            joins,
            namespace,
            conflation_key,
            home: home_loop(name.as_str(), loop_count),
        }
    }

    /// The same channel for a member with options of its own, which others do not have.
    pub(super) fn with_options(&self, namespace: Namespace) -> Self {
        // Where all members are told who comes and goes, the topic of the channel is the one for that.
        let is_told_to_all = self.namespace.join_leave && self.namespace.force_push_join_leave;
        let joins = match &self.joins {
            Some(joins) => Some(Arc::clone(joins)),
            None => (namespace.join_leave && !is_told_to_all).then(|| joins_topic(&self.name)),
        };
        Self {
            name: Arc::clone(&self.name),
            joins,
            namespace: Arc::new(namespace),
            conflation_key: self.conflation_key,
            home: self.home,
        }
    }
}

/// The key of a channel with this name, which few others have, and none of the same connection as a rule.
pub(super) fn conflation_key(name: &str) -> u32 {
    // Of a fixed seed, so all loops agree.
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    // The home is taken from the lower half.
    u32::try_from(hasher.finish() >> 32).unwrap_or(0).max(1)
}

/// No channel has a line break in its name.
fn joins_topic(name: &str) -> Arc<str> {
    format!("\n{name}").into()
}

/// The channels of which connections of a loop are members, each once.
#[derive(Debug, Default)]
pub(super) struct ChannelRefs {
    by_name: HashMap<Arc<str>, Counted>,
}

#[derive(Debug)]
struct Counted {
    channel: Arc<ChannelRef>,
    members: u32,
}

impl ChannelRefs {
    /// The channel for one more member of it.
    pub(super) fn acquire(
        &mut self,
        name: &ChannelName<'_>,
        namespace: &Arc<Namespace>,
        loop_count: u16,
    ) -> Arc<ChannelRef> {
        if let Some(own) = self.by_name.get_mut(name.as_str()) {
            own.members += 1;
            if !Arc::ptr_eq(&own.channel.namespace, namespace) {
                // The options have changed since; members of before keep theirs.
                own.channel = Arc::new(ChannelRef::new(name, namespace, loop_count));
            }
            return Arc::clone(&own.channel);
        }
        let channel = Arc::new(ChannelRef::new(name, namespace, loop_count));
        let own = Counted { channel: Arc::clone(&channel), members: 1 };
        self.by_name.insert(Arc::clone(&channel.name), own);
        channel
    }

    /// How many connections of the loop are members of a channel.
    pub(super) fn members(&self, channel: &str) -> usize {
        self.by_name.get(channel).map_or(0, |own| own.members as usize)
    }

    /// The channel has a member less.
    pub(super) fn release(&mut self, channel: &ChannelRef) {
        let Some(own) = self.by_name.get_mut(&channel.name) else { return };
        own.members -= 1;
        if own.members == 0 {
            self.by_name.remove(&channel.name);
            self.by_name.shrink_if_sparse(CHANNELS_KEPT);
        }
    }
}

/// Entries for which the map keeps room.
const CHANNELS_KEPT: usize = 64;
