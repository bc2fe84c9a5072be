use proptest::prelude::*;

use super::*;
use crate::ws::apply_mask;

/// A client frame; `first` is its first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(key);
    let at = bytes.len();
    bytes.extend(payload);
    apply_mask(&mut bytes[at..], key, 0);
    bytes
}

/// What a decoder returned, with the payloads copied.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decoded {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Vec<u8>),
    Violation(Violation),
}

/// Decodes a stream that arrives in parts of these sizes, as a connection does.
fn decode(stream: &[u8], parts: &[usize], message_bytes_max: usize) -> Vec<Decoded> {
    let mut state = DecoderState::default();
    let mut progress = Progress::default();
    let mut buffer: Vec<u8> = Vec::new();
    let mut decoded = Vec::new();
    let mut rest = stream;
    let mut sizes = parts.iter().copied().chain(std::iter::repeat(usize::MAX));
    while !rest.is_empty() {
        let (part, later) = rest.split_at(sizes.next().unwrap().clamp(1, rest.len()));
        rest = later;
        buffer.extend_from_slice(part);
        let mut decoder = Decoder::new(&mut state, &mut progress, message_bytes_max);
        loop {
            match decoder.next(&mut buffer) {
                Ok(None) => break,
                Ok(Some(event)) => decoded.push(match event {
                    Event::Message { kind, payload, .. } => {
                        Decoded::Message(kind, buffer[payload].to_vec())
                    }
                    Event::Ping(payload) => Decoded::Ping(buffer[payload].to_vec()),
                    Event::Pong(payload) => Decoded::Pong(buffer[payload].to_vec()),
                    Event::Close(payload) => Decoded::Close(buffer[payload].to_vec()),
                }),
                Err(violation) => {
                    decoded.push(Decoded::Violation(violation));
                    return decoded;
                }
            }
        }
        let filled = buffer.len();
        let kept = progress.close_up(&mut buffer, filled);
        buffer.truncate(kept);
    }
    decoded
}

fn decode_whole(stream: &[u8]) -> Vec<Decoded> {
    decode(stream, &[], 1 << 20)
}

#[derive(Clone, Debug)]
enum Sent {
    Message(MessageKind, Vec<u8>, Vec<usize>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn sent() -> impl Strategy<Value = Sent> {
    let cuts = || prop::collection::vec(0..300usize, 0..4);
    prop_oneof![
        3 => ("[aé張😀]{0,150}", cuts())
            .prop_map(|(text, cuts)| Sent::Message(MessageKind::Text, text.into_bytes(), cuts)),
        3 => (prop::collection::vec(any::<u8>(), 0..300), cuts())
            .prop_map(|(bytes, cuts)| Sent::Message(MessageKind::Binary, bytes, cuts)),
        1 => prop::collection::vec(any::<u8>(), 0..126).prop_map(Sent::Ping),
        1 => prop::collection::vec(any::<u8>(), 0..126).prop_map(Sent::Pong),
    ]
}

/// Puts messages on the wire, cut into fragments, each control frame inside the message after it.
fn encode(sent: &[Sent]) -> (Vec<u8>, Vec<Decoded>) {
    let mut stream = Vec::new();
    let mut expected = Vec::new();
    let mut held: Vec<(u8, Vec<u8>)> = Vec::new();
    for item in sent {
        match item {
            Sent::Ping(payload) => held.push((0x89, payload.clone())),
            Sent::Pong(payload) => held.push((0x8A, payload.clone())),
            Sent::Message(kind, payload, cuts) => {
                let mut cuts: Vec<usize> =
                    cuts.iter().map(|cut| *cut.min(&payload.len())).collect();
                cuts.extend([0, payload.len()]);
                cuts.sort_unstable();
                let count = cuts.len() - 1;
                for (at, cut) in cuts.windows(2).enumerate() {
                    let opcode = if at == 0 { *kind as u8 } else { 0 };
                    let fin = if at + 1 == count { 0x80 } else { 0 };
                    stream.extend(frame(fin | opcode, &payload[cut[0]..cut[1]]));
                    if fin == 0 {
                        for (first, payload) in held.drain(..) {
                            stream.extend(frame(first, &payload));
                            expected.push(control(first, payload));
                        }
                    }
                }
                expected.push(Decoded::Message(*kind, payload.clone()));
            }
        }
    }
    for (first, payload) in held {
        stream.extend(frame(first, &payload));
        expected.push(control(first, payload));
    }
    (stream, expected)
}

fn control(first: u8, payload: Vec<u8>) -> Decoded {
    if first == 0x89 { Decoded::Ping(payload) } else { Decoded::Pong(payload) }
}

proptest! {
    #[test]
    fn a_valid_stream_in_any_parts_gives_what_was_sent(
        sent in prop::collection::vec(sent(), 0..6),
        parts in prop::collection::vec(1..200usize, 0..40),
    ) {
        let (stream, expected) = encode(&sent);
        prop_assert_eq!(&decode_whole(&stream), &expected);
        prop_assert_eq!(&decode(&stream, &parts, 1 << 20), &expected);
        let one_by_one = vec![1; stream.len()];
        prop_assert_eq!(&decode(&stream, &one_by_one, 1 << 20), &expected);
    }

    #[test]
    fn any_bytes_in_any_parts_give_the_same_events(
        sent in prop::collection::vec(sent(), 0..4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        parts in prop::collection::vec(1..50usize, 0..40),
    ) {
        let (mut stream, _) = encode(&sent);
        for (at, byte) in changes {
            if !stream.is_empty() {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
        }
        let whole = decode(&stream, &[], 200);
        prop_assert_eq!(&decode(&stream, &parts, 200), &whole);
        prop_assert_eq!(&decode(&stream, &vec![1; stream.len()], 200), &whole);
    }
}

#[test]
fn an_unmasked_frame_is_refused_rfc_6455_section_5_1() {
    assert_eq!(decode_whole(b"\x81\x02hi"), [Decoded::Violation(Violation::NotMasked)]);
}

#[test]
fn rsv1_without_an_extension_is_refused_rfc_6455_section_5_2() {
    let stream = frame(0xC1, b"hi");
    assert_eq!(decode_whole(&stream), [Decoded::Violation(Violation::ReservedBits)]);
}

#[test]
fn a_continuation_out_of_order_is_refused_rfc_6455_section_5_4() {
    let orphan = frame(0x80, b"hi");
    assert_eq!(decode_whole(&orphan), [Decoded::Violation(Violation::UnexpectedContinuation)]);
    let interrupted = [frame(0x01, b"a"), frame(0x81, b"b")].concat();
    assert_eq!(decode_whole(&interrupted), [Decoded::Violation(Violation::ExpectedContinuation)]);
    let after_empty_start = [frame(0x01, b""), frame(0x81, b"b")].concat();
    assert_eq!(
        decode_whole(&after_empty_start),
        [Decoded::Violation(Violation::ExpectedContinuation)]
    );
}

#[test]
fn invalid_text_is_refused_before_its_frame_ends_rfc_6455_section_8_1() {
    let whole = frame(0x81, b"ok\xff never needed");
    // The header, two valid bytes, and the byte that makes the text invalid.
    let decoded = decode(&whole[..6 + 3], &[], 1 << 20);
    assert_eq!(decoded, [Decoded::Violation(Violation::TextNotUtf8)]);
    let cut_short = frame(0x81, b"\xe5\xbc");
    assert_eq!(decode_whole(&cut_short), [Decoded::Violation(Violation::TextNotUtf8)]);
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_header() {
    let header = &frame(0x82, &[0; 1001])[..8];
    assert_eq!(decode(header, &[], 1000), [Decoded::Violation(Violation::MessageTooBig)]);
    let parts = [frame(0x02, &[0; 600]), frame(0x80, &[0; 401])].concat();
    assert_eq!(decode(&parts, &[], 1000), [Decoded::Violation(Violation::MessageTooBig)]);
    let huge = b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0";
    assert_eq!(decode(huge, &[], 1 << 30), [Decoded::Violation(Violation::MessageTooBig)]);
}

#[test]
fn the_state_of_a_connection_takes_8_bytes() {
    assert!(size_of::<DecoderState>() <= 8);
    assert_eq!(size_of::<Progress>(), 16);
}

/// The first event of a decoder that accepts compressed messages.
fn first_event(stream: &[u8]) -> Result<Option<Event>, Violation> {
    let (mut state, mut progress) = (DecoderState::default(), Progress::default());
    let mut decoder = Decoder::new(&mut state, &mut progress, 1000).taking_compressed(true);
    decoder.next(&mut stream.to_vec())
}

#[test]
fn a_compressed_message_is_marked_and_not_checked_for_utf8() {
    let whole = first_event(&frame(0xC1, b"\xFF\xFE")).unwrap().unwrap();
    assert_eq!(
        whole,
        Event::Message { kind: MessageKind::Text, is_compressed: true, payload: 6..8 }
    );
    let parts = [frame(0x41, b"\xFF"), frame(0x00, b"\xFE"), frame(0x80, b"\xFD")].concat();
    let joined = first_event(&parts).unwrap().unwrap();
    assert_eq!(
        joined,
        Event::Message { kind: MessageKind::Text, is_compressed: true, payload: 6..9 }
    );
    let plain = first_event(&frame(0x82, b"")).unwrap().unwrap();
    assert!(matches!(plain, Event::Message { is_compressed: false, .. }));
}

#[test]
fn rsv1_is_refused_except_on_the_first_frame_where_compression_was_agreed() {
    for first in [0xC9, 0xCA, 0xC8] {
        assert_eq!(first_event(&frame(first, b"")), Err(Violation::ReservedBits));
    }
    let parts = [frame(0x41, b"a"), frame(0xC0, b"b")].concat();
    assert_eq!(first_event(&parts), Err(Violation::ReservedBits));
    for first in [0xA1, 0x91] {
        assert_eq!(first_event(&frame(first, b"")), Err(Violation::ReservedBits));
    }
    let decoded = decode_whole(&frame(0xC1, b""));
    assert_eq!(decoded, [Decoded::Violation(Violation::ReservedBits)]);
}

#[test]
fn each_fragment_is_a_frame_of_its_own() {
    let frames = [(0x01, &b"a"[..]), (0x89, b"ping"), (0x00, b""), (0x80, b"b")];
    let mut stream: Vec<u8> =
        frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect();
    let (mut state, mut progress) = (DecoderState::default(), Progress::default());
    let mut decoder = Decoder::new(&mut state, &mut progress, 1000);
    let mut seen = Vec::new();
    while let Some(own) = decoder.next_frame(&mut stream).unwrap() {
        seen.push(match own {
            Frame::Fragment => "fragment",
            Frame::Event(Event::Ping(_)) => "ping",
            Frame::Event(Event::Message { payload, .. }) => {
                assert_eq!(stream[payload], *b"ab");
                "message"
            }
            Frame::Event(Event::Close(_) | Event::Pong(_)) => unreachable!(),
        });
    }
    assert_eq!(seen, ["fragment", "ping", "fragment", "message"]);
}
