//! The client: lines of the terminal become messages, messages become lines.
//!
//! One thread waits with poll(2) for the input, the socket, a signal and the next `--send`.
//!
//! | module | what happens there |
//! |---|---|
//! | `options`, `url`, `header` | the command line becomes a handshake |
//! | `connect`, `transport` | the handshake becomes a connection, or a refusal |
//! | `session` | the conversation, and its end |
//! | `lines`, `repeat` | what is sent |
//! | `output`, `visible` | what is printed |
//! | `ending` | how it ended |
//!
//! Exit codes: 0 closed by us, or by the server with 1000, 1001 or no code; 1 could not connect,
//! lost the connection without a close, or could not print; 2 wrong usage; 3 the handshake was
//! refused with an HTTP status other than 101; 4 the server closed with another code. Before the
//! connection stands, and from the second on, signals end the process as they do by default.

mod connect;
mod ending;
mod header;
mod lines;
mod options;
mod output;
mod repeat;
mod session;
mod transport;
mod url;
mod visible;

use std::process::ExitCode;

use tungstenite::handshake::client::{Request, Response};

pub use header::{ExtraHeader, HeaderError};
pub use options::ClientOptions;
pub use url::{Scheme, ServerUrl, UrlError};

use connect::{Deadline, HandshakeFailure, dial, look_up, refusal, upgrade};
use ending::Ending;
use output::say;
use repeat::Repeat;
use session::Session;
use transport::Transport;

use crate::os::{StopSignals, SystemClock};
use crate::timer::Clock as _;
use visible::visible_line;

/// Connects, talks until the end, says on standard error how it went, and gives the exit code.
#[must_use]
pub fn run(options: &ClientOptions) -> ExitCode {
    let (url, request) = match prepare(options) {
        Ok(prepared) => prepared,
        Err(why) => {
            say(&format!("{}: {why}", options.url));
            return ExitCode::from(USAGE);
        }
    };
    let ending = converse(options, &url, request).unwrap_or_else(|ending| ending);
    say(&ending);
    ExitCode::from(ending.exit_code())
}

fn prepare(options: &ClientOptions) -> Result<(ServerUrl, Request), String> {
    let url = options.url_with_user().map_err(|error| error.to_string())?;
    Transport::check(url.scheme()).map_err(|error| error.to_string())?;
    let request = options.request(&url).map_err(|error| error.to_string())?;
    Ok((url, request))
}

/// From the look-up to the end of the conversation. An error is an ending before it began.
fn converse(options: &ClientOptions, url: &ServerUrl, request: Request) -> Result<Ending, Ending> {
    let addresses = look_up(url)?;
    let clock = SystemClock::start();
    let deadline = Deadline::start(clock);
    let mut transport = dial(&addresses, deadline)?;
    match upgrade(&mut transport, request, deadline) {
        Ok((websocket, response)) => {
            let signals = StopSignals::listen().map_err(|error| Ending::NotConnected {
                why: format!("cannot listen for signals: {error}"),
            })?;
            say(&format!("connected to {url}{}", subprotocol(&response)));
            let repeat =
                options.send.clone().map(|text| Repeat::starting(clock.now(), text, options.every));
            Ok(Session::new(websocket, clock, signals, repeat).run())
        }
        Err(HandshakeFailure::Refused(response)) => {
            Ok(refusal(&mut transport, *response, deadline))
        }
        Err(HandshakeFailure::Failed(ending)) => Err(ending),
    }
}

fn subprotocol(response: &Response) -> String {
    match response.headers().get("Sec-WebSocket-Protocol") {
        Some(chosen) => {
            let chosen = String::from_utf8_lossy(chosen.as_bytes());
            format!(", subprotocol {}", visible_line(&chosen))
        }
        None => String::new(),
    }
}

/// The exit code of clap for a wrong command line.
const USAGE: u8 = 2;
