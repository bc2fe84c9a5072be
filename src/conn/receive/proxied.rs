//! For whom a proxy speaks: by a header of the PROXY protocol before all other bytes, or by a header of
//! the request. What the connection keeps of it is the client's address, in its cold record.

use std::net::{IpAddr, SocketAddr};

use super::{Outcome, Stage, Step, Unfinished, act_and_keep};
use crate::conn::active::Active;
use crate::conn::addresses::AddressVerdict;
use crate::conn::compact_address::Naming;
use crate::conn::flags::Flags;
use crate::conn::slot::{AwaitedHeader, Protocol};
use crate::effects::CloseReason;
use crate::http::{Method, RequestHead, forwarded_client, is_forwarded};
use crate::pool::{BUFFER_BYTES_MIN, OverBudget, ReadBuffer};
use crate::proxy_protocol::{HEADER_BYTES_MAX, Header, HeaderError, parse_header};
use crate::stream::{self, Received, Room, Source, Stream};
use crate::transport::Transport;
use crate::work::prices;

impl<S: Transport> Active<'_, S> {
    /// Reads the header of the PROXY protocol that the connection begins with, as far as it has come.
    /// It lies before any TLS, so it is read from the socket itself.
    #[cold]
    #[inline(never)]
    pub(super) fn receive_proxy_header(&mut self, awaited: AwaitedHeader) -> Step {
        if !self.conn.flags.has(Flags::INPUT_PENDING) {
            return Step::Done;
        }
        let mut buffer = self.input.lend(self.conn.partial);
        // Any buffer has room for a whole header, and one that is whole or too long is not kept. What
        // follows it comes with the same read up to that size, and is handed on.
        let end = buffer.bytes.len().min(HEADER_BYTES_MAX);
        let Some(ahead) = buffer.bytes.get_mut(buffer.filled..end).filter(|room| !room.is_empty())
        else {
            return act_and_keep(buffer, Outcome::NoRoom, Source::MayHaveMore);
        };
        let room = Room { ahead, behind: &mut [] };
        let received = stream::receive(Stream::Plain(&mut self.conn.socket), room);
        self.turn.work.charge(prices::READ);
        match received {
            Received::Bytes { ahead, source, .. } => {
                self.turn.work.charge(prices::bytes(ahead));
                buffer.filled += ahead;
                self.take_proxy_header(awaited, buffer, source)
            }
            Received::Nothing(source) => {
                if source == Source::Drained {
                    self.conn.flags.clear(Flags::INPUT_ENDING);
                }
                self.keep_and_go_on(buffer, source)
            }
            // The beginning of a header, and then nothing more: what it is instead says who comes next.
            Received::Ended { .. } if awaited.is_optional() && buffer.filled > 0 => {
                self.go_on_behind(awaited, buffer, Source::MayHaveMore, NO_HEADER)
            }
            Received::Ended { .. } => act_and_keep(buffer, Outcome::InputEnded, Source::Drained),
            // Those of streams with records, of which a plain one has none.
            Received::Broken | Received::Failed | Received::NoMemory | Received::NoRoom(_) => {
                act_and_keep(buffer, Outcome::Abort(CloseReason::Reset), Source::Drained)
            }
        }
    }

    /// Takes the header out of what has arrived, once it is whole.
    fn take_proxy_header(
        &mut self,
        awaited: AwaitedHeader,
        buffer: ReadBuffer,
        source: Source,
    ) -> Step {
        match parse_header(buffer.arrived()) {
            Ok(None) => self.keep_and_go_on(buffer, source),
            Ok(Some(header)) => {
                self.turn.work.charge(prices::HEAD);
                self.turn.counters.proxy_headers.add(1);
                self.go_on_behind(awaited, buffer, source, header)
            }
            Err(HeaderError::Missing) if awaited.is_optional() => {
                self.go_on_behind(awaited, buffer, source, NO_HEADER)
            }
            Err(error) => {
                self.turn.counters.refused_bad_proxy_header.add(1);
                log::debug!(connection:% = self.peer(); "aborted: {error}");
                act_and_keep(buffer, Outcome::Abort(CloseReason::ProxyHeader), source)
            }
        }
    }

    /// Goes on with what the listener speaks. What has arrived behind the header is the first of it.
    fn go_on_behind(
        &mut self,
        awaited: AwaitedHeader,
        mut buffer: ReadBuffer,
        source: Source,
        header: Header,
    ) -> Step {
        buffer.drop_front(header.bytes);
        // While it is still one whose end needs no words.
        if let Some(client) = header.source
            && self.set_client(client, Naming::ProxyHeader).is_err()
        {
            return act_and_keep(buffer, Outcome::NoRoom, Source::MayHaveMore);
        }
        let has_cipher = self.cold.has_cipher(self.conn.cold);
        if let Some(client) = header.source.or_else(|| self.unlisted_peer()) {
            match self.judge_client(client.ip()) {
                AddressVerdict::Admit(_) => {}
                // Over TLS it would cost a handshake before it could be understood.
                AddressVerdict::Refuse { retry_after_s } if !has_cipher => {
                    self.conn.protocol = awaited.next();
                    let outcome = self.refuse_address(retry_after_s, false);
                    return act_and_keep(buffer, outcome, source);
                }
                AddressVerdict::Refuse { .. } | AddressVerdict::Drop => {
                    let outcome = self.drop_for_address(client);
                    return act_and_keep(buffer, outcome, source);
                }
            }
        }
        if has_cipher {
            let (link, turn) = (self.conn.cold, &mut *self.turn);
            if self.cold.keep_unopened(link, buffer.arrived(), turn) == Err(OverBudget) {
                return act_and_keep(buffer, Outcome::NoRoom, Source::MayHaveMore);
            }
            buffer.clear();
            self.conn.protocol = awaited.next();
            return match self.keep(buffer) {
                // What was handed on is opened by the next read, for which no edge comes.
                Ok(()) => Step::Again,
                Err(OverBudget) => Step::Act(None, Outcome::NoRoom),
            };
        }
        self.conn.protocol = awaited.next();
        if self.conn.protocol == Protocol::Line {
            // Decoded once the client is let in.
            self.conn.flags.set(Flags::UNDECODED);
            return act_and_keep(buffer, Outcome::LinesBegin, source);
        }
        self.go_on(Unfinished { buffer, behind: 0, source, stage: Stage::Head })
    }

    /// Finds out for whom a trusted proxy asks, if the request says so. An outcome says that the answer
    /// stands in the output.
    pub(super) fn name_client(&mut self, head: &RequestHead<'_>) -> Option<Outcome> {
        if is_forwarded(head) { self.name_forwarded_client(head) } else { None }
    }

    #[inline(never)]
    fn name_forwarded_client(&mut self, head: &RequestHead<'_>) -> Option<Outcome> {
        if !self.is_from_trusted_proxy() {
            self.turn.counters.forwarded_ignored.add(1);
            return None;
        }
        let (proxies, counters) = (&self.turn.settings.proxies, &self.turn.counters);
        let is_proxy = |ip| proxies.trusted.contains(ip);
        let Some(client) = forwarded_client(head, proxies.header, is_proxy) else {
            counters.forwarded_unreadable.add(1);
            return None;
        };
        counters.forwarded_used.add(1);
        if self.set_client(client, Naming::Request) == Err(OverBudget) {
            return Some(self.refuse_without_memory());
        }
        match self.judge_client(client.ip()) {
            AddressVerdict::Admit(_) => None,
            AddressVerdict::Refuse { retry_after_s } => {
                Some(self.refuse_address(retry_after_s, head.method() == Method::Head))
            }
            AddressVerdict::Drop => Some(self.drop_for_address(client)),
        }
    }

    /// The verdict by the address of the client, in whose name the connection is counted from now on.
    fn judge_client(&mut self, client: IpAddr) -> AddressVerdict {
        let (slot, now) = (self.key.index, self.turn.now);
        self.turn.addresses.release(slot, now);
        let verdict = self.turn.judge_address(client);
        if let AddressVerdict::Admit(_) = verdict {
            self.turn.addresses.mark(slot, verdict);
        }
        verdict
    }

    fn drop_for_address(&self, client: SocketAddr) -> Outcome {
        self.turn.counters.addresses_dropped.add(1);
        log::debug!(
            connection:% = self.peer();
            "closed at once: {client} connects too often, or may not"
        );
        Outcome::Abort(CloseReason::Gone)
    }

    /// The peer itself, where nothing says that it is a proxy. Those that are listed are under no limit.
    fn unlisted_peer(&mut self) -> Option<SocketAddr> {
        if !self.turn.settings.proxies.trusted.is_empty() {
            return None;
        }
        self.turn.work.charge(prices::ADDRESS);
        stream::peer_address(&self.conn.socket)
    }

    /// Whether a trusted proxy has written the head of the request, so that its headers are the proxy's.
    /// A proxy that only passes bytes on has not: it names the client by the PROXY protocol, and what it
    /// passes on is the client's.
    pub(super) fn is_from_trusted_proxy(&mut self) -> bool {
        let trusted = &self.turn.settings.proxies.trusted;
        if trusted.is_empty() {
            return false;
        }
        let peer = match (self.cold.naming(self.conn.cold), self.cold.address(self.conn.cold)) {
            // Only such a request has named one.
            (Naming::Request, _) => return true,
            (Naming::ProxyHeader | Naming::Socket, Some(address)) => Some(address),
            (Naming::ProxyHeader | Naming::Socket, None) => {
                self.turn.work.charge(prices::ADDRESS);
                stream::peer_address(&self.conn.socket)
            }
        };
        peer.is_some_and(|peer| trusted.contains(peer.ip()))
    }

    /// The trusted proxy that has written the head of the request, if one has.
    pub(super) fn trusted_proxy(&mut self) -> Option<IpAddr> {
        if !self.is_from_trusted_proxy() {
            return None;
        }
        let peer = match (self.cold.naming(self.conn.cold), self.cold.address(self.conn.cold)) {
            // One before it has named the proxy.
            (Naming::ProxyHeader, Some(address)) => Some(address),
            (Naming::ProxyHeader | Naming::Request | Naming::Socket, _) => {
                self.turn.work.charge(prices::ADDRESS);
                stream::peer_address(&self.conn.socket)
            }
        };
        peer.map(|peer| peer.ip().to_canonical())
    }

    /// The next request on the connection says anew for whom its proxy speaks; `false` where what was known
    /// before this one has said so is lost, as a header of the PROXY protocol had said it.
    pub(in crate::conn) fn forget_client(&mut self) -> bool {
        if self.cold.naming(self.conn.cold) != Naming::Request {
            return true;
        }
        self.turn.work.charge(prices::ADDRESS);
        let trusted = &self.turn.settings.proxies.trusted;
        let peer = stream::peer_address(&self.conn.socket);
        let proxy = peer.filter(|peer| trusted.contains(peer.ip()));
        proxy.is_some_and(|proxy| self.set_client(proxy, Naming::Socket).is_ok())
    }

    /// The connection is that of `client`, whom its proxy has named.
    fn set_client(&mut self, client: SocketAddr, naming: Naming) -> Result<(), OverBudget> {
        log::debug!(connection:% = self.peer(); "for {client}, as its proxy says");
        self.cold.set_client(&mut self.conn.cold, client, naming, &mut self.turn.memory)
    }
}

/// What a connection has that begins without a header.
const NO_HEADER: Header = Header { bytes: 0, source: None };
/// Any buffer holds a header.
const _: () = assert!(BUFFER_BYTES_MIN >= HEADER_BYTES_MAX);
