//! The WebSocket protocol (RFC 6455) as a function of bytes: no socket, no clock, no allocation
//! policy.
//!
//! Bytes from a client go through [`Decoder`], which unmasks and checks them in place and says
//! what they mean; what goes back is framed by [`encode`](self) functions or encoded once, as an
//! [`EncodedFrame`], for any number of recipients. What a client did wrong is a [`Violation`].

mod close;
mod decoder;
mod deflate;
mod encode;
mod header;
mod mask;
mod utf8;
mod violation;

pub(crate) use close::CloseRequest;
pub use close::{CloseCode, CloseFrame, parse_close};
pub use decoder::{Decoder, DecoderState, Event, MessageKind, Progress};
pub use deflate::{
    Compressors, DECOMPRESSOR_BYTES, DeflateTerms, Filled, Inflater, Inflating, compressor_bytes,
};
pub use encode::{EncodedFrame, SERVER_HEADER_BYTES_MAX, ServerHeader, encode_close};
pub use header::{
    CLIENT_CONTROL_FRAME_BYTES_MAX, CLIENT_HEADER_BYTES_MAX, FrameHeader, Opcode, parse_header,
};
pub use mask::apply_mask;
pub use utf8::{NotUtf8, Utf8Tail};
pub use violation::Violation;
