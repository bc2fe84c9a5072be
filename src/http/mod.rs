//! An upgrade request becomes a decision: bytes in, a 101 or a refusal out.

mod accept_key;
mod authority;
mod grammar;
mod head;
mod list;
mod percent;
mod target;

pub use accept_key::accept_key;
pub use authority::Authority;
pub use head::{
    HEAD_BYTES_MAX, HEADERS_MAX, HeadError, Method, RequestHead, Version, find_head_end,
    looks_like_http, parse_head,
};
pub use list::{has_token, list_elements};
pub use percent::{DecodeError, Encoded};
pub use target::{Path, Query, QueryError, TargetError};
