//! The output of connections: frames gathered for one write, their framing, and their compression.

mod compress;
mod contexts;
mod deflate_options;
mod outgoing;

pub(crate) use compress::MessageCompressor;
pub use contexts::context_bytes_max;
pub(crate) use contexts::{ContextKey, Contexts};
pub use deflate_options::{DEFLATE_BYTES_MIN, DEFLATE_CONTEXT_BITS, DEFLATE_LEVEL, DeflateOptions};
pub(crate) use outgoing::{Framing, Outgoing, OutputSegment};
