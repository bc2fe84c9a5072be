//! Follows the frames of a message and hands its payload on in chunks, as they arrive. No message
//! is held in memory, whatever its length.

use super::frame::{FrameError, FrameHeader, Opcode};

/// The type of a message (§5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataKind {
    Binary,
    Text,
}

impl DataKind {
    pub(crate) fn opcode(self) -> Opcode {
        match self {
            Self::Binary => Opcode::Binary,
            Self::Text => Opcode::Text,
        }
    }
}

/// The position in the message that is arriving.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Set from the header of the first frame to the end of the last.
    message: Option<Message>,
    /// Set from the header of a frame to its end.
    frame: Option<FrameRest>,
}

/// A part of a message's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk<'a> {
    pub(crate) kind: DataKind,
    /// The bytes of the message before this chunk.
    pub(crate) offset: usize,
    pub(crate) payload: &'a [u8],
    /// This is the last chunk of the message.
    pub(crate) is_end: bool,
    /// This is the whole message, which the server sent compressed.
    pub(crate) is_compressed: bool,
}

impl Incoming {
    /// Begins a data frame, whose payload comes next in the input.
    pub(super) fn begin(&mut self, header: FrameHeader) -> Result<(), FrameError> {
        debug_assert_eq!(self.frame, None, "a frame begins where the one before it ended");
        let kind = match header.opcode {
            Opcode::Binary => Some(DataKind::Binary),
            Opcode::Text => Some(DataKind::Text),
            Opcode::Close | Opcode::Continuation | Opcode::Ping | Opcode::Pong => None,
        };
        match (self.message, kind) {
            (None, None) => return Err(FrameError::ContinuesNothing),
            (Some(_), Some(_)) => return Err(FrameError::InterleavedMessage),
            (None, Some(kind)) => self.message = Some(Message { kind, arrived_bytes: 0 }),
            (Some(_), None) => {}
        }
        self.frame = Some(FrameRest { left_bytes: header.payload_bytes, fin: header.fin });
        Ok(())
    }

    /// Takes the part of the frame that is in `input`, or `None` if there is no frame or no input.
    pub(super) fn next_chunk<'a>(&mut self, input: &mut &'a [u8]) -> Option<Chunk<'a>> {
        let (message, frame) = self.message.as_mut().zip(self.frame.as_mut())?;
        if input.is_empty() && frame.left_bytes > 0 {
            return None;
        }
        let (payload, rest) = input.split_at(frame.left_bytes.min(input.len()));
        *input = rest;
        frame.left_bytes -= payload.len();
        let Message { kind, arrived_bytes: offset } = *message;
        message.arrived_bytes += payload.len();
        let is_whole = frame.left_bytes == 0;
        let is_end = is_whole && frame.fin;
        self.frame.take_if(|_| is_whole);
        self.message.take_if(|_| is_end);
        Some(Chunk { kind, offset, payload, is_end, is_compressed: false })
    }
}

#[derive(Clone, Copy, Debug)]
struct Message {
    kind: DataKind,
    arrived_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FrameRest {
    left_bytes: usize,
    fin: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(opcode: Opcode, fin: bool, payload_bytes: usize) -> FrameHeader {
        FrameHeader { opcode, fin, is_compressed: false, payload_bytes }
    }

    #[test]
    fn a_message_is_handed_on_in_the_chunks_that_arrive() {
        let mut incoming = Incoming::default();
        let mut next = |header: Option<FrameHeader>, mut input: &'static [u8]| {
            header.map_or(Ok(()), |header| incoming.begin(header)).unwrap();
            let chunk = incoming.next_chunk(&mut input)?;
            Some((chunk.offset, chunk.payload, chunk.is_end, input))
        };
        let (first, last) = (header(Opcode::Text, false, 3), header(Opcode::Continuation, true, 2));
        assert_eq!(next(Some(first), b"ab"), Some((0, &b"ab"[..], false, &b""[..])));
        assert_eq!(next(None, b""), None);
        assert_eq!(next(None, b"c\x80\x02"), Some((2, &b"c"[..], false, &b"\x80\x02"[..])));
        assert_eq!(next(None, b"\x80\x02"), None);
        assert_eq!(next(Some(last), b"de"), Some((3, &b"de"[..], true, &b""[..])));
        assert_eq!(next(None, b"fg"), None);
    }

    #[test]
    fn empty_frames_have_one_empty_chunk() {
        let mut incoming = Incoming::default();
        incoming.begin(header(Opcode::Binary, true, 0)).unwrap();
        let chunk = Chunk {
            kind: DataKind::Binary,
            offset: 0,
            payload: b"",
            is_end: true,
            is_compressed: false,
        };
        assert_eq!(incoming.next_chunk(&mut &b""[..]), Some(chunk));
        assert_eq!(incoming.next_chunk(&mut &b""[..]), None);
    }

    #[test]
    fn messages_follow_one_another() {
        let mut incoming = Incoming::default();
        let continuation = incoming.begin(header(Opcode::Continuation, true, 0));
        assert_eq!(continuation, Err(FrameError::ContinuesNothing));
        incoming.begin(header(Opcode::Text, false, 0)).unwrap();
        assert!(incoming.next_chunk(&mut &b""[..]).is_some());
        let another = incoming.begin(header(Opcode::Binary, true, 0));
        assert_eq!(another, Err(FrameError::InterleavedMessage));
    }
}
