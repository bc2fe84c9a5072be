//! Subscriptions that the server makes, as tokens and backends write them.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use thiserror::Error;

use super::decode::{is_json, without_newlines};
use crate::channels::Overrides;
use crate::timer::WallTime;

/// What a subscription has that its namespace does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// What others are told of the member, as JSON in one line.
    pub info: Option<Arc<[u8]>>,
    /// What the member is told of the subscription, as JSON in one line.
    pub data: Option<Arc<[u8]>>,
    /// When it ends; `None` for never.
    pub expires_at: Option<WallTime>,
    /// Other options than those of the namespace.
    pub overrides: Overrides,
}

/// A channel and the subscription that is made to it.
pub type ServerSubscription = (String, SubscriptionOptions);

/// Bytes of `info` and of `data`.
pub const SUBSCRIPTION_JSON_BYTES_MAX: usize = 4096;

/// What is written of a subscription makes no sense, or is too long.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("what is written of a subscription makes no sense, or is too long")]
pub struct BadSubscription;

/// The fields of a subscription in JSON. Unknown ones are passed over, and `null` is the same as nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SubscriptionFields {
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    expire_at: Option<i64>,
    #[serde(rename = "override")]
    overrides: Option<OverrideFields>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OverrideFields {
    presence: Option<BoolField>,
    join_leave: Option<BoolField>,
    force_recovery: Option<BoolField>,
    force_positioning: Option<BoolField>,
    force_push_join_leave: Option<BoolField>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BoolField {
    value: bool,
}

impl TryFrom<SubscriptionFields> for SubscriptionOptions {
    type Error = BadSubscription;

    fn try_from(fields: SubscriptionFields) -> Result<Self, BadSubscription> {
        let overrides = fields.overrides.unwrap_or_default();
        let value = |own: Option<BoolField>| own.map(|own| own.value);
        Ok(Self {
            info: json_of(fields.info.as_deref(), fields.b64info.as_deref())?,
            data: json_of(fields.data.as_deref(), fields.b64data.as_deref())?,
            expires_at: date_of(fields.expire_at),
            overrides: Overrides {
                presence: value(overrides.presence),
                join_leave: value(overrides.join_leave),
                force_recovery: value(overrides.force_recovery),
                force_positioning: value(overrides.force_positioning),
                force_push_join_leave: value(overrides.force_push_join_leave),
            },
        })
    }
}

impl SubscriptionOptions {
    /// Reads an object such as the claims of a token for a channel.
    ///
    /// # Errors
    /// [`BadSubscription`].
    pub fn of_claims(claims: &Map<String, Value>) -> Result<Self, BadSubscription> {
        let named = ["info", "b64info", "data", "b64data", "override"];
        let own = named.iter().filter_map(|name| Some(((*name).to_owned(), claims.get(*name)?)));
        let own: Map<String, Value> = own.map(|(name, value)| (name, value.clone())).collect();
        fields(Value::Object(own))?.try_into()
    }

    /// Bytes of memory that it holds, beside its own size.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        [&self.info, &self.data].into_iter().flatten().map(|own| own.len()).sum()
    }
}

/// What claims say of their bearer in `info` or `b64info`, as JSON in one line.
///
/// # Errors
/// [`BadSubscription`].
pub fn info_of_claims(all: &Map<String, Value>) -> Result<Option<Arc<[u8]>>, BadSubscription> {
    let named = |name: &str| Some((name.to_owned(), all.get(name)?.clone()));
    let own: Map<String, Value> = ["info", "b64info"].into_iter().filter_map(named).collect();
    let options: SubscriptionOptions = fields(Value::Object(own))?.try_into()?;
    Ok(options.info)
}

/// Reads the members `channels`, a list of names, and `subs`, options by names, of claims or of a backend's
/// answer. What stands in both has the options; the result is sorted by names.
///
/// # Errors
/// [`BadSubscription`].
pub fn server_subscriptions(
    all: &Map<String, Value>,
) -> Result<Vec<ServerSubscription>, BadSubscription> {
    let mut found = BTreeMap::new();
    match all.get("channels") {
        None | Some(Value::Null) => {}
        Some(Value::Array(names)) => {
            for name in names {
                let name = name.as_str().ok_or(BadSubscription)?;
                found.insert(name.to_owned(), SubscriptionOptions::default());
            }
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            return Err(BadSubscription);
        }
    }
    match all.get("subs") {
        None | Some(Value::Null) => {}
        Some(Value::Object(subs)) => {
            for (name, options) in subs {
                found.insert(name.clone(), fields(options.clone())?.try_into()?);
            }
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            return Err(BadSubscription);
        }
    }
    Ok(found.into_iter().collect())
}

fn fields(value: Value) -> Result<SubscriptionFields, BadSubscription> {
    // A list would be taken for the fields in their order.
    if !matches!(value, Value::Object(_) | Value::Null) {
        return Err(BadSubscription);
    }
    let fields: Option<SubscriptionFields> =
        serde_json::from_value(value).map_err(|_| BadSubscription)?;
    Ok(fields.unwrap_or_default())
}

/// JSON that is written as it is, or in Base64, as one line.
///
/// # Errors
/// [`BadSubscription`] for what is no JSON, or longer than [`SUBSCRIPTION_JSON_BYTES_MAX`].
pub(super) fn json_of(
    raw: Option<&RawValue>,
    encoded: Option<&str>,
) -> Result<Option<Arc<[u8]>>, BadSubscription> {
    let decoded = match (raw, encoded) {
        (None, Some(encoded)) if !encoded.is_empty() => {
            let bytes = STANDARD.decode(encoded).map_err(|_| BadSubscription)?;
            Some(String::from_utf8(bytes).map_err(|_| BadSubscription)?)
        }
        (Some(_) | None, _) => None,
    };
    let Some(text) = raw.map(RawValue::get).or(decoded.as_deref()) else { return Ok(None) };
    if text.len() > SUBSCRIPTION_JSON_BYTES_MAX || !is_json(text.as_bytes()) {
        return Err(BadSubscription);
    }
    Ok(Some(without_newlines(text).as_bytes().into()))
}

/// A date in seconds since 1970; 0 and what is before is never.
pub(super) fn date_of(seconds: Option<i64>) -> Option<WallTime> {
    let seconds = seconds.and_then(|own| u64::try_from(own).ok()).filter(|own| *own > 0)?;
    Some(WallTime(seconds.saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(all: Value) -> Result<Vec<ServerSubscription>, BadSubscription> {
        let Value::Object(all) = all else { panic!("not an object") };
        server_subscriptions(&all)
    }

    fn json(text: &str) -> Option<Arc<[u8]>> {
        Some(text.as_bytes().into())
    }

    proptest! {
        #[test]
        fn any_claims_are_read_or_refused(
            text in "\\{(\"(channels|subs|info|override)\":(\\[\"a\"\\]|\\{\"a\":(\\{\\}|[0-9\\[\\]{}]{0,4})\\}|[0-9]|null),?){0,3}\\}",
        ) {
            if let Ok(Value::Object(all)) = serde_json::from_str(&text) {
                let found = server_subscriptions(&all);
                let names = found.iter().flatten().map(|own| &own.0);
                prop_assert!(names.clone().is_sorted());
                let _ = SubscriptionOptions::of_claims(&all);
            }
        }
    }

    #[test]
    fn channels_and_subs_are_put_together() {
        let found = read(json!({
            "channels": ["b", "a"],
            "subs": {
                "b": { "info": { "x": 1 }, "b64data": STANDARD.encode("[ 1 ]") },
                "c": { "override": { "presence": { "value": true }, "join_leave": {} } },
                "d": null,
            },
        }));
        let overrides =
            Overrides { presence: Some(true), join_leave: Some(false), ..Overrides::default() };
        let wanted = [
            ("a", SubscriptionOptions::default()),
            (
                "b",
                SubscriptionOptions {
                    info: json("{\"x\":1}"),
                    data: json("[ 1 ]"),
                    ..SubscriptionOptions::default()
                },
            ),
            ("c", SubscriptionOptions { overrides, ..SubscriptionOptions::default() }),
            ("d", SubscriptionOptions::default()),
        ];
        let wanted = wanted.map(|(name, options)| (name.to_owned(), options)).to_vec();
        assert_eq!(found, Ok(wanted));
        assert_eq!(read(json!({ "channels": null, "subs": null })), Ok(Vec::new()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            json!({ "channels": "a" }),
            json!({ "channels": [1] }),
            json!({ "channels": {} }),
            json!({ "subs": ["a"] }),
            json!({ "subs": { "a": 7 } }),
            json!({ "subs": { "a": [] } }),
            json!({ "subs": { "a": { "b64info": "%" } } }),
            json!({ "subs": { "a": { "b64info": STANDARD.encode("no") } } }),
            json!({ "subs": { "a": { "info": "x".repeat(SUBSCRIPTION_JSON_BYTES_MAX) } } }),
            json!({ "subs": { "a": { "override": { "presence": 1 } } } }),
        ] {
            assert_eq!(read(wrong.clone()), Err(BadSubscription), "{wrong}");
        }
    }

    #[test]
    fn a_date_is_in_seconds_or_never() {
        assert_eq!([None, Some(0), Some(-5)].map(date_of), [None; 3]);
        assert_eq!(date_of(Some(7)), Some(WallTime(7000)));
        assert_eq!(date_of(Some(i64::MAX)), Some(WallTime(u64::MAX)));
    }
}
