//! Close codes and the payload of a close frame (RFC 6455 §5.5.1, §7.4).

use std::borrow::Cow;

use super::Violation;

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

/// A close frame that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloseRequest {
    pub(crate) code: CloseCode,
    pub(crate) reason: Cow<'static, str>,
}

/// The contents of a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'p> {
    /// The code, `None` if the frame was empty.
    pub code: Option<CloseCode>,
    /// The reason, at most 123 bytes.
    pub reason: &'p str,
}

/// Parses the payload of a close frame.
///
/// # Errors
/// [`Violation::CloseCodeCut`], [`Violation::CloseCodeInvalid`] or
/// [`Violation::CloseReasonNotUtf8`].
pub fn parse_close(payload: &[u8]) -> Result<CloseFrame<'_>, Violation> {
    match payload {
        [] => Ok(CloseFrame { code: None, reason: "" }),
        [_] => Err(Violation::CloseCodeCut),
        [high, low, reason @ ..] => {
            let code = CloseCode::from_wire(u16::from_be_bytes([*high, *low]))
                .ok_or(Violation::CloseCodeInvalid)?;
            let reason = std::str::from_utf8(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
            Ok(CloseFrame { code: Some(code), reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_must_not_be_sent_are_refused_rfc_6455_section_7_4() {
        for number in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            assert_eq!(
                parse_close(&u16::to_be_bytes(number)),
                Err(Violation::CloseCodeInvalid),
                "{number}"
            );
        }
        for number in [1000, 1003, 1007, 1011, 1014, 3000, 4001, 4999] {
            let code = parse_close(&u16::to_be_bytes(number)).unwrap().code.unwrap();
            assert_eq!(code.number(), number);
        }
    }

    #[test]
    fn a_close_payload_is_empty_or_a_code_and_a_reason_rfc_6455_section_5_5_1() {
        assert_eq!(parse_close(b""), Ok(CloseFrame { code: None, reason: "" }));
        assert_eq!(parse_close(b"\x03"), Err(Violation::CloseCodeCut));
        let bye = parse_close(b"\x03\xe8bye").unwrap();
        assert_eq!((bye.code, bye.reason), (Some(CloseCode::NORMAL), "bye"));
        assert_eq!(parse_close(b"\x03\xe8\xff"), Err(Violation::CloseReasonNotUtf8));
    }
}
