//! What a control thread is for.

/// What a control thread is for. Work for operators never waits behind work for backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRole {
    /// Health, metrics, the API, the dashboard, and certificates that are got by ACME.
    Admin,
    /// What waits for other servers.
    Backends,
}

impl ControlRole {
    /// Every role.
    pub(super) const ALL: [Self; 2] = [Self::Admin, Self::Backends];

    /// The name of the thread.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Backends => "backends",
        }
    }
}
