//! Close frames: one to send, and the payload of one that was received (RFC 6455 §5.5.1).

use std::borrow::Cow;

use super::close_code::CloseCode;
use super::violation::Violation;

/// A close frame that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseRequest {
    /// The code.
    pub code: CloseCode,
    /// The reason; what is over 123 bytes is cut.
    pub reason: Cow<'static, str>,
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
