//! What one subscription has otherwise than the namespace of its channel.

use super::namespace::Namespace;

/// Options of one subscription; `None` leaves what the namespace says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Whether the member is listed among those who are there.
    pub presence: Option<bool>,
    /// Whether others are told that it comes and goes.
    pub join_leave: Option<bool>,
    /// Whether it recovers what it has missed.
    pub force_recovery: Option<bool>,
    /// Whether its position is watched.
    pub force_positioning: Option<bool>,
    /// Whether it hears who comes and goes. Where the namespace tells all members, it hears of that in any case.
    pub force_push_join_leave: Option<bool>,
}

impl Overrides {
    /// The options of a subscription in this namespace; `None` where they are those of the namespace.
    #[must_use]
    pub fn apply(&self, namespace: &Namespace) -> Option<Namespace> {
        let mut own = namespace.clone();
        for (option, value) in [
            (&mut own.presence, self.presence),
            (&mut own.join_leave, self.join_leave),
            (&mut own.force_recovery, self.force_recovery),
            (&mut own.force_positioning, self.force_positioning),
            (&mut own.force_push_join_leave, self.force_push_join_leave),
        ] {
            *option = value.unwrap_or(*option);
        }
        (own != *namespace).then_some(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_nothing_is_no_other_namespace() {
        let chat = Namespace { presence: true, ..Namespace::new("chat") };
        assert_eq!(Overrides::default().apply(&chat), None);
        let same = Overrides { presence: Some(true), ..Overrides::default() };
        assert_eq!(same.apply(&chat), None);
        let all = Overrides {
            presence: Some(false),
            join_leave: Some(true),
            force_recovery: Some(true),
            force_positioning: Some(true),
            force_push_join_leave: Some(true),
        };
        let wanted = Namespace {
            join_leave: true,
            force_recovery: true,
            force_positioning: true,
            force_push_join_leave: true,
            ..Namespace::new("chat")
        };
        assert_eq!(all.apply(&chat), Some(wanted));
    }
}
