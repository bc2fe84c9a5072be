//! The listener for backends: where they publish, and who may.

use super::admin::AdminAddress;
use super::declare::keys;
use super::limits::GIB;
use super::rule::{Rule, integer};
use super::secret::Secrets;

keys! {
    /// What applications ask of the gateway, such as to publish to their clients.
    "api." pub struct ApiOptions {
        /// Where backends reach the gateway: an address, the path of a Unix socket, or nowhere.
        pub address: AdminAddress {
            default: AdminAddress::Off,
            rule: Rule::AdminAddress,
            reload: false,
        }
        /// The keys of backends, one of which each request shows: as `Authorization: Bearer KEY` or
        /// `X-API-Key: KEY`, or by a token with `exp` that it has signed (HS256). A key may be given as
        /// `base64:` and its bytes. Required where `api.address` is not of this machine only.
        pub keys: Option<Secrets> {
            default: None,
            shown: "none",
            rule: Rule::Secret { bytes_min: 8, bytes_max: 256 },
            reload: false,
        }
        /// Connections of backends at once; each makes one request at a time.
        pub connections_max: usize {
            default: 256,
            rule: integer(1, 65_536),
            reload: false,
            reached: "Further ones wait in the queue of the socket.",
        }
        /// Bytes of the body of one request.
        pub body_bytes_max: usize {
            default: 1 << 20,
            rule: integer(1024, GIB / 4),
            reload: false,
            reached: "The request is refused with 413.",
        }
    }
}
