//! A client of the admin listener: one request for each connection, and the whole reply.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use serde_json::Value;

use crate::messages::connect;

/// The token of [`CONFIG`].
pub(crate) const TOKEN: &str = "0123456789abcdef";
/// The token for metrics of [`CONFIG`].
pub(crate) const METRICS_TOKEN: &str = "fedcba9876543210";
/// An admin listener on a free port, as the end of a configuration.
pub(crate) const CONFIG: &str = "[admin]\naddress = \"127.0.0.1:0\"\n\
     token = \"0123456789abcdef\"\nmetrics_token = \"fedcba9876543210\"\n";

/// A reply.
#[derive(Debug)]
pub(crate) struct AdminReply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl AdminReply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(": ")?;
            own.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Sends a request with these header lines and this body.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> AdminReply {
    let mut stream = connect(address);
    let host = if headers.iter().any(|line| line.starts_with("Host:")) {
        String::new()
    } else {
        format!("Host: {address}\r\n")
    };
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\n{host}{lines}{kind}Content-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    AdminReply { status, head: head.to_owned(), body: body.to_owned() }
}

/// Gets something without a token.
pub(crate) fn get(address: SocketAddr, path: &str) -> AdminReply {
    request(address, "GET", path, &[], "")
}

/// Posts something with the token.
pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> AdminReply {
    request(address, "POST", path, &[&format!("Authorization: Bearer {TOKEN}")], body)
}
