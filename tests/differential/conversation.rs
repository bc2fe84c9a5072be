//! Valid streams of client frames, and changes to their bytes.

use proptest::prelude::*;
use proptest::sample::Index;
use tidegate::ws::{Opcode, apply_mask};

use crate::decoders::Decoded;

/// A valid client frame.
#[derive(Clone, Debug)]
struct Frame {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    payload: Vec<u8>,
}

impl Frame {
    fn write_to(&self, stream: &mut Vec<u8>) {
        stream.push(u8::from(self.fin) << 7 | self.opcode);
        match self.payload.len() {
            len @ 0..=125 => stream.push(0x80 | u8::try_from(len).unwrap()),
            len @ 126..=0xFFFF => {
                stream.push(0x80 | 126);
                stream.extend(u16::try_from(len).unwrap().to_be_bytes());
            }
            len => {
                stream.push(0x80 | 127);
                stream.extend((len as u64).to_be_bytes());
            }
        }
        stream.extend(self.mask);
        let at = stream.len();
        stream.extend(&self.payload);
        apply_mask(&mut stream[at..], self.mask, 0);
    }
}

/// A valid stream: the events that it must decode to, its bytes, and where each frame begins.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    pub(crate) events: Vec<Decoded>,
    pub(crate) stream: Vec<u8>,
    frames_at: Vec<usize>,
}

/// A message in fragments, with a control frame after one of them.
#[derive(Clone, Debug)]
struct FragmentedMessage {
    message: Decoded,
    cuts: Vec<Index>,
    control: Option<(Index, Decoded)>,
    mask: [u8; 4],
}

fn fragmented_message(bytes_max: usize) -> impl Strategy<Value = FragmentedMessage> {
    let text = "[a\u{0}é張😀\u{10FFFF}]{0,80}".prop_map(Decoded::Text);
    let bytes = || prop::collection::vec(any::<u8>(), 0..=125);
    // Both sides of each boundary between the length encodings, or any length.
    let borders = [0, 1, 125, 126, 127, 65_535, 65_536];
    let borders: Vec<usize> = borders.into_iter().filter(|len| *len <= bytes_max).collect();
    let len = prop_oneof![prop::sample::select(borders), 0..=bytes_max];
    let binary = (len, any::<u8>())
        .prop_map(|(len, seed)| Decoded::Binary((0..len).map(|at| seed ^ low_byte(at)).collect()));
    let control = prop_oneof![bytes().prop_map(Decoded::Ping), bytes().prop_map(Decoded::Pong)];
    (
        prop_oneof![text, binary],
        prop::collection::vec(any::<Index>(), 0..4),
        prop::option::of((any::<Index>(), control)),
        any::<[u8; 4]>(),
    )
        .prop_map(|(message, cuts, control, mask)| FragmentedMessage {
            message,
            cuts,
            control,
            mask,
        })
}

fn low_byte(number: usize) -> u8 {
    number.to_le_bytes()[0]
}

fn close() -> impl Strategy<Value = Option<(u16, String)>> {
    // Valid codes, and both sides of each boundary of the ranges.
    let code = prop::sample::select(vec![
        1000, 1001, 1003, 1007, 1012, 1014, 3000, 4999, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999,
        5000, 65_535,
    ]);
    prop::option::of((code, "[a張]{0,41}"))
}

pub(crate) fn conversation(bytes_max: usize) -> impl Strategy<Value = Conversation> {
    let ending = prop::option::weighted(0.3, close());
    (prop::collection::vec(fragmented_message(bytes_max), 0..5), ending).prop_map(
        |(fragmented_messages, ending)| {
            let mut frames = Vec::new();
            let mut events = Vec::new();
            for FragmentedMessage { message, cuts, control, mask } in fragmented_messages {
                let (opcode, payload) = on_the_wire(&message);
                let mut cuts: Vec<usize> =
                    cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
                cuts.extend([0, payload.len()]);
                cuts.sort_unstable();
                let count = cuts.len() - 1;
                let control_after = control.map(|(at, control)| (at.index(count), control));
                for (number, cut) in cuts.windows(2).enumerate() {
                    frames.push(Frame {
                        fin: number + 1 == count,
                        opcode: if number == 0 { opcode } else { Opcode::Continuation as u8 },
                        mask,
                        payload: payload[cut[0]..cut[1]].to_vec(),
                    });
                    if number + 1 == count {
                        events.push(message.clone());
                    }
                    if let Some((_, control)) =
                        control_after.as_ref().filter(|(at, _)| *at == number)
                    {
                        let (opcode, payload) = on_the_wire(control);
                        frames.push(Frame { fin: true, opcode, mask, payload });
                        events.push(control.clone());
                    }
                }
            }
            if let Some(close) = ending {
                let (opcode, payload) = on_the_wire(&Decoded::Close(close.clone()));
                frames.push(Frame { fin: true, opcode, mask: [1, 2, 3, 4], payload });
                events.push(Decoded::Close(close));
            }
            let mut stream = Vec::new();
            let frames_at = frames.iter().map(|frame| {
                let at = stream.len();
                frame.write_to(&mut stream);
                at
            });
            Conversation { events, frames_at: frames_at.collect(), stream }
        },
    )
}

fn on_the_wire(events: &Decoded) -> (u8, Vec<u8>) {
    let (opcode, payload) = match events {
        Decoded::Binary(payload) => (Opcode::Binary, payload.clone()),
        Decoded::Close(close) => {
            let close = close.iter();
            let bytes =
                close.flat_map(|(code, reason)| [&code.to_be_bytes(), reason.as_bytes()].concat());
            (Opcode::Close, bytes.collect())
        }
        Decoded::Ping(payload) => (Opcode::Ping, payload.clone()),
        Decoded::Pong(payload) => (Opcode::Pong, payload.clone()),
        Decoded::Text(text) => (Opcode::Text, text.clone().into_bytes()),
    };
    (opcode as u8, payload)
}

/// A change to a stream. Most hit the first bytes of a frame, to which most rules apply.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Cut(Index),
    FlipHeaderBit(Index, usize, u8),
    FlipBit(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index),
    RepeatFrame(Index, Index),
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    prop_oneof![
        1 => index().prop_map(Change::Cut),
        6 => (index(), 0..4_usize, 0..8_u8)
            .prop_map(|(frame, at, bit)| Change::FlipHeaderBit(frame, at, bit)),
        3 => (index(), 0..8_u8).prop_map(|(at, bit)| Change::FlipBit(at, bit)),
        1 => (index(), prop::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => index().prop_map(Change::Remove),
        2 => (index(), index()).prop_map(|(frame, to)| Change::RepeatFrame(frame, to)),
    ]
}

/// The stream after the changes; frame positions are those of the unchanged stream.
pub(crate) fn changed(conversation: &Conversation, changes: &[Change]) -> Vec<u8> {
    let Conversation { stream, frames_at, .. } = conversation;
    let mut changed = stream.clone();
    for change in changes {
        let len = changed.len();
        if len == 0 || frames_at.is_empty() {
            break;
        }
        match change {
            Change::Cut(at) => changed.truncate(at.index(len)),
            Change::FlipHeaderBit(frame, offset, bit) => {
                let at = (frame.get(frames_at) + offset).min(len - 1);
                changed[at] ^= 1 << bit;
            }
            Change::FlipBit(at, bit) => changed[at.index(len)] ^= 1 << bit,
            Change::Insert(at, bytes) => {
                let at = at.index(len + 1);
                changed.splice(at..at, bytes.iter().copied());
            }
            Change::Remove(at) => {
                changed.remove(at.index(len));
            }
            Change::RepeatFrame(frame, to) => {
                let number = frame.index(frames_at.len());
                let end = frames_at.get(number + 1).copied().unwrap_or(stream.len());
                let to = (*to.get(frames_at)).min(len);
                changed.splice(to..to, stream[frames_at[number]..end].iter().copied());
            }
        }
    }
    changed
}

/// Sizes of the chunks in which a stream arrives; the rest is the last chunk.
pub(crate) fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(1..8_usize, 0..200),
        prop::collection::vec(1..300_usize, 0..20),
    ]
}
