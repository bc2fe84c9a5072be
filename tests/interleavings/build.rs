//! Turns the mailbox's own locks into those of loom. Not `--cfg loom` for all: libraries of others change under it, and
//! everything would be built once more.

#![allow(clippy::print_stdout, reason = "cargo reads it")]

fn main() {
    println!("cargo:rustc-cfg=interleavings");
    println!("cargo:rerun-if-changed=build.rs");
}
