//! The command line of the client.

use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::handshake::client::Request;

use super::header::ExtraHeader;
use super::repeat::parse_interval;
use super::url::{ServerUrl, UrlError};

/// The arguments of `tidegate client`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = AFTER_HELP)]
pub struct ClientOptions {
    /// Connect to this URL
    #[arg(value_name = "URL", default_value = "ws://127.0.0.1:8080/chat")]
    pub url: ServerUrl,

    /// Add user=NAME to the query of the URL
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub user: Option<String>,

    /// Add this header to the handshake; repeatable
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<ExtraHeader>,

    /// Send this text at once and then again and again, besides what is typed
    #[arg(long, value_name = "TEXT")]
    pub send: Option<String>,

    /// Send it this often: 500ms, 6s, 2m
    #[arg(long, value_name = "TIME", default_value = "6s", requires = "send")]
    #[arg(value_parser = parse_interval)]
    pub every: Duration,
}

impl ClientOptions {
    /// The URL, with the `user` parameter if `--user` is given.
    ///
    /// # Errors
    /// [`UrlError::TwoUsers`] if the URL names a user as well.
    pub(super) fn url_with_user(&self) -> Result<ServerUrl, UrlError> {
        match &self.user {
            Some(name) => self.url.with_user(name),
            None => Ok(self.url.clone()),
        }
    }

    /// The handshake request for this URL.
    ///
    /// # Errors
    /// [`UrlError::NotUri`] if tungstenite refuses the URL.
    pub(super) fn request(&self, url: &ServerUrl) -> Result<Request, UrlError> {
        let mut request = url.uri()?.into_client_request().map_err(|_| UrlError::NotUri)?;
        for header in &self.header {
            header.apply_to(request.headers_mut());
        }
        Ok(request)
    }
}

const AFTER_HELP: &str = "\
Lines of standard input are sent as text messages; messages that arrive are printed as lines.
At the end of the input, the client closes the connection: at once if it was typed (Ctrl-D), else
after a second, unless --send goes on. Ctrl-C closes it too; a second one does not wait.

Exit codes:
  0  closed by the client, or by the server with 1000, 1001 or no code
  1  could not connect, lost the connection without a close, or could not print
  2  wrong usage
  3  the server refused the handshake: it answered with an HTTP status other than 101
  4  the server closed with another code";
