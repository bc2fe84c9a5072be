//! A configuration file. What is refused has one line; what is accepted can be fitted to a machine.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::config::{Config, MachineLimits};

fuzz_target!(|text: &str| match Config::from_toml(text, "fuzz.toml") {
    Ok(config) => {
        let resolved = config.resolve(MachineLimits { descriptors: 1024, cores: 2 });
        assert!(resolved.loops > 0 && !resolved.routes.is_empty());
    }
    Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
});
