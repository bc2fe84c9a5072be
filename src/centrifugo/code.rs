//! The codes of errors, ends of subscriptions and ends of connections.

use crate::ws::CloseCode;

/// Declares codes with the text that goes with each.
macro_rules! codes {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// All of them, by their codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> u16 {
                match self { $(Self::$variant => $code,)* }
            }

            /// The text on the wire: never empty and never JSON, because clients take an end with such a
            /// text for another one.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

codes! {
    /// Why a command fails.
    ErrorCode {
        /// Something is wrong here; the client may try again.
        Internal = 100 "internal server error",
        /// The connection is not authorized.
        Unauthorized = 101 "unauthorized",
        /// There is no such channel, such as one of an unknown namespace.
        UnknownChannel = 102 "unknown channel",
        /// The client may not do that.
        PermissionDenied = 103 "permission denied",
        /// There is no such method.
        MethodNotFound = 104 "method not found",
        /// The connection is subscribed to that channel.
        AlreadySubscribed = 105 "already subscribed",
        /// A limit is reached.
        LimitExceeded = 106 "limit exceeded",
        /// The command makes no sense.
        BadRequest = 107 "bad request",
        /// What is asked for is switched off.
        NotAvailable = 108 "not available",
        /// The token has expired; the client gets another one.
        TokenExpired = 109 "token expired",
        /// The credential has expired.
        Expired = 110 "expired",
        /// The client asks too often; it may try again.
        TooManyRequests = 111 "too many requests",
        /// What is kept does not reach back to that position.
        UnrecoverablePosition = 112 "unrecoverable position",
    }
}

impl ErrorCode {
    /// Whether the client may try the same again.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::Internal | Self::TooManyRequests)
    }
}

codes! {
    /// Why a subscription ends that the client did not end. Above 2500 it subscribes again by itself.
    Unsubscribed {
        /// A backend has ended it.
        Server = 2000 "server unsubscribe",
        /// Publications may be lacking.
        InsufficientState = 2500 "insufficient state",
        /// Its credential has expired.
        Expired = 2501 "subscription expired",
    }
}

codes! {
    /// Why a connection ends. From 3500 on a client does not come back by itself.
    Disconnect {
        /// The gateway is shutting down.
        Shutdown = 3001 "shutdown",
        /// Something is wrong here.
        ServerError = 3004 "internal server error",
        /// The credential of the connection has expired.
        Expired = 3005 "connection expired",
        /// The credential of a subscription that the server made has expired.
        SubscriptionExpired = 3006 "subscription expired",
        /// The client does not take what it is sent.
        Slow = 3008 "slow",
        /// Publications may be lacking.
        InsufficientState = 3010 "insufficient state",
        /// A backend wants the client to come again.
        ForceReconnect = 3011 "force reconnect",
        /// A ping was not answered.
        NoPong = 3012 "no pong",
        /// The client asks too often.
        TooManyRequests = 3013 "too many requests",
        /// The token does not hold.
        InvalidToken = 3500 "invalid token",
        /// What the client has sent is no command, or not now.
        BadRequest = 3501 "bad request",
        /// The client has not connected in time.
        Stale = 3502 "stale",
        /// A backend has ended it.
        ForceNoReconnect = 3503 "force disconnect",
        /// The user has as many connections as it may have.
        ConnectionLimit = 3504 "connection limit",
        /// The connection has as many channels as it may have.
        ChannelLimit = 3505 "channel limit",
        /// What there is for the client cannot be written in the format that it speaks.
        InappropriateProtocol = 3506 "inappropriate protocol",
        /// The client may not connect.
        PermissionDenied = 3507 "permission denied",
        /// What the client has sent is switched off.
        NotAvailable = 3508 "not available",
    }
}

impl Disconnect {
    /// The code of the close frame.
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        // A test holds all of them to what may be sent.
        CloseCode::from_wire(self.code()).unwrap_or(CloseCode::INTERNAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_short_and_no_json() {
        let texts = ErrorCode::ALL.iter().map(|own| own.text());
        let texts = texts.chain(Unsubscribed::ALL.iter().map(|own| own.text()));
        for text in texts.chain(Disconnect::ALL.iter().map(|own| own.text())) {
            assert!(!text.is_empty() && text.len() < 124, "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn codes_rise_within_their_ranges() {
        let rises = |codes: Vec<u16>| codes.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(rises(ErrorCode::ALL.iter().map(|own| own.code()).collect()));
        assert!(rises(Disconnect::ALL.iter().map(|own| own.code()).collect()));
        for own in Disconnect::ALL {
            assert_eq!(own.close_code().number(), own.code());
        }
        let temporary: Vec<u16> =
            ErrorCode::ALL.iter().filter(|own| own.is_temporary()).map(|own| own.code()).collect();
        assert_eq!(temporary, [100, 111]);
    }

    /// The tables of `docs/channels.md` hold exactly these codes, with these texts.
    #[test]
    fn the_documented_codes_are_these() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/channels.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (_, codes) = text.split_once("\n## Codes\n").unwrap();
        let rows = codes.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            Some((cells.next()?.parse::<u16>().ok()?, cells.next()?))
        });
        let errors = ErrorCode::ALL.iter().map(|own| (own.code(), own.text()));
        let ends = Unsubscribed::ALL.iter().map(|own| (own.code(), own.text()));
        let all =
            errors.chain(ends).chain(Disconnect::ALL.iter().map(|own| (own.code(), own.text())));
        assert_eq!(rows.collect::<Vec<_>>(), all.collect::<Vec<_>>());
    }
}
