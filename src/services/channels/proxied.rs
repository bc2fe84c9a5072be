//! Questions about connections to backends, and what their answers lead to.
//!
//! A backend that gives no answer of use leads to error 100, after which clients try again by themselves; what
//! was to be renewed lasts a minute longer.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::clients::Phase;
use super::commands::{COMMAND_WORK, Failure, STEP_WORK};
use super::connect::Granted;
use super::connecting::Connecting;
use super::dialogs::{Asked, AskedFor, Lane};
use super::service::{Channels, reply_to};
use super::to_home::{ChannelAction, ProxiedPublication, ToHome};
use crate::centrifugo::{
    Command, Connect, ConnectResult, Disconnect, ErrorCode, Format, OwnSubscription, ProxyCall,
    ProxyDisconnect, ProxyKind, ProxyQuestion, ProxyReply, Publish, PublishResult, RefreshResult,
    Reply, Rpc, SubscribeRequest, Ttl, is_json,
};
use crate::channels::{Publication, PublicationDetails};
use crate::inspect::ChannelAnswer;
use crate::key::ConnKey;
use crate::mail;
use crate::services::{Effects, Peer, ProxyAnswer, ProxyRequest, SharedChannelProxy};
use crate::timer::WallTime;
use crate::work::prices;
use crate::ws::CloseCode;

/// A question, before it is asked.
struct Question<'q> {
    proxy: SharedChannelProxy,
    kind: ProxyKind,
    about: ProxyQuestion<'q>,
    lane: Lane,
    what: AskedFor,
}

impl Channels {
    fn ask(
        &mut self,
        peer: Peer,
        question: Question<'_>,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        let Question { proxy, kind, about, lane, what } = question;
        let Some(client) = self.clients.get(peer.key) else { return Ok(()) };
        let answer_to = self.sender.clone().ok_or(ErrorCode::Internal)?;
        let dialog = self.dialogs.get(peer.key);
        let waiting = dialog.map_or(0, super::dialogs::Dialog::waiting);
        if waiting >= self.settings.limits.connection_waiting_max {
            return Err(ErrorCode::TooManyRequests.into());
        }
        let headers = dialog.and_then(|own| own.headers.clone());
        let call = ProxyCall {
            client: &client.id.to_string(),
            protocol: match client.format {
                Format::Json => "json",
                Format::Protobuf => "protobuf",
            },
            user: (kind != ProxyKind::Connect).then_some(&*client.user),
            meta: dialog.and_then(|own| own.meta.as_deref()),
            about,
        };
        let body = call.body();
        effects.charge_work(prices::bytes(body.len()));
        // Twice for what the answer needs of the command.
        let bytes = 2 * body.len() + size_of::<Asked>() + size_of::<ProxyRequest>();
        effects.charge(peer, bytes);
        let serial = self.dialogs.next_serial();
        let asked = Asked { serial, lane, what, proxy: Arc::clone(&proxy), bytes };
        self.dialogs.ask(peer.key, asked);
        let now = effects.now();
        proxy.ask(ProxyRequest { peer, serial, kind, body, headers, answer_to, now });
        Ok(())
    }

    /// Asks who a client is that shows no token.
    pub(super) fn ask_to_connect(
        &mut self,
        peer: Peer,
        id: u32,
        (own, subs): (&Connect<'_>, &[(Cow<'_, str>, OwnSubscription<'_>)]),
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        let Some(proxy) = self.settings.proxies.connect.clone() else { return Ok(()) };
        let names = &self.settings.proxies.emulated_headers;
        if !names.is_empty() && !own.headers.is_empty() {
            let dialog = self.dialogs.entry(peer.key);
            let headers = dialog.headers.take().map(Arc::unwrap_or_clone).unwrap_or_default();
            let pairs = own.headers.iter().map(|(name, value)| (&**name, &**value));
            let headers = headers.with_emulated(pairs, names);
            dialog.headers = (!headers.is_empty()).then(|| Arc::new(headers));
            self.charge_client(peer, effects);
        }
        let before = subs.iter().map(|(name, own)| (name.to_string(), own.clone().into_owned()));
        let question = Question {
            proxy,
            kind: ProxyKind::Connect,
            about: ProxyQuestion::Connect {
                name: &own.name,
                version: &own.version,
                data: own.data.as_deref(),
                channels: subs.iter().map(|(name, _)| &**name).collect(),
            },
            lane: Lane::Apart,
            what: AskedFor::Connect(id, before.collect()),
        };
        self.ask(peer, question, effects)?;
        let next = effects.now().tick().after_ms(CONNECT_MS_MAX);
        let Some(client) = self.clients.get_mut(peer.key) else { return Ok(()) };
        (client.phase, client.next) = (Phase::Connecting, next);
        client.rare().connecting = Some(Box::new(Connecting::new((id, true), Ttl(0), None, 0)));
        self.clients.file(peer.key, next);
        effects.pause(peer);
        Ok(())
    }

    /// Asks whether a client may subscribe.
    pub(super) fn ask_to_subscribe(
        &mut self,
        peer: Peer,
        (id, proxy): (u32, SharedChannelProxy),
        own: &SubscribeRequest<'_>,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        let channel: &str = &own.channel;
        let question = Question {
            proxy,
            kind: ProxyKind::Subscribe,
            about: ProxyQuestion::Subscribe { channel, data: own.data.as_deref() },
            lane: Lane::Channel(channel.into()),
            what: AskedFor::Subscribe(id, Box::new(own.clone().into_owned())),
        };
        self.ask(peer, question, effects)
    }

    /// Asks whether a client may publish.
    pub(super) fn ask_to_publish(
        &mut self,
        peer: Peer,
        (id, proxy): (u32, SharedChannelProxy),
        own: &Publish<'_>,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        let data = own.data.as_deref().ok_or(ErrorCode::BadRequest)?;
        let channel: &str = &own.channel;
        let question = Question {
            proxy,
            kind: ProxyKind::Publish,
            about: ProxyQuestion::Publish { channel, data },
            lane: Lane::Channel(channel.into()),
            what: AskedFor::Publish(id, Box::new(own.clone().into_owned())),
        };
        self.ask(peer, question, effects)
    }

    /// Passes a call on.
    pub(super) fn call(
        &mut self,
        peer: Peer,
        id: u32,
        own: &Rpc<'_>,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        let proxies = &self.settings.proxies;
        if proxies.calls.is_empty() {
            return Err(ErrorCode::NotAvailable.into());
        }
        let proxy = proxies.of_call(&own.method).cloned().ok_or(ErrorCode::MethodNotFound)?;
        let question = Question {
            proxy,
            kind: ProxyKind::Rpc,
            about: ProxyQuestion::Rpc { method: &own.method, data: own.data.as_deref() },
            lane: Lane::Calls,
            what: AskedFor::Call(id),
        };
        self.ask(peer, question, effects)
    }

    /// Passes a call of another backend on, which is about no connection.
    pub(super) fn call_for_backend(
        &mut self,
        method: &str,
        params: Option<&[u8]>,
        reply: mail::Reply<ChannelAnswer>,
        effects: &Effects<'_>,
    ) {
        let proxies = &self.settings.proxies;
        let proxy = match (proxies.of_call(method), self.sender.clone()) {
            (Some(proxy), Some(answer_to)) => (Arc::clone(proxy), answer_to),
            (None, _) if proxies.calls.is_empty() => {
                return reply.send(ChannelAnswer::Failed(ErrorCode::NotAvailable));
            }
            (None, _) => return reply.send(ChannelAnswer::Failed(ErrorCode::MethodNotFound)),
            (Some(_), None) => return reply.send(ChannelAnswer::Failed(ErrorCode::Internal)),
        };
        let (proxy, answer_to) = proxy;
        let about = ProxyQuestion::Rpc { method, data: params };
        let call = ProxyCall { client: "", protocol: "json", user: Some(""), meta: None, about };
        let key = ConnKey { index: u32::MAX, generation: ConnKey::NOT_A_CONNECTION };
        let request = ProxyRequest {
            peer: Peer { loop_index: self.site.index, key },
            serial: self.dialogs.next_serial(),
            kind: ProxyKind::Rpc,
            body: call.body(),
            headers: None,
            answer_to,
            now: effects.now(),
        };
        self.dialogs.await_call(request.serial, reply);
        proxy.ask(request);
    }

    fn answer_call(&mut self, serial: u32, answer: Option<ProxyReply>) {
        let Some(reply) = self.dialogs.take_call(serial) else { return };
        reply.send(match answer {
            Some(ProxyReply::Rpc(data)) => {
                let data = data.as_deref().unwrap_or(b"null");
                ChannelAnswer::Json(match is_json(data) {
                    true => [b"{\"data\":", data, b"}"].concat(),
                    false => format!("{{\"b64data\":\"{}\"}}", STANDARD.encode(data)).into_bytes(),
                })
            }
            Some(ProxyReply::Error(error)) => ChannelAnswer::Refused(error),
            Some(
                ProxyReply::Disconnect(_)
                | ProxyReply::Connect(_)
                | ProxyReply::Refresh(_)
                | ProxyReply::Subscribe(_)
                | ProxyReply::Publish(_),
            )
            | None => ChannelAnswer::Failed(ErrorCode::Internal),
        });
    }

    /// Asks whether a connection may stay whose time has expired, unless that is being asked.
    pub(super) fn ask_to_stay(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let Some(proxy) = self.settings.proxies.refresh.clone() else { return };
        let question = Question {
            proxy,
            kind: ProxyKind::Refresh,
            about: ProxyQuestion::Refresh,
            lane: Lane::Apart,
            what: AskedFor::Refresh,
        };
        if self.is_renewed(peer, None) {
            return;
        }
        if self.ask(peer, question, effects).is_err() {
            self.renew(peer, None, later(effects.wall_now()));
        }
    }

    /// As above, of one of its subscriptions.
    pub(super) fn ask_to_stay_in(
        &mut self,
        peer: Peer,
        (serial, proxy): (u16, SharedChannelProxy),
        effects: &mut Effects<'_>,
    ) {
        let what = AskedFor::SubRefresh(serial);
        let is_renewed = self.is_renewed(peer, Some(serial));
        let Some(client) = self.clients.get(peer.key).filter(|_| !is_renewed) else { return };
        let own = client.subscriptions.iter().find(|own| own.serial == serial);
        let Some(channel) = own.map(|own| Arc::clone(&own.channel.name)) else { return };
        let question = Question {
            proxy,
            kind: ProxyKind::SubRefresh,
            about: ProxyQuestion::SubRefresh(&channel),
            lane: Lane::Apart,
            what,
        };
        if self.ask(peer, question, effects).is_err() {
            self.renew(peer, Some(serial), later(effects.wall_now()));
        }
    }

    /// Whether it is being asked whether a connection lasts longer, or the subscription with this number.
    pub(super) fn is_renewed(&self, peer: Peer, serial: Option<u16>) -> bool {
        !self.dialogs.are_idle()
            && self.dialogs.get(peer.key).is_some_and(|own| own.is_renewed(serial))
    }

    /// Has a command wait if a backend is being asked about what it is about. Gives it back if it need not.
    pub(super) fn hold_command<'c>(
        &mut self,
        peer: Peer,
        command: Command<'c>,
        effects: &mut Effects<'_>,
    ) -> Result<Option<Command<'c>>, (u32, Failure)> {
        let dialog = self.dialogs.get(peer.key);
        let Some(dialog) = dialog.filter(|own| own.blocks(&command.method)) else {
            return Ok(Some(command));
        };
        if dialog.waiting() >= self.settings.limits.connection_waiting_max {
            return Err((command.id, ErrorCode::TooManyRequests.into()));
        }
        let bytes = self.dialogs.entry(peer.key).hold(command);
        effects.charge(peer, bytes);
        Ok(None)
    }

    /// Does what an answer leads to, and then the commands that have waited for it.
    pub(super) fn on_answer(&mut self, answer: ProxyAnswer, effects: &mut Effects<'_>) {
        let ProxyAnswer { peer, serial, reply } = answer;
        if peer.key.generation == ConnKey::NOT_A_CONNECTION {
            return self.answer_call(serial, reply);
        }
        let Some(asked) = self.dialogs.answered(peer.key, serial) else { return };
        effects.discharge(asked.bytes);
        if self.phase_of(peer).is_some_and(|phase| phase != Phase::Closing) {
            self.take_answer(peer, asked.what, reply, effects);
        }
        self.go_on_in(peer, asked.lane, effects);
    }

    /// Does the commands of a lane in which nothing is asked any more, as far as there is time for it.
    pub(super) fn go_on_in(&mut self, peer: Peer, lane: Lane, effects: &mut Effects<'_>) {
        let work_end = effects.work() + STEP_WORK;
        while let Some((command, bytes)) = self.dialogs.next_free(peer.key, &lane) {
            effects.discharge(bytes);
            effects.charge_work(COMMAND_WORK);
            match self.phase_of(peer) {
                None | Some(Phase::Closing) => {}
                Some(phase) => self.do_command(peer, phase, command, effects),
            }
            if effects.work() >= work_end {
                self.dialogs.put_off(peer, lane);
                return effects.tick_again();
            }
        }
        self.dialogs.tidy(peer.key);
    }

    /// A connection is gone: what was asked about it is given up.
    pub(super) fn release_questions(&mut self, peer: Peer, effects: &mut Effects<'_>) {
        let Some(dialog) = self.dialogs.remove(peer.key) else { return };
        let (asked, bytes) = dialog.into_rest();
        if bytes > 0 {
            effects.discharge(bytes);
        }
        for own in asked {
            own.proxy.cancel(peer);
        }
    }

    pub(super) fn phase_of(&self, peer: Peer) -> Option<Phase> {
        self.clients.get(peer.key).map(|own| own.phase)
    }

    fn take_answer(
        &mut self,
        peer: Peer,
        what: AskedFor,
        answer: Option<ProxyReply>,
        effects: &mut Effects<'_>,
    ) {
        match what {
            AskedFor::Connect(id, before) => self.take_connect(peer, id, &before, answer, effects),
            AskedFor::Refresh => self.take_refresh(peer, None, answer, effects),
            AskedFor::SubRefresh(serial) => {
                self.take_refresh(peer, Some(serial), answer, effects);
            }
            AskedFor::Subscribe(id, request) => {
                if let Some(ProxyReply::Subscribe(options)) = &answer {
                    let joined = self.subscribe_with(peer, id, &request, options, effects);
                    self.fail(peer, id, joined, effects);
                } else {
                    self.refuse(peer, id, answer, effects);
                }
            }
            AskedFor::Publish(id, own) => {
                if let Some(ProxyReply::Publish(result)) = answer {
                    let published = self.publish_result(peer, id, &own, result, effects);
                    self.fail(peer, id, published, effects);
                } else {
                    self.refuse(peer, id, answer, effects);
                }
            }
            AskedFor::Call(id) => match &answer {
                Some(ProxyReply::Rpc(data)) => {
                    let data = data.as_deref().unwrap_or(b"null");
                    if !self.can_read(peer, data) {
                        return self.disconnect(peer, Disconnect::InappropriateProtocol, effects);
                    }
                    self.reply(peer, id, &Reply::Rpc(data), effects);
                }
                Some(_) | None => self.refuse(peer, id, answer, effects),
            },
        }
    }

    /// Whether a client can be given these bytes of a backend in the format that it speaks.
    pub(super) fn can_read(&self, peer: Peer, data: &[u8]) -> bool {
        self.clients.format(peer.key) == Format::Protobuf || is_json(data)
    }

    /// Tells a client what a backend has said that has not done what was asked.
    fn refuse(
        &mut self,
        peer: Peer,
        id: u32,
        answer: Option<ProxyReply>,
        effects: &mut Effects<'_>,
    ) {
        match answer {
            Some(ProxyReply::Error(error)) => {
                let format = self.clients.format(peer.key);
                reply_to(peer, self.encoder.backend_error(format, id, &error), effects);
            }
            Some(ProxyReply::Disconnect(own)) => self.close_for(peer, own, effects),
            Some(
                ProxyReply::Connect(_)
                | ProxyReply::Refresh(_)
                | ProxyReply::Subscribe(_)
                | ProxyReply::Publish(_)
                | ProxyReply::Rpc(_),
            )
            | None => self.reply_error(peer, id, ErrorCode::Internal, effects),
        }
    }

    fn close_for(&mut self, peer: Peer, own: ProxyDisconnect, effects: &mut Effects<'_>) {
        let ProxyDisconnect { code, reason } = own;
        let code = CloseCode::from_wire(code).unwrap_or(CloseCode::INTERNAL);
        self.close(peer, code, String::from(reason), effects);
    }

    fn take_connect(
        &mut self,
        peer: Peer,
        id: u32,
        before: &[(String, OwnSubscription<'static>)],
        answer: Option<ProxyReply>,
        effects: &mut Effects<'_>,
    ) {
        let Some(client) = self.clients.get_mut(peer.key) else { return };
        if let Some(rare) = &mut client.rare {
            rare.connecting = None;
        }
        let granted = match answer {
            Some(ProxyReply::Connect(Some(result))) => {
                Some(Ok(self.connect_as(peer, *result, effects)))
            }
            Some(ProxyReply::Connect(None)) => Some(self.connect_without_token(peer)),
            answer @ (Some(_) | None) => {
                self.refuse_client(peer, effects);
                self.refuse(peer, id, answer, effects);
                None
            }
        };
        if let Some(granted) = granted {
            let before: Vec<_> =
                before.iter().map(|(name, own)| (name.as_str().into(), own.clone())).collect();
            let result =
                granted.and_then(|granted| self.grant(peer, id, granted, &before, effects));
            self.fail(peer, id, result, effects);
        }
        let client = self.clients.get(peer.key);
        let connecting = client.and_then(|own| own.rare.as_ref()?.connecting.as_ref());
        // Otherwise the homes of its channels have to answer yet.
        if connecting.is_none() {
            self.go_on(peer, effects);
        }
    }

    /// A client is who the backend says.
    fn connect_as(&mut self, peer: Peer, result: ConnectResult, effects: &Effects<'_>) -> Granted {
        let ConnectResult { user, expires_at, info, data, meta, subscriptions } = result;
        self.keep_meta(peer, meta);
        let ttl = self.connection_ttl(expires_at, effects.wall_now());
        let Some(client) = self.clients.get_mut(peer.key) else { return Granted::default() };
        client.user = Arc::from(user);
        // What the upgrade says of another user does not hold for this one.
        client.forget_rare();
        if info.is_some() || expires_at.is_some() {
            let rare = client.rare();
            (rare.info, rare.expires_at) = (info, expires_at);
        }
        Granted { ttl, data, subscriptions }
    }

    fn publish_result(
        &self,
        peer: Peer,
        id: u32,
        own: &Publish<'_>,
        result: PublishResult,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        let PublishResult { data, tags, idempotency_key, skip_history } = result;
        let (name, namespace) = self.namespace_of(&own.channel)?;
        let data: Arc<[u8]> = match data {
            Some(data) => data,
            None => own.data.as_deref().ok_or(ErrorCode::BadRequest)?.into(),
        };
        let info = self.client_info(peer, name.as_str());
        let is_binary = !is_json(&data);
        let details = PublicationDetails { info, tags, is_binary };
        let channel = self.channel(peer, &name, &namespace);
        let publication = ProxiedPublication {
            publication: Publication { data, details: Some(Arc::new(details)) },
            idempotency_key,
            skips_history: skip_history,
        };
        let action = ChannelAction::PublishAs(id, Box::new(publication));
        let format = self.clients.format(peer.key);
        Self::tell_home(ToHome { channel, peer, format, action }, effects);
        Ok(())
    }

    /// Whether a connection lasts longer, or a subscription of it, which is that with this number.
    fn take_refresh(
        &mut self,
        peer: Peer,
        serial: Option<u16>,
        answer: Option<ProxyReply>,
        effects: &mut Effects<'_>,
    ) {
        let now = effects.wall_now();
        let result = match answer {
            None => {
                self.renew(peer, serial, later(now));
                return self.file_anew(peer, effects);
            }
            Some(ProxyReply::Disconnect(own)) => return self.close_for(peer, own, effects),
            Some(ProxyReply::Refresh(Some(own))) if !own.expired => own,
            // Without a result nothing says that it may stay.
            Some(
                ProxyReply::Refresh(_)
                | ProxyReply::Error(_)
                | ProxyReply::Connect(_)
                | ProxyReply::Subscribe(_)
                | ProxyReply::Publish(_)
                | ProxyReply::Rpc(_),
            ) => return self.expire(peer, serial, effects),
        };
        if result.expires_at.is_some_and(|date| date <= now) {
            return self.expire(peer, serial, effects);
        }
        self.renew(peer, serial, result);
        self.charge_client(peer, effects);
        self.file_anew(peer, effects);
    }

    fn expire(&mut self, peer: Peer, serial: Option<u16>, effects: &mut Effects<'_>) {
        match serial {
            None => self.disconnect(peer, Disconnect::Expired, effects),
            Some(serial) => self.end_subscription(peer, serial, effects),
        }
    }

    /// A connection, or a subscription of it, lasts until another date.
    fn renew(&mut self, peer: Peer, serial: Option<u16>, result: RefreshResult) {
        let RefreshResult { expired: _, expires_at, info, meta } = result;
        self.keep_meta(peer, meta);
        let Some(client) = self.clients.get_mut(peer.key) else { return };
        match serial {
            None => {
                let rare = client.rare();
                rare.expires_at = expires_at;
                rare.info = info.or_else(|| rare.info.take());
            }
            Some(serial) => {
                let Some(before) = client.rare_subscription(serial).cloned() else { return };
                let info = info.or(before.info);
                let own = super::clients::RareSubscription { info, expires_at };
                client.set_rare_subscription(serial, own);
            }
        }
    }

    /// Keeps what backends are to be told of a connection with each question, if they are asked any.
    pub(super) fn keep_meta(&mut self, peer: Peer, meta: Option<Arc<[u8]>>) {
        if meta.is_some() && self.settings.proxies.are_told_of_clients() {
            self.dialogs.entry(peer.key).meta = meta;
        }
    }

    /// When a client must renew what it was let in with: never, where a backend is asked instead.
    pub(super) fn connection_ttl(&self, expires_at: Option<WallTime>, now: WallTime) -> Ttl {
        match self.settings.proxies.refresh {
            Some(_) => Ttl(0),
            None => super::tokens::ttl(expires_at, now),
        }
    }
}

/// What could not be renewed now lasts a while longer, so that no failure of a backend ends what it has let in.
fn later(now: WallTime) -> RefreshResult {
    let expires_at = Some(WallTime(now.0.saturating_add(LATER_MS)));
    RefreshResult { expires_at, ..RefreshResult::default() }
}

/// In milliseconds: as long as Centrifugo takes.
const LATER_MS: u64 = 60_000;
/// The longest time until a backend has said who a client is, in milliseconds; it answers far sooner.
const CONNECT_MS_MAX: u64 = 3_600_000;
