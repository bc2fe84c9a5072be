//! A token in its compact form, taken apart (RFC 7515 section 7.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::decode_header;

use super::algorithm::Algorithm;
use super::error::TokenError;

/// A token whose header is understood; nothing of it is verified.
#[derive(Debug)]
pub(super) struct Token<'t> {
    pub(super) algorithm: Algorithm,
    /// Which key it asks for (RFC 7515 section 4.1.4).
    pub(super) kid: Option<String>,
    /// What is signed: header and claims as they were sent, with the dot between them.
    pub(super) signed: &'t str,
    claims: &'t str,
    signature: &'t str,
}

impl<'t> Token<'t> {
    /// Takes a token apart and reads its header.
    ///
    /// # Errors
    /// If it is longer than `bytes_max`, has not three parts, or its header cannot be read, names an
    /// algorithm that is not taken, or extensions that must be understood.
    pub(super) fn parse(text: &'t str, bytes_max: usize) -> Result<Self, TokenError> {
        if text.len() > bytes_max {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Form)?;
        // Five parts are an encrypted token (RFC 7516 section 3.1), two with an empty signature one
        // without any.
        if claims.contains('.') || header.is_empty() || signature.is_empty() {
            return Err(TokenError::Form);
        }
        let header = decode_header(text).map_err(|_| TokenError::Header)?;
        // No extension is understood here, and an empty list is malformed (RFC 7515 section 4.1.11).
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let algorithm = Algorithm::ALL.into_iter().find(|own| own.in_header() == header.alg);
        let algorithm = algorithm.ok_or(TokenError::Header)?;
        Ok(Self { algorithm, kid: header.kid, signed, claims, signature })
    }

    /// The claims as JSON.
    pub(super) fn claims(&self) -> Result<Vec<u8>, TokenError> {
        URL_SAFE_NO_PAD.decode(self.claims).map_err(|_| TokenError::Claims)
    }

    pub(super) fn signature(&self) -> Result<Vec<u8>, TokenError> {
        URL_SAFE_NO_PAD.decode(self.signature).map_err(|_| TokenError::Form)
    }
}
