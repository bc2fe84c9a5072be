//! The record layer of TLS: what stands between a socket and plaintext once a handshake is done.
//!
//! The handshake is the library's (rustls). What it leaves behind is, for each direction, a secret
//! and a sequence number; all else here is a function of bytes: lengths, types, padding, nonces,
//! limits, alerts and key updates (RFC 8446 §5, §4.6.3, §7.2, RFC 5246 §6, RFC 5288, RFC 7905). The
//! cryptography itself is ring's. `docs/decisions/tls.md` argues each rule with its section.
//!
//! ```text
//!   Records ── two secrets, two sequence numbers, a suite: all that an idle connection keeps
//!   KeyCache ─ keys expanded from the secrets, for those who talk
//! ```

mod alert;
mod header;
mod key_cache;
mod key_schedule;
mod records;
mod secret;
mod secret_log;
mod suite;

pub use alert::Alert;
pub use header::{
    CONTENT_BYTES_MAX, ContentType, HEADER_BYTES, Header, HeaderFault, RECORD_BYTES_MAX,
};
pub use key_cache::{ExpandedKeys, KeyCache};
pub use key_schedule::yields;
pub use records::{Opened, RecordFault, Records, handshake_messages};
pub use secret::Secret;
pub use secret_log::SecretLog;
pub use suite::{Cipher, Suite, Version};
