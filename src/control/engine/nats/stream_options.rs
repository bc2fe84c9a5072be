//! The options that a stream is made with, and what differs where it was made with others.

use std::time::Duration;

use serde_json::{Value, json};

use super::settings::{NatsEngineSettings, NatsStorage};
use super::subjects::Subjects;
use crate::channels::IDEMPOTENCY_MS;
use crate::channels::remote::Retention;

/// The stream of one partition of a namespace.
#[derive(Clone, Debug)]
pub(super) struct StreamOptions {
    /// Its name.
    pub(super) name: String,
    /// The namespace.
    pub(super) namespace: String,
    /// The partition.
    pub(super) partition: u16,
    options: Value,
}

impl StreamOptions {
    /// Those of all streams.
    pub(super) fn all(settings: &NatsEngineSettings, subjects: &Subjects) -> Vec<Self> {
        let namespaces = settings.namespaces.iter();
        let pairs = namespaces.flat_map(|(namespace, retention)| {
            (0..settings.partitions).map(move |partition| (namespace, retention, partition))
        });
        pairs
            .map(|(namespace, retention, partition)| {
                Self::of(settings, subjects, namespace, *retention, partition)
            })
            .collect()
    }

    /// Those of the stream that takes keys where nothing is kept.
    pub(super) fn keys(settings: &NatsEngineSettings, subjects: &Subjects) -> Self {
        let name = subjects.keys_stream();
        let options = options(settings, &name, &subjects.all_keyed(), IDEMPOTENCY_MS, 1);
        Self { name, namespace: String::new(), partition: 0, options }
    }

    fn of(
        settings: &NatsEngineSettings,
        subjects: &Subjects,
        namespace: &str,
        retention: Retention,
        partition: u16,
    ) -> Self {
        let name = subjects.stream(namespace, partition);
        let places = subjects.of_stream(namespace, partition);
        // A channel has a position only as long as a message. What is older than the namespace wants its
        // publications is left out when it is read. Keys are remembered no longer than messages either.
        let age_ms = retention.ttl_ms.max(retention.meta_ttl_ms).max(IDEMPOTENCY_MS);
        // One more than is asked for: that it is still there shows that nothing behind it is missing.
        let count = retention.size.saturating_add(1);
        let options = options(settings, &name, &places, age_ms, count);
        Self { name, namespace: namespace.to_owned(), partition, options }
    }

    /// The body of the request that makes it.
    pub(super) fn request(&self) -> Vec<u8> {
        self.options.to_string().into_bytes()
    }

    /// What of the options is otherwise in a stream that is there; empty if nothing is.
    pub(super) fn differences(&self, found: &Value) -> String {
        let mut differences = Vec::new();
        for (name, wanted) in self.options.as_object().into_iter().flatten() {
            let (wanted, found) = match &**name {
                "metadata" => (&wanted[PARTITIONS], &found["metadata"][PARTITIONS]),
                name => (wanted, &found[name]),
            };
            if wanted != found {
                let name = if name == "metadata" { PARTITIONS } else { name };
                differences.push(format!(
                    "{name} is {}, not {}",
                    shown(name, found),
                    shown(name, wanted)
                ));
            }
        }
        differences.join("; ")
    }
}

fn options(
    settings: &NatsEngineSettings,
    name: &str,
    [kept, live]: &[String; 2],
    age_ms: u64,
    count: usize,
) -> Value {
    json!({
        "name": name,
        "subjects": [kept],
        "retention": "limits",
        "discard": "old",
        "storage": match settings.storage {
            NatsStorage::File => "file",
            NatsStorage::Memory => "memory",
        },
        "num_replicas": settings.replicas,
        "max_age": nanoseconds(age_ms),
        "max_msgs_per_subject": count,
        "duplicate_window": nanoseconds(IDEMPOTENCY_MS),
        "allow_direct": true,
        "republish": { "src": kept, "dest": live },
        // Gateways that spread channels otherwise would not hear each other.
        "metadata": { PARTITIONS: settings.partitions.to_string() },
    })
}

/// A value as a person reads it.
fn shown(name: &str, value: &Value) -> String {
    let is_duration = matches!(name, "max_age" | "duplicate_window");
    match value.as_u64().filter(|_| is_duration) {
        Some(count) => humantime::format_duration(Duration::from_nanos(count)).to_string(),
        None if value.is_null() => "unset".to_owned(),
        None => value.to_string(),
    }
}

fn nanoseconds(count_ms: u64) -> u64 {
    // The server's durations are signed.
    count_ms.saturating_mul(1_000_000).min(i64::MAX.unsigned_abs())
}

/// The key of the metadata that tells how many streams the namespace has.
const PARTITIONS: &str = "tidegate.partitions";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_in_words() {
        let mut settings = NatsEngineSettings::new(Vec::new(), 1);
        let retention = Retention { size: 10, ttl_ms: 600_000, meta_ttl_ms: 1 };
        settings.namespaces.insert("chat".to_owned(), retention);
        settings.partitions = 2;
        let subjects = Subjects::new(settings.prefix.clone(), settings.partitions);
        let all = StreamOptions::all(&settings, &subjects);
        assert_eq!(all.len(), 2);
        let own = &all[1];
        assert_eq!((&*own.name, own.partition), ("tg_chat_1", 1));
        assert_eq!(own.differences(&own.options), "");
        let mut found = own.options.clone();
        found["max_age"] = json!(60_000_000_000_u64);
        found["num_replicas"] = json!(3);
        found["metadata"] = json!({ "tidegate.partitions": "1", "_nats.level": "5" });
        found["republish"] = Value::Null;
        let differences = own.differences(&found);
        for part in [
            "max_age is 1m, not 10m",
            "num_replicas is 3, not 1",
            "tidegate.partitions is \"1\", not \"2\"",
            "republish is unset, not {",
        ] {
            assert!(differences.contains(part), "{differences}");
        }
        found = own.options.clone();
        found["description"] = json!("what others add is theirs");
        assert_eq!(own.differences(&found), "");
    }

    #[test]
    fn keys_are_remembered_where_little_is_kept() {
        let mut settings = NatsEngineSettings::new(Vec::new(), 1);
        let retention = Retention { size: 1, ttl_ms: 1_000, meta_ttl_ms: 1 };
        settings.namespaces.insert(String::new(), retention);
        let subjects = Subjects::new(settings.prefix.clone(), 1);
        let own = &StreamOptions::all(&settings, &subjects)[0];
        assert_eq!(own.options["max_age"], own.options["duplicate_window"]);
    }
}
