//! The frame decoder against tungstenite's: the same bytes, valid or not, must give the same
//! messages up to the same first breach of RFC 6455.
//!
//! tungstenite is not always right, and it looks for breaches in another order and later. Every
//! such difference is named in [`is_explained`] and [`compare`], with the section that decides it;
//! nothing else may differ. `PROPTEST_CASES`, 256 by default, scales how much is tried.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod conversation;
mod readings;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use tidegate::ws::Violation;

use crate::conversation::{Conversation, change, changed, conversation, pieces};
use crate::readings::{Said, read_ours, read_theirs};

/// What tungstenite does instead of the breach that we found, in the same frame.
#[derive(Clone, Copy, Debug)]
enum Instead<'r> {
    /// It found this.
    Breach(Violation),
    /// It took the frame for good; this came of it or of what follows, if anything.
    Said(Option<&'r Said>),
}

/// Whether RFC 6455 explains that tungstenite did this where we found `ours`.
fn is_explained(ours: Violation, theirs: Instead<'_>) -> bool {
    use Violation as V;

    // Of several breaches in one frame each reports the one it looks for first. tungstenite looks
    // for: opcode, frame over the limit, mask, reserved bits, control frames, close payload,
    // continuation, message over the limit, UTF-8. We go through the header from its first byte,
    // and look at RSV1, which an extension may define, only after the mask. The RFC sets no order.
    match (ours, theirs) {
        // The same.
        (ours, Instead::Breach(theirs)) if ours == theirs => true,
        (V::CloseReasonNotUtf8, Instead::Breach(V::TextNotUtf8)) => true,

        // §5.2: "the minimal number of bytes MUST be used to encode the length". tungstenite takes
        // any; we are right. A control frame in such a form is called too long here (§5.5: its
        // length is in the first seven bits), and if it holds 125 bytes or less taken there.
        (V::LengthNotMinimal, _) => true,
        (V::ControlTooLong, Instead::Said(said)) => {
            matches!(said, Some(Said::Close(_) | Said::Ping(_) | Said::Pong(_)))
        }
        (V::ControlTooLong, Instead::Breach(V::CloseCodeCut | V::TextNotUtf8)) => true,

        // §5.2: "the most significant bit MUST be 0". To tungstenite such a length is a length,
        // and over the limit.
        (V::LengthOverflow, Instead::Breach(V::MessageTooBig)) => true,

        // §7.4.1, §7.4.2: codes that must not be sent, or that nobody has defined. tungstenite
        // hands them over as its own 1002, and reads the reason first.
        (V::CloseCodeInvalid, Instead::Said(Some(Said::Close(Some((code, reason)))))) => {
            *code == 1002 && reason == "Protocol violation"
        }
        (V::CloseCodeInvalid, Instead::Breach(V::TextNotUtf8)) => true,

        // Found later by us and earlier by tungstenite.
        (V::ReservedBits, Instead::Breach(V::ReservedOpcode | V::MessageTooBig | V::NotMasked)) => {
            true
        }
        (
            V::ControlFragmented | V::ControlTooLong,
            Instead::Breach(V::MessageTooBig | V::NotMasked | V::ReservedBits),
        ) => true,
        (
            V::NotMasked | V::ExpectedContinuation | V::UnexpectedContinuation,
            Instead::Breach(V::MessageTooBig),
        ) => true,
        _ => false,
    }
}

/// Checks that both make the same of the stream.
fn compare(stream: &[u8], pieces: &[usize], message_bytes_max: usize) -> Result<(), TestCaseError> {
    let ours = read_ours(stream, pieces, message_bytes_max);
    let Some(breach) = ours.breach else {
        let mut theirs = read_theirs(stream, message_bytes_max);
        // §7.4.2 leaves codes to the IANA registry, which has 1014 (bad gateway). tungstenite does
        // not know it.
        if let (Some(Said::Close(Some((1014, _)))), Some(close)) =
            (ours.said.last(), theirs.said.last_mut())
        {
            let unknown = Said::Close(Some((1002, "Protocol violation".to_owned())));
            prop_assert_eq!(&*close, &unknown);
            close.clone_from(&ours.said[ours.said.len() - 1]);
        }
        prop_assert_eq!(ours, theirs);
        return Ok(());
    };
    // We find a breach at the byte that makes it certain, tungstenite when the frame is complete
    // (the RFC sets no moment): so it is given bytes enough to complete any frame in the limit.
    let mut completed = stream.to_vec();
    completed.resize(stream.len() + message_bytes_max + HEADER_BYTES_MAX, 0);
    let theirs = read_theirs(&completed, message_bytes_max);
    let common = ours.said.len();
    prop_assert!(theirs.said.len() >= common, "{breach} came too late\n{ours:?}\n{theirs:?}");
    prop_assert_eq!(&ours.said[..], &theirs.said[..common]);
    let instead = match (theirs.said.get(common), theirs.breach) {
        (None, Some(breach)) => Instead::Breach(breach),
        (said, _) => Instead::Said(said),
    };
    prop_assert!(is_explained(breach, instead), "{breach}, and tungstenite: {instead:?}");
    Ok(())
}

fn config(times: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let failures = FileFailurePersistence::Direct("tests/differential/regressions.txt");
    ProptestConfig {
        cases: default.cases.saturating_mul(times),
        failure_persistence: Some(Box::new(failures)),
        ..default
    }
}

#[test]
fn valid_streams_say_the_same_to_both() {
    proptest!(config(4), |(conversation in conversation(70_000), pieces in pieces())| {
        let Conversation { said, stream, .. } = conversation;
        compare(&stream, &pieces, 70_000)?;
        // Only the code of the close frame may be one that is not valid.
        let ours = read_ours(&stream, &pieces, 70_000);
        let understood = said.len() - usize::from(ours.breach.is_some());
        prop_assert_eq!(ours.said, &said[..understood]);
        prop_assert!(matches!(ours.breach, None | Some(Violation::CloseCodeInvalid)));
    });
}

#[test]
fn changed_streams_say_the_same_to_both_up_to_the_same_breach() {
    let changes = prop::collection::vec(change(), 1..4);
    proptest!(config(40), |(
        conversation in conversation(400),
        changes in changes,
        pieces in pieces(),
        message_bytes_max in prop::sample::select(vec![125_usize, 200, 1000]),
    )| {
        compare(&changed(&conversation, &changes), &pieces, message_bytes_max)?;
    });
}

#[test]
fn any_bytes_say_the_same_to_both() {
    proptest!(config(20), |(
        stream in prop::collection::vec(any::<u8>(), 0..100),
        pieces in pieces(),
    )| {
        compare(&stream, &pieces, 300)?;
    });
}

/// Each breach by itself, so that the comparison is known to reach all of them.
#[test]
fn each_breach_by_itself_is_the_same_to_both() {
    use Violation as V;

    for (breach, stream) in [
        (V::CloseCodeCut, &b"\x88\x81\0\0\0\0\x03"[..]),
        (V::CloseCodeInvalid, b"\x88\x82\0\0\0\0\x03\xed"),
        (V::CloseReasonNotUtf8, b"\x88\x83\0\0\0\0\x03\xe8\xff"),
        (V::ControlFragmented, b"\x09\x80\0\0\0\0"),
        (V::ControlTooLong, b"\x89\xfe\0\x7e\0\0\0\0"),
        (V::ExpectedContinuation, b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0"),
        (V::LengthNotMinimal, b"\x82\xfe\0\x7d\0\0\0\0"),
        (V::LengthNotMinimal, b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0"),
        (V::LengthOverflow, b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0"),
        (V::MessageTooBig, b"\x82\xfe\x01\x2d\0\0\0\0"),
        (V::MessageTooBig, b"\x02\x81\0\0\0\0a\x80\xfe\x01\x2c\0\0\0\0"),
        (V::NotMasked, b"\x81\x02hi"),
        (V::ReservedBits, b"\xc1\x80\0\0\0\0"),
        (V::ReservedBits, b"\xa1\x80\0\0\0\0"),
        (V::ReservedBits, b"\x91\x80\0\0\0\0"),
        (V::ReservedOpcode, b"\x83\x80\0\0\0\0"),
        (V::ReservedOpcode, b"\x8b\x80\0\0\0\0"),
        (V::TextNotUtf8, b"\x81\x83\0\0\0\0ab\xc0"),
        (V::TextNotUtf8, b"\x81\x81\0\0\0\0\xc3"),
        (V::TextNotUtf8, b"\x01\x81\0\0\0\0\xc3\x80\x81\0\0\0\0a"),
        (V::TextNotUtf8, b"\x01\x82\0\0\0\0\xed\xa0\x89\x80\0\0\0\0"),
        (V::UnexpectedContinuation, b"\x80\x80\0\0\0\0"),
    ] {
        let ours = read_ours(stream, &[], 300);
        assert_eq!(ours.breach, Some(breach), "{}", stream.escape_ascii());
        compare(stream, &[], 300)
            .unwrap_or_else(|error| panic!("{}: {error}", stream.escape_ascii()));
    }
}

const HEADER_BYTES_MAX: usize = 14;
