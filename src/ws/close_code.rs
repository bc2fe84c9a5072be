//! Close codes (RFC 6455 §7.4).

/// A close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: normal closure.
    pub const NORMAL: Self = Self(1000);
    /// 1001: this endpoint goes away; sent during a drain.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer violated the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of message that this endpoint does not accept.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1007: payload that is not UTF-8, or cannot be inflated.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: against a policy.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message above the limit.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1011: an internal error.
    pub const INTERNAL: Self = Self(1011);
    /// 1013: overload; try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 4001: a later login took the connection's name.
    pub const REPLACED: Self = Self(4001);
    /// 4002: the backlog of the connection is full.
    pub const TOO_SLOW: Self = Self(4002);
    /// 4003: the name or the request to join was refused.
    pub const NAME_REFUSED: Self = Self(4003);
    /// 4004: the identity of the connection no longer holds; it may come back with a fresh credential.
    pub const IDENTITY_EXPIRED: Self = Self(4004);

    /// The code `number`, if an endpoint may send it: registered codes 1000–1003 and 1007–1014, and
    /// 3000–4999 for libraries and applications (RFC 6455 §7.4.2 and the IANA registry).
    #[must_use]
    pub const fn from_wire(number: u16) -> Option<Self> {
        match number {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(number)),
            _ => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}
