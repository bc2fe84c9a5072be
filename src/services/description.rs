//! What a service says of a connection to operators.

/// What a service knows of one of its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Description<'s> {
    /// The name that the service knows it by, as far as that is settled: not one whose token is yet to
    /// be checked.
    pub user: Option<&'s str>,
    /// The room or topic that it is in; empty for the only topic of a route.
    pub room: Option<&'s str>,
}
