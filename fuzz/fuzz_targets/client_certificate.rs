//! The certificate of a client. What is read of it is one line, and no longer than it may be.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::certificates::{SUBJECT_BYTES_MAX, common_name_of, expiry_of, subject_of};

fuzz_target!(|certificate: &[u8]| {
    let certificate = certificate.into();
    let _ = expiry_of(&certificate);
    if let Some(subject) = subject_of(&certificate) {
        assert!((1..=SUBJECT_BYTES_MAX).contains(&subject.len()));
        assert!(!subject.chars().any(char::is_control), "{subject:?}");
        let _ = common_name_of(&subject);
    }
});
