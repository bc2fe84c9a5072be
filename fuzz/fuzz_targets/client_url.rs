//! What a user may give on the command line: URLs, headers and addresses to listen on; and the URL of
//! a Redis server. What is accepted is written as it is read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::cli::ListenAddresses;
use tidegate::client::{ExtraHeader, ServerUrl};
use tidegate::control::RedisUrl;

fuzz_target!(|input: (&str, &str)| {
    let (text, user) = input;
    let _ = (text.parse::<ExtraHeader>(), text.parse::<ListenAddresses>());
    if let Ok(url) = RedisUrl::parse(text) {
        let _ = url.to_string();
    }
    let Ok(url) = text.parse::<ServerUrl>() else { return };
    assert_eq!(url.to_string().parse(), Ok(url.clone()));
    if let Ok(url) = url.with_user(user) {
        assert_eq!(url.to_string().parse(), Ok(url));
    }
});
