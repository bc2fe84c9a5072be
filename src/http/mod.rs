//! An upgrade request becomes a decision: bytes in, a 101 or a refusal out.
//!
//! No socket, no clock: whoever owns the connection brings the bytes and takes the answer away.
//! A head is parsed where it lies, once it is complete; nothing is kept between two reads but the
//! bytes themselves.

mod accept_key;
mod authority;
mod grammar;
mod head;
mod list;
mod percent;
mod rejection;
mod response;
mod response_header;
mod subprotocol;
mod target;

pub use accept_key::accept_key;
pub use authority::Authority;
pub use head::{
    HEAD_BYTES_MAX, HEADERS_MAX, HeadError, Method, RequestHead, Version, find_head_end,
    looks_like_http, parse_head,
};
pub use list::{has_token, list_elements};
pub use percent::{DecodeError, Encoded};
pub use rejection::{Allow, Rejection};
pub use response::{Status, write_page, write_switching_protocols};
pub use response_header::{HeaderValue, InvalidHeader, ResponseHeader};
pub use subprotocol::{InvalidSubprotocol, OFFERED_SUBPROTOCOLS_MAX, Subprotocol};
pub use target::{Path, Query, QueryError, TargetError};
