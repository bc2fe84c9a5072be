//! Requests that upgrade nothing, on their way to a backend of another maker: Python's `http.server`, asked
//! by curl and by Python.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use tempfile::NamedTempFile;

use crate::clients::{below_root, curl, has, run};
use crate::frames::sample_bytes;
use crate::gateway::Gateway;

/// A backend that echoes bodies, ended with this.
struct Backend {
    child: Child,
    port: String,
}

impl Backend {
    /// `None`, with a note, where there is no Python.
    fn start() -> Option<Self> {
        if !has("python3", "--version") {
            return None;
        }
        let mut command = Command::new("python3");
        command.arg(below_root("tests/clients/plain_http_backend.py"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Some(Self { child, port: line.trim().to_owned() })
    }

    fn gateway(&self) -> Gateway {
        Gateway::with_config(&format!(
            "loops = 2\n[[upstream]]\nname = \"app\"\nservers = [\"127.0.0.1:{}\"]\n\
             [[route]]\npath = \"/app/*\"\nservice = \"relay\"\nupstream = \"app\"\nhttp = true\n",
            self.port
        ))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn curl_and_a_backend_in_python_exchange_bodies_of_every_framing() {
    let Some(backend) = Backend::start().filter(|_| has("curl", "--version")) else { return };
    let gateway = backend.gateway();
    let mut file = NamedTempFile::new().unwrap();
    let body = sample_bytes(3_000_000);
    file.write_all(&body).unwrap();
    let data = format!("@{}", file.path().display());
    for path in ["length", "chunked", "end"] {
        let url = format!("http://{}/app/{path}", gateway.address());
        assert_eq!(curl(&["--fail", &url]).stdout, format!("GET /app/{path}").as_bytes());
        assert_eq!(
            curl(&["--fail", "--http1.0", &url]).stdout,
            format!("GET /app/{path}").as_bytes()
        );
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            for framing in ["Expect: 100-continue", "Transfer-Encoding: chunked", "Expect:"] {
                let arguments =
                    ["--fail", "-X", method, "--data-binary", &data, "-H", framing, &url];
                assert!(curl(&arguments).stdout == body, "{method} {path} {framing}");
            }
        }
    }
    let url = format!("http://{}/app/length", gateway.address());
    let head = String::from_utf8(curl(&["--fail", "--head", &url]).stdout).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nX-Seen-For: 127.0.0.1\r\n"), "{head}");
    // Several requests over one connection.
    let written = "%{num_connects} ";
    let ten = [url.as_str(); 10];
    let arguments: Vec<&str> =
        ["--fail", "--silent", "--output", "/dev/null", "--write-out", written]
            .into_iter()
            .chain(ten.iter().flat_map(|url| [*url, "--output", "/dev/null"]).take(28))
            .collect();
    let connects = String::from_utf8(curl(&arguments).stdout).unwrap();
    assert_eq!(connects.trim(), "1 0 0 0 0 0 0 0 0 0");
}

/// Python keeps its connection, and says so where a reply was not as it must be.
#[test]
fn a_client_in_python_makes_requests_of_every_method_over_one_connection() {
    let Some(backend) = Backend::start() else { return };
    let gateway = backend.gateway();
    let script = "
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=60)
for number in range(20):
    for method in ['GET', 'HEAD', 'POST', 'OPTIONS', 'PUT']:
        for path in ['length', 'chunked']:
            body = b'x' * number * 5000 if method in ('POST', 'PUT') and number else None
            if method == 'HEAD' and path == 'chunked':
                continue
            connection.request(method, '/app/' + path, body=body)
            socket = connection.sock
            reply = connection.getresponse()
            got = reply.read()
            expected = b'' if method == 'HEAD' else body or f'{method} /app/{path}'.encode()
            assert (reply.status, got) == (200, expected), (method, path, reply.status, got[:50])
            assert connection.sock is socket, 'the connection has ended'
";
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(gateway.address().to_string());
    run(command);
    gateway.assert_counter("http_requests", 180);
    assert_eq!(gateway.counter("http_cut"), 0);
}
