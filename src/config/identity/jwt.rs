//! Signed tokens: where they stand, what they must say, and the keys that verify them.

use crate::config::declare::keys;
use crate::config::file_path::FilePath;
use crate::config::rule::{Rule, integer};
use crate::config::timeouts::TIMEOUT;
use crate::config::word::{one_of, words};
use crate::config::{Secret, ServerUrl};
use crate::jwt::Algorithm;

keys! {
    /// Signed tokens: where they stand, and what they must say.
    "identity." pub struct JwtOptions {
        /// Whether a token may stand in `Authorization: Bearer`.
        pub token_authorization: bool {
            default: true,
            rule: Rule::Boolean,
            reload: true,
        }
        /// The beginning of the entry of `Sec-WebSocket-Protocol` that holds a token, as scripts in browsers
        /// can set no other header.
        pub token_subprotocol: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Token,
            reload: true,
        }
        /// The cookie that holds a token.
        pub token_cookie: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Token,
            reload: true,
        }
        /// The parameter of the query that holds a token.
        pub token_query: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Token,
            reload: true,
        }
        /// Bytes of a token.
        pub token_bytes_max: usize {
            default: 4096,
            rule: integer(64, 65_536),
            reload: true,
            reached: "The request is refused with 401.",
        }
        /// The accepted values of `iss`; without any, it is not looked at.
        pub issuers: Vec<String> {
            default: Vec::new(),
            rule: Rule::Texts,
            reload: true,
            reached: "A token of another issuer is refused with 401.",
        }
        /// The accepted values of `aud`; without any, a token must have none.
        pub audiences: Vec<String> {
            default: Vec::new(),
            rule: Rule::Texts,
            reload: true,
            reached: "A token for others is refused with 401.",
        }
        /// Whether a token must have `exp`.
        pub exp_required: bool {
            default: true,
            rule: Rule::Boolean,
            reload: true,
        }
        /// How far the clock of a signer may be from that of the gateway.
        pub leeway_ms: u64 {
            default: 10_000,
            rule: integer(0, 600_000),
            reload: true,
        }
        /// The claim with the user.
        pub user_claim: String {
            default: "sub".to_owned(),
            rule: Rule::Text { bytes_min: 1, bytes_max: 256 },
            reload: true,
        }
        /// The claim with the rooms that the user may enter: a list or a table as a backend gives it, or one
        /// text of words. Without it in a token the user may enter none.
        pub rooms_claim: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Text { bytes_min: 1, bytes_max: 256 },
            reload: true,
        }
        /// The claim with the user's rights among `read`, `write` and `see_members`: a list, or one text of
        /// words such as `scope`. Without it in a token the user has none.
        pub rights_claim: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Text { bytes_min: 1, bytes_max: 256 },
            reload: true,
        }
        /// The claim with further information about the user, any JSON of at most 4096 bytes.
        pub info_claim: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Text { bytes_min: 1, bytes_max: 256 },
            reload: true,
        }
        /// Where the keys are published as a JWK set; its query is never printed.
        pub jwks_url: Option<ServerUrl> {
            default: None,
            shown: "none",
            rule: Rule::HttpUrl,
            reload: true,
        }
        /// The algorithms that published keys may serve for, as far as they do not name another one.
        pub jwks_algorithms: Vec<String> {
            default: ["RS256", "ES256", "EdDSA"].map(str::to_owned).to_vec(),
            rule: Rule::PublicAlgorithms,
            needs: Self::is_fetched => "jwks_url is not given",
            reload: true,
        }
        /// How often published keys are fetched, shortened by up to a tenth.
        pub jwks_refresh_ms: u64 {
            default: 300_000,
            rule: integer(1000, 86_400_000),
            needs: Self::is_fetched => "jwks_url is not given",
            reload: true,
        }
        /// How soon they are fetched again because a token asks for a key that is not known.
        pub jwks_unknown_key_ms: u64 {
            default: 10_000,
            rule: integer(100, 86_400_000),
            needs: Self::is_fetched => "jwks_url is not given",
            reload: true,
            reached: "The token is refused with 401.",
        }
        /// How long a fetch may take.
        pub jwks_fetch_ms: u64 {
            default: 3000,
            rule: TIMEOUT,
            needs: Self::is_fetched => "jwks_url is not given",
            reload: true,
            reached: "The keys that were fetched last are kept, and the failure is logged once.",
        }
    }
}

keys! {
    /// A key that verifies tokens.
    "identity.keys." pub struct TokenKey {
        /// Its ID, by which tokens ask for it (`kid`); without one it is tried for all of its algorithm.
        pub kid: Option<String> {
            default: None,
            shown: "none",
            rule: Rule::Text { bytes_min: 1, bytes_max: 256 },
            reload: true,
        }
        /// The one algorithm that it serves for.
        pub algorithm: Algorithm {
            rule: one_of::<Algorithm>(),
            reload: true,
        }
        /// PEM file with the public key, for all algorithms but HS256, HS384 and HS512.
        pub file: Option<FilePath> {
            default: None,
            shown: "none",
            rule: Rule::File,
            reload: true,
        }
        /// The secret of HS256, HS384 or HS512, of at least 32, 48 or 64 bytes; never printed.
        pub secret: Option<Secret> {
            default: None,
            shown: "none",
            rule: Rule::Secret { bytes_min: 1, bytes_max: 1024 },
            reload: true,
        }
    }
}

impl JwtOptions {
    fn is_fetched(&self) -> bool {
        self.jwks_url.is_some()
    }

    /// The algorithms that published keys may serve for.
    pub fn published_algorithms(&self) -> Vec<Algorithm> {
        let named = |own: &Algorithm| self.jwks_algorithms.iter().any(|name| name == own.name());
        Algorithm::ALL.into_iter().filter(named).collect()
    }
}

words! {
    Algorithm:
    "HS256" = Hs256,
    "HS384" = Hs384,
    "HS512" = Hs512,
    "RS256" = Rs256,
    "RS384" = Rs384,
    "RS512" = Rs512,
    "PS256" = Ps256,
    "PS384" = Ps384,
    "PS512" = Ps512,
    "ES256" = Es256,
    "ES384" = Es384,
    "EdDSA" = EdDsa,
}
