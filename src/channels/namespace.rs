//! The options that channels take from the namespace in their names.

use std::collections::HashMap;
use std::sync::Arc;

use crate::rate::Rate;

/// Options of the channels of one namespace. By default a channel exists, and all that the backend does not
/// do itself is forbidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// What stands before the `:` in the names of its channels; empty for channels without.
    pub name: String,
    /// Whether it is known who is in a channel.
    pub presence: bool,
    /// Whether members who asked for it are told who comes and goes.
    pub join_leave: bool,
    /// Whether all members are told who comes and goes.
    pub force_push_join_leave: bool,
    /// Whether the observer of the route hears of a channel's first member and of the end of its last.
    pub occupancy: bool,
    /// Publications that are kept of each channel; 0 for no history.
    pub history_size: usize,
    /// How long each is kept, in milliseconds; 0 for no history.
    pub history_ttl_ms: u64,
    /// How long the position of a channel is remembered after its last publication, in milliseconds.
    pub history_meta_ttl_ms: u64,
    /// Whether members may ask that their position is watched.
    pub allow_positioning: bool,
    /// Whether the position of all members is watched.
    pub force_positioning: bool,
    /// Whether members may ask to recover what they have missed.
    pub allow_recovery: bool,
    /// Whether all members recover what they have missed.
    pub force_recovery: bool,
    /// What is recovered.
    pub recovery_mode: RecoveryMode,
    /// Who may subscribe without a token.
    pub subscribe: Who,
    /// Who may publish.
    pub publish: Who,
    /// Who may ask who is there.
    pub see_presence: Who,
    /// Who may read the history.
    pub see_history: Who,
    /// How often one client may publish in these channels; `None` for no limit.
    pub publish_rate: Option<Rate>,
    /// The least time between two publications of a channel that go to its members, in milliseconds. Those in
    /// between are kept as ever, and only the latest of them goes out. 0 for none.
    pub conflate_ms: u64,
    /// What becomes of members that are too slow for what is published.
    pub slow_policy: SlowMemberPolicy,
    /// Whether names with `#` admit the users in them.
    pub allow_user_limited_channels: bool,
}

/// Who may do something in a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// Every client with a user.
    pub clients: bool,
    /// Clients without a user.
    pub anonymous: bool,
    /// Those who are subscribed to the channel.
    pub subscribers: bool,
}

/// What a member gets that comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RecoveryMode {
    /// All that it has missed.
    #[default]
    Stream,
    /// The latest publication, if it lacks it.
    Cache,
}

/// What becomes of a member that does not take what is published as fast as it comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SlowMemberPolicy {
    /// Its connection ends.
    #[default]
    Disconnect,
    /// It gets the latest publication in place of all that waits. If its position is watched, it is a member no
    /// longer and is told.
    KeepLatest,
}

impl Who {
    /// Whether a client may, which has a user or none and is subscribed or not.
    #[must_use]
    pub fn allows(self, has_user: bool, is_subscribed: bool) -> bool {
        (self.clients && has_user)
            || (self.anonymous && !has_user)
            || (self.subscribers && is_subscribed)
    }
}

impl Namespace {
    /// A namespace with every option off.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let none = Who::default();
        Self {
            name: name.into(),
            presence: false,
            join_leave: false,
            force_push_join_leave: false,
            occupancy: false,
            history_size: 0,
            history_ttl_ms: 0,
            history_meta_ttl_ms: 30 * 24 * 3600 * 1000,
            allow_positioning: false,
            force_positioning: false,
            allow_recovery: false,
            force_recovery: false,
            recovery_mode: RecoveryMode::Stream,
            subscribe: none,
            publish: none,
            see_presence: none,
            see_history: none,
            publish_rate: None,
            conflate_ms: 0,
            slow_policy: SlowMemberPolicy::Disconnect,
            allow_user_limited_channels: false,
        }
    }

    /// Whether publications are kept, and so have offsets.
    #[must_use]
    pub fn has_history(&self) -> bool {
        self.history_size > 0 && self.history_ttl_ms > 0
    }

    /// Whether a member recovers what it has missed, which asks for it or does not.
    #[must_use]
    pub fn recovers(&self, is_asked: bool) -> bool {
        self.has_history() && (self.force_recovery || (self.allow_recovery && is_asked))
    }

    /// Whether the position of a member is watched, which asks for it or does not. Recovery needs it.
    #[must_use]
    pub fn positions(&self, is_asked: bool, recovers: bool) -> bool {
        self.has_history()
            && (recovers || self.force_positioning || (self.allow_positioning && is_asked))
    }

    /// Whether a member is told who comes and goes, which asks for it or does not.
    #[must_use]
    pub fn tells_joins(&self, is_asked: bool) -> bool {
        self.join_leave && (self.force_push_join_leave || is_asked)
    }
}

/// All namespaces by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    by_name: HashMap<String, Arc<Namespace>>,
}

impl Namespaces {
    /// These namespaces; of several with one name the last holds.
    #[must_use]
    pub fn new(all: impl IntoIterator<Item = Namespace>) -> Self {
        let by_name = all.into_iter().map(|own| (own.name.clone(), Arc::new(own))).collect();
        Self { by_name }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.by_name.values()
    }

    /// The namespace with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Namespace>> {
        self.by_name.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_allowed_unless_it_is_configured() {
        let own = Namespace::new("chat");
        for has_user in [false, true] {
            for is_subscribed in [false, true] {
                for who in [own.subscribe, own.publish, own.see_presence, own.see_history] {
                    assert!(!who.allows(has_user, is_subscribed));
                }
            }
        }
        assert!(!own.recovers(true) && !own.positions(true, true) && !own.tells_joins(true));
    }

    #[test]
    fn recovery_needs_a_history() {
        let forced = Namespace { force_recovery: true, ..Namespace::new("") };
        assert!(!forced.recovers(true));
        let kept = Namespace { history_size: 1, history_ttl_ms: 1, ..forced };
        assert!(kept.recovers(false) && kept.positions(false, true));
        let asked = Namespace { force_recovery: false, allow_recovery: true, ..kept };
        assert_eq!([asked.recovers(false), asked.recovers(true)], [false, true]);
    }

    #[test]
    fn clients_without_a_user_are_asked_for_apart() {
        let who = Who { clients: true, ..Who::default() };
        assert!(who.allows(true, false) && !who.allows(false, true));
        let who = Who { subscribers: true, ..Who::default() };
        assert!(who.allows(false, true) && who.allows(true, true) && !who.allows(true, false));
    }
}
