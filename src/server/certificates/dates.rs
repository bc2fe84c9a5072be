//! Until when certificates are valid, in words and in time to act.

use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;

use crate::certificates::{CertificateView, ServerCertificate};
use crate::timer::WallTime;

/// A line for each certificate as it is now: its position in the configuration, its names, and its end.
#[must_use]
pub fn certificate_lines(certificates: &CertificateView) -> Vec<String> {
    let now = certificates.now();
    now.iter().enumerate().map(|(position, own)| described(position, own)).collect()
}

/// A certificate in a line of the log: its position in the configuration, its names, and its end.
pub(super) fn described(position: usize, certificate: &ServerCertificate) -> String {
    let (names, expires) = (certificate.names(), date(certificate.expires()));
    format!("certificate[{position}] for {names} is valid until {expires}")
}

/// What is to be said of certificates that have expired, will soon, or are not valid yet.
pub(super) fn warnings(certificates: &[ServerCertificate], now: WallTime) -> Vec<String> {
    let warn = |(position, own): (usize, &ServerCertificate)| {
        let described = || described(position, own);
        if own.expires() <= now {
            return Some(format!("{}: it HAS EXPIRED, and clients refuse it", described()));
        }
        if own.expires().0 - now.0 <= WARNED_BEFORE_MS {
            let days = (own.expires().0 - now.0) / DAY_MS;
            return Some(format!("{}: it expires in {days} days; renew it", described()));
        }
        let begins = own.valid_from();
        (begins > now).then(|| format!("{}, and not before {}", described(), date(begins)))
    };
    certificates.iter().enumerate().filter_map(warn).collect()
}

fn date(time: WallTime) -> String {
    // Beyond the year 9999 there is no such text.
    let time = Duration::from_millis(time.0.min(LAST_MS));
    format_rfc3339_seconds(SystemTime::UNIX_EPOCH + time).to_string()
}

/// Renewers replace a certificate 30 days before its end: what is left at 14 is not being renewed.
const WARNED_BEFORE_MS: u64 = 14 * DAY_MS;
pub(super) const DAY_MS: u64 = 86_400_000;
/// The last second of the year 9999.
const LAST_MS: u64 = 253_402_300_799_000;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::certificates::provider;

    fn certificate(year: i32) -> ServerCertificate {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(year, 1, 31));
        let key = KeyPair::generate().unwrap();
        let issued = params.self_signed(&key).unwrap().pem();
        let (chain, key) = (issued.as_bytes(), key.serialize_pem());
        ServerCertificate::from_pem(chain, key.as_bytes(), &provider()).unwrap()
    }

    #[test]
    fn the_end_of_a_certificate_is_warned_of_two_weeks_before() {
        let certificates = [certificate(4000), certificate(2030)];
        let end = certificates[1].expires().0;
        let said = |now| warnings(&certificates, WallTime(now));
        assert_eq!(said(end - WARNED_BEFORE_MS - 1), [""; 0]);
        let line = "certificate[1] for a.example is valid until 2030-01-31T00:00:00Z";
        assert_eq!(
            said(end - WARNED_BEFORE_MS),
            [format!("{line}: it expires in 14 days; renew it")]
        );
        assert_eq!(said(end - 1), [format!("{line}: it expires in 0 days; renew it")]);
        assert_eq!(said(end), [format!("{line}: it HAS EXPIRED, and clients refuse it")]);
        let early = warnings(&certificates[1..], WallTime(1_500_000_000_000));
        assert_eq!(early.len(), 1);
        assert!(early[0].ends_with("and not before 2020-01-01T00:00:00Z"), "{early:?}");
    }
}
