//! `POST /api/METHOD`: what backends ask of channels, as libraries for the Centrifugo server API ask it.
//!
//! Errors of the channels are answered with 200 and an object `error`, as these libraries expect, or with a status
//! of their own where the header `X-Centrifugo-Error-Mode: transport` asks for that; a body that is no JSON with 400.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::everywhere::{is_about_all, result_of_all};
use super::replies::ReplyAccount;
use super::shared::Shared;
use crate::centrifugo::{
    ApiCall, ApiDisconnect, ApiHistory, ApiPublish, ApiRefresh, ApiRpc, ApiSubscribe,
    ApiUnsubscribe, BadCall, BatchCall, Disconnect, ErrorCode, ProxyError, parse_batch, parse_call,
    parse_commands,
};
use crate::channels::{NamedEpoch, Publication, PublicationDetails, RECOVERED_MAX, Since};
use crate::control::admin::Gateway;
use crate::control::admin::error::ApiError;
use crate::control::admin::slices::ask;
use crate::inspect::{ChannelAnswer, ChannelQuestion, Lasting, Query};
use crate::key::home_loop;

/// `POST /api/METHOD`.
pub(super) async fn call(
    State(shared): State<Arc<Shared>>,
    Path(method): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let (gateway, reply) = (&*shared.gateway, shared.replies.begin());
    if method == "batch" {
        return batch(&shared.gateway, reply, &body).await;
    }
    let outcome = match parse_call(&method, &body) {
        Ok(call) => outcome_of(gateway, &reply, call, (&method, &body)).await,
        Err(BadCall::Json) => return Err(ApiError::bad_request(BadCall::Json.to_string())),
        Err(BadCall::Field) => Err(ErrorCode::BadRequest.into()),
        Err(BadCall::Method) => return Err(ApiError::not_found(BadCall::Method.to_string())),
    };
    let mode = headers.get(ERROR_MODE).and_then(|mode| mode.to_str().ok());
    match outcome {
        Err(error) if mode == Some("transport") => {
            Ok(json_response(status(&error), error_object(&error).to_string()))
        }
        outcome => Ok(json_response(StatusCode::OK, reply.into_body(wrapped(outcome)))),
    }
}

/// The status of an error where the transport is to say it.
fn status(error: &CallError) -> StatusCode {
    let code = match error {
        CallError::Code(code) => *code,
        // It has a code of its own, which says nothing of the transport.
        CallError::Backend(_) => ErrorCode::BadRequest,
    };
    match code {
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::UnknownChannel | ErrorCode::MethodNotFound => StatusCode::NOT_FOUND,
        ErrorCode::UnrecoverablePosition => StatusCode::RANGE_NOT_SATISFIABLE,
        ErrorCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unauthorized
        | ErrorCode::PermissionDenied
        | ErrorCode::AlreadySubscribed
        | ErrorCode::LimitExceeded
        | ErrorCode::BadRequest
        | ErrorCode::NotAvailable
        | ErrorCode::TokenExpired
        | ErrorCode::Expired => StatusCode::BAD_REQUEST,
    }
}

/// The description of this interface.
pub(super) async fn openapi() -> Response {
    json_response(StatusCode::OK, OPENAPI.to_owned())
}

/// Calls that each have a result or an error of their own: one after the other, or several at once.
async fn batch(
    gateway: &Arc<dyn Gateway>,
    reply: Arc<ReplyAccount>,
    body: &[u8],
) -> Result<Response, ApiError> {
    let (calls, parallel) =
        parse_batch(body).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let at_once = if parallel { AT_ONCE_MAX } else { 1 };
    let mut text = "{\"replies\":[".to_owned();
    let mut calls = calls.into_iter().peekable();
    while calls.peek().is_some() {
        let some = calls.by_ref().take(at_once);
        let begin = |call| tokio::spawn(reply_of(Arc::clone(gateway), Arc::clone(&reply), call));
        let tasks: Vec<_> = some.map(begin).collect();
        for task in tasks {
            let lost =
                |_| json!({ "error": error_object(&ErrorCode::Internal.into()) }).to_string();
            text.push_str(&task.await.unwrap_or_else(lost));
            text.push(',');
        }
    }
    text.truncate(text.trim_end_matches(',').len());
    text.push_str("]}");
    Ok(json_response(StatusCode::OK, reply.into_body(text)))
}

/// `POST /api`, of libraries for early versions: calls with their methods in the body, and a reply to each in a line
/// of its own.
pub(super) async fn commands(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let calls = parse_commands(&body).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let (reply, mut text) = (shared.replies.begin(), String::new());
    for (method, body) in calls {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&wrapped(outcome_in_batch(&*shared.gateway, &reply, &method, &body).await));
    }
    Ok(json_response(StatusCode::OK, reply.into_body(text)))
}

async fn outcome_in_batch(
    gateway: &dyn Gateway,
    reply: &ReplyAccount,
    method: &str,
    body: &RawValue,
) -> Result<String, CallError> {
    match parse_call(method, body.get().as_bytes()) {
        Ok(call) => outcome_of(gateway, reply, call, (method, body.get().as_bytes())).await,
        Err(BadCall::Method) => Err(ErrorCode::MethodNotFound.into()),
        Err(BadCall::Json | BadCall::Field) => Err(ErrorCode::BadRequest.into()),
    }
}

/// What one call of a batch leads to.
async fn reply_of(
    gateway: Arc<dyn Gateway>,
    reply: Arc<ReplyAccount>,
    (method, body): BatchCall,
) -> String {
    match outcome_in_batch(&*gateway, &reply, &method, &body).await {
        Ok(result) => format!("{{{}:{result}}}", Value::from(method)),
        Err(error) => json!({ "error": error_object(&error) }).to_string(),
    }
}

/// Why a call fails: for a reason of the gateway's, or of a backend that was asked.
#[derive(Debug)]
enum CallError {
    Code(ErrorCode),
    Backend(ProxyError),
}

impl From<ErrorCode> for CallError {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

/// What a call leads to, whose method and body as they came go along to other gateways.
async fn outcome_of(
    gateway: &dyn Gateway,
    reply: &ReplyAccount,
    call: ApiCall,
    came: (&str, &[u8]),
) -> Result<String, CallError> {
    reply.called();
    let outcome = admitted(gateway, reply, call, came).await;
    if let Err(CallError::Code(code)) = &outcome {
        reply.failed(*code);
    }
    outcome
}

async fn admitted(
    gateway: &dyn Gateway,
    reply: &ReplyAccount,
    call: ApiCall,
    came: (&str, &[u8]),
) -> Result<String, CallError> {
    let nodes = gateway.nodes().filter(|_| is_about_all(&call));
    let _permit = reply.admit(&call, nodes.is_some()).await?;
    let answer = match nodes {
        Some(nodes) => result_of_all(&*nodes, &call, came).await?,
        None => own_answer(gateway, call).await?,
    };
    reply.add(&answer);
    Ok(answer)
}

/// What a call leads to on this gateway.
async fn own_answer(gateway: &dyn Gateway, call: ApiCall) -> Result<String, CallError> {
    let ApiCall::Rpc(ApiRpc { method, params }) = call else {
        return answer(gateway, call).await.map_err(Into::into);
    };
    let params = params.map(|own| own.into_bytes().into());
    let question = ChannelQuestion::Rpc { method: method.into(), params };
    match ask_loop(gateway, 0, question).await? {
        ChannelAnswer::Json(text) => {
            String::from_utf8(text).map_err(|_| ErrorCode::Internal.into())
        }
        ChannelAnswer::Refused(error) => Err(CallError::Backend(error)),
        ChannelAnswer::Done
        | ChannelAnswer::Channels(_)
        | ChannelAnswer::Copies(..)
        | ChannelAnswer::Counts(..) => Err(ErrorCode::Internal.into()),
        ChannelAnswer::Failed(error) => Err(error.into()),
    }
}

/// What this gateway answers another one; `None` for a call that is none for others.
pub(super) async fn local_reply(
    gateway: &dyn Gateway,
    method: &str,
    call: Option<ApiCall>,
) -> String {
    let outcome = match call {
        Some(call) => answer(gateway, call).await,
        None => Err(ErrorCode::MethodNotFound),
    };
    match outcome {
        Ok(result) => format!("{{{}:{result}}}", Value::from(method)),
        Err(error) => json!({ "error": error_object(&error.into()) }).to_string(),
    }
}

/// The result of any other call as JSON.
async fn answer(gateway: &dyn Gateway, call: ApiCall) -> Result<String, ErrorCode> {
    match call {
        ApiCall::Publish(channels, publish, is_broadcast) => {
            publish_to(gateway, channels, publish, is_broadcast).await
        }
        ApiCall::Presence(channel) => one(gateway, ChannelQuestion::Presence(channel.into())).await,
        ApiCall::PresenceStats(channel) => {
            one(gateway, ChannelQuestion::PresenceStats(channel.into())).await
        }
        ApiCall::History(own) => one(gateway, history(own)?).await,
        ApiCall::HistoryRemove(channel) => {
            one(gateway, ChannelQuestion::Forget(channel.into())).await
        }
        ApiCall::Channels(pattern) => channels(gateway, &pattern).await,
        ApiCall::Info => info(gateway).await,
        ApiCall::Subscribe(mut own) => {
            let session = std::mem::take(&mut own.session);
            for_sessions(gateway, &session, subscribe(own)).await
        }
        ApiCall::Refresh(mut own) => {
            let session = std::mem::take(&mut own.session);
            for_sessions(gateway, &session, refresh(own)).await
        }
        ApiCall::Unsubscribe(ApiUnsubscribe { user, channel, client, session }) => {
            let (channel, client) = (filled(&channel), filled(&client));
            let question = ChannelQuestion::Unsubscribe { user: user.into(), channel, client };
            for_sessions(gateway, &session, question).await
        }
        ApiCall::Disconnect(ApiDisconnect { user, client, session, whitelist, disconnect }) => {
            let default = Disconnect::ForceNoReconnect;
            let close = disconnect.map_or_else(
                || (default.code(), default.text().into()),
                |own| (own.code, own.reason.into()),
            );
            let question = ChannelQuestion::Disconnect {
                user: user.into(),
                client: filled(&client),
                except: whitelist.into(),
                close,
            };
            for_sessions(gateway, &session, question).await
        }
        ApiCall::Rpc(_) => Err(ErrorCode::NotAvailable),
    }
}

async fn publish_to(
    gateway: &dyn Gateway,
    channels: Vec<String>,
    publish: ApiPublish,
    is_broadcast: bool,
) -> Result<String, ErrorCode> {
    let ApiPublish { data, is_binary, tags, idempotency_key, skip_history } = publish;
    let details = PublicationDetails { tags, is_binary, ..PublicationDetails::default() };
    let has_details = is_binary || !details.tags.is_empty();
    let publication =
        Publication { data: data.into(), details: has_details.then(|| Arc::new(details)) };
    let question = |channel: String| ChannelQuestion::Publish {
        channel: channel.into(),
        publication: publication.clone(),
        idempotency_key: Some(&*idempotency_key).filter(|key| !key.is_empty()).map(Into::into),
        skips_history: skip_history,
    };
    let mut responses = Vec::with_capacity(channels.len());
    for channel in channels {
        let outcome = one(gateway, question(channel)).await;
        if !is_broadcast {
            return outcome;
        }
        responses.push(wrapped(outcome.map_err(Into::into)));
    }
    Ok(format!("{{\"responses\":[{}]}}", responses.join(",")))
}

fn history(own: ApiHistory) -> Result<ChannelQuestion, ErrorCode> {
    let ApiHistory { channel, limit, since, reverse } = own;
    let offset = since.as_ref().map(|since| since.offset);
    if reverse && offset == Some(0) {
        return Err(ErrorCode::Internal);
    }
    let epoch = since.map_or(NamedEpoch::Any, |since| NamedEpoch::parse(&since.epoch));
    Ok(ChannelQuestion::History {
        channel: channel.into(),
        since: if reverse { Since::Latest(offset) } else { Since::Oldest(offset) },
        epoch,
        limit: usize::try_from(limit).unwrap_or(RECOVERED_MAX).min(RECOVERED_MAX),
    })
}

async fn channels(gateway: &dyn Gateway, pattern: &str) -> Result<String, ErrorCode> {
    let mut found = Map::new();
    let mut is_cut = false;
    for loop_index in 0..gateway.loop_count() {
        let answer = ask_loop(gateway, loop_index, ChannelQuestion::List(LISTED_MAX)).await?;
        let ChannelAnswer::Channels(own) = answer else { continue };
        is_cut |= own.len() >= LISTED_MAX;
        let fits = own.into_iter().filter(|(name, _)| pattern.is_empty() || glob(pattern, name));
        found.extend(
            fits.map(|(name, members)| (name.to_string(), json!({ "num_clients": members }))),
        );
    }
    let mut result = json!({ "channels": found });
    if is_cut {
        // The loop may have more than these, and more of them may fit.
        result["truncated"] = true.into();
    }
    Ok(result.to_string())
}

async fn info(gateway: &dyn Gateway) -> Result<String, ErrorCode> {
    let (mut clients, mut channels, mut subscriptions) = (0, 0, 0);
    for loop_index in 0..gateway.loop_count() {
        let answer = ask_loop(gateway, loop_index, ChannelQuestion::Count).await?;
        if let ChannelAnswer::Counts(own_clients, own_channels, members) = answer {
            (clients, channels) = (clients + own_clients, channels + own_channels);
            subscriptions += members;
        }
    }
    let version = gateway.version();
    let node = json!({
        "uid": version.pid.to_string(),
        "name": "tidegate",
        "version": version.version,
        "num_clients": clients,
        "num_channels": channels,
        "num_subs": subscriptions,
        "uptime": version.uptime_ms / 1000,
    });
    Ok(json!({ "nodes": [node] }).to_string())
}

/// Asks the home of a channel. Any other loop would pass the question on, for one more wake-up.
async fn one(gateway: &dyn Gateway, question: ChannelQuestion) -> Result<String, ErrorCode> {
    let loops = u16::try_from(gateway.loop_count()).unwrap_or(u16::MAX);
    let home = question.channel().map_or(0, |channel| home_loop(channel, loops));
    match ask_loop(gateway, usize::from(home), question).await? {
        ChannelAnswer::Json(text) => String::from_utf8(text).map_err(|_| ErrorCode::Internal),
        ChannelAnswer::Done => Ok("{}".to_owned()),
        ChannelAnswer::Channels(_)
        | ChannelAnswer::Copies(..)
        | ChannelAnswer::Counts(..)
        | ChannelAnswer::Refused(_) => Err(ErrorCode::Internal),
        ChannelAnswer::Failed(error) => Err(error),
    }
}

/// Has every loop do something with the connections of a session. Connections by WebSocket have none, so none
/// is meant where one is named.
async fn for_sessions(
    gateway: &dyn Gateway,
    session: &str,
    question: ChannelQuestion,
) -> Result<String, ErrorCode> {
    let mut outcome = Ok("{}".to_owned());
    if !session.is_empty() {
        return outcome;
    }
    for loop_index in 0..gateway.loop_count() {
        // What one loop cannot do the others do all the same.
        if let Err(error) = ask_loop(gateway, loop_index, question.clone()).await {
            outcome = outcome.and(Err(error));
        }
    }
    outcome
}

fn subscribe(own: ApiSubscribe) -> ChannelQuestion {
    let ApiSubscribe { user, channel, client, recover_since, options, .. } = own;
    let recover = recover_since.map(|own| (own.offset, NamedEpoch::parse(&own.epoch)));
    let (user, channel, client) = (user.into(), channel.into(), filled(&client));
    let options = Box::new(options);
    ChannelQuestion::Subscribe { user, channel, client, recover, options }
}

fn refresh(own: ApiRefresh) -> ChannelQuestion {
    let ApiRefresh { user, client, expired, expire_at, info, .. } = own;
    let lasts = match (expired, expire_at) {
        (true, _) => Lasting::Over,
        (false, Some(date)) => Lasting::Until(date),
        (false, None) => Lasting::Unlimited,
    };
    ChannelQuestion::Refresh { user: user.into(), client: filled(&client), lasts, info }
}

async fn ask_loop(
    gateway: &dyn Gateway,
    loop_index: usize,
    question: ChannelQuestion,
) -> Result<ChannelAnswer, ErrorCode> {
    let answer = ask(gateway, loop_index, |reply| Query::Channels { question, reply }).await;
    // A loop that has too much mail waiting, or has ended, may do it later.
    match answer {
        Ok(ChannelAnswer::Failed(error)) => Err(error),
        Ok(answer) => Ok(answer),
        Err(_) => Err(ErrorCode::Internal),
    }
}

/// `{"result":…}` or `{"error":…}`.
fn wrapped(outcome: Result<String, CallError>) -> String {
    match outcome {
        Ok(result) => format!("{{\"result\":{result}}}"),
        Err(error) => json!({ "error": error_object(&error) }).to_string(),
    }
}

fn error_object(error: &CallError) -> Value {
    match error {
        CallError::Code(code) => json!({ "code": code.code(), "message": code.text() }),
        CallError::Backend(own) => json!({ "code": own.code, "message": &*own.message }),
    }
}

fn json_response(status: StatusCode, text: impl Into<Bytes>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], text.into()).into_response()
}

fn filled(text: &str) -> Option<Arc<str>> {
    (!text.is_empty()).then(|| text.into())
}

/// Whether a name fits a pattern, in which `*` stands for any text and `?` for one byte.
fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut in_name) = (0, 0);
    // Where the last `*` stands, and where what it stands for ends so far.
    let mut star = None;
    while let Some(byte) = name.get(in_name) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(own) if *own == b'?' || own == byte => (at, in_name) = (at + 1, in_name + 1),
            Some(_) | None => {
                let Some((position, end)) = star else { return false };
                star = Some((position, end + 1));
                (at, in_name) = (position + 1, end + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// How a request asks for errors as statuses.
const ERROR_MODE: &str = "x-centrifugo-error-mode";
/// Calls of a parallel batch that are made at once.
const AT_ONCE_MAX: usize = 16;
const OPENAPI: &str = include_str!("openapi.json");
/// Channels that one loop lists.
const LISTED_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The naive twin tries every length for each `*`.
    fn fits(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            [] => name.is_empty(),
            [b'*', rest @ ..] => (0..=name.len()).any(|skipped| fits(rest, &name[skipped..])),
            [own, rest @ ..] => match name {
                [byte, later @ ..] if *own == b'?' || own == byte => fits(rest, later),
                _ => false,
            },
        }
    }

    proptest! {
        #[test]
        fn patterns_fit_as_trying_all_says(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            prop_assert_eq!(glob(&pattern, &name), fits(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
