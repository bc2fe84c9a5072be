//! What it takes to parse what clients of channels send.

use std::hint::black_box;

use tidegate::centrifugo::{COMMANDS_MAX, Commands, Format};

/// A frame, and what is in it.
pub(super) struct Sample {
    pub(super) name: &'static str,
    frame: Vec<u8>,
    format: Format,
}

impl Sample {
    pub(super) fn bytes(&self) -> usize {
        self.frame.len()
    }

    /// Parses it as a frame of commands.
    pub(super) fn parse(&self) {
        for command in Commands::of(self.format, &self.frame, CHANNELS_MAX) {
            assert!(black_box(command).is_ok(), "{}", self.name);
        }
    }
}

/// Frames of about this many bytes.
pub(super) fn samples(bytes: usize) -> Vec<Sample> {
    let text =
        |name, frame: String| Sample { name, frame: frame.into_bytes(), format: Format::Json };
    let publish =
        |data: String| format!("{{\"id\":1,\"publish\":{{\"channel\":\"news\",\"data\":{data}}}}}");
    let repeated = |own: &str| own.repeat(bytes / own.len());
    let subs = |name: &'static str, line: fn(usize) -> String| {
        let all: Vec<String> = (0..bytes / line(0).len()).map(line).collect();
        let frame = format!("{{\"id\":1,\"connect\":{{\"subs\":{{{}}}}}}}", all.join(","));
        Sample { name, frame: frame.into_bytes(), format: Format::Json }
    };
    let short = "{\"id\":1,\"publish\":{\"channel\":\"news\",\"data\":{\"x\":1}}}";
    vec![
        text("a text", publish(format!("\"{}\"", repeated("x")))),
        text("objects", publish(format!("[{}0]", repeated("{\"symbol\":\"S1\",\"bid\":1.25},")))),
        text("numbers", publish(format!("[{}0]", repeated("0,")))),
        text("lists", publish(format!("[{}0]", repeated("[],")))),
        text("escapes", publish(format!("\"{}\"", repeated("\\n")))),
        text("a channel of escapes", {
            format!("{{\"id\":1,\"presence\":{{\"channel\":\"{}\"}}}}", repeated("\\u0041"))
        }),
        text("unknown fields", format!("{{{}\"id\":1}}", repeated("\"x\":0,"))),
        text("short commands", vec![short; COMMANDS_MAX.min(bytes / short.len())].join("\n")),
        subs("channels of a first command", |own| format!("\"{own:05}\":{{}}")),
        Sample {
            name: "unknown fields of Protobuf",
            frame: message(&repeated("\x10\x01").into_bytes()),
            format: Format::Protobuf,
        },
        Sample {
            name: "channels of a first command in Protobuf",
            frame: message(&field(
                0x22,
                &(0..bytes / 9)
                    .flat_map(|own| field(0x1A, &field(0x0A, format!("{own:05}").as_bytes())))
                    .collect::<Vec<u8>>(),
            )),
            format: Format::Protobuf,
        },
    ]
}

fn message(own: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    let mut rest = own.len();
    while rest > 0x7F {
        all.push(u8::try_from(rest & 0x7F).unwrap() | 0x80);
        rest >>= 7;
    }
    all.push(u8::try_from(rest).unwrap());
    all.extend(own);
    all
}

fn field(key: u8, own: &[u8]) -> Vec<u8> {
    [vec![key], message(own)].concat()
}

/// Channels of one connection, as they are limited by default.
const CHANNELS_MAX: usize = 128;
