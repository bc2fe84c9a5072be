//! What a control thread is for.

/// What a control thread is for. Work for operators never waits behind work for backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRole {
    /// Health, metrics, the API, the dashboard, and certificates that are got by ACME.
    Admin,
    /// What backends ask of the gateway.
    Api,
    /// What waits for other servers.
    Backends,
}

impl ControlRole {
    /// Every role.
    pub(super) const ALL: [Self; 3] = [Self::Admin, Self::Api, Self::Backends];

    /// The name of the thread.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Api => "api",
            Self::Backends => "backends",
        }
    }
}
