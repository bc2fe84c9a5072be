//! Clients without a valid credential, each of whom has the server look at one.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::reconnecting::come_again;
use crate::commands::attack::attackers::Attackers;
use crate::error::CommandError;

/// Each shows a JWT (RFC 7519) of 3 KiB whose signature is wrong.
pub(super) fn forged_tokens(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    let claims = format!(r#"{{"sub":"eve","exp":4102444800,"padding":"{}"}}"#, "x".repeat(2_200));
    let [header, claims, signature] =
        [br#"{"alg":"HS256","typ":"JWT"}"#, claims.as_bytes(), &[0x5a; 32][..]]
            .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let path = format!("{TOKEN_PATH}?token={header}.{claims}.{signature}");
    come_again(attackers, Some(&path.into()), |_| {})
}

/// Each has the server ask a backend that never answers.
pub(super) fn unanswered(attackers: &mut Attackers<'_>) -> Result<(), CommandError> {
    come_again(attackers, Some(&CALLBACK_PATH.into()), |_| {})
}

/// The routes with an identity; the attacks' configurations have the same.
const TOKEN_PATH: &str = "/by-token";
const CALLBACK_PATH: &str = "/by-callback";
