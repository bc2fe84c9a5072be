//! The program: command line, configuration, and then the gateway or the client.
//!
//! Exit codes of the gateway: 0 after a shutdown that was asked for, 1 when the gateway could not start or go on,
//! 2 for a configuration that is wrong, 128 + n when a second signal n cut the shutdown short. Those of the
//! client stand in `tidegate::client`.

use std::process::ExitCode;

use clap::Parser as _;
use tidegate::cli::{self, Action, CommandLine};
use tidegate::config::Config;
use tidegate::os::{Descriptors, raise_descriptor_limit, return_freed_memory};

fn main() -> ExitCode {
    return_freed_memory();
    let command_line = CommandLine::parse();
    #[cfg(feature = "client")]
    if let Some(options) = command_line.client() {
        return tidegate::client::run(options);
    }
    if let Some(options) = command_line.import() {
        return cli::import(options);
    }
    match command_line.action() {
        Action::Check => gateway(&command_line, cli::check),
        Action::Serve => gateway(&command_line, |config, descriptors| {
            cli::serve(&command_line, config, descriptors)
        }),
    }
}

fn gateway(
    command_line: &CommandLine,
    run: impl FnOnce(&Config, Descriptors) -> ExitCode,
) -> ExitCode {
    match command_line.configuration() {
        Ok(config) => run(&config, raise_descriptor_limit()),
        Err(error) => cli::fail(&error, 2),
    }
}
