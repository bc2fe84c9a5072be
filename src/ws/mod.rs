//! The WebSocket protocol (RFC 6455) as functions of bytes: no sockets, no clock.
//!
//! [`Decoder`] unmasks and checks the bytes of a client in place and turns them into [`Event`]s;
//! [`ForwardDecoder`] gives the frames of either side of a relay to the other.
//! Replies get a [`ServerHeader`]; a frame for many recipients is encoded once, as an
//! [`EncodedFrame`]. An error of the client is a [`Violation`].

mod close;
mod close_code;
mod decoder;
mod deflate;
mod encode;
mod header;
mod mask;
mod utf8;
mod violation;

pub use close::{CloseFrame, CloseRequest, parse_close};
pub use close_code::CloseCode;
pub use decoder::{
    Decoder, DecoderState, Event, ForwardDecoder, Forwarded, ForwardedFrame, Frame, MessageKind,
    Progress, Sender,
};
pub use deflate::{
    Compressors, DECOMPRESSOR_BYTES, DeflateTerms, FillState, Filled, InflateProgress, Inflater,
    compressor_bytes,
};
pub use encode::{
    EncodedFrame, SERVER_HEADER_BYTES_MAX, ServerHeader, encode_close, mask_control_frame,
};
pub(crate) use encode::{read_server_header, server_header_bytes};
pub use header::{
    CLIENT_CONTROL_FRAME_BYTES_MAX, CLIENT_HEADER_BYTES_MAX, FrameHeader, Opcode, parse_header,
};
pub use mask::apply_mask;
pub use utf8::{NotUtf8, Utf8Tail};
pub use violation::Violation;
