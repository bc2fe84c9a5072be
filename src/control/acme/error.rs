//! Why there is no certificate.

use std::io;
use std::path::{Path, PathBuf};

use crate::certificates::CertificateError;
use crate::visible::visible_line;

/// Why there is no certificate. Displays as one line without control characters: a part of it may come
/// from the authority.
#[derive(Debug, thiserror::Error)]
pub(super) enum AcmeError {
    /// A file of the cache, or that of the authorities.
    #[error("{path}: {error}", path = .path.display())]
    File { path: PathBuf, error: io::Error },
    /// The certificates of authorities cannot be used.
    #[error("acme.directory_ca: {0}")]
    Authorities(String),
    /// The authority does not answer, or refuses.
    #[error("{}", text_of(.0))]
    Protocol(#[from] instant_acme::Error),
    /// The authority does not offer a challenge by HTTP for a name.
    #[error("the authority offers no challenge by HTTP for {0}")]
    NoChallenge(String),
    /// The authority could not verify a name.
    #[error("the authority could not verify {domain}: {}", visible_line(.why))]
    Refused { domain: String, why: String },
    /// The authority takes too long.
    #[error("no certificate within {0} s")]
    Late(u64),
    /// What the authority sent is for other names, or due for renewal at once.
    #[error("the authority sent a certificate that lacks a name, or is about to end")]
    Useless,
    /// What the authority sent is no certificate for our key.
    #[error("what the authority sent {0}")]
    Certificate(#[from] CertificateError),
}

impl AcmeError {
    pub(super) fn file(path: &Path, error: io::Error) -> Self {
        Self::File { path: path.to_owned(), error }
    }

    /// Whether the authority did not look at a request, as it had forgotten the nonce in it (RFC 8555 §6.5).
    pub(super) fn is_about_a_nonce(&self) -> bool {
        let Self::Protocol(instant_acme::Error::Api(problem)) = self else { return false };
        problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:badNonce")
    }
}

/// The error with those that have caused it, which is where the reason of a failed connection stands.
fn text_of(error: &instant_acme::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    let text: String = text.chars().take(TEXT_CHARACTERS_MAX).collect();
    visible_line(&text).into_owned()
}

const TEXT_CHARACTERS_MAX: usize = 500;
