//! The options of channels, which have the same names here.

use super::proxies::Proxies;
use super::source::{Found, Source};
use super::written::toml_text;

/// Options that are true or false.
const SWITCHES: [&str; 19] = [
    "presence",
    "join_leave",
    "force_push_join_leave",
    "allow_positioning",
    "force_positioning",
    "allow_recovery",
    "force_recovery",
    "allow_subscribe_for_client",
    "allow_subscribe_for_anonymous",
    "allow_publish_for_client",
    "allow_publish_for_subscriber",
    "allow_publish_for_anonymous",
    "allow_presence_for_client",
    "allow_presence_for_subscriber",
    "allow_presence_for_anonymous",
    "allow_history_for_client",
    "allow_history_for_subscriber",
    "allow_history_for_anonymous",
    "allow_user_limited_channels",
];

/// The lines of one namespace, from options that are taken out of `options`. `meta_ttl_ms` is what holds for all
/// of them.
pub(super) fn lines(
    options: &mut Source,
    name: Option<&str>,
    meta_ttl_ms: Option<u64>,
    proxies: &Proxies,
    remarks: &mut Vec<String>,
) -> Vec<String> {
    let mut lines = vec![String::new(), "[[channels.namespace]]".to_owned()];
    if let Some(name) = name {
        lines.push(format!("name = {}", toml_text(name)));
    }
    let mut put = |key: &str, value: Result<String, String>| match value {
        Ok(value) => lines.push(format!("{key} = {value}")),
        Err(remark) => remarks.push(remark),
    };
    for key in SWITCHES {
        if let Some(found) = options.take(&[key]) {
            put(key, found.bool().map(|own| own.to_string()));
        }
    }
    if let Some(found) = options.take(&["history_size"]) {
        put("history_size", found.number().map(|own| own.to_string()));
    }
    let seconds = |found: &Found| {
        // Less than a second would be none.
        found.milliseconds().map(|own| own.div_ceil(1000).to_string())
    };
    if let Some(found) = options.take(&["history_ttl"]) {
        put("history_ttl_s", seconds(&found));
    }
    match options.take(&["history_meta_ttl"]) {
        Some(found) => put("history_meta_ttl_s", seconds(&found)),
        None => {
            if let Some(ms) = meta_ttl_ms {
                put("history_meta_ttl_s", Ok(ms.div_ceil(1000).max(1).to_string()));
            }
        }
    }
    if let Some(found) = options.take(&["force_recovery_mode"]) {
        let mode = found.text().and_then(|own| match own {
            "" | "stream" => Ok("\"stream\"".to_owned()),
            "cache" => Ok("\"cache\"".to_owned()),
            other => Err(format!("{}: there is no mode {other:?}, so it was left out", found.name)),
        });
        put("force_recovery_mode", mode);
    }
    lines.extend(proxies.namespace_lines(options, remarks));
    lines
}
