//! Why a token is refused.

/// Why a token is refused. Displays as a sentence for the author of a client; it shows nothing of the
/// token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// It is longer than the configuration allows.
    #[error("the token is too long")]
    TooLong,
    /// It has not the form `HEADER.CLAIMS.SIGNATURE`, each in base64url without padding.
    #[error("the token is not of the form HEADER.CLAIMS.SIGNATURE (RFC 7515 section 7.1)")]
    Form,
    /// Its header cannot be read, or names an algorithm that is not taken, such as `none`.
    #[error("the header of the token cannot be read, or names no algorithm that is accepted")]
    Header,
    /// Its header lists extensions, of which none is understood.
    #[error(
        "the token has extensions that must be understood and are not (RFC 7515 section 4.1.11)"
    )]
    Critical,
    /// No key is known for its algorithm, or by its key ID.
    #[error("the token is signed with a key that is not known")]
    UnknownKey,
    /// Its signature is wrong.
    #[error("the signature of the token is wrong")]
    Signature,
    /// Its claims are no JSON object, or one of them is of another type than it must be.
    #[error("the claims of the token cannot be read (RFC 7519 section 4.1)")]
    Claims,
    /// It has no `exp`.
    #[error("the token has no expiry (exp)")]
    NoExpiry,
    /// Its `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// Its `nbf` is to come.
    #[error("the token is not valid yet")]
    NotYet,
    /// Its `iss` is missing or another one.
    #[error("the token is of another issuer (iss)")]
    Issuer,
    /// Its `aud` is missing or names others.
    #[error("the token is for another audience (aud)")]
    Audience,
    /// The claim that names the user is missing or not a text that can name one.
    #[error("the token names no user")]
    User,
}

impl TokenError {
    /// A word for counters and lines of the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Form => "form",
            Self::Header => "header",
            Self::Critical => "critical",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::NoExpiry => "no_expiry",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::User => "user",
        }
    }
}
