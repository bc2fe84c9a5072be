//! The client command: lines of standard input become messages, messages become lines of output.
//!
//! One thread waits with poll(2) for the input, the socket, a signal and the next `--send`.
//!
//! | module | what happens there |
//! |---|---|
//! | `options`, `url`, `header` | the command line becomes a handshake |
//! | `connect`, `tls`, `reply`, `transport` | the handshakes become a connection, or a refusal |
//! | `session` | the open connection, and its close |
//! | `lines`, `repeat` | what is sent |
//! | `output` | what is printed |
//! | `ending` | how it ended, and the exit code |
//!
//! Exit codes: 0 closed by us, or by the server with 1000, 1001 or no code; 1 could not connect,
//! lost the connection without a close, or could not print; 2 wrong usage; 3 the handshake was
//! refused with an HTTP status other than 101; 4 the server closed with another code. Until the
//! connection is open, and from the second one on, signals end the process by their default action.

mod connect;
mod ending;
mod header;
mod lines;
mod options;
mod output;
mod repeat;
mod reply;
mod session;
mod tls;
mod transport;
mod url;
mod waiting;

use std::process::ExitCode;

use rustls::ClientConnection;
use tungstenite::handshake::client::Request;

pub use header::{ExtraHeader, HeaderError};
pub use options::ClientOptions;
pub use url::{Scheme, ServerUrl, UrlError};

use self::connect::{Deadline, HandshakeFailure, connect, look_up, refusal, secure, upgrade};
use self::ending::Ending;
use self::options::own_name;
use self::output::report;
use self::repeat::Repeat;
use self::session::Session;

use crate::os::{StopSignals, SystemClock};
use crate::timer::Clock as _;
use crate::visible::visible_line;

/// Runs the command: connects, exchanges messages until the connection ends, and reports on
/// standard error. Returns the exit code.
#[must_use]
pub fn run(options: &ClientOptions) -> ExitCode {
    let Prepared { url, session, request } = match prepare(options) {
        Ok(prepared) => prepared,
        Err(why) => {
            let url = options.base_url().map(|url| url.to_string()).unwrap_or_default();
            report(&format!("{url}: {why}"));
            return ExitCode::from(USAGE);
        }
    };
    if options.insecure {
        report(&"--insecure: the server's certificate is NOT verified");
    }
    let ending = connect_and_run(options, &url, session, request).unwrap_or_else(|ending| ending);
    report(&ending);
    ExitCode::from(ending.exit_code())
}

/// What the command line asks for.
struct Prepared {
    url: ServerUrl,
    /// For `wss`.
    session: Option<ClientConnection>,
    request: Request,
}

fn prepare(options: &ClientOptions) -> Result<Prepared, String> {
    let url = options.url_with_user(own_name).map_err(|error| error.to_string())?;
    let session = match url.scheme() {
        Scheme::Plain if options.is_about_tls() => {
            return Err("--ca and --insecure are for wss:// URLs".to_owned());
        }
        Scheme::Plain => None,
        Scheme::Secure => {
            let (host, _) = url.host_and_port();
            Some(tls::session(host, &options.trust()).map_err(|error| error.to_string())?)
        }
    };
    let request = options.request(&url).map_err(|error| error.to_string())?;
    Ok(Prepared { url, session, request })
}

/// Connects and runs the session. An error is an ending before the session began.
fn connect_and_run(
    options: &ClientOptions,
    url: &ServerUrl,
    session: Option<ClientConnection>,
    request: Request,
) -> Result<Ending, Ending> {
    let addresses = look_up(url)?;
    let clock = SystemClock::start();
    let deadline = Deadline::start(clock);
    let mut transport = connect(&addresses, deadline)?;
    if let Some(session) = session {
        secure(&mut transport, session, deadline)?;
    }
    match upgrade(&mut transport, request, deadline) {
        Ok((websocket, subprotocol)) => {
            let signals = StopSignals::listen().map_err(|error| Ending::NotConnected {
                why: format!("cannot listen for signals: {error}"),
            })?;
            let subprotocol =
                subprotocol.map(|name| format!(", subprotocol {}", visible_line(&name)));
            report(&format!("connected to {url}{}", subprotocol.unwrap_or_default()));
            let repeat =
                options.send.clone().map(|text| Repeat::starting(clock.now(), text, options.every));
            Ok(Session::new(websocket, clock, signals, repeat).run())
        }
        Err(HandshakeFailure::Refused(reply, body)) => {
            let ending = refusal(&mut transport, &reply, body, deadline);
            Ok(ending.advised(|reason| options.advice(reason)))
        }
        Err(HandshakeFailure::Failed(ending)) => Err(ending),
    }
}

/// The exit code of clap for a wrong command line.
const USAGE: u8 = 2;
