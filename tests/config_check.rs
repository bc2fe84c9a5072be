//! What `--check` prints, for the files in `tests/configs/`: each `NAME.toml` and its
//! `NAME.check.toml`, on a machine that grants 20000 descriptors and 2 cores.
//!
//! To record a change that is meant: `TIDEGATE_RECORD=1 cargo test --test config_check`.

use std::path::Path;
use std::{env, fs};

use clap::Parser as _;
use tidegate::cli::{Action, CommandLine};
use tidegate::config::{Config, MachineLimits};

const GRANTED: MachineLimits = MachineLimits { descriptors: 20_000, cores: 2 };

/// Every token and password in the files.
const SECRET: &str = "s3cret";

#[test]
fn check_prints_what_is_recorded_and_means_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    for name in ["adjusted", "empty", "full"] {
        let file = folder.join(name).with_extension("toml");
        let recorded = folder.join(name).with_extension("check.toml");
        let arguments = ["tidegate", "--check", "--config", file.to_str().unwrap()];
        let command_line = CommandLine::try_parse_from(arguments).unwrap();
        assert_eq!(command_line.action(), Action::Check);
        let config = command_line.configuration().unwrap();

        let printed = config.check_text(GRANTED);
        assert!(!printed.contains(SECRET), "{name}");
        // Secrets in files are found from the folder of the configuration.
        let source = folder.join("printed.toml").display().to_string();
        let again = Config::from_toml(&printed.replace("***", SECRET), &source).unwrap();
        assert_eq!(again, config, "{name}");
        assert_eq!(again.resolve(GRANTED), config.resolve(GRANTED), "{name}");
        if env::var_os("TIDEGATE_RECORD").is_some() {
            fs::write(&recorded, &printed).unwrap();
        }
        assert_eq!(printed, fs::read_to_string(&recorded).unwrap(), "{name}");
    }
}
