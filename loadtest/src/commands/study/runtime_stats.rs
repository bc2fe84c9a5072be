//! What a server reports about itself and the kernel does not know: goroutines, tasks, Go's heap.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::servers::StatsEndpoint;

/// The figures of a server's runtime.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct RuntimeStats {
    pub(super) goroutines: Option<u64>,
    pub(super) tasks: Option<u64>,
    pub(super) heap: Option<GoHeap>,
    /// After a garbage collection that was requested.
    pub(super) heap_after_collection: Option<GoHeap>,
}

/// Go's heap, as the runtime accounts for it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct GoHeap {
    /// Spans with at least one object in them.
    pub(super) heap_in_use_bytes: u64,
    /// Objects, including unreachable ones that no collection has found yet.
    pub(super) heap_alloc_bytes: u64,
}

impl RuntimeStats {
    /// Fetches the figures from a server. A garbage collection changes later figures, so the caller
    /// decides whether to request one.
    pub(super) fn fetch(
        endpoint: StatsEndpoint,
        address: SocketAddr,
        with_collection: bool,
    ) -> io::Result<Self> {
        match endpoint {
            StatsEndpoint::Go => {
                let goroutines = counted(address, "/debug/goroutines", "goroutines ")?;
                let heap = go_heap(address, "/debug/pprof/heap?debug=1")?;
                let heap_after_collection = with_collection
                    .then(|| go_heap(address, "/debug/pprof/heap?debug=1&gc=1"))
                    .transpose()?;
                Ok(Self {
                    goroutines: Some(goroutines),
                    tasks: None,
                    heap: Some(heap),
                    heap_after_collection,
                })
            }
            StatsEndpoint::Tasks => {
                let tasks = counted(address, "/", "tasks ")?;
                Ok(Self { tasks: Some(tasks), ..Self::default() })
            }
        }
    }
}

fn counted(address: SocketAddr, path: &str, name: &str) -> io::Result<u64> {
    parse_number(&fetch(address, path)?, name).ok_or_else(|| unreadable(path))
}

fn go_heap(address: SocketAddr, path: &str) -> io::Result<GoHeap> {
    parse_heap(&fetch(address, path)?).ok_or_else(|| unreadable(path))
}

/// The body of the page at `path`.
fn fetch(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    // HTTP/1.0: the response has no chunks and ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    body(&answer)
        .map(str::to_owned)
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, format!("{path} has no answer 200")))
}

fn body(answer: &str) -> Option<&str> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut status = head.lines().next()?.split(' ');
    (status.next()?.starts_with("HTTP/1.") && status.next()? == "200").then_some(body)
}

/// Parses `runtime.MemStats`, which a heap profile in text form has at its end, one field per line.
fn parse_heap(profile: &str) -> Option<GoHeap> {
    Some(GoHeap {
        heap_in_use_bytes: parse_number(profile, "# HeapInuse = ")?,
        heap_alloc_bytes: parse_number(profile, "# HeapAlloc = ")?,
    })
}

/// The number on the line that begins with `name`.
fn parse_number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

fn unreadable(path: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("{path} has an unexpected format"))
}

const ANSWER_MAX: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// A part of a response of Go 1.27.
    const PROFILE: &str = "heap profile: 161: 658528 [161: 658528] @ heap/1048576
1: 278528 [1: 278528] @ 0x5cb8d2 0x5cb8c6 0x490d8b
#\t0x5cb8d1\tcompress/flate.init.0+0x71\t/usr/lib/go/src/compress/flate/deflate.go:7

# runtime.MemStats
# Alloc = 1132912
# TotalAlloc = 1132912
# Sys = 7690512
# HeapAlloc = 1132912
# HeapSys = 3768320
# HeapIdle = 1728512
# HeapInuse = 2039808
# HeapReleased = 1654784
# HeapObjects = 1265
# Stack = 425984 / 425984
";

    #[test]
    fn the_heap_is_read_from_the_end_of_the_profile() {
        let heap = GoHeap { heap_in_use_bytes: 2_039_808, heap_alloc_bytes: 1_132_912 };
        assert_eq!(parse_heap(PROFILE), Some(heap));
        assert_eq!(parse_heap("heap profile: 161: 658528"), None);
        assert_eq!(parse_heap("# HeapInuse = many\n# HeapAlloc = 1"), None);
    }

    #[test]
    fn counts_are_parsed_from_lines_of_their_own() {
        assert_eq!(parse_number("goroutines 10003\n", "goroutines "), Some(10_003));
        assert_eq!(parse_number("tasks 7", "tasks "), Some(7));
        for text in ["", "goroutines", "goroutines x", "tasks 7"] {
            assert_eq!(parse_number(text, "goroutines "), None, "{text:?}");
        }
    }

    #[test]
    fn only_a_200_has_a_body() {
        assert_eq!(body("HTTP/1.0 200 OK\r\nA: b\r\n\r\nyes"), Some("yes"));
        assert_eq!(body("HTTP/1.1 404 Not Found\r\n\r\nno"), None);
        assert_eq!(body("HTTP/1.0 200 OK\r\nA: b"), None);
    }
}
