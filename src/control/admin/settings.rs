//! Where the admin listener is, and who may do what there.

use std::fmt;

use subtle::ConstantTimeEq as _;

use crate::control::http_listener::ListenPlace;

/// Where the admin listener is, and who may do what there.
#[derive(Clone)]
pub struct AdminSettings {
    /// Where it is.
    pub place: ListenPlace,
    /// The tokens that permit everything.
    pub tokens: Vec<String>,
    /// The tokens that permit to read metrics.
    pub metrics_tokens: Vec<String>,
}

impl AdminSettings {
    /// Whether only programs of this machine reach the listener.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.place.is_local()
    }

    /// Whether `given` is a token that permits everything.
    pub(super) fn is_token(&self, given: &str) -> bool {
        is_among(&self.tokens, given)
    }

    /// Whether `given` permits to read metrics.
    pub(super) fn is_metrics_token(&self, given: &str) -> bool {
        is_among(&self.metrics_tokens, given) | self.is_token(given)
    }
}

impl fmt::Debug for AdminSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminSettings").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Compares with all of them, each in a time that depends on lengths alone.
pub(in crate::control) fn is_among(tokens: &[String], given: &str) -> bool {
    let equal = |token: &String| token.as_bytes().ct_eq(given.as_bytes());
    let any = tokens.iter().map(equal).fold(subtle::Choice::from(0), |any, equal| any | equal);
    bool::from(any)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn every_token_of_a_list_is_accepted() {
        let settings = AdminSettings {
            place: ListenPlace::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
            tokens: vec!["new".to_owned(), "old".to_owned()],
            metrics_tokens: vec!["collector".to_owned()],
        };
        assert!(settings.is_token("new") && settings.is_token("old"));
        assert!(!settings.is_token("ne") && !settings.is_token("") && !settings.is_token("newer"));
        assert!(!settings.is_token("collector") && settings.is_metrics_token("collector"));
        assert!(settings.is_metrics_token("old"));
        assert!(!format!("{settings:?}").contains("new"));
    }
}
