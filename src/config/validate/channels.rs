//! The rules of channels, and of the route that serves them.

use toml::Value;

use super::super::refusal::Refusal;
use super::super::{ChannelsOptions, Config, IdentityKind, ServiceKind, SlowPolicy};
use super::repeated::first_repeated;
use crate::config::word::Word as _;

/// Checks the namespaces, the identities that check tokens, and the route.
pub(super) fn check_all(config: &Config) -> Result<(), Refusal> {
    let names = config.namespaces.iter().map(|own| own.name.as_str()).enumerate();
    if let Some((index, name)) = first_repeated(names.clone()) {
        let rule = "must not be the name of two namespaces";
        return Err(Refusal::new(key_of(index, "name"), &Value::from(name), rule));
    }
    for (index, name) in names {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !name.bytes().all(is_part) {
            return Err(Refusal::new(key_of(index, "name"), &Value::from(name), NAMESPACE));
        }
    }
    let ChannelsOptions { tokens, subscription_tokens, ping_ms, pong_ms, .. } = &config.channels;
    check_tokens(config, "channels.tokens", tokens.as_deref())?;
    check_tokens(config, "channels.subscription_tokens", subscription_tokens.as_deref())?;
    if *ping_ms > 0 && pong_ms >= ping_ms {
        let rule = format!("must be below channels.ping_ms ({ping_ms})");
        return Err(Refusal::number("channels.pong_ms", *pong_ms, rule));
    }
    check_routes(config)
}

fn check_tokens(config: &Config, key: &str, name: Option<&str>) -> Result<(), Refusal> {
    let Some(name) = name else { return Ok(()) };
    match config.identity(name).map(|own| &own.kind) {
        Some(IdentityKind::Jwt(..)) => Ok(()),
        Some(
            IdentityKind::Callback(..)
            | IdentityKind::Certificate(_)
            | IdentityKind::Cookie(_)
            | IdentityKind::Header(_)
            | IdentityKind::Query(_)
            | IdentityKind::Redis(..)
            | IdentityKind::Tokens(..),
        )
        | None => {
            let rule = "must be the name of an [[identity]] of kind \"jwt\"";
            Err(Refusal::new(key, &Value::from(name), rule))
        }
    }
}

fn check_routes(config: &Config) -> Result<(), Refusal> {
    let routes = config.routes.iter().enumerate();
    let mut routes = routes.filter(|(_, own)| own.service.kind() == ServiceKind::Channels);
    let Some((index, route)) = routes.next() else { return check_chat(config, false) };
    check_chat(config, true)?;
    if let Some((index, _)) = routes.next() {
        let rule = "must be that of one route only, which may have several aliases";
        let service = Value::from(ServiceKind::Channels.name());
        return Err(Refusal::new(format!("route[{index}].service"), &service, rule));
    }
    let policy = route.service.websocket().map(|own| own.slow_policy).unwrap_or_default();
    match policy {
        SlowPolicy::Disconnect => Ok(()),
        SlowPolicy::DropNewest | SlowPolicy::KeepLatest => {
            let key = format!("route[{index}].slow_policy");
            Err(Refusal::new(key, &Value::from(policy.name()), SLOW))
        }
    }
}

/// Users of a chat have one list of conversations, on the channels that there are.
fn check_chat(config: &Config, has_channels: bool) -> Result<(), Refusal> {
    let routes = config.routes.iter().enumerate();
    let mut routes = routes.filter(|(_, own)| own.service.kind() == ServiceKind::Chat);
    let refused = |index: usize, rule: &str| {
        let service = Value::from(ServiceKind::Chat.name());
        Err(Refusal::new(format!("route[{index}].service"), &service, rule))
    };
    match (routes.next(), routes.next()) {
        (Some((index, _)), _) if !has_channels => {
            refused(index, "needs a route with service = \"channels\" beside it")
        }
        (_, Some((index, _))) => {
            refused(index, "must be that of one route only, which may have several aliases")
        }
        (Some(_) | None, None) => Ok(()),
    }
}

fn key_of(index: usize, leaf: &str) -> String {
    format!("channels.namespace[{index}].{leaf}")
}

const NAMESPACE: &str = "must be of letters, digits, \"-\", \"_\" and \".\"";
const SLOW: &str = "must be \"disconnect\" where the service is \"channels\": a client that comes back \
                    recovers, and one that stays would lack publications without being told; \
                    channels.namespace.slow_policy is for those of one namespace";

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = "[[route]]\npath = \"/connection/websocket\"\nservice = \"channels\"\n";

    fn refusal(text: &str) -> String {
        let config = Config::from_toml(&format!("{text}{ROUTE}"), "test.toml");
        config.map(drop).unwrap_err().to_string()
    }

    #[test]
    fn channels_are_served_by_one_route_with_namespaces_of_their_own() {
        Config::from_toml(ROUTE, "test.toml").unwrap();
        let two = "[[route]]\npath = \"/x\"\nservice = \"channels\"\n";
        assert!(refusal(two).contains("route[1].service = \"channels\": must be that of one"));
        let namespace = |name: &str| format!("[[channels.namespace]]\nname = \"{name}\"\n");
        assert!(
            refusal(&format!("{0}{0}", namespace("a")))
                .contains("channels.namespace[1].name = \"a\": must not be the name of two")
        );
        assert!(refusal(&namespace("a:b")).contains("must be of letters"));
        assert!(refusal("[channels]\nping_ms = 1000\npong_ms = 1000\n").contains("must be below"));
    }

    #[test]
    fn tokens_are_checked_by_an_identity_of_kind_jwt() {
        let header = "[[identity]]\nname = \"a\"\nkind = \"header\"\nheader = \"X-User\"\n";
        for (name, text) in [("a", header), ("b", "")] {
            let refusal = refusal(&format!("{text}[channels]\ntokens = \"{name}\"\n"));
            assert!(refusal.contains("must be the name of an [[identity]] of kind"), "{refusal}");
        }
    }

    #[test]
    fn a_chat_stands_beside_channels() {
        let chat = |path: &str| format!("[[route]]\npath = \"{path}\"\nservice = \"chat\"\n");
        Config::from_toml(&format!("{}{ROUTE}", chat("/")), "test.toml").unwrap();
        let alone = Config::from_toml(&chat("/"), "test.toml").unwrap_err().to_string();
        assert!(alone.contains("route[0].service = \"chat\": needs a route with"), "{alone}");
        let two = refusal(&format!("{}{}", chat("/a"), chat("/b")));
        assert!(two.contains("route[1].service = \"chat\": must be that of one"), "{two}");
    }

    #[test]
    fn members_are_never_left_without_a_word() {
        let slow = format!("{ROUTE}slow_policy = \"drop_newest\"\n");
        let refusal = Config::from_toml(&slow, "test.toml").unwrap_err().to_string();
        assert!(refusal.contains("route[0].slow_policy = \"drop_newest\": must be"), "{refusal}");
    }
}
