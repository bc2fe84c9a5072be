//! The record layer against rustls whole: the same records, sound or not, must be taken or refused
//! alike and give the same plaintext, and what is sealed here must be read there.
//!
//! Records come from a sealer of its own, which seals anything as anything. `TIDEGATE_TLS_STREAMS`
//! changes how many streams of records are tried, 600 by default. `TIDEGATE_TLS_SEED` replays one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod limits;
mod opening;
mod published;
mod sealer;
mod sealing;
mod twins;
