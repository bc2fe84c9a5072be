//! The rules of upstreams, and of the routes that lead to them.

use toml::Value;

use super::super::declare::Keys as _;
use super::super::refusal::Refusal;
use super::super::{Config, RelayMode, UpstreamOptions, WebSocketOptions};
use super::repeated::first_repeated;
use crate::events::api_gateway::RouteSelection;
use crate::upstream::{ServerName, ServerPlace};

/// Checks all upstreams, and the routes that name them.
pub(super) fn check_all(config: &Config) -> Result<(), Refusal> {
    let names = config.upstreams.iter().map(|upstream| upstream.name.as_str()).enumerate();
    if let Some((index, name)) = first_repeated(names) {
        let rule = "must not be the name of two upstreams";
        return Err(Refusal::new(format!("upstream[{index}].name"), &Value::from(name), rule));
    }
    for (index, upstream) in config.upstreams.iter().enumerate() {
        if upstream.servers.is_empty() {
            let none = Value::Array(Vec::new());
            let key = format!("upstream[{index}].servers");
            return Err(Refusal::new(key, &none, "must hold at least one server"));
        }
        check_tls(index, upstream)?;
        let is_named = config
            .routes
            .iter()
            .any(|route| route.service.forward().is_some_and(|own| own.upstream == upstream.name));
        if !is_named && !config.proxies.iter().any(|own| own.upstream == upstream.name) {
            let key = format!("upstream[{index}].name");
            let rule = "must be the upstream of a route or of a [[channels.proxy]]";
            return Err(Refusal::new(key, &Value::from(upstream.name.as_str()), rule));
        }
    }
    (0..config.routes.len()).try_for_each(|index| check_route(config, index))
}

fn check_tls(index: usize, upstream: &UpstreamOptions) -> Result<(), Refusal> {
    let missing = |name: &str, why: &str| {
        let rule = format!("is required where {why}");
        Err(Refusal::missing(format!("upstream[{index}].{name}"), rule))
    };
    match (&upstream.tls_certificate, &upstream.tls_key) {
        (Some(_), None) => return missing("tls_key", "there is a tls_certificate"),
        (None, Some(_)) => return missing("tls_certificate", "there is a tls_key"),
        (Some(_), Some(_)) | (None, None) => {}
    }
    let is_unix = |own: ServerName| match own.place {
        ServerPlace::Address(address) => address.unix().is_some(),
        ServerPlace::Name(..) => false,
    };
    if upstream.tls && upstream.tls_name.is_none() && upstream.server_names().any(is_unix) {
        return missing("tls_name", "tls is true and a server is a Unix socket, which has no name");
    }
    Ok(())
}

fn check_route(config: &Config, index: usize) -> Result<(), Refusal> {
    let Some(route) = config.routes.get(index) else { return Ok(()) };
    if let Some(url) = route.service.websocket().and_then(|own| own.webhook.as_ref())
        && !cfg!(feature = "http-backends")
    {
        let key = format!("route[{index}].webhook");
        return Err(Refusal::new(key, &Value::from(url.to_string()), WITHOUT_WEBHOOKS));
    }
    let (Some(forward), Some(websocket)) = (route.service.forward(), route.service.websocket())
    else {
        return Ok(());
    };
    if route.service.events().is_some() && !cfg!(feature = "http-backends") {
        let key = format!("route[{index}].service");
        return Err(Refusal::new(key, &Value::from("events"), WITHOUT_HTTP));
    }
    if let Some(events) = route.service.events()
        && RouteSelection::parse(&events.route_selection).is_none()
    {
        let key = format!("route[{index}].route_selection");
        let rule = "must be an expression such as $request.body.action";
        return Err(Refusal::new(key, &Value::from(events.route_selection.as_str()), rule));
    }
    if !config.upstreams.iter().any(|upstream| upstream.name == forward.upstream) {
        let known: Vec<&str> = config.upstreams.iter().map(|own| own.name.as_str()).collect();
        let rule = match known.as_slice() {
            [] => "must be the name of an [[upstream]], of which there is none".to_owned(),
            known => format!("must be the name of an [[upstream]]: {known:?}"),
        };
        let key = format!("route[{index}].upstream");
        return Err(Refusal::new(key, &Value::from(forward.upstream.as_str()), rule));
    }
    let users = |own: &UpstreamOptions| own.name == forward.upstream && own.hash_by == "user";
    if config.upstreams.iter().any(users) && websocket.identity.is_none() {
        let key = format!("route[{index}].identity");
        let none = Value::Array(Vec::new());
        let rule = "must name an identity where hash_by of the upstream is \"user\"";
        return Err(Refusal::new(key, &none, rule));
    }
    if let Some(rewrite) = forward.rewrite.as_deref().filter(|own| own.ends_with("/*"))
        && !route.paths().any(|path| path.ends_with("/*"))
    {
        let key = format!("route[{index}].rewrite");
        let rule = "must not end in * where no path of the route does";
        return Err(Refusal::new(key, &Value::from(rewrite), rule));
    }
    match route.service.relay() {
        Some(relay) => check_idle(index, relay.mode, websocket),
        None => Ok(()),
    }
}

const WITHOUT_WEBHOOKS: &str =
    "must be left out: this program was built without the feature `http-backends`";
const WITHOUT_HTTP: &str =
    "must be another: this program was built without the feature `http-backends`";

/// A limit that nothing holds would be worse than none: bytes that pass as they are have no messages, and
/// no relay chooses subprotocols or publishes.
fn check_idle(index: usize, mode: RelayMode, websocket: &WebSocketOptions) -> Result<(), Refusal> {
    let default = WebSocketOptions::default();
    let (defaults, rule) = match mode {
        RelayMode::Bytes => (
            WebSocketOptions {
                // These are about the request, and the connection as a whole.
                origins: websocket.origins.clone(),
                identity: websocket.identity.clone(),
                identity_optional: websocket.identity_optional,
                webhook: websocket.webhook.clone(),
                ..default
            },
            "must be left out where the mode is \"bytes\"",
        ),
        RelayMode::Frames => (
            WebSocketOptions {
                subprotocols: default.subprotocols,
                backlog_messages_max: default.backlog_messages_max,
                slow_policy: default.slow_policy,
                ..websocket.clone()
            },
            "must be left out of a relay",
        ),
    };
    for (own, default) in websocket.entries().iter().zip(defaults.entries()) {
        if !own.is_same(&default) {
            let key = format!("route[{index}].{}", own.leaf());
            let value = own.value.clone().unwrap_or_else(|| Value::from(""));
            return Err(Refusal::new(key, &value, rule));
        }
    }
    Ok(())
}
