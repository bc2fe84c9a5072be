//! Connects, and sees to it that all streams are there.

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::{Client, ConnectOptions, Event, Message, RequestErrorKind};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::answers::{NO_STREAM, StreamInfo, version};
use super::caller::Caller;
use super::connection::{NatsConnection, Stream};
use super::error::NatsError;
use super::session::Session;
use super::settings::{NatsEngineSettings, NatsLogin, NatsUrl};
use super::stream_options::StreamOptions;
use super::subjects::Subjects;

/// Connects to one of the servers, the next one for each attempt, and makes or checks the streams.
pub(super) async fn open(
    settings: &NatsEngineSettings,
    attempt: usize,
) -> Result<Session, NatsError> {
    let count = settings.servers.len().max(1);
    let server = settings.servers.get(attempt % count).ok_or(NatsError::NoServer)?;
    let not_reached = |reason: &dyn ToString| NatsError::NotReached {
        server: server.to_string(),
        reason: reason.to_string(),
    };
    let (notices_in, notices) = mpsc::unbounded_channel();
    let client = connect(settings, server, notices_in).await?;
    let subjects = Subjects::new(settings.prefix.clone(), settings.partitions);
    let all = StreamOptions::all(settings, &subjects);
    let info = client.server_info();
    let keeps = info.jetstream && version(&info.version).is_some_and(|own| own >= OLDEST);
    if !all.is_empty() && !keeps {
        let server = server.to_string();
        return Err(if version(&info.version).is_some_and(|own| own >= OLDEST) {
            NatsError::WithoutJetStream { server }
        } else {
            NatsError::TooOld { server, version: info.version }
        });
    }
    let mut clock = (0, Instant::now());
    let mut streams = Vec::with_capacity(all.len());
    let mut first_streams = HashMap::new();
    for options in &all {
        let found = ensure(&client, options).await?;
        clock = (found.now_ms, Instant::now());
        first_streams.entry(options.namespace.clone()).or_insert(streams.len());
        streams.push(Stream::new(options, &subjects, &found.created));
    }
    let keys = if keeps { keys(&client, settings, &subjects).await } else { None };
    let inbox = client.new_inbox();
    let answers = client.subscribe(format!("{inbox}.*")).await;
    let answers = answers.map_err(|error| not_reached(&error))?;
    let mut told = Vec::new();
    for subject in [subjects.nodes(), subjects.node(settings.node)] {
        told.push(client.subscribe(subject).await.map_err(|error| not_reached(&error))?);
    }
    let nats = NatsConnection {
        caller: Arc::new(Caller::new(client.clone(), inbox, settings.request_timeout)),
        subjects,
        streams,
        first_streams,
        keys,
        payload_bytes_max: info.max_payload,
        is_replicated: settings.replicas > 1,
        is_clustered: info.cluster.is_some(),
        clock,
    };
    log::info!("NATS {} at {server} is reached", info.version);
    Ok(Session::new(client, nats, answers, told, notices, settings.own_subscriptions_max))
}

async fn connect(
    settings: &NatsEngineSettings,
    server: &NatsUrl,
    notices: mpsc::UnboundedSender<Event>,
) -> Result<Client, NatsError> {
    let options = ConnectOptions::new()
        .name("tidegate")
        .connection_timeout(settings.request_timeout)
        .request_timeout(Some(settings.request_timeout))
        .ping_interval(settings.request_timeout)
        .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
        // A connection that is lost is given up with all that was subscribed: the library would subscribe
        // anew by itself, and what was missed meanwhile would not be told.
        .max_reconnects(1)
        .ignore_discovered_servers()
        .event_callback(move |event| {
            // The session may be over.
            let _ = notices.send(event);
            std::future::ready(())
        });
    let options = match &settings.login {
        NatsLogin::None => options,
        NatsLogin::Token(token) => options.token(token.clone()),
        NatsLogin::Password { user, password } => {
            options.user_and_password(user.clone(), password.clone())
        }
        NatsLogin::CredentialsFile(path) => {
            options.credentials_file(path).await.map_err(|error| NatsError::Credentials {
                path: path.clone(),
                reason: error.to_string(),
            })?
        }
    };
    let options = match &settings.ca_file {
        Some(path) => options.add_root_certificates(path.clone()),
        None => options,
    };
    options.connect(server.address()).await.map_err(|error| {
        let mut reason = error.kind().to_string();
        if let Some(source) = std::error::Error::source(&error) {
            reason = format!("{reason}: {source}");
        }
        NatsError::NotReached { server: server.to_string(), reason }
    })
}

/// Makes a stream if it is not there, and compares it.
async fn ensure(client: &Client, options: &StreamOptions) -> Result<StreamInfo, NatsError> {
    let stream = || options.name.clone();
    let ask = async |kind: &str, body: Vec<u8>| -> Result<Message, NatsError> {
        let subject = format!("$JS.API.STREAM.{kind}.{}", options.name);
        client.request(subject, Bytes::from(body)).await.map_err(|error| match error.kind() {
            RequestErrorKind::TimedOut => NatsError::Silent { stream: stream() },
            kind @ (RequestErrorKind::NoResponders
            | RequestErrorKind::InvalidSubject
            | RequestErrorKind::MaxPayloadExceeded
            | RequestErrorKind::Other) => {
                NatsError::NotMade { stream: stream(), reason: kind.to_string() }
            }
        })
    };
    let found = StreamInfo::read(&ask("INFO", Vec::new()).await?.payload);
    let found = match found {
        Err(error) if error.err_code == NO_STREAM => {
            let made = StreamInfo::read(&ask("CREATE", options.request()).await?.payload);
            // Another gateway may have made it at the same time.
            match made {
                Ok(made) => Ok(made),
                Err(refusal) => {
                    StreamInfo::read(&ask("INFO", Vec::new()).await?.payload).map_err(|_| refusal)
                }
            }
        }
        found => found,
    };
    let found = found
        .map_err(|error| NatsError::NotMade { stream: stream(), reason: error.description })?;
    let differences = options.differences(&found.config);
    if differences.is_empty() {
        Ok(found)
    } else {
        Err(NatsError::Differs { stream: stream(), differences })
    }
}

/// The stream of keys. Without it only publications with keys where nothing is kept are refused.
async fn keys(
    client: &Client,
    settings: &NatsEngineSettings,
    subjects: &Subjects,
) -> Option<Arc<str>> {
    let options = StreamOptions::keys(settings, subjects);
    match ensure(client, &options).await {
        Ok(_) => Some(options.name.into()),
        Err(error) => {
            log::warn!(
                "channels without history take no publications with idempotency keys: {error}"
            );
            None
        }
    }
}

/// The first version that answers for several subjects and several messages at once.
const OLDEST: (u32, u32) = (2, 11);
/// Messages that wait in one subscription. What comes beyond them is lost.
const SUBSCRIPTION_MESSAGES_MAX: usize = 65_536;
