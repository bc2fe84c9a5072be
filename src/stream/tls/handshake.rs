//! Handshakes: the library's, fed with one whole record at a time, so that what follows the last
//! one is still untouched when the secrets are taken over.

use std::sync::Arc;

use rustls::{Error, ServerConfig};

use super::library::{Fault, HANDSHAKE_BYTES, Handshake, Step};
use super::server_fault::ServerFault;
use super::session::{State, TlsStream, UNBEGUN_BYTES};
use super::socket::{READS_MAX, read_once};
use crate::foreign::{FirstBytes, Port, Protocol};
use crate::pool::{Need, OverBudget};
use crate::stream::contract::{Received, Source, StreamError};
use crate::tls::{
    Alert, ContentType, HEADER_BYTES, Header, HeaderFault, RECORD_BYTES_MAX, RecordFault, Version,
};
use crate::transport::Transport;
use crate::upstream::ServerTls;
use crate::work::{meter, prices};

impl TlsStream<'_> {
    /// Goes on with a handshake, as far as bytes have come. They lie in `room` unless some wait
    /// already. `None` once it is over or has failed.
    pub(super) fn receive_handshake<S: Transport>(
        &mut self,
        socket: &mut S,
        room: &mut [u8],
    ) -> Option<Received> {
        // Most often it was begun when the connection came to stand.
        if matches!(self.session.state, State::Unbegun(_))
            && let Err(StreamError) =
                self.begin_with_server().and_then(|()| self.write_sealed(socket).map(|_| ()))
        {
            return Some(Received::Failed);
        }
        for number in 0..READS_MAX {
            let step = if self.session.has_unopened() {
                self.advance_held()
            } else {
                match self.read_and_advance(socket, room) {
                    Ok(step) => step,
                    Err(received) => return Some(received),
                }
            };
            if let Err(fault) = &step {
                self.fail_handshake(fault);
            }
            if let Err(StreamError) = self.write_sealed(socket) {
                return Some(Received::Failed);
            }
            match step {
                Err(Fault::NoMemory) => return Some(Received::NoMemory),
                Err(_) => return Some(Received::Broken),
                Ok(Step::Done) => return None,
                Ok(Step::Ended) => return Some(Received::Ended { clean: true }),
                Ok(Step::Later) => break,
                // One read at least: the caller wants to know whether there is anything to read.
                Ok(Step::Blocked) if number > 0 && self.turn.work.is_share_used() => break,
                Ok(Step::Blocked) => {}
            }
            if self.session.has_unopened() {
                if self.session.held().unopened().len() >= INPUT_BYTES_MAX {
                    // More than any message of a handshake: that the pool has room for it or not is
                    // not the question.
                    self.fail_handshake(&Fault::NoTls);
                    return Some(match self.write_sealed(socket) {
                        Ok(_) => Received::Broken,
                        Err(StreamError) => Received::Failed,
                    });
                }
                if let Err(received) = self.read_behind(socket) {
                    return Some(received);
                }
            }
        }
        Some(Received::Nothing(Source::MayHaveMore))
    }

    /// Reads once, and goes on with what has come, of which the rest is kept.
    fn read_and_advance<S: Transport>(
        &mut self,
        socket: &mut S,
        room: &mut [u8],
    ) -> Result<Result<Step, Fault>, Received> {
        // More than one record at once is rare in a handshake, and what the share does not last for
        // is kept.
        let room_bytes = room.len().min(RECORD_BYTES_MAX);
        let room = &mut room[..room_bytes];
        let count = read_once(socket, room)?;
        self.turn.work.charge(prices::READ + prices::bytes(count));
        let mut consumed = 0;
        let step = self.advance(&mut room[..count], &mut consumed);
        if step.is_err() {
            return Ok(step);
        }
        match self.keep_unopened(Need::Head, &room[consumed..count]) {
            Ok(()) => Ok(step),
            // The handshake is over, and counted: only what came behind it is lost.
            Err(OverBudget) if matches!(step, Ok(Step::Done)) => {
                Err(match self.write_sealed(socket) {
                    Ok(_) => Received::NoMemory,
                    Err(StreamError) => Received::Failed,
                })
            }
            Err(OverBudget) => Ok(Err(Fault::NoMemory)),
        }
    }

    /// Reads once, behind what waits.
    fn read_behind<S: Transport>(&mut self, socket: &mut S) -> Result<(), Received> {
        if self.session.held().room().is_empty() {
            let room = self.make_room(Need::Head, 1, INPUT_BYTES_MAX);
            room.map_err(|OverBudget| Received::NoMemory)?;
        }
        let held = self.session.held();
        let count = read_once(socket, held.room())?;
        held.filled += count;
        self.turn.work.charge(prices::READ + prices::bytes(count));
        Ok(())
    }

    /// Goes on with what waits.
    fn advance_held(&mut self) -> Result<Step, Fault> {
        let held = self.session.held();
        let (start, filled) = (held.start, held.filled);
        let mut buffer = std::mem::take(&mut held.unopened);
        let mut consumed = 0;
        let step = self.advance(&mut buffer[start..filled], &mut consumed);
        self.session.held().unopened = buffer;
        self.consume_unopened(consumed);
        step
    }

    /// Gives the library `input`, one record more at a time, and adds up how many bytes of it are
    /// dealt with.
    fn advance(&mut self, input: &mut [u8], consumed: &mut usize) -> Result<Step, Fault> {
        let mut records_bytes = match &self.session.state {
            State::Handshake(handshake) => handshake.looked_at,
            State::Silent | State::Unbegun(_) | State::Open(_) | State::Failed => 0,
        };
        loop {
            let unopened = &input[*consumed..];
            let is_first = matches!(self.session.state, State::Silent) && records_bytes == 0;
            let header = match Header::read(&unopened[records_bytes..]) {
                Ok(header) => header,
                Err(HeaderFault::NoTls) if is_first => match FirstBytes::of(unopened) {
                    FirstBytes::Undecided => return Ok(Step::Blocked),
                    FirstBytes::Foreign(protocol) => return Err(Fault::Foreign(protocol)),
                    FirstBytes::Other if unopened[0].is_ascii_uppercase() => {
                        return Err(Fault::Foreign(Protocol::Http1));
                    }
                    FirstBytes::Other => return Err(Fault::NoTls),
                },
                Err(_) => return Err(Fault::NoTls),
            };
            if is_first && header.is_some_and(|own| own.content_type != ContentType::Handshake) {
                return Err(Fault::NoTls);
            }
            records_bytes += match header {
                Some(header) if records_bytes + header.record_bytes() <= unopened.len() => {
                    header.record_bytes()
                }
                _ => return Ok(Step::Blocked),
            };
            if matches!(self.session.state, State::Silent) {
                let listener = self.session.listener;
                let config = self.shared.listeners.config(usize::from(listener));
                let (config, full_price) = config.ok_or(Fault::Internal("a plain listener"))?;
                self.begin(config, full_price)?;
            }
            let (step, done) = self.step(&mut input[*consumed..*consumed + records_bytes])?;
            *consumed += done;
            records_bytes -= done;
            if let State::Handshake(handshake) = &mut self.session.state {
                handshake.looked_at = records_bytes;
            }
            match step {
                Step::Blocked if self.turn.work.is_share_used() => return Ok(Step::Later),
                Step::Blocked | Step::Later => {}
                Step::Done if records_bytes > 0 => {
                    return Err(Fault::Internal("a handshake is over inside a record"));
                }
                Step::Done => {
                    self.open()?;
                    return Ok(Step::Done);
                }
                Step::Ended => return Ok(Step::Ended),
            }
        }
    }

    fn begin(&mut self, config: Arc<ServerConfig>, full_price: u64) -> Result<(), Fault> {
        let charged = self.turn.memory.charge_for(Need::Head, HANDSHAKE_BYTES);
        charged.map_err(|OverBudget| Fault::NoMemory)?;
        match Handshake::new(config, full_price) {
            Ok(handshake) => self.session.state = State::Handshake(Box::new(handshake)),
            Err(fault) => {
                self.turn.memory.discharge(HANDSHAKE_BYTES);
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Begins a handshake with a server, whose first message is left in the scratch.
    ///
    /// # Errors
    /// If it cannot begin.
    pub(super) fn begin_with_server(&mut self) -> Result<(), StreamError> {
        let State::Unbegun(tls) = std::mem::replace(&mut self.session.state, State::Failed) else {
            return Err(StreamError);
        };
        self.turn.memory.discharge(UNBEGUN_BYTES);
        let begun = self.greet(&tls);
        begun.map_err(|fault| {
            self.fail_handshake(&fault);
            // Nothing is said to a server that was not spoken to.
            self.shared.sealed.clear();
            StreamError
        })
    }

    fn greet(&mut self, tls: &ServerTls) -> Result<(), Fault> {
        let charged = self.turn.memory.charge_for(Need::Head, HANDSHAKE_BYTES);
        charged.map_err(|OverBudget| Fault::NoMemory)?;
        match Handshake::with_server(tls, &mut self.shared.outbound) {
            Ok(handshake) => self.session.state = State::Handshake(Box::new(handshake)),
            Err(fault) => {
                self.turn.memory.discharge(HANDSHAKE_BYTES);
                return Err(fault);
            }
        }
        self.step(&mut []).map(|_| ())
    }

    /// Gives the library whole records, until it needs more. Gives how many bytes of them it is done
    /// with. What it has to say stands in the scratch.
    fn step(&mut self, input: &mut [u8]) -> Result<(Step, usize), Fault> {
        let Self { session, shared, turn, .. } = self;
        let State::Handshake(handshake) = &mut session.state else {
            return Err(Fault::Internal("no handshake"));
        };
        let out = &mut shared.sealed;
        let said = out.len();
        let result = handshake.process(input, out);
        let log = match handshake.is_with_server() {
            true => shared.outbound.log(),
            false => shared.secrets.as_deref(),
        };
        if let Some(log) = log {
            handshake.take_secrets(log);
        }
        let price = handshake.price(out.len() > said);
        meter::spend(price);
        turn.work.charge(price);
        if let Ok((_, done)) = &result {
            let memory = &mut *turn.memory;
            let charged = handshake.take(*done, |bytes| memory.charge_for(Need::Head, bytes));
            charged.map_err(|OverBudget| Fault::NoMemory)?;
        }
        result
    }

    /// Returns what a handshake is charged with, if it is under way.
    pub(super) fn end_handshake(&mut self) {
        match &self.session.state {
            State::Handshake(handshake) => self.turn.memory.discharge(handshake.charged),
            State::Unbegun(_) => self.turn.memory.discharge(UNBEGUN_BYTES),
            State::Silent | State::Open(_) | State::Failed => {}
        }
    }

    /// Takes the secrets over; all else of the library is freed. What fails from now on is told under
    /// the protection of the new keys.
    fn open(&mut self) -> Result<(), Fault> {
        self.end_handshake();
        let State::Handshake(handshake) = std::mem::replace(&mut self.session.state, State::Failed)
        else {
            return Err(Fault::Internal("no handshake"));
        };
        let (is_resumed, names) = (handshake.is_resumed(), handshake.names());
        let has_expired = handshake.has_expired(self.turn.date);
        let is_outbound = handshake.is_with_server();
        let (records, tickets) = handshake.into_records()?;
        self.session.state = State::Open(records);
        self.session.names = names;
        if is_outbound {
            self.await_tickets(tickets);
            let counters = self.turn.counters;
            let counter =
                if is_resumed { &counters.relay_tls_resumed } else { &counters.relay_tls_full };
            counter.add(1);
            return Ok(());
        }
        let counters = self.turn.counters;
        if has_expired {
            counters.tls_failed_certificate.add(1);
            self.session.fault = Some(RecordFault::CertificateExpired);
        }
        if self.turn.memory.charge_for(Need::Head, self.session.names_bytes()).is_err() {
            // Without it the client would be taken for one that has shown no certificate.
            self.session.names = None;
            counters.tls_failed_memory.add(u64::from(!has_expired));
            self.session.fault.get_or_insert(RecordFault::NoMemory);
        }
        if self.session.fault.is_none() {
            self.count_handshake(is_resumed);
        }
        Ok(())
    }

    fn count_handshake(&self, is_resumed: bool) {
        let counters = self.turn.counters;
        match is_resumed {
            true => counters.tls_resumed.add(1),
            false => counters.tls_full.add(1),
        }
        if let Some(listener) = self.shared.counted.get(usize::from(self.session.listener)) {
            listener.tls_handshakes.add(1);
        }
        if let State::Open(records) = &self.session.state {
            match records.suite().version {
                Version::Tls12 => counters.tls_12.add(1),
                Version::Tls13 => counters.tls_13.add(1),
            }
        }
    }

    /// Notes why the handshake failed, and leaves a last word in the scratch where the library has
    /// none.
    fn fail_handshake(&mut self, fault: &Fault) {
        self.end_handshake();
        self.session.state = State::Failed;
        self.drop_unopened();
        if self.session.is_outbound() {
            return self.fail_with_server(fault);
        }
        let counters = self.turn.counters;
        let (counter, last_word): (_, &[u8]) = match fault {
            Fault::Foreign(protocol) => {
                protocol.answer(Port::Tls, &mut self.shared.sealed);
                let counter = match protocol {
                    Protocol::Http1 => &counters.tls_failed_plain_http,
                    Protocol::Http2
                    | Protocol::ProxyHeader
                    | Protocol::Smtp
                    | Protocol::Ssh
                    | Protocol::Tls => protocol.counter(counters),
                };
                (counter, &[])
            }
            Fault::NoTls => (&counters.tls_failed_malformed, UNEXPECTED_MESSAGE),
            Fault::Library(Error::AlertReceived(_)) => (&counters.tls_failed_by_peer, &[]),
            Fault::Library(Error::PeerIncompatible(_)) => {
                (&counters.tls_failed_incompatible, DECODE_ERROR)
            }
            Fault::Library(Error::InvalidCertificate(_) | Error::NoCertificatesPresented) => {
                (&counters.tls_failed_certificate, DECODE_ERROR)
            }
            // What the library says where no certificate is chosen for a name.
            Fault::Library(Error::General(_)) => (&counters.tls_failed_name, DECODE_ERROR),
            Fault::Library(_) => (&counters.tls_failed_malformed, DECODE_ERROR),
            Fault::NoMemory => (&counters.tls_failed_memory, INTERNAL_ERROR),
            Fault::Internal(what) => {
                log::error!("a TLS handshake failed: {what}");
                (&counters.tls_failed_internal, INTERNAL_ERROR)
            }
        };
        counter.add(1);
        if !matches!(fault, Fault::Internal(_)) {
            log::debug!("a TLS handshake failed: {fault:?}");
        }
        // The library has no alert for all that it refuses.
        if self.shared.sealed.is_empty() || !matches!(fault, Fault::Library(_)) {
            self.shared.sealed.extend_from_slice(last_word);
        }
    }

    /// As above, with a server: what it came to is told where the server is known.
    fn fail_with_server(&mut self, fault: &Fault) {
        self.session.server_fault = Some(ServerFault::of_handshake(fault));
        if let Fault::Internal(what) = fault {
            log::error!("a TLS handshake failed: {what}");
        }
        let last_word = match fault {
            Fault::Foreign(_) | Fault::NoTls => UNEXPECTED_MESSAGE,
            Fault::Library(Error::AlertReceived(_)) => return,
            Fault::Library(_) => DECODE_ERROR,
            Fault::NoMemory | Fault::Internal(_) => INTERNAL_ERROR,
        };
        if self.shared.sealed.is_empty() || !matches!(fault, Fault::Library(_)) {
            self.shared.sealed.extend_from_slice(last_word);
        }
    }
}

/// Handshake messages may be split over records, and are put together where they lie; the library takes
/// messages of up to 64 KiB.
const INPUT_BYTES_MAX: usize = (64 << 10) + 5 * HEADER_BYTES + RECORD_BYTES_MAX;

/// An alert as it goes unprotected, before there are keys.
const UNEXPECTED_MESSAGE: &[u8] = &[21, 3, 3, 0, 2, 2, Alert::UNEXPECTED_MESSAGE.0];
const DECODE_ERROR: &[u8] = &[21, 3, 3, 0, 2, 2, Alert::DECODE_ERROR.0];
const INTERNAL_ERROR: &[u8] = &[21, 3, 3, 0, 2, 2, Alert::INTERNAL_ERROR.0];
