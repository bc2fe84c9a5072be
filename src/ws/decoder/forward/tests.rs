use proptest::prelude::*;

use super::*;
use crate::ws::apply_mask;

const WHOLE_BYTES_MAX: usize = 64;
const KEY: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

fn encoded(sender: Sender, header: FrameHeader, payload: &[u8]) -> Vec<u8> {
    let mask = (sender == Sender::Client).then_some(KEY);
    let mut bytes = Vec::new();
    FrameHeader { mask, payload_len: payload.len() as u64, ..header }.append_to(&mut bytes);
    let at = bytes.len();
    bytes.extend_from_slice(payload);
    if sender == Sender::Client {
        apply_mask(&mut bytes[at..], KEY, 0);
    }
    bytes
}

fn frame(sender: Sender, opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { fin, rsv1: false, opcode, mask: None, payload_len: 0 };
    encoded(sender, header, payload)
}

/// One frame as it went on, its payload copied.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Data(Opcode, bool, Vec<u8>),
    Other(Opcode, Vec<u8>),
}

/// What becomes of a stream that arrives in parts of these sizes, as a connection does it.
fn forward(
    sender: Sender,
    stream: &[u8],
    parts: &[usize],
    message_bytes_max: usize,
) -> (Vec<Seen>, Result<(), Violation>) {
    let mut state = DecoderState::default();
    let (mut progress, mut forwarded_bytes) = (Progress::default(), 0);
    let (mut buffer, mut seen, mut rest) = (Vec::new(), Vec::new(), stream);
    let mut sizes = parts.iter().copied().chain(std::iter::repeat(usize::MAX));
    while !rest.is_empty() {
        let (part, later) = rest.split_at(sizes.next().unwrap().clamp(1, rest.len()));
        rest = later;
        buffer.extend_from_slice(part);
        loop {
            let limits = (message_bytes_max, WHOLE_BYTES_MAX);
            let mut decoder = ForwardDecoder::new(
                sender,
                &mut state,
                &mut progress,
                &mut forwarded_bytes,
                limits,
            )
            .taking_compressed(true);
            let next = match decoder.next(&mut buffer) {
                Ok(None) => break,
                Ok(Some(next)) => next,
                Err(violation) => return (seen, Err(violation)),
            };
            let copied = |range: Range<usize>| buffer[range].to_vec();
            seen.push(match next {
                Forwarded::Close(payload) => Seen::Other(Opcode::Close, copied(payload)),
                Forwarded::Ping(payload) => Seen::Other(Opcode::Ping, copied(payload)),
                Forwarded::Pong(payload) => Seen::Other(Opcode::Pong, copied(payload)),
                Forwarded::Compressed { kind, payload } => {
                    Seen::Other(kind.opcode(), copied(payload))
                }
                Forwarded::Kept => continue,
                Forwarded::Frame(frame) => {
                    let mut payload = copied(frame.payload);
                    apply_mask(&mut payload, frame.mask, 0);
                    let own = Seen::Data(frame.opcode, frame.fin, payload);
                    if let Some(rest) = frame.rest {
                        buffer.clear();
                        rest.append_to(&mut buffer);
                        progress = Progress::default();
                    }
                    own
                }
            });
        }
        let filled = buffer.len();
        let kept = progress.close_up(&mut buffer, filled);
        buffer.truncate(kept);
        assert!(kept <= 14 + WHOLE_BYTES_MAX + 700, "{kept} bytes are kept");
    }
    (seen, Ok(()))
}

/// Frames joined again where they were split: continuations go to the frame before them.
fn joined(seen: Vec<Seen>) -> Vec<(Opcode, Vec<u8>)> {
    let (mut messages, mut controls) = (Vec::new(), Vec::new());
    let mut current: Option<(Opcode, Vec<u8>)> = None;
    for own in seen {
        match own {
            Seen::Other(opcode, payload) => controls.push((opcode, payload)),
            Seen::Data(opcode, fin, payload) => {
                let (kind, mut whole) = match (current.take(), opcode) {
                    (Some(before), Opcode::Continuation) => before,
                    (None, Opcode::Text | Opcode::Binary) => (opcode, Vec::new()),
                    (before, opcode) => panic!("{opcode:?} behind {before:?}"),
                };
                whole.extend(payload);
                if fin {
                    messages.push((kind, whole));
                } else {
                    current = Some((kind, whole));
                }
            }
        }
    }
    assert_eq!(current, None);
    messages.extend(controls);
    messages
}

/// A message in fragments of these sizes, with a ping behind each fragment if that is said.
#[derive(Clone, Debug)]
struct Sent {
    is_text: bool,
    fragments: Vec<usize>,
    has_pings: bool,
}

fn any_sent() -> impl Strategy<Value = Sent> {
    let size = prop_oneof![0..10usize, 50..80usize, 0..600usize];
    (any::<bool>(), prop::collection::vec(size, 1..5), any::<bool>())
        .prop_map(|(is_text, fragments, has_pings)| Sent { is_text, fragments, has_pings })
}

proptest! {
    /// However the stream is cut, messages, kinds and order are those that were sent; frames that are
    /// short, or arrive whole, are even the same frames.
    #[test]
    fn frames_go_on_as_they_came(
        sent in prop::collection::vec(any_sent(), 1..8),
        is_client in any::<bool>(),
        parts in prop::collection::vec(1..300usize, 0..60),
        seed: u8,
    ) {
        let sender = if is_client { Sender::Client } else { Sender::Server };
        let (mut stream, mut frames) = (Vec::new(), Vec::new());
        for Sent { is_text, fragments, has_pings } in &sent {
            // Characters of two bytes, which the fragments cut within.
            let odd = fragments.iter().sum::<usize>() % 2;
            let text = "é".repeat(fragments.iter().sum::<usize>());
            let mut rest = text.as_bytes();
            for (number, size) in fragments.iter().enumerate() {
                let is_last = number + 1 == fragments.len();
                let size = size + usize::from(is_last) * odd;
                let (part, later) = rest.split_at(size.min(rest.len()));
                rest = later;
                let opcode = match (number, is_text) {
                    (0, true) => Opcode::Text,
                    (0, false) => Opcode::Binary,
                    _ => Opcode::Continuation,
                };
                let noise: Vec<u8> = part.iter().map(|byte| byte ^ seed).collect();
                let payload = if *is_text { part } else { &noise };
                stream.extend(frame(sender, opcode, is_last, payload));
                frames.push(Seen::Data(opcode, is_last, payload.to_vec()));
                if *has_pings {
                    stream.extend(frame(sender, Opcode::Ping, true, &[seed; 9]));
                    frames.push(Seen::Other(Opcode::Ping, vec![seed; 9]));
                }
            }
        }
        let (whole, result) = forward(sender, &stream, &[], 1 << 20);
        let (in_parts, same) = forward(sender, &stream, &parts, 1 << 20);
        prop_assert_eq!((result, same), (Ok(()), Ok(())));
        prop_assert_eq!(&whole, &frames);
        // No sender can have a frame taken apart into crumbs.
        let short = |seen: &[Seen]| {
            let is_short = |own: &&Seen| match own {
                Seen::Data(_, fin, payload) => !fin && payload.len() < WHOLE_BYTES_MAX,
                Seen::Other(..) => false,
            };
            seen.iter().filter(is_short).count()
        };
        prop_assert!(short(&in_parts) <= sent.iter().map(|own| own.fragments.len()).sum());
        prop_assert_eq!(joined(in_parts), joined(frames));
    }

    /// Any bytes at all, however they are cut: no panic, and the same verdict.
    #[test]
    fn any_bytes_come_to_the_same_in_parts(
        stream in prop::collection::vec(any::<u8>(), 0..300),
        is_client in any::<bool>(),
        parts in prop::collection::vec(1..20usize, 0..30),
    ) {
        let sender = if is_client { Sender::Client } else { Sender::Server };
        let (_, whole) = forward(sender, &stream, &[], 1000);
        let (_, in_parts) = forward(sender, &stream, &parts, 1000);
        prop_assert_eq!(whole, in_parts);
    }
}

#[test]
fn a_long_frame_goes_on_as_it_comes() {
    for sender in [Sender::Client, Sender::Server] {
        let payload: Vec<u8> = (0..=255).collect();
        let stream = frame(sender, Opcode::Binary, true, &payload);
        let (seen, result) = forward(sender, &stream, &[100, 3, 100], 256);
        assert_eq!(result, Ok(()));
        let kinds: Vec<_> = seen
            .iter()
            .map(|own| match own {
                Seen::Data(opcode, fin, payload) => (*opcode, *fin, payload.len()),
                Seen::Other(..) => panic!("{own:?}"),
            })
            .collect();
        let header = stream.len() - payload.len();
        let first = 100 - header;
        assert_eq!(
            kinds,
            [
                (Opcode::Binary, false, first),
                (Opcode::Continuation, false, 103),
                (Opcode::Continuation, true, 256 - 103 - first),
            ]
        );
        assert_eq!(joined(seen), [(Opcode::Binary, payload)]);
    }
}

#[test]
fn the_limit_of_a_message_holds_over_its_parts() {
    let sender = Sender::Client;
    let first = frame(sender, Opcode::Binary, false, &[0; 200]);
    for (more, result) in [(56, Ok(())), (57, Err(Violation::MessageTooBig))] {
        let last = frame(sender, Opcode::Continuation, true, &vec![0; more]);
        for parts in [vec![], vec![100; 9]] {
            let stream = [first.clone(), last.clone(), frame(sender, Opcode::Text, true, b"a")];
            assert_eq!(forward(sender, &stream.concat(), &parts, 256).1, result);
        }
    }
    // A server's have none.
    let stream = frame(Sender::Server, Opcode::Binary, true, &[0; 500]);
    assert_eq!(forward(Sender::Server, &stream, &[], usize::MAX).1, Ok(()));
}

#[test]
fn clients_mask_their_frames_and_servers_do_not_rfc_6455_section_5_1() {
    for opcode in [Opcode::Text, Opcode::Ping] {
        let of = |sender| frame(sender, opcode, true, b"a");
        let by = |sender, stream: &[u8]| forward(sender, stream, &[], 100).1;
        assert_eq!(by(Sender::Client, &of(Sender::Server)), Err(Violation::NotMasked));
        assert_eq!(by(Sender::Server, &of(Sender::Client)), Err(Violation::Masked));
    }
}

#[test]
fn a_compressed_message_is_kept_until_it_is_whole() {
    let header = |fin, rsv1, opcode| FrameHeader { fin, rsv1, opcode, mask: None, payload_len: 0 };
    let stream = [
        encoded(Sender::Client, header(false, true, Opcode::Text), &[1; 300]),
        frame(Sender::Client, Opcode::Ping, true, b"!"),
        encoded(Sender::Client, header(true, false, Opcode::Continuation), &[2; 300]),
    ];
    for parts in [vec![], vec![70; 9]] {
        let (seen, result) = forward(Sender::Client, &stream.concat(), &parts, 1000);
        assert_eq!(result, Ok(()));
        let message = [[1; 300], [2; 300]].concat();
        assert_eq!(
            seen,
            [Seen::Other(Opcode::Ping, b"!".to_vec()), Seen::Other(Opcode::Text, message),]
        );
    }
}
