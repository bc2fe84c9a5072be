//! Fetches one small page, to read what a server tells about itself.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The body of the page at `path`.
pub(super) fn fetch(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    // HTTP/1.0: the answer ends with the connection, and has no chunks.
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

const ANSWER_MAX: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_200_has_a_body() {
        assert_eq!(body("HTTP/1.0 200 OK\r\nA: b\r\n\r\nyes"), Some("yes"));
        assert_eq!(body("HTTP/1.1 404 Not Found\r\n\r\nno"), None);
        assert_eq!(body("HTTP/1.0 200 OK\r\nA: b"), None);
    }
}
