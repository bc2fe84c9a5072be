//! The counters: one block per loop, which only that loop writes, and one for the control thread.
//! Any thread may read them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with a single writer. Adding is a plain load and store instead of a locked
/// instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `units`. Only the owning thread may call this: a concurrent add would be lost.
    pub fn add(&self, units: u64) {
        self.0.store(self.value().wrapping_add(units), Ordering::Relaxed);
    }

    /// Sets a gauge. Only the owning loop may call this.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter that several threads write: loops and the control thread.
#[derive(Debug, Default)]
pub struct SharedCounter(AtomicU64);

impl SharedCounter {
    /// Adds `units`, from any thread.
    pub fn add(&self, units: u64) {
        self.0.fetch_add(units, Ordering::Relaxed);
    }

    /// Sets a gauge, from any thread.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    (
        $(#[doc = $about:literal])+
        $block:ident of $cell:ident:
        $($(#[doc = $doc:literal])+ $name:ident,)+
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct $block {
            $($(#[doc = $doc])+ pub $name: $cell,)+
        }

        impl $block {
            /// Every name with its explanation, in order.
            pub const NAMES: &[(&str, &str)] =
                &[$((stringify!($name), concat!($($doc),+)),)+];

            /// Every name with its value.
            pub fn values(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$name.value()),)+].into_iter()
            }
        }
    };
}

counters! {
    /// The counters of one loop. Operators see their names (docs/metrics.md).
    Counters of Counter:

    /// Connections taken from the listeners.
    connections_accepted,
    /// Connections in the table now, in any phase (gauge).
    connections_now,
    /// Connections waiting for their request head now (gauge).
    half_open_now,
    /// WebSocket connections open now (gauge).
    open_now,
    /// Requests upgraded to WebSocket.
    upgrades,
    /// Upgrades with which compression was agreed.
    upgrades_deflate,
    /// Upgrades with which context takeover was agreed, in either direction.
    upgrades_takeover,
    /// Clients of line listeners accepted.
    line_clients,
    /// Pages served.
    pages,
    /// Requests redirected to `https`.
    redirects,
    /// Challenges of ACME answered.
    acme_challenges,
    /// Requests refused with 400, 431 or 505: malformed, or against the rules of HTTP.
    refused_malformed,
    /// Requests refused with 403: an origin that the route does not allow.
    refused_origin,
    /// Requests refused with 421: a host that the listener does not permit.
    refused_host,
    /// Requests refused with 404 or 405.
    refused_not_found,
    /// Requests refused with 426: no WebSocket, or another version of it.
    refused_upgrade_required,
    /// Requests refused by a service.
    refused_by_service,
    /// Connections that have proven who they are.
    identified,
    /// Requests refused because they present no credential that their route takes (401).
    refused_without_identity,
    /// Requests refused because their credential does not hold.
    refused_identity,
    /// Requests refused because their credential could not be checked.
    refused_identity_unchecked,
    /// Requests refused because their user connects too often.
    refused_user_rate,
    /// Clients of line listeners refused because they began with HTTP.
    refused_http,
    /// Connections refused because they began with HTTP/2.
    refused_http2,
    /// Connections refused because they began with a header of the PROXY protocol, which the listener
    /// does not take.
    refused_proxy_header,
    /// Connections refused because they began with SMTP.
    refused_smtp,
    /// Connections refused because they began with SSH.
    refused_ssh,
    /// Connections refused because they began with TLS, on a listener without it.
    refused_tls,
    /// Connections answered with 503 because `connections_max` was reached.
    refused_at_limit,
    /// Requests answered with 503 because `pool_bytes_max` left no room for their head.
    refused_without_memory,
    /// Connections answered with 503 because of overload.
    refused_overloaded,
    /// Connections answered with 503 because the gateway is shutting down.
    refused_draining,
    /// Connections refused because their client may not connect (`addresses.deny`).
    refused_address_denied,
    /// Connections refused because too many handshakes of their client have failed.
    refused_address_failures,
    /// Connections refused because their client has too many open connections.
    refused_address_open,
    /// Connections refused because their client connects too often.
    refused_address_rate,
    /// Connections closed at once, of those refused for their address; the others were answered with 429.
    addresses_dropped,
    /// Connections let in by `addresses.dry_run` that would have been refused.
    addresses_dry_run,
    /// Connections let in uncounted because no entry was left for their client, nor for its network.
    addresses_untracked,
    /// Connections dropped because their request head did not arrive in time.
    handshakes_timed_out,
    /// Connections that left before their request head was complete.
    handshakes_abandoned,
    /// Half-open connections dropped because `half_open_max` was reached.
    half_open_dropped,
    /// Headers of the PROXY protocol taken.
    proxy_headers,
    /// Connections aborted because a header of the PROXY protocol was malformed, or required and missing.
    refused_bad_proxy_header,
    /// Connections closed by a listener that requires the PROXY protocol, because `trusted_proxies` does not
    /// list their peer.
    refused_untrusted,
    /// Requests of trusted proxies whose header named the client.
    forwarded_used,
    /// Requests of trusted proxies with headers about the client, none of which could be used.
    forwarded_unreadable,
    /// Requests with headers about the client of peers that `trusted_proxies` does not list, which were
    /// ignored.
    forwarded_ignored,
    /// Messages received compressed.
    inflated_messages,
    /// Bytes of messages received compressed, as they arrived.
    inflated_bytes_before,
    /// Bytes of messages received compressed, once inflated.
    inflated_bytes_after,
    /// Messages compressed; one for many receivers counts once for each loop and window size.
    deflated_messages,
    /// Bytes of messages that were compressed, before.
    deflated_bytes_before,
    /// Bytes of messages that were compressed, afterwards.
    deflated_bytes_after,
    /// Pushes that reused a message compressed for another receiver.
    deflated_shared,
    /// Messages sent uncompressed because `pool_bytes_max` left no room to compress them.
    deflate_out_of_room,
    /// Messages sent uncompressed because compressing them would have held up the loop.
    deflate_given_up,
    /// Connections with a context of what they sent, to which later messages may refer (gauge).
    contexts_in_now,
    /// Connections with a context of what was sent to them, to which later messages may refer
    /// (gauge).
    contexts_out_now,
    /// Bytes that all of these contexts take (gauge).
    context_bytes_now,
    /// Relayed connections now, those included that wait for their backend's reply (gauge).
    relays_now,
    /// Connections to backends that were begun.
    relay_connects,
    /// Requests that went on to another server because the one before could not be reached.
    relay_retries,
    /// Requests whose refusal by a backend was passed on.
    relay_refused,
    /// Requests answered with 503 because no server of the upstream could be asked.
    relay_no_server,
    /// Requests answered with 503 because descriptors or memory ran out.
    relay_exhausted,
    /// Requests answered with 503 because no source port was left for a server.
    relay_source_ports,
    /// Requests answered with 502 because no server could be reached.
    relay_unreachable,
    /// Requests answered with 502 because the backend sent no valid reply.
    relay_no_reply,
    /// Requests answered with 504 because a backend did not accept or reply in time.
    relay_timed_out,
    /// Requests that upgrade nothing and were passed on to a backend.
    http_requests,
    /// Replies to them that began.
    http_replies,
    /// Requests that were not passed on, because of their framing, method or length.
    http_refused,
    /// Replies that a backend has cut short, or whose body breaks a rule.
    http_cut,
    /// Clients that did not send the body of a request in time.
    http_unfinished,
    /// Requests answered with 502 because the certificate of a backend did not verify.
    relay_bad_certificate,
    /// Requests answered with 502 because TLS with a backend failed for another reason.
    relay_tls_failed,
    /// Full TLS handshakes with backends.
    relay_tls_full,
    /// TLS handshakes with backends that resumed a session.
    relay_tls_resumed,
    /// Backends that broke the protocol where frames are relayed; their clients are closed with 1011.
    relay_violations,
    /// Bytes that were relayed, in either direction.
    relayed_bytes,
    /// Writes to clients' sockets that took at least one byte.
    writes,
    /// Bytes written to clients.
    bytes_out,
    /// Pings sent.
    pings_out,
    /// Pongs received.
    pongs_in,
    /// Messages published to a topic, counted on the loop that distributes them.
    publications,
    /// Publications to channels, whether they have members or not.
    channel_publications,
    /// Clients that came back to a channel and got all that they had missed.
    channel_recoveries,
    /// Clients that came back to a channel and were told that some of what they had missed is gone.
    channel_positions_lost,
    /// Subscriptions to channels that were refused because of a limit of `[channels]`.
    channel_refusals,
    /// Channels with members now, each counted on its home loop (gauge).
    channels_now,
    /// Members of channels now, counted on the home loops of these (gauge).
    channel_members_now,
    /// Reading paused because replies piled up over `backlog_high_bytes`.
    reading_paused,
    /// Pushed messages dropped at `backlog_hard_bytes` by the route's policy.
    pushes_dropped,
    /// Publications to channels that a member did not get, being too slow for all, as it gets a later one of the
    /// channel.
    channel_publications_superseded,
    /// Members of channels that were too slow, and were told that they lack what was published from then on.
    channel_members_behind,
    /// Times that a connection was no longer read because it had sent as much as a rate allows.
    rate_pauses,
    /// Reads whose messages did not count for their user, because as many users as there may be are
    /// remembered already.
    rate_users_untracked,
    /// Messages and pings thrown away because their connection had sent more than a rate allows.
    rate_dropped,
    /// Effects on connections that no longer existed.
    effects_ignored,
    /// Connections closed after the peer's close frame.
    closed_by_peer,
    /// Connections that ended without a close frame.
    closed_gone,
    /// Connections that failed.
    closed_reset,
    /// Connections closed for breaking the protocol (1002).
    closed_protocol,
    /// Connections closed for text or a close reason that is not UTF-8 (1007).
    closed_not_utf8,
    /// Connections closed for a compressed message that cannot be inflated (1007).
    closed_not_deflate,
    /// Connections closed for a message over the limit (1009).
    closed_too_big,
    /// Connections closed because a message was begun and not finished in time (1008).
    closed_unfinished,
    /// Connections closed because they sent more than a rate of their route allows (1008).
    closed_over_rate,
    /// Connections closed because a message came in more than `fragments_max` fragments (1008).
    closed_fragments,
    /// Connections closed because they sent no message for `message_idle_ms` (1001).
    closed_message_idle,
    /// Connections closed because no pong arrived in time.
    closed_idle,
    /// Connections closed because their backlog was full (4002).
    closed_slow,
    /// Connections closed because the kernel took no byte for `write_stall_ms`.
    closed_stalled,
    /// Connections closed because their TLS failed.
    closed_tls,
    /// Connections closed because they held the most memory when `pool_bytes_max`, or the memory of the
    /// process, was nearly reached (1013).
    closed_evicted,
    /// Connections closed because `pool_bytes_max` left no room for what they sent or were answered
    /// (1013).
    closed_overload,
    /// Connections closed by an operator.
    closed_by_operator,
    /// Connections closed by a service.
    closed_by_service,
    /// Connections closed with 1001 because they had reached `age_ms`.
    closed_aged,
    /// Relayed connections closed because their backend had ended.
    closed_backend,
    /// Connections closed with 4004 because their identity had expired.
    closed_expired,
    /// Connections closed with 1001 during a shutdown.
    closed_drained,
    /// Connections that a drain has told to go, those in their handshake included.
    drain_told,
    /// Loops that accept no more because of a drain (gauge).
    draining_now,
    /// Connections aborted because the peer did not end them within `close_ms`.
    close_timed_out,
    /// Connections that the access log has no line for, because `pool_bytes_max` left no room to remember
    /// them.
    access_unlogged,
    /// TLS handshakes completed without resumption.
    tls_full,
    /// TLS handshakes that resumed an earlier session.
    tls_resumed,
    /// TLS handshakes completed in version 1.2.
    tls_12,
    /// TLS handshakes completed in version 1.3.
    tls_13,
    /// TLS handshakes that wait for their part of a turn now (gauge).
    tls_waiting_now,
    /// TLS handshakes that failed because no version, suite or group was shared.
    tls_failed_incompatible,
    /// TLS handshakes that failed because of the client's certificate, or of none.
    tls_failed_certificate,
    /// TLS handshakes that failed because no certificate is there for the name asked for.
    tls_failed_name,
    /// TLS handshakes that failed by an alert of the client.
    tls_failed_by_peer,
    /// TLS handshakes that failed because what came is no TLS, or breaks its rules.
    tls_failed_malformed,
    /// Plain HTTP requests to a TLS listener, which were told so.
    tls_failed_plain_http,
    /// TLS handshakes that failed because `pool_bytes_max` left no room.
    tls_failed_memory,
    /// TLS handshakes that failed by a fault of the gateway.
    tls_failed_internal,
    /// Connections ended by a TLS record that is damaged, malformed or out of place, or by the peer's
    /// alert.
    tls_faults,
    /// TLS connections whose peer ended without a notice.
    tls_truncated,
    /// TLS key updates received.
    tls_key_updates,
    /// Requests for a new handshake on an open TLS 1.2 connection, which were declined.
    tls_renegotiations_declined,
    /// Newcomers refused because few descriptors were left.
    shed_descriptors,
    /// Newcomers refused because a loop was behind by `overload.lag_ms` or more.
    shed_lag,
    /// Newcomers refused because memory was short.
    shed_memory,
    /// Newcomers refused because little of `pool_bytes_max` was left.
    shed_pool,
    /// Newcomers refused because more came than `overload.accepts_per_s`.
    shed_rate,
    /// Accepts that failed because descriptors or memory ran out.
    accept_failures,
    /// Connections taken with the reserve descriptor and dropped.
    accepts_shed,
    /// Events for connections that no longer existed.
    events_stale,
    /// Messages from other loops and the control thread that were handled.
    mail_in,
    /// Messages for other loops that wait for room in their mailboxes now (gauge).
    outbox_items_now,
    /// Bytes that those messages hold (gauge).
    outbox_bytes_now,
    /// Turns that ended with more messages for other loops than may wait: who causes them is not read.
    outbox_full,
    /// Bytes in partial-read buffers, backlogs, free buffers, compressors and contexts (gauge).
    pool_bytes_now,
    /// Turns of the loop.
    turns,
}

counters! {
    /// The counters of one WebSocket route on one loop, with its line clients.
    RouteCounters of Counter:

    /// Connections that were opened.
    opened,
    /// Connections that no longer are open.
    closed,
    /// Messages received.
    messages_in,
    /// Bytes received in messages.
    message_bytes_in,
    /// Messages written, or put into backlogs: those that a slow policy drops from there count as well.
    messages_out,
    /// Bytes of those messages, before any compression.
    message_bytes_out,
}

impl RouteCounters {
    /// Connections that are open now.
    #[must_use]
    pub fn open_now(&self) -> u64 {
        // This order: what is opened meanwhile must not make it negative.
        let closed = self.closed.value();
        self.opened.value().saturating_sub(closed)
    }
}

counters! {
    /// The counters of one listener on one loop.
    ListenerCounters of Counter:

    /// Connections taken from the listener.
    accepted,
    /// TLS handshakes completed.
    tls_handshakes,
}

counters! {
    /// The counters of the control thread, which loops write as well.
    ControlCounters of SharedCounter:

    /// Token look-ups started.
    lookups,
    /// Token look-ups that found the token right.
    lookups_right,
    /// Token look-ups that found no token for the name, or another one.
    lookups_wrong,
    /// Token look-ups that could not reach Redis, or had no answer when the handshake was nearly over.
    lookups_unavailable,
    /// Token look-ups refused because `lookups_max` were waiting or under way.
    lookups_refused,
    /// Token look-ups dropped because the client had left.
    lookups_cancelled,
    /// Certificates got by ACME.
    acme_certificates,
    /// Tries to get a certificate by ACME that failed.
    acme_failures,
    /// Requests to backends of identities of kind `callback`.
    callbacks,
    /// Clients that a backend let in.
    callbacks_admitted,
    /// Clients that a backend refused, with 401 or 403.
    callbacks_refused,
    /// Clients refused because their backend failed, was of no use or was left alone, or because too
    /// many were waiting for it.
    callbacks_unavailable,
    /// Clients that waited for the answer to an equal request.
    callbacks_shared,
    /// Clients refused as an equal request had been just before.
    callbacks_repeated,
    /// Clients that left before their backend had answered.
    callbacks_cancelled,
    /// Times that a backend was left alone because it had failed again and again.
    callbacks_stopped,
    /// Requests that told backends of the events of connections.
    event_requests,
    /// Requests about events that were made again.
    event_retries,
    /// Requests about events that came to nothing, tries in vain included.
    event_failures,
    /// Clients dropped or refused because their backend failed or gave a reply of no use.
    event_drops,
    /// Ends of connections that a backend could not be told.
    event_ends_lost,
    /// Times that a backend of events was left alone because it had failed again and again.
    event_stops,
    /// Events that webhooks were told.
    webhook_events,
    /// Requests to webhooks.
    webhook_requests,
    /// Requests to webhooks that came to nothing.
    webhook_failures,
    /// Events that a webhook had no room for, or was not told before the end.
    webhook_lost,
    /// Questions about connections of channels that backends were asked.
    proxy_requests,
    /// Such questions that came to nothing, as the backend failed or gave a reply of no use.
    proxy_failures,
    /// Such questions that no backend was asked, as too many waited or the backend was left alone.
    proxy_refusals,
    /// Such questions that were given up, as the client had left.
    proxy_cancelled,
    /// Times that a backend of such questions was left alone because it had failed again and again.
    proxy_stops,
    /// Calls about channels that backends made, each of a batch.
    api_calls,
    /// Such calls refused with error 106 or 111, as they wanted too much or too many were before them.
    api_refused,
    /// Whether the engine that several gateways share is reached, 1 or 0 (gauge).
    engine_up,
    /// Times that it was away.
    engine_outages,
    /// Channels that are followed there now (gauge).
    engine_channels_now,
    /// Gateways that share it now, this one included (gauge).
    engine_nodes_now,
    /// Holes in what was heard of it, which were read.
    engine_gaps,
    /// Channels whose members had to come again, as a hole could not be read.
    engine_lost,
    /// Publications there that no gateway of this version has written.
    engine_invalid,
    /// Questions that it has not answered in time.
    engine_late,
    /// Questions that it was not asked, as it was away or too many of a loop were under way.
    engine_refused,
    /// Publications that have waited until it was reached again.
    engine_queued,
    /// Bytes of publications that wait for that now (gauge).
    engine_queued_bytes_now,
    /// Questions of other gateways that were not answered, as too many were at once.
    engine_unanswered,
    /// Key sets fetched for identities of kind `jwt`.
    key_sets,
    /// Key sets that could not be fetched or held no key.
    key_sets_failed,
    /// Checks of servers of upstreams.
    health_checks,
    /// Those that were not passed.
    health_checks_failed,
    /// Times that the control thread failed and was started again.
    control_restarts,
}

counters! {
    /// The counters of the process.
    ProcessCounters of SharedCounter:

    /// New processes started by SIGUSR2 that took over.
    handovers,
    /// New processes started by SIGUSR2 that were not ready in time, or ended before.
    handovers_failed,
    /// Clients and networks that are remembered for the limits of `[addresses]` (gauge).
    addresses_now,
}

counters! {
    /// The counters of the thread that keeps certificates up to date.
    CertificateCounters of SharedCounter:

    /// Files of certificates, authorities and ticket keys taken over after they had changed.
    certificates_reloaded,
    /// Changed files that could not be used; what was loaded before is served on.
    certificate_reloads_failed,
}

counters! {
    /// The counters of reloads of the configuration.
    ReloadCounters of SharedCounter:

    /// Reloads of the configuration, also those that found nothing changed.
    reloads,
    /// Reloads that were refused, so that nothing changed.
    reloads_failed,
    /// When the configuration was last reloaded, in seconds since 1970 (gauge).
    reloaded_at_s,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_go_together() {
        let counters = Counters::default();
        counters.upgrades.add(3);
        assert_eq!(counters.values().count(), Counters::NAMES.len());
        assert!(counters.values().any(|value| value == ("upgrades", 3)));
        assert!(Counters::NAMES.iter().all(|(_, doc)| doc.ends_with('.')));

        let counters = ControlCounters::default();
        counters.lookups.add(2);
        assert!(
            counters.values().eq(ControlCounters::NAMES
                .iter()
                .map(|(name, _)| (*name, if *name == "lookups" { 2 } else { 0 })))
        );
    }
}
