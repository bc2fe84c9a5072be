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

/// What a decoder said, with the payloads copied out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Vec<u8>),
    Violation(Violation),
}

/// Runs the stream through a carry, cut into pieces, the way a connection does.
fn decode(stream: &[u8], pieces: &[usize], message_bytes_max: usize) -> Vec<Said> {
    let mut state = DecoderState::default();
    let mut progress = Progress::default();
    let mut buffer: Vec<u8> = Vec::new();
    let mut said = Vec::new();
    let mut rest = stream;
    let mut sizes = pieces.iter().copied().chain(std::iter::repeat(usize::MAX));
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(sizes.next().unwrap().clamp(1, rest.len()));
        rest = later;
        buffer.extend_from_slice(piece);
        let mut decoder = Decoder::new(&mut state, &mut progress, message_bytes_max);
        loop {
            match decoder.next(&mut buffer) {
                Ok(None) => break,
                Ok(Some(event)) => said.push(match event {
                    Event::Message { kind, payload, .. } => {
                        Said::Message(kind, buffer[payload].to_vec())
                    }
                    Event::Ping(payload) => Said::Ping(buffer[payload].to_vec()),
                    Event::Pong(payload) => Said::Pong(buffer[payload].to_vec()),
                    Event::Close(payload) => Said::Close(buffer[payload].to_vec()),
                }),
                Err(violation) => {
                    said.push(Said::Violation(violation));
                    return said;
                }
            }
        }
        let filled = buffer.len();
        let kept = progress.close_up(&mut buffer, filled);
        buffer.truncate(kept);
    }
    said
}

fn decode_whole(stream: &[u8]) -> Vec<Said> {
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
fn encode(sent: &[Sent]) -> (Vec<u8>, Vec<Said>) {
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
                expected.push(Said::Message(*kind, payload.clone()));
            }
        }
    }
    for (first, payload) in held {
        stream.extend(frame(first, &payload));
        expected.push(control(first, payload));
    }
    (stream, expected)
}

fn control(first: u8, payload: Vec<u8>) -> Said {
    if first == 0x89 { Said::Ping(payload) } else { Said::Pong(payload) }
}

proptest! {
    #[test]
    fn any_cut_of_a_valid_stream_gives_what_was_sent(
        sent in prop::collection::vec(sent(), 0..6),
        pieces in prop::collection::vec(1..200usize, 0..40),
    ) {
        let (stream, expected) = encode(&sent);
        prop_assert_eq!(&decode_whole(&stream), &expected);
        prop_assert_eq!(&decode(&stream, &pieces, 1 << 20), &expected);
        let one_by_one = vec![1; stream.len()];
        prop_assert_eq!(&decode(&stream, &one_by_one, 1 << 20), &expected);
    }

    #[test]
    fn any_cut_of_any_bytes_gives_the_same(
        sent in prop::collection::vec(sent(), 0..4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        pieces in prop::collection::vec(1..50usize, 0..40),
    ) {
        let (mut stream, _) = encode(&sent);
        for (at, byte) in changes {
            if !stream.is_empty() {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
        }
        let whole = decode(&stream, &[], 200);
        prop_assert_eq!(&decode(&stream, &pieces, 200), &whole);
        prop_assert_eq!(&decode(&stream, &vec![1; stream.len()], 200), &whole);
    }
}

#[test]
fn section_5_1_a_client_frame_without_mask_is_refused() {
    assert_eq!(decode_whole(b"\x81\x02hi"), [Said::Violation(Violation::NotMasked)]);
}

#[test]
fn section_5_2_rsv1_means_nothing_without_an_extension() {
    let stream = frame(0xC1, b"hi");
    assert_eq!(decode_whole(&stream), [Said::Violation(Violation::ReservedBits)]);
}

#[test]
fn section_5_4_fragments_follow_one_another() {
    let orphan = frame(0x80, b"hi");
    assert_eq!(decode_whole(&orphan), [Said::Violation(Violation::UnexpectedContinuation)]);
    let interrupted = [frame(0x01, b"a"), frame(0x81, b"b")].concat();
    assert_eq!(decode_whole(&interrupted), [Said::Violation(Violation::ExpectedContinuation)]);
    let after_empty_start = [frame(0x01, b""), frame(0x81, b"b")].concat();
    assert_eq!(
        decode_whole(&after_empty_start),
        [Said::Violation(Violation::ExpectedContinuation)]
    );
}

#[test]
fn section_8_1_text_fails_in_the_middle_of_a_frame() {
    let whole = frame(0x81, b"ok\xff never needed");
    // Header, two good bytes, and the byte that makes it certain.
    let said = decode(&whole[..6 + 3], &[], 1 << 20);
    assert_eq!(said, [Said::Violation(Violation::TextNotUtf8)]);
    let cut_short = frame(0x81, b"\xe5\xbc");
    assert_eq!(decode_whole(&cut_short), [Said::Violation(Violation::TextNotUtf8)]);
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_header() {
    let header = &frame(0x82, &[0; 1001])[..8];
    assert_eq!(decode(header, &[], 1000), [Said::Violation(Violation::MessageTooBig)]);
    let pieces = [frame(0x02, &[0; 600]), frame(0x80, &[0; 401])].concat();
    assert_eq!(decode(&pieces, &[], 1000), [Said::Violation(Violation::MessageTooBig)]);
    let huge = b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0";
    assert_eq!(decode(huge, &[], 1 << 30), [Said::Violation(Violation::MessageTooBig)]);
}

#[test]
fn what_a_connection_keeps_is_small() {
    assert!(size_of::<DecoderState>() <= 8);
    assert_eq!(size_of::<Progress>(), 16);
}

/// What a decoder that takes compressed messages says first.
fn first_event(stream: &[u8]) -> Result<Option<Event>, Violation> {
    let (mut state, mut progress) = (DecoderState::default(), Progress::default());
    let mut decoder = Decoder::new(&mut state, &mut progress, 1000).taking_compressed(true);
    decoder.next(&mut stream.to_vec())
}

#[test]
fn a_compressed_message_is_marked_and_not_taken_for_text() {
    let whole = first_event(&frame(0xC1, b"\xFF\xFE")).unwrap().unwrap();
    assert_eq!(
        whole,
        Event::Message { kind: MessageKind::Text, is_compressed: true, payload: 6..8 }
    );
    let pieces = [frame(0x41, b"\xFF"), frame(0x00, b"\xFE"), frame(0x80, b"\xFD")].concat();
    let joined = first_event(&pieces).unwrap().unwrap();
    assert_eq!(
        joined,
        Event::Message { kind: MessageKind::Text, is_compressed: true, payload: 6..9 }
    );
    let plain = first_event(&frame(0x82, b"")).unwrap().unwrap();
    assert!(matches!(plain, Event::Message { is_compressed: false, .. }));
}

#[test]
fn the_mark_of_compression_stands_on_first_frames_only_and_where_it_was_agreed() {
    for first in [0xC9, 0xCA, 0xC8] {
        assert_eq!(first_event(&frame(first, b"")), Err(Violation::ReservedBits));
    }
    let pieces = [frame(0x41, b"a"), frame(0xC0, b"b")].concat();
    assert_eq!(first_event(&pieces), Err(Violation::ReservedBits));
    for first in [0xA1, 0x91] {
        assert_eq!(first_event(&frame(first, b"")), Err(Violation::ReservedBits));
    }
    let said = decode_whole(&frame(0xC1, b""));
    assert_eq!(said, [Said::Violation(Violation::ReservedBits)]);
}
