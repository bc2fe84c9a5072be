//! `tidegate import`: the configuration of another program becomes one of this gateway.
//!
//! | file | what it is |
//! |---|---|
//! | `source` | what stands in the other file, option by option, and what of it was taken |
//! | `centrifugo` | which options of Centrifugo become what |
//! | `namespace` | the options of its channels |
//! | `proxies` | the backends that are asked about connections |
//! | `engine` | the Redis or NATS server by which its gateways share channels |
//! | `written` | values as TOML writes them |

mod centrifugo;
mod engine;
mod namespace;
mod proxies;
mod source;
mod written;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::visible::visible_line;

/// What is imported.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ImportOptions {
    /// The program that the file is for.
    #[command(subcommand)]
    pub from: ImportFrom,
}

/// A program whose configuration is understood.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ImportFrom {
    /// Print the configuration of channels that does what a file of Centrifugo 5 or 6 asks for, and name what
    /// has no counterpart
    Centrifugo {
        /// Its configuration in JSON, YAML or TOML, as the end of its name says
        file: PathBuf,
    },
}

/// Prints what a file becomes: the configuration to standard output, with what has no counterpart as comments
/// in front. Exit code 0, or 2 for a file that cannot be read.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "that is what the command is for")]
pub fn import(options: &ImportOptions) -> ExitCode {
    let ImportFrom::Centrifugo { file } = &options.from;
    match read(file).and_then(|(text, format)| source::Source::parse(&text, format)) {
        Ok(source) => {
            let centrifugo::Imported { toml, remarks } = centrifugo::imported(source);
            for remark in remarks {
                println!("# {}", visible_line(&remark));
            }
            print!("{toml}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("tidegate: {}: {why}", file.display());
            ExitCode::from(2)
        }
    }
}

fn read(file: &Path) -> Result<(String, source::Format), String> {
    let ending = file.extension().and_then(|own| own.to_str()).unwrap_or_default();
    let format = match ending {
        "json" => source::Format::Json,
        "toml" => source::Format::Toml,
        "yaml" | "yml" => source::Format::Yaml,
        _ => return Err("its name must end in .json, .toml, .yaml or .yml".to_owned()),
    };
    let length = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    Ok((text, format))
}

/// Bytes of a file; one of a few hundred options has a hundredth of that.
const FILE_BYTES_MAX: u64 = 1 << 20;
