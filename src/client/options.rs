//! The command line of the client.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::handshake::client::Request;

use super::header::ExtraHeader;
use super::repeat::parse_interval;
use super::tls::Trust;
use super::url::{ServerUrl, UrlError};

/// The arguments of `tidegate client`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = AFTER_HELP)]
pub struct ClientOptions {
    /// Connect to this URL [default: ws://127.0.0.1:8080/chat, with a name of your own]
    #[arg(value_name = "URL")]
    pub url: Option<ServerUrl>,

    /// Add user=NAME to the query of the URL
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub user: Option<String>,

    /// Add this header to the handshake; repeatable
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<ExtraHeader>,

    /// Trust the certificates of authorities in this PEM file, instead of those of the system (wss)
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,

    /// Take any certificate of the server, whatever its name and issuer (wss)
    #[arg(long)]
    pub insecure: bool,

    /// Send this text at once and then again and again, besides what is typed
    #[arg(long, value_name = "TEXT")]
    pub send: Option<String>,

    /// Send it this often: 500ms, 6s, 2m
    #[arg(long, value_name = "TIME", default_value = "6s", requires = "send")]
    #[arg(value_parser = parse_interval)]
    pub every: Duration,
}

impl ClientOptions {
    /// The URL that is given, or the default one.
    ///
    /// # Errors
    /// None: the default one is a URL.
    pub(super) fn base_url(&self) -> Result<ServerUrl, UrlError> {
        self.url.clone().map_or_else(|| DEFAULT_URL.parse(), Ok)
    }

    /// The URL, with the `user` parameter if `--user` is given. The default URL leads to a room that
    /// wants a name, so there it is `own_name` if none is given.
    ///
    /// # Errors
    /// [`UrlError::TwoUsers`] if the URL names a user as well.
    pub(super) fn url_with_user(
        &self,
        own_name: impl FnOnce() -> String,
    ) -> Result<ServerUrl, UrlError> {
        let url = self.base_url()?;
        match &self.user {
            Some(name) => url.with_user(name),
            None if self.url.is_none() => url.with_user(&own_name()),
            None => Ok(url),
        }
    }

    /// Whether an option is for `wss` alone.
    pub(super) fn is_about_tls(&self) -> bool {
        self.insecure || self.ca.is_some()
    }

    /// The certificates that the client takes.
    pub(super) fn trust(&self) -> Trust {
        match &self.ca {
            _ if self.insecure => Trust::Anything,
            Some(path) => Trust::File(path.clone()),
            None => Trust::System,
        }
    }

    /// What a user can do about a refusal that gives this reason.
    pub(super) fn advice(&self, reason: &str) -> Option<&'static str> {
        let asks_for_user = self.user.is_none() && reason.contains("user=");
        asks_for_user.then_some("the option --user NAME adds it to the URL")
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

/// A name for the user of the command that differs from that of another one on the same machine, as
/// a room may let a name in only once.
pub(super) fn own_name() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|variable| std::env::var(variable).ok());
    let user = user.filter(|name| is_short_word(name)).unwrap_or_else(|| "guest".to_owned());
    format!("{user}-{}", std::process::id())
}

/// Whether any room takes it as a part of a name.
fn is_short_word(name: &str) -> bool {
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_word && (1..=32).contains(&name.len())
}

const DEFAULT_URL: &str = "ws://127.0.0.1:8080/chat";

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

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: Option<&str>, user: Option<&str>) -> ClientOptions {
        let url = url.map(|url| url.parse().unwrap());
        let user = user.map(str::to_owned);
        ClientOptions {
            url,
            user,
            header: Vec::new(),
            ca: None,
            insecure: false,
            send: None,
            every: Duration::from_secs(6),
        }
    }

    #[test]
    fn the_default_url_names_a_user() {
        for (url, user, expected) in [
            (None, None, "ws://127.0.0.1:8080/chat?user=own"),
            (None, Some("bob"), "ws://127.0.0.1:8080/chat?user=bob"),
            (Some("ws://h/chat"), None, "ws://h/chat"),
            (Some("ws://h/chat"), Some("bob"), "ws://h/chat?user=bob"),
        ] {
            let url = options(url, user).url_with_user(|| "own".to_owned()).unwrap();
            assert_eq!(url.to_string(), expected);
        }
    }

    #[test]
    fn own_names_are_words_that_a_room_takes() {
        let name = own_name();
        assert!(name.ends_with(&format!("-{}", std::process::id())), "{name}");
        assert!(name.len() <= 32 + 1 + 10, "{name}");
        for refused in ["", "a b", "a\nb", "é", &"x".repeat(33)] {
            assert!(!is_short_word(refused), "{refused}");
        }
    }

    #[test]
    fn a_refusal_for_want_of_a_user_leads_to_the_option() {
        let reason = "name refused: give one with ?user=NAME";
        assert!(options(Some("ws://h/chat"), None).advice(reason).is_some());
        assert!(options(Some("ws://h/chat"), Some("bob")).advice(reason).is_none());
        assert!(options(None, None).advice("nothing is served on this path").is_none());
    }
}
