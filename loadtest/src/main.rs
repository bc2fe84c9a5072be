//! Load generator for WebSocket servers.

mod client;
mod clock;
mod random;

fn main() {}
