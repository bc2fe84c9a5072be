//! `--address` as a URL: what people copy from elsewhere becomes an address and the options of paths.

use std::ffi::OsString;

/// The arguments with each `--address ws://HOST[:PORT][/PATH]` replaced by `--address HOST:PORT`, by
/// `--tls` if the scheme is `wss`, and by each of `path_options` with the path, if the URL has one.
///
/// # Errors
/// What is wrong with a URL, as one line.
pub(crate) fn expand(
    arguments: impl IntoIterator<Item = OsString>,
    path_options: impl Fn(&[OsString]) -> Vec<&'static str>,
) -> Result<Vec<OsString>, String> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut expanded = Vec::with_capacity(arguments.len());
    let mut is_address = false;
    for argument in &arguments {
        let text = argument.to_str().unwrap_or_default();
        let joined = text.strip_prefix("--address=");
        let value = if is_address { Some(text) } else { joined };
        is_address = text == "--address";
        let Some((scheme, rest)) = value.and_then(|value| value.split_once("://")) else {
            expanded.push(argument.clone());
            continue;
        };
        let Url { address, is_encrypted, path } =
            parse(scheme, rest).map_err(|why| format!("--address {scheme}://{rest}: {why}"))?;
        let address = if joined.is_some() { format!("--address={address}") } else { address };
        expanded.push(address.into());
        if is_encrypted {
            expanded.push("--tls".into());
        }
        if let Some(path) = path {
            let options = path_options(&arguments);
            expanded.extend(options.iter().map(|option| format!("--{option}={path}").into()));
        }
    }
    Ok(expanded)
}

/// The parts of a URL.
struct Url {
    /// Host and port.
    address: String,
    is_encrypted: bool,
    /// With the query.
    path: Option<String>,
}

fn parse(scheme: &str, rest: &str) -> Result<Url, &'static str> {
    let is_one_of = |names: [&str; 2]| names.iter().any(|name| scheme.eq_ignore_ascii_case(name));
    let is_encrypted = is_one_of(["wss", "https"]);
    if !is_encrypted && !is_one_of(["ws", "http"]) {
        return Err("must begin with ws:// or wss://, or be HOST:PORT");
    }
    if rest.contains('#') {
        return Err("a WebSocket URL has no fragment (RFC 6455 section 3)");
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() || authority.contains('@') {
        return Err("must name a host, and nothing but a port after it");
    }
    // The port follows the last colon, unless that is a part of an IPv6 address in brackets.
    let port = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let address = match port {
        Some(_) => authority.to_owned(),
        None => format!("{authority}:{}", if is_encrypted { 443 } else { 80 }),
    };
    let path = match path {
        "" | "/" => None,
        path if path.starts_with('?') => Some(format!("/{path}")),
        path => Some(path.to_owned()),
    };
    Ok(Url { address, is_encrypted, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(arguments: &[&str]) -> Result<Vec<String>, String> {
        let arguments = arguments.iter().map(OsString::from);
        let expanded = expand(arguments, |_| vec!["path"])?;
        Ok(expanded.into_iter().map(|argument| argument.into_string().unwrap()).collect())
    }

    #[test]
    fn a_url_becomes_an_address_and_a_path() {
        for (given, expected) in [
            (&["--address", "h:1"][..], &["--address", "h:1"][..]),
            (&["--address", "ws://h:1"], &["--address", "h:1"]),
            (&["--address", "ws://h:1/"], &["--address", "h:1"]),
            (&["--address=WS://h"], &["--address=h:80"]),
            (&["--address", "ws://h/a?b=c"], &["--address", "h:80", "--path=/a?b=c"]),
            (&["--address", "http://h?b=c"], &["--address", "h:80", "--path=/?b=c"]),
            (&["--address", "ws://[::1]/a"], &["--address", "[::1]:80", "--path=/a"]),
            (&["--address", "ws://[::1]:9/a"], &["--address", "[::1]:9", "--path=/a"]),
            (&["--address", "wss://h"], &["--address", "h:443", "--tls"]),
            (&["--address=wss://h:1/a"], &["--address=h:1", "--tls", "--path=/a"]),
            (&["--spawn", "ws://h/a"], &["--spawn", "ws://h/a"]),
        ] {
            assert_eq!(expanded(given).unwrap(), expected, "{given:?}");
        }
    }

    #[test]
    fn urls_that_cannot_be_loaded_say_why() {
        for url in ["ftp://h/", "ws://", "ws:///a", "ws://me@h/", "ws://h/#a"] {
            let error = expanded(&["--address", url]).unwrap_err();
            assert!(error.starts_with(&format!("--address {url}: ")), "{error}");
        }
    }
}
