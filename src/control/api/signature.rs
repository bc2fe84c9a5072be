//! Requests that are signed as Amazon signs them: Signature Version 4
//! (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
//!
//! The secret is a key of the listener; the name of the access key, region and service may be any.

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use ring::hmac;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::timer::WallTime;

/// Whether a request shows a signature of this kind.
pub(super) fn is_signed(headers: &HeaderMap) -> bool {
    let value = headers.get(header::AUTHORIZATION).and_then(|own| own.to_str().ok());
    value.is_some_and(|own| own.starts_with(ALGORITHM))
}

/// Whether a request is signed by a secret, at most a quarter of an hour from `now`.
pub(super) fn verifies(secret: &[u8], parts: &Parts, body: &[u8], now: WallTime) -> bool {
    check(secret, parts, body, now).unwrap_or(false)
}

fn check(secret: &[u8], parts: &Parts, body: &[u8], now: WallTime) -> Option<bool> {
    let authorization = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let fields = authorization.strip_prefix(ALGORITHM)?;
    let field = |name: &str| {
        let mut all = fields.split(',').filter_map(|own| own.trim().split_once('='));
        all.find(|(own, _)| *own == name).map(|(_, value)| value)
    };
    let (_, scope) = field("Credential")?.split_once('/')?;
    let date = parts.headers.get("x-amz-date")?.to_str().ok()?;
    let signed: Vec<&str> = field("SignedHeaders")?.split(';').collect();
    if signed.len() > HEADERS_MAX || !["host", "x-amz-date"].iter().all(|own| signed.contains(own))
    {
        return None;
    }
    let mut steps = scope.split('/');
    let (day, region, service, end) = (steps.next()?, steps.next()?, steps.next()?, steps.next()?);
    let drift_s = unix_seconds(date)?.abs_diff(now.0 / 1000);
    if steps.next().is_some()
        || end != "aws4_request"
        || !date.starts_with(day)
        || drift_s > DRIFT_S
    {
        return None;
    }
    let canonical = canonical_request(parts, &signed, body)?;
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let mut key = [b"AWS4", secret].concat();
    for step in [day, region, service, end] {
        key = mac(&key, step.as_bytes());
    }
    let expected = hex(&mac(&key, to_sign.as_bytes()));
    Some(expected.as_bytes().ct_eq(field("Signature")?.as_bytes()).into())
}

/// What is signed of a request.
fn canonical_request(parts: &Parts, signed: &[&str], body: &[u8]) -> Option<String> {
    let mut text = format!("{}\n{}\n", parts.method, quoted(parts.uri.path().as_bytes(), b"-_.~/"));
    let mut pairs: Vec<&str> = parts.uri.query().unwrap_or_default().split('&').collect();
    pairs.sort_unstable();
    text.push_str(&pairs.join("&"));
    text.push('\n');
    for name in signed {
        let values = parts.headers.get_all(*name).iter().map(|own| own.to_str().ok());
        let values: Vec<&str> = values.collect::<Option<_>>()?;
        if values.is_empty() {
            return None;
        }
        let words = |value: &&str| value.split_whitespace().collect::<Vec<_>>().join(" ");
        let joined: Vec<String> = values.iter().map(words).collect();
        text.push_str(&format!("{name}:{}\n", joined.join(",")));
    }
    text.push_str(&format!("\n{}\n{}", signed.join(";"), hex(&Sha256::digest(body))));
    Some(text)
}

/// Bytes in which all but letters, digits and those of `plain` are percent-encoded: a path that is encoded
/// already is so once more.
fn quoted(bytes: &[u8], plain: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte.is_ascii_alphanumeric() || plain.contains(byte) {
            true => text.push(char::from(*byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The moment of a date such as `19941106T084937Z`, in seconds since 1970.
fn unix_seconds(date: &str) -> Option<u64> {
    let digits = |range: std::ops::Range<usize>| -> Option<u64> {
        let text = date.get(range)?;
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    let (year, month, day) = (digits(0..4)?, digits(4..6)?, digits(6..8)?);
    let is_date = date.len() == 16 && date.get(8..9) == Some("T") && date.ends_with('Z');
    if !is_date || !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    // Years from March on, so that the leap day is the last of its year.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = years / 4 - years / 100 + years / 400;
    let days = years * 365 + leap_days + (153 * months + 2) / 5 + day - 1;
    let days = days.checked_sub(DAYS_TO_1970)?;
    Some(days * 86_400 + digits(9..11)? * 3600 + digits(11..13)? * 60 + digits(13..15)?)
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256 ";
const DRIFT_S: u64 = 15 * 60;
const HEADERS_MAX: usize = 64;
/// From 1 March of the year 0.
const DAYS_TO_1970: u64 = 719_468;

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use proptest::prelude::*;

    use super::*;

    /// The first example of Amazon's test suite (get-vanilla), whose secret and signature are published.
    #[test]
    fn the_published_example_is_verified() {
        let secret = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        let request = |path: &str, signature: &str| {
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature={signature}"
            );
            Request::get(path)
                .header("Host", "example.amazonaws.com")
                .header("X-Amz-Date", "20150830T123600Z")
                .header("Authorization", authorization)
                .body(())
                .unwrap()
                .into_parts()
                .0
        };
        let now = WallTime(1_440_938_160_000);
        assert_eq!(unix_seconds("20150830T123600Z"), Some(now.0 / 1000));
        assert!(verifies(secret, &request("/", signature), b"", now));
        assert!(verifies(secret, &request("/", signature), b"", WallTime(now.0 + 900_000)));
        assert!(!verifies(secret, &request("/", signature), b"", WallTime(now.0 + 901_000)));
        assert!(!verifies(secret, &request("/", signature), b"x", now));
        assert!(!verifies(secret, &request("/a", signature), b"", now));
        assert!(!verifies(b"other", &request("/", signature), b"", now));
        assert!(!verifies(secret, &request("/", &signature.replace('5', "6")), b"", now));
        assert!(is_signed(&request("/", signature).headers));
    }

    #[test]
    fn dates_that_are_none_are_refused() {
        assert_eq!(unix_seconds("19700101T000000Z"), Some(0));
        assert_eq!(unix_seconds("20000301T000001Z"), Some(951_868_801));
        for date in ["", "20150830", "20151330T123600Z", "2015083aT123600Z", "20150830T123600+0"] {
            assert_eq!(unix_seconds(date), None, "{date}");
        }
    }

    /// Headers as they are signed, cut and put together in any way.
    fn pieces() -> impl Strategy<Value = String> {
        let pieces = vec![
            ALGORITHM,
            " ",
            "Credential=",
            "AKID/20150830/region/service/aws4_request",
            "/",
            ",",
            ";",
            "SignedHeaders=",
            "host;x-amz-date",
            "x-amz-date",
            "Signature=",
            "5fa0",
            "=",
            "\u{e9}",
        ];
        let piece = prop_oneof![prop::sample::select(pieces).prop_map(str::to_owned), "[ -~]{0,8}"];
        prop::collection::vec(piece, 0..12).prop_map(|own| own.concat())
    }

    proptest! {
        /// Whatever a request claims, it is refused or not, and is not by a secret that nothing was signed by.
        #[test]
        fn no_request_is_taken_that_was_not_signed(
            authorization in pieces(),
            date in prop_oneof![Just("20150830T123600Z".to_owned()), "[0-9TZ]{0,17}", "[ -~]{0,17}"],
            target in "/[a-z0-9%&=?/]{0,20}",
            body: Vec<u8>,
        ) {
            let request = Request::get(target)
                .header("Host", "a")
                .header("X-Amz-Date", date)
                .header("Authorization", authorization.as_bytes())
                .body(());
            let Ok(request) = request else { return Ok(()) };
            let (parts, ()) = request.into_parts();
            let _ = is_signed(&parts.headers);
            prop_assert!(!verifies(b"secret", &parts, &body, WallTime(1_440_938_160_000)));
        }
    }
}
