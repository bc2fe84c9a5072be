//! Fixed work for `scripts/count-instructions`: `instructions SCENARIO UNITS` does UNITS units of
//! it. The difference of two runs with different units leaves out the start.

mod support;

use std::io;
use std::rc::Rc;

use support::whole_loop::WholeLoop;
use support::{BINARY, TEXT, client_frame, noise};
use tidegate::admission::{AddressLimits, AddressSettings, Rate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo passes `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|own| !own.starts_with("--"));
    let Some(scenario) = arguments.next() else { return Ok(()) };
    let units: usize = arguments.next().unwrap_or_default().parse()?;
    let mut whole_loop = match scenario.as_str() {
        "fanout-channel" => WholeLoop::with_channels(),
        "handshake-counted" => WholeLoop::with_addresses(counted_by_address()),
        _ => WholeLoop::new(),
    };
    match scenario.as_str() {
        "echo-1" => echo(&mut whole_loop, 100, units, 1, 128)?,
        "echo-16" => echo(&mut whole_loop, 100, units, 16, 128)?,
        "echo-64k" => echo(&mut whole_loop, 16, units, 1, 65_536)?,
        "fanout" => fanout(&mut whole_loop, 1_000, units, 1)?,
        "fanout-channel" => fanout_in_channel(&mut whole_loop, 1_000, units)?,
        "burst-16" => fanout(&mut whole_loop, 1_000, units, 16)?,
        "handshake" | "handshake-counted" => handshakes(&mut whole_loop, units)?,
        _ => return Err(format!("no scenario {scenario}").into()),
    }
    Ok(())
}

/// The limits that hold by default, but for the rate: no time passes here.
fn counted_by_address() -> AddressSettings {
    let host = AddressLimits {
        connections: Rate::new(1_000_000, 1_000_000),
        failures: Rate::new(20, 80),
        connections_max: 0,
    };
    AddressSettings { host, ..AddressSettings::default() }
}

/// A unit is a read on one connection that contains `in_flight` messages.
fn echo(
    whole_loop: &mut WholeLoop,
    connections: usize,
    units: usize,
    in_flight: usize,
    bytes: usize,
) -> io::Result<()> {
    let wires = whole_loop.open(connections, "/echo")?;
    let input: Rc<[u8]> = client_frame(BINARY, &noise(bytes)).repeat(in_flight).into();
    for unit in 0..units {
        whole_loop.deliver(&wires[unit % wires.len()], &input)?;
    }
    Ok(())
}

/// A unit is a burst of publications to all subscribers.
fn fanout(
    whole_loop: &mut WholeLoop,
    subscribers: usize,
    units: usize,
    burst: usize,
) -> io::Result<()> {
    let wires = whole_loop.open(subscribers, "/broadcast")?;
    let input: Rc<[u8]> = client_frame(BINARY, &noise(128)).repeat(burst).into();
    for unit in 0..units {
        whole_loop.deliver(&wires[unit % wires.len()], &input)?;
    }
    Ok(())
}

/// A unit is a publication to all members of a channel.
fn fanout_in_channel(whole_loop: &mut WholeLoop, members: usize, units: usize) -> io::Result<()> {
    let text = |text: &str| -> Rc<[u8]> { client_frame(TEXT, text.as_bytes()).into() };
    let begin = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"load\"}}";
    let wires = whole_loop.open(members, "/channels")?;
    for wire in &wires {
        whole_loop.deliver(wire, &text(begin))?;
    }
    let data = "x".repeat(126);
    let publish = format!("{{\"id\":3,\"publish\":{{\"channel\":\"load\",\"data\":\"{data}\"}}}}");
    let input = text(&publish);
    for unit in 0..units {
        whole_loop.deliver(&wires[unit % wires.len()], &input)?;
    }
    Ok(())
}

/// A unit is a connection that is accepted, upgraded, echoed to and closed.
fn handshakes(whole_loop: &mut WholeLoop, units: usize) -> io::Result<()> {
    let input: Rc<[u8]> = client_frame(BINARY, &noise(128)).into();
    let close: Rc<[u8]> = vec![0x88, 0x80, 0, 0, 0, 0].into();
    for _ in 0..units {
        for wire in whole_loop.open(1, "/echo")? {
            whole_loop.deliver(&wire, &input)?;
            wire.has_ended.set(true);
            whole_loop.deliver(&wire, &close)?;
        }
    }
    Ok(())
}
