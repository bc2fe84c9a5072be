//! The source files of the mailbox once more, in a package of their own: with loom's locks, whose tests try every order
//! of the threads, the rest of the gateway could not be built.

#![cfg(test)]
#![allow(dead_code, unreachable_pub, reason = "the gateway uses all of it")]

#[path = "../../../src/mail/lane.rs"]
mod lane;
#[path = "../../../src/mail/mailbox.rs"]
mod mailbox;
