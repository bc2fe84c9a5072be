//! The output of connections: frames gathered for one write, their framing, and their compression.

mod compress;
mod contexts;
mod outgoing;
mod sent;

pub(crate) use compress::MessageCompressor;
pub use compress::{DEFLATE_BYTES_MIN, DEFLATE_CONTEXT_BITS, DEFLATE_LEVEL, DeflateOptions};
pub use contexts::context_bytes_max;
pub(crate) use contexts::{ContextKey, Contexts};
pub(crate) use outgoing::{Framing, Outgoing, OutputSegment};
pub(crate) use sent::{OutgoingMessage, messages};
