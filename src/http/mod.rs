//! Plain HTTP (RFC 9110, RFC 9112) and the handshake of RFC 6455 §4: bytes of a request become an
//! upgrade or a rejection.
//!
//! No sockets, no clock. A head is parsed in place once it is complete; between reads only its
//! bytes are kept.
//!
//! ```
//! use tidegate::http::{self, HttpDate, OriginRule, Rejection, UpgradePolicy};
//!
//! /// Appends the answer to `received`, if it holds a whole head.
//! fn answer(received: &[u8], out: &mut Vec<u8>) -> Result<(), Rejection> {
//!     let Some(end) = http::find_head_end(received, 0) else { return Ok(()) };
//!     let head = http::parse_head(&received[..end])?;
//!     if !head.path().matches("/chat") {
//!         return Err(Rejection::not_found());
//!     }
//!     let policy = UpgradePolicy { origins: &OriginRule::SameHost, subprotocols: &[] };
//!     let request = http::check_upgrade(&head, &policy)?;
//!     let date = HttpDate::from_unix_seconds(784_111_777);
//!     let (accept, subprotocol) = (request.accept_key(), request.subprotocol());
//!     http::write_switching_protocols(out, &date, &accept, subprotocol, None, &[]);
//!     Ok(())
//! }
//!
//! let received = b"GET /chat HTTP/1.1\r\nHost: example.com\r\n\
//!     Upgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
//! let mut out = Vec::new();
//! answer(received, &mut out)?;
//! assert!(out.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
//! # Ok::<(), Rejection>(())
//! ```

mod accept_key;
mod authority;
mod body;
mod cookie;
mod date;
mod deflate;
mod extensions;
mod forward;
mod forwarded;
mod grammar;
mod head;
mod hop_by_hop;
mod host_pattern;
mod host_rule;
mod list;
mod origin;
mod percent;
mod plain;
mod redirect;
mod rejection;
mod reply;
mod reply_head;
mod response;
mod response_header;
mod subprotocol;
mod target;
mod upgrade;

pub use accept_key::accept_key;
pub use authority::Authority;
pub use body::{
    BodyError, BodyFraming, BodyPart, BodyReader, FramingError, LAST_CHUNK, reply_framing,
    request_framing, write_chunk,
};
pub use cookie::CookieError;
pub use date::HttpDate;
pub use deflate::{Deflate, accept_deflate};
pub use forward::{ClientFacts, ForwardRules, SetHeader, write_request, write_request_headers};
pub use forwarded::{ForwardedHeader, forwarded_client, is_forwarded};
pub use head::{
    HEAD_BYTES_MAX, HEADER_LINES_MAX, HeadError, HeadLimits, Method, RequestHead, Version,
    find_head_end, looks_like_http, parse_head, parse_head_within,
};
pub use host_pattern::{HostPattern, HostRank, host_rank};
pub use host_rule::{HostRule, is_host};
pub use list::{has_token, list_elements, quoted_list_elements};
pub use origin::{OriginRule, is_origin};
pub use percent::{DecodeError, Encoded};
pub use plain::{
    PlainRequest, ReplyPassage, is_too_long, next_reply_head, write_interim_reply,
    write_plain_reply, write_plain_request,
};
pub use redirect::{HttpsRedirect, write_redirect};
pub use rejection::{Allow, Rejection};
pub use reply::{
    Reply, ReplyError, ReplyLimits, SwitchedExtensions, check_no_extensions, check_switched,
    read_reply, write_refused, write_switched,
};
pub use reply_head::{ReplyHead, ReplyHeadError};
pub use response::{Status, write_page, write_switching_protocols};
pub use response_header::{HeaderValue, InvalidHeader, ResponseHeader};
pub use subprotocol::{InvalidSubprotocol, OFFERED_SUBPROTOCOLS_MAX, Subprotocol};
pub use target::{Path, Query, QueryError, TargetError};
pub use upgrade::{UpgradePolicy, UpgradeRequest, check_upgrade, wants_upgrade};
