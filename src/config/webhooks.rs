//! How webhooks are told what happens on routes.

use super::declare::keys;
use super::file_path::FilePath;
use super::limits::GIB;
use super::rule::{Rule, integer};
use super::timeouts::TIMEOUT;

keys! {
    /// How the webhooks of routes are told: each by one request at a time.
    "webhooks." pub struct WebhookOptions {
        /// Bytes of events that wait for one webhook. An event of a connection takes about 250.
        pub waiting_bytes_max: usize {
            default: 16 << 20,
            rule: integer(1024, GIB),
            reload: true,
            reached: "Further events are lost, and leave a hole in the sequence numbers.",
        }
        /// Events of one request.
        pub batch_events_max: usize {
            default: 100,
            rule: integer(1, 10_000),
            reload: true,
            reached: "The request is made at once, and the others wait for the next.",
        }
        /// Bytes of the events of one request.
        pub batch_bytes_max: usize {
            default: 65_536,
            rule: integer(1024, GIB / 64),
            reload: true,
            reached: "The request is made at once, and the others wait for the next.",
        }
        /// How long an event may wait for others that go along with it, in milliseconds.
        pub delay_ms: u64 {
            default: 200,
            rule: integer(0, 60_000),
            reload: true,
        }
        /// How long a channel is without members before it counts as vacated, in milliseconds. One that has a
        /// member again by then does not.
        pub vacated_ms: u64 {
            default: 1000,
            rule: integer(0, 600_000),
            reload: true,
        }
        /// How long a request may take, with the wait for a connection.
        pub request_ms: u64 {
            default: 5000,
            rule: TIMEOUT,
            reload: true,
            reached: "The request is made again after 1 second, 2, 4, and up to 30.",
        }
        /// PEM file with the authorities that certificates of webhooks must come from, for URLs with https.
        /// By default those of the system.
        pub tls_ca: Option<FilePath> {
            default: None,
            shown: "none",
            rule: Rule::File,
            reload: true,
        }
    }
}
