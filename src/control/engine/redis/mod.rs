//! Channels that several gateways share by Redis 6 or later; a Cluster needs 7. Valkey is the same.
//!
//! Two connections go to each server: one asks, the other hears. One task has them all, and the commands wait
//! while 1,024 questions are under way. What is published and kept goes through one script (`publish.lua`),
//! which counts, keeps and tells in one step, so that every gateway hears one order.
//!
//! # Keys and channels
//!
//! `P` is the prefix of the settings, `C` the channel of the gateway. In a Cluster `P.` is followed by a hash tag,
//! as in `P.{17}.m.C`, of 128 that are given by a hash of the name, so that all that a channel has lies in one
//! slot. Names and payloads may hold any bytes. Bytes are of Redis 7.0 beside those of the name, which stands in
//! each key.
//!
//! | name | type | what it holds | kept for | bytes |
//! |---|---|---|---|---|
//! | `P.m.C` | hash | `e` the epoch, 8 hexadecimal digits; `s` the offset | `meta_ttl_ms` after the last publication | 120 |
//! | `P.h.C` | list | `OFFSET:EXPIRY:PAYLOAD` each, the oldest first, of at most 100 publications | `ttl_ms` after the last publication | 170, and 27 each beside the payload |
//! | `P.s.C` | stream | the same for more than 100: id `OFFSET-0`, `e` the expiry, `d` the payload | `ttl_ms` after the last publication | 4,700, into which 4 KiB of publications go |
//! | `P.i.LENGTH.C.KEY` | string | what the publication with an idempotency key has come to: `EPOCH:OFFSET`, or `-` | 5 minutes | 120 |
//! | `P.c.C` | pub/sub | publications and notes ([`Message`]) | | |
//! | `P.nodes.` | pub/sub | what is said to all gateways | | |
//! | `P.node.NUMBER` | pub/sub | what is said to one gateway | | |
//! | `P.probe.NUMBER.NONCE` | pub/sub | what a gateway says to itself | | |
//!
//! Times of expiry are in ms by the clock of Redis. A publication is judged when it is read: if it has expired, it
//! is not given, and neither is any before it. What is read is proven: from the offset of the channel downwards,
//! up to the first that is missing. A channel whose options move it between list and stream begins anew there, so
//! members that come back from before have not all they have missed, and are told.
//!
//! # What is lost, and when
//!
//! Redis copies asynchronously: a master that fails may take publications with it that were answered, and its
//! successor gives their offsets to others. So the epoch that the gateway sees is that of the channel XOR a hash
//! of the `master_replid`, which a server has anew when it is started and when it becomes a master. After any of
//! these each position of before is of another epoch, and members are told that they may have missed something,
//! also where nothing was lost.
//!
//! | what happens | what is lost |
//! |---|---|
//! | A connection is lost, by a fault of the network | Nothing that is kept: positions stay valid. What is not kept, and was published meanwhile, is not heard. |
//! | Redis restarts, with or without its data | No position of before is valid. |
//! | A replica becomes the master | No position of before is valid. Publications that it has not copied are gone, though they were answered. |
//! | A master of before comes back, or goes on in a minority | Gateways that reach only that one publish there, with epochs of their own; a client that moves between the sides is told that its position is not valid. What was published on the losing side is gone. |
//! | A master gets its first replica, or has had none for an hour | It changes its id under standing connections. Gateways look for that every five seconds, and connect again, so that they agree: no position of before is valid. |
//! | Redis evicts keys (`maxmemory-policy`) | Of a `P.m.C` the channel begins anew with another epoch. Of a history the publications: who comes back is told. Use `noeviction`: then publications are refused where memory is full. |
//! | A gateway reads slower than is published | Redis ends its subscriptions at `client-output-buffer-limit pubsub`; the gateway connects again and catches up. |
//!
//! # How a fault is found
//!
//! Each second the gateway publishes a number to itself by the connection that asks; if none of the last three was
//! heard on the other, both are given up, as publications that are answered and not heard are the worst of faults
//! (centrifugo#1189). Questions have a deadline. Time is counted in beats of 250 ms, and none is counted while the
//! gateway itself does not run or does not take its events. A server that answers `READONLY`, `MOVED`,
//! `CLUSTERDOWN`, `LOADING`, `NOSCRIPT` or that it is asked for a password, is given up as well; any other error is
//! `Refused`, as a slot of a Cluster that is being moved (`ASK`, `TRYAGAIN`) or memory that is full.
//!
//! # What a user of Redis must be allowed
//!
//! The keys `P.*` and the channels `P.*`, with `EVALSHA`, `SCRIPT LOAD`, `INFO`, `SELECT`, `UNLINK`, `PUBLISH`,
//! `SUBSCRIBE` and `UNSUBSCRIBE`; in the scripts `DEL`, `GET`, `HGET`, `HINCRBY`, `HMGET`, `HSET`, `LRANGE`, `LTRIM`,
//! `PEXPIRE`, `RPUSH`, `SET`, `TIME`, `XADD` and `XREVRANGE`. In a Cluster `CLUSTER SLOTS`, and the commands of
//! publish and subscribe with an `S` before them.
//!
//! # What is Redis's, and what is the crate's
//!
//! Of the redis crate the protocol is used (`ValueCodec`, URLs), and not its connections: what is pushed goes
//! through queues without a limit there, for all of its kinds of connection, and commands through a task more;
//! commands of its Cluster connection are repeated and may overtake each other. Sentinel is one question, and a
//! Cluster one table; the connections are the same for all.

mod adapter;
mod cluster;
mod connection;
mod failure;
mod message;
mod names;
mod question;
mod reply;
mod request;
mod sentinel;
mod servers;
mod session;
mod settings;
mod shard;

pub use adapter::run_redis;
pub use message::{Message, parse_message};
pub use settings::{RedisEngineSettings, RedisKind};
