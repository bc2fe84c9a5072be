//! What operators ask of event loops, and what these answer: plain data, with a way back for each answer.
//!
//! The control plane asks, a loop answers between two turns of its connections, and neither waits for the
//! other. Work that grows with the number of connections is asked for in slices: an answer says where the
//! next slice begins, and a loop looks at no more slots for one question than it can in a part of a
//! millisecond.

mod channel;
mod connection;
mod filter;
mod query;
mod room;
mod trace;

pub use channel::{ChannelAnswer, ChannelQuestion, Lasting};
pub use connection::{ConnectionDetail, ConnectionPhase, ConnectionProtocol, ConnectionSummary};
pub use filter::ConnectionFilter;
pub use query::{ClosedSlice, ConnectionSlice, Query, SentSlice};
pub use room::{RoomSlice, RoomSummary};
pub use trace::{TraceEvent, TraceEventKind, TraceId, TraceSink};
