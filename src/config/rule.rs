//! What the value of a key must be, and the words for it in messages.

use std::fmt;
use std::net::IpAddr;

use super::grammar;
#[cfg(feature = "http-backends")]
use crate::control::HttpUrl;
#[cfg(feature = "redis")]
use crate::control::RedisUrl;
use crate::http::{Authority, HostPattern, SetHeader, is_host, is_origin};
use crate::jwt::Algorithm;
use crate::services::room::{InvalidLineFormat, LineFormat, NAME_BYTES_MAX, is_name};
use crate::upstream::ServerName;

/// What the value of a key must be. Displays as the rule of an error message ("must be …").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// An IP address and a port, the path of a Unix socket, or `off`.
    AdminAddress,
    /// An IP address and a port.
    Address,
    /// `true` or `false`.
    Boolean,
    /// A name or an IP address that a certificate can be for.
    Domain,
    /// A list of names and IP addresses that a certificate can be for, each once.
    Domains,
    /// A list of URLs of servers of one engine, without a password.
    EngineUrls,
    /// The path of a file.
    File,
    /// The path of a folder.
    Folder,
    /// A list of header lines, each `NAME: VALUE`.
    HeaderLines,
    /// A list of IP addresses of this machine, each once.
    LocalAddresses,
    /// A list of names of headers, each once.
    HeaderNames,
    /// What clients are told apart by.
    HashBy,
    /// The value of `Host`.
    HostHeader,
    /// `"*"` or a list of hosts, each once.
    Hosts,
    /// A URL that begins with `https://`.
    HttpsUrl,
    /// A list of names of `[[identity]]` tables, each once.
    Identities,
    /// The URL of a server that is asked over HTTP; a secret, because it may hold one.
    HttpUrl,
    /// A whole number from `min` to `max`, both included.
    Integer {
        /// The least that is accepted.
        min: u64,
        /// The most that is accepted.
        max: u64,
    },
    /// A word or template of [`LineFormat::parse`].
    Line,
    /// `"off"`, `"stdout"` or the path of a file.
    LogFile,
    /// The name of a member, a room or a table.
    Name,
    /// A list of networks and addresses.
    Networks,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `"*"` or a list of origins.
    Origins,
    /// The path of a request.
    Path,
    /// A list of paths.
    Paths,
    /// A list of names of algorithms with public keys, each once.
    PublicAlgorithms,
    /// The URL of a Redis; a secret, because it may hold a password.
    RedisUrl,
    /// A list of hosts that a route is for, each once.
    RouteHosts,
    /// A path of a route whose service speaks WebSocket.
    RoutePath,
    /// A secret text.
    Secret {
        /// The fewest bytes that are accepted.
        bytes_min: usize,
        /// The most bytes that are accepted.
        bytes_max: usize,
    },
    /// A list of servers, each once.
    Servers,
    /// A list of RFC 9110 tokens, each once.
    Subprotocols,
    /// A list of texts of 1 to 256 bytes without control characters, each once.
    Texts,
    /// An RFC 9110 token.
    Token,
    /// A text without control characters.
    Text {
        /// The fewest bytes that are accepted.
        bytes_min: usize,
        /// The most bytes that are accepted.
        bytes_max: usize,
    },
    /// The name of an `[[upstream]]` table.
    Upstream,
}

impl Rule {
    /// Whether the value must never be shown.
    pub fn is_secret(self) -> bool {
        matches!(self, Self::HttpUrl | Self::RedisUrl | Self::Secret { .. })
    }

    /// Whether no item of a list may stand in it twice.
    pub(super) fn is_of_distinct(self) -> bool {
        matches!(
            self,
            Self::Domains
                | Self::EngineUrls
                | Self::HeaderNames
                | Self::Hosts
                | Self::Identities
                | Self::LocalAddresses
                | Self::PublicAlgorithms
                | Self::RouteHosts
                | Self::Servers
                | Self::Subprotocols
                | Self::Texts
        )
    }

    /// Checks a text, or one item of a list of texts.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(super) fn check_text(self, text: &str) -> Result<(), String> {
        let is_text_of = |bytes_min: usize, bytes_max: usize| {
            (bytes_min..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control)
        };
        let (is_kept, rule) = match self {
            Self::Identities | Self::Name | Self::Upstream => (is_name(text), Self::Name),
            Self::File | Self::Folder | Self::LogFile => (is_text_of(1, PATH_BYTES_MAX), self),
            Self::HttpsUrl => (grammar::is_https_url(text), self),
            Self::Line => (LineFormat::parse(text).is_ok(), self),
            Self::Path | Self::Paths => (grammar::is_path(text), Self::Path),
            Self::Secret { bytes_min, bytes_max } | Self::Text { bytes_min, bytes_max } => {
                (is_text_of(bytes_min, bytes_max), self)
            }
            Self::Domains if !grammar::is_domain(text) => return Err(DOMAIN.to_owned()),
            Self::Domain if !grammar::is_domain(text) => return Err(self.to_string()),
            Self::HashBy => (grammar::is_hash_key(text), self),
            Self::HeaderLines => return check_header_line(text),
            Self::HeaderNames if !grammar::is_token(text) => return Err(TOKEN.to_owned()),
            Self::HostHeader => (Authority::is_valid(text), self),
            Self::LocalAddresses => {
                return match text.parse::<IpAddr>() {
                    Ok(address) if !address.is_unspecified() => Ok(()),
                    Ok(_) | Err(_) => Err(LOCAL_ADDRESS.to_owned()),
                };
            }
            Self::EngineUrls if !is_engine_url(text) => return Err(ENGINE_URL.to_owned()),
            Self::Servers => {
                return ServerName::parse(text).map(drop).map_err(|error| error.to_string());
            }
            Self::RouteHosts if HostPattern::parse(text).is_none() => {
                return Err(HOST_PATTERN.to_owned());
            }
            Self::Hosts if !is_host(text) => return Err(HOST.to_owned()),
            Self::Origins if !is_origin(text.as_bytes()) => return Err(ORIGIN.to_owned()),
            Self::Subprotocols | Self::Token if !grammar::is_token(text) => {
                return Err(TOKEN.to_owned());
            }
            Self::HttpUrl => return check_http_url(text),
            Self::PublicAlgorithms => (is_public_algorithm(text), self),
            Self::RedisUrl => return check_redis_url(text),
            Self::Texts => (is_text_of(1, 256), self),
            Self::Address
            | Self::AdminAddress
            | Self::Boolean
            | Self::Domain
            | Self::Domains
            | Self::EngineUrls
            | Self::HeaderNames
            | Self::Hosts
            | Self::Integer { .. }
            | Self::Networks
            | Self::OneOf(_)
            | Self::Origins
            | Self::RouteHosts
            | Self::RoutePath
            | Self::Subprotocols
            | Self::Token => return Ok(()),
        };
        if is_kept { Ok(()) } else { Err(rule.to_string()) }
    }
}

/// The rule of a whole number from `min` to `max`.
pub(super) const fn integer(min: u64, max: u64) -> Rule {
    Rule::Integer { min, max }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str(ADDRESS),
            Self::AdminAddress => f.write_str(ADMIN_ADDRESS),
            Self::Boolean => f.write_str("must be true or false"),
            Self::Domain => f.write_str(CERTIFIED_NAME),
            Self::Domains => f.write_str(DOMAINS),
            Self::EngineUrls => f.write_str(ENGINE_URLS),
            Self::File => f.write_str("must be the path of a file"),
            Self::Folder => f.write_str("must be the path of a folder"),
            Self::HashBy => f.write_str(HASH_BY),
            Self::HeaderLines => f.write_str("must be a list of headers such as \"X-Key: value\""),
            Self::HeaderNames => f.write_str("must be a list of names of headers"),
            Self::HostHeader => f.write_str("must be HOST or HOST:PORT as the Host header has it"),
            Self::LocalAddresses => f.write_str(LOCAL_ADDRESSES),
            Self::Servers => f.write_str("must be a list of servers such as \"10.0.0.1:9001\""),
            Self::Upstream => f.write_str("must be the name of an [[upstream]] table"),
            Self::Hosts => f.write_str(HOSTS),
            Self::HttpsUrl => f.write_str(HTTPS_URL),
            Self::HttpUrl => f.write_str(HTTP_URL),
            Self::Identities => f.write_str("must be a list of names of [[identity]] tables"),
            Self::Integer { min, max } => write!(f, "must be between {min} and {max}"),
            Self::Line => InvalidLineFormat.fmt(f),
            Self::LogFile => f.write_str("must be \"off\", \"stdout\" or the path of a file"),
            Self::Name => write!(
                f,
                "must be 1 to {NAME_BYTES_MAX} bytes of text that can be seen, without white space \
                 around it"
            ),
            Self::Networks => f.write_str(NETWORKS),
            Self::OneOf(words) => write!(f, "must be one of \"{}\"", words.join("\", \"")),
            Self::Origins => f.write_str(ORIGINS),
            Self::Path => f.write_str(PATH),
            Self::Paths => f.write_str("must be a list of paths"),
            Self::RedisUrl => f.write_str(REDIS_URL),
            Self::RouteHosts => f.write_str(ROUTE_HOSTS),
            Self::RoutePath => f.write_str(ROUTE_PATH),
            Self::PublicAlgorithms => f.write_str(PUBLIC_ALGORITHMS),
            Self::Subprotocols => f.write_str(SUBPROTOCOLS),
            Self::Texts => f.write_str(TEXTS),
            Self::Token => f.write_str(TOKEN),
            Self::Secret { bytes_min, bytes_max } | Self::Text { bytes_min, bytes_max } => {
                let range = match bytes_min {
                    0 => format!("at most {bytes_max}"),
                    _ => format!("{bytes_min} to {bytes_max}"),
                };
                write!(f, "must be text of {range} bytes without control characters")
            }
        }
    }
}

/// Whether this is the URL of a server of an engine. What its host is, the client of that engine decides.
fn is_engine_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"@?#\"".contains(&byte);
    match scheme {
        "unix" => rest.starts_with('/') && rest.bytes().all(is_plain),
        "redis" | "rediss" | "nats" | "tls" => {
            !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(is_plain)
        }
        _ => false,
    }
}

fn check_header_line(text: &str) -> Result<(), String> {
    let Some((name, value)) = text.split_once(':') else {
        return Err("must be a header such as \"X-Key: value\"".to_owned());
    };
    let header = SetHeader::new(name, value.trim_ascii().to_owned());
    header.map(drop).map_err(|error| format!("must be a header: {error}"))
}

const ADDRESS: &str = "must be an IP address and port such as \"127.0.0.1:8080\"";
const ADMIN_ADDRESS: &str = "must be an IP address and port such as \"127.0.0.1:8090\", the path of a Unix \
                 socket, or \"off\"";
const CERTIFIED_NAME: &str = "must be a name or an IP address that a certificate can be for";
const DOMAINS: &str = "must be a list of names and IP addresses that a certificate is to be for";
const LOCAL_ADDRESSES: &str = "must be a list of IP addresses of this machine such as \"10.0.0.5\"";
const HOSTS: &str = "must be \"*\" or a list of names and IP addresses as the Host header has them, \
                 without a port";
const ENGINE_URL: &str = "must be a URL such as \"redis://10.0.0.7:6379\", \"unix:///run/redis.sock\" or \
                          \"nats://nats:4222\"; users and passwords have keys of their own";
const ENGINE_URLS: &str = "must be a list of URLs such as \"redis://10.0.0.7:6379\"";
const NETWORKS: &str = "must be a list of networks such as \"10.0.0.0/8\" and \"2001:db8::/32\", and of \
                 addresses";
const ORIGINS: &str = "must be \"*\" or a list of \"null\" and scheme://host[:port] as the Origin header \
                 has it, without a path";
const PATH: &str = "must start with / and be a URI path: no query, fragment, space or bad escape";
const ROUTE_PATH: &str = "must be a path of a route whose service speaks WebSocket";
const SUBPROTOCOLS: &str = "must be a list of RFC 9110 tokens (letters, digits, !#$%&'*+-.^_`|~)";
const TEXTS: &str = "must be a list of texts of 1 to 256 bytes without control characters";

/// The longest path of Linux (PATH_MAX in limits.h), its end included.
const PATH_BYTES_MAX: usize = 4095;

const LOCAL_ADDRESS: &str = "must be an IP address of this machine";
const DOMAIN: &str = "must be a name such as \"www.example.com\" or an IP address, and no wildcard, \
                      for which there is no challenge by HTTP";
const HOST: &str = "must be a name or an IP address as the Host header has it, without a port, a \
                    pattern, or characters outside ASCII";
const HTTPS_URL: &str = "must be a URL such as \"https://acme.example/directory\"";
const ROUTE_HOSTS: &str =
    "must be a list of names and IP addresses as the Host header has them, without a port";
const HOST_PATTERN: &str = "must be a name, an IP address or *.NAME as the Host header has it, without a \
                            port, a dot at its end, or characters outside ASCII";
#[cfg(feature = "redis")]
fn check_redis_url(text: &str) -> Result<(), String> {
    RedisUrl::parse(text).map(drop).map_err(|error| error.to_string())
}

/// A program without the feature refuses every identity that has such a URL.
#[cfg(not(feature = "redis"))]
#[expect(clippy::unnecessary_wraps, reason = "the URLs of other builds are parsed")]
fn check_redis_url(_: &str) -> Result<(), String> {
    Ok(())
}

#[cfg(feature = "http-backends")]
fn check_http_url(text: &str) -> Result<(), String> {
    HttpUrl::parse(text).map(drop).map_err(|error| error.to_string())
}

/// A program without the feature refuses every identity that has such a URL.
#[cfg(not(feature = "http-backends"))]
#[expect(clippy::unnecessary_wraps, reason = "the URLs of other builds are parsed")]
fn check_http_url(_: &str) -> Result<(), String> {
    Ok(())
}

fn is_public_algorithm(name: &str) -> bool {
    let mut public = Algorithm::ALL.into_iter().filter(|own| !own.is_symmetric());
    public.any(|own| own.name() == name)
}

const HASH_BY: &str = "must be \"address\", \"user\", \"cookie:NAME\" or \"header:NAME\"";
const HTTP_URL: &str = "must be http://HOST[:PORT]/PATH, https://HOST[:PORT]/PATH or \
                        http://unix:/SOCKET:/PATH, without a user";
const PUBLIC_ALGORITHMS: &str = "must be a list of algorithms of public keys: RS256, RS384, RS512, \
                                 PS256, PS384, PS512, ES256, ES384, EdDSA";
const REDIS_URL: &str =
    "must be redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or unix:///PATH";
const ORIGIN: &str =
    "must be \"null\" or scheme://host[:port] as the Origin header has it, without a path";
const TOKEN: &str = "must be an RFC 9110 token (letters, digits, !#$%&'*+-.^_`|~)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_displays_as_the_end_of_a_sentence() {
        assert_eq!(Rule::Integer { min: 1, max: 9 }.to_string(), "must be between 1 and 9");
        assert_eq!(Rule::OneOf(&["a", "b"]).to_string(), "must be one of \"a\", \"b\"");
        let text = |bytes_min| Rule::Text { bytes_min, bytes_max: 9 }.to_string();
        assert_eq!(text(0), "must be text of at most 9 bytes without control characters");
        assert_eq!(text(1), "must be text of 1 to 9 bytes without control characters");
    }
}
