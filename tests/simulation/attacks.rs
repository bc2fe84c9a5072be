//! Attacks on the work and the memory of a loop, drawn at random, beside clients that want little. What
//! is really done in each turn is metered where it is done (`tidegate::work::meter`) and held against
//! what the turn was charged with and against the bound of a turn. What is held is recounted after each
//! turn and held against what is charged to the pool (`tidegate::conn::check_invariants`), which is
//! small here, so that attacks use it up. In a process of its own, what the allocator has given is held against
//! the same.

use std::process::Command;
use std::sync::Arc;

use tidegate::services::{
    Broadcast, DeflateOptions, Echo, Handler, LoopSite, Order, Route, RouteOptions, Service,
};
use tidegate::sim::{Random, ServerSettings};
use tidegate::work::{WorkLimits, meter, prices};

use crate::client::Client;
use crate::wire::{
    BINARY, CONTINUATION, FIN, PING, RSV1, client_frame, deflated, frame, upgrade_request,
    upgrade_request_offering_deflate,
};
use crate::world::{Setup, World};

/// What an attacker sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    /// Blocks that yield nothing.
    EmptyBlocks,
    /// Few bytes that unfold to many.
    Bomb,
    /// Messages whose replies take long to compress.
    Compression,
    /// Short messages to many members.
    Fanout,
    /// Short messages, pings among them.
    ShortMessages,
    /// Messages of many empty fragments.
    Fragments,
    /// Large messages.
    LargeMessages,
    /// Connections that ask and leave.
    Connections,
    /// Halves of large messages.
    Unfinished,
    /// Large messages whose replies are not read.
    Unread,
}

const ATTACKS: [Attack; 10] = [
    Attack::EmptyBlocks,
    Attack::Bomb,
    Attack::Compression,
    Attack::Fanout,
    Attack::ShortMessages,
    Attack::Fragments,
    Attack::LargeMessages,
    Attack::Connections,
    Attack::Unfinished,
    Attack::Unread,
];

/// A turn of 0.4 ms, so that short attacks fill many.
const LIMITS: WorkLimits = WorkLimits { turn: 400_000, share: 50_000 };

/// What a turn may cost at most: its limit, a share with the longest step that events began last, one
/// more from the run queue, and what is done even when the work of a turn is done.
const TURN_MAX: u64 = LIMITS.turn + 2 * (LIMITS.share + prices::STEP_MAX) + 200_000;

/// Beyond what was charged: what no step is charged for because it is small, in all steps of a turn.
const UNCHARGED_MAX: u64 = 12_000;

/// What a loop has whatever its clients do: the table of connections with room for 4096, of 64 bytes each, a
/// receive buffer, the scratch of what it inflates and compresses, and queues.
const UNCHARGED_BYTES_MAX: usize = 640 << 10;

/// Room for one message of each attacker, and not for two.
const POOL_BYTES_MAX: usize = 4 << 20;

/// Turns that a client with one short message may have to wait for its reply.
const WAIT_MAX: usize = 40;

fn setup(seed: u64) -> Setup {
    let mut server = ServerSettings { pool_bytes_max: POOL_BYTES_MAX, ..ServerSettings::default() };
    server.connections.work = LIMITS;
    server.connections.receive_buffer_bytes = 16 << 10;
    let deflate = DeflateOptions { level: 9, bytes_min: 100, ..DeflateOptions::default() };
    Setup { seed, server, deflate, ..Setup::default() }
}

fn open(world: &mut World, request: &[u8]) -> Client {
    let mut client = world.connect(0);
    client.send(request);
    world.settle();
    client.read_all();
    assert_eq!(client.received.status, Some(101));
    client
}

/// Blocks of 5 bytes, 10 bits and 93 bits (RFC 1951 §3.2.4 to §3.2.7) without contents.
fn empty_blocks(random: &mut Random, bytes: usize) -> Vec<u8> {
    const DYNAMIC: [u8; 16] = [4, 192, 129, 0, 0, 0, 0, 0, 144, 255, 107, 0, 0, 0, 255, 255];
    let block: &[u8] = [&[0, 0, 0, 255, 255][..], &[3, 0], &DYNAMIC][random.below(3)];
    let mut payload = block.repeat(bytes / block.len());
    if block.len() == 5 || block.len() == 16 {
        payload.push(0);
    }
    payload
}

fn noise(random: &mut Random, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|_| u8::try_from(random.below(64)).unwrap()).collect()
}

fn path_of(attack: Attack) -> &'static str {
    if attack == Attack::Fanout { "/broadcast" } else { "/echo" }
}

/// What an attacker has to send, whole frames.
fn bytes_of(attack: Attack, random: &mut Random) -> Vec<u8> {
    let mask = [0x11, 0xA2, 0x33, 0xC4];
    let compressed = |payload: &[u8]| client_frame(FIN | BINARY | RSV1, payload, mask);
    match attack {
        Attack::EmptyBlocks => {
            let bytes = 1 + random.below(60_000);
            compressed(&empty_blocks(random, bytes))
        }
        Attack::Bomb => {
            let bytes = random.below(1 << 20);
            compressed(&deflated(&vec![7; bytes]))
        }
        Attack::Compression => {
            let bytes = 1 + random.below(40_000);
            compressed(&deflated(&noise(random, bytes)))
        }
        Attack::Fanout => frame(BINARY, b"x").repeat(1 + random.below(600)),
        Attack::ShortMessages => {
            let mut bytes = frame(BINARY, b"y").repeat(1 + random.below(2_000));
            bytes.extend(frame(PING, b"").repeat(random.below(500)));
            bytes
        }
        Attack::Fragments => {
            let mut bytes = client_frame(BINARY, b"z", mask);
            bytes.extend(client_frame(CONTINUATION, b"", mask).repeat(random.below(6_000)));
            bytes.extend(client_frame(FIN | CONTINUATION, b"", mask));
            bytes
        }
        Attack::Unfinished => {
            let mut message = frame(BINARY, &noise(random, 200_000));
            message.truncate(100_000 + random.below(90_000));
            message
        }
        Attack::LargeMessages | Attack::Unread => {
            let bytes = 1 + random.below(200_000);
            frame(BINARY, &noise(random, bytes))
        }
        Attack::Connections => Vec::new(),
    }
}

/// A client that sends one message at a time.
struct Bystander {
    client: Client,
    sent: usize,
    /// Turns since it sent a message that is not answered.
    waits: Option<usize>,
}

impl Bystander {
    /// Receives after a turn.
    fn receive(&mut self) -> Result<(), String> {
        self.client.read_all();
        if self.client.received.data().len() == self.sent {
            self.waits = None;
        } else if let Some(waits) = &mut self.waits {
            *waits += 1;
            if *waits > WAIT_MAX {
                return Err(format!("a client waits for {waits} turns"));
            }
        }
        Ok(())
    }
}

/// The attacks of a seed, and what `after_turn` finds after each turn of the loop until all leave; the world
/// that is left.
fn run(
    seed: u64,
    mut world: World,
    mut after_turn: impl FnMut(&World) -> Result<(), String>,
) -> Result<World, String> {
    let mut random = Random::new(seed);
    let mut bystanders: Vec<Bystander> = (0..3)
        .map(|_| {
            let client = open(&mut world, &upgrade_request("/echo"));
            Bystander { client, sent: 0, waits: None }
        })
        .collect();
    let members = random.below(300);
    let mut members: Vec<Client> =
        (0..members).map(|_| open(&mut world, &upgrade_request("/broadcast"))).collect();
    let count = 1 + random.below(6);
    let mut attackers: Vec<(Attack, Client)> = (0..count)
        .map(|_| {
            let attack = ATTACKS[random.below(ATTACKS.len())];
            let request = upgrade_request_offering_deflate(path_of(attack), "");
            (attack, open(&mut world, &request))
        })
        .collect();
    let mut joiners = Vec::new();
    let _ = meter::take();
    for round in 0..150 {
        for (attack, client) in &mut attackers {
            if *attack == Attack::Connections && random.percent(30) {
                for _ in 0..random.below(20) {
                    let joiner = world.connect(0);
                    joiner.send(&upgrade_request("/echo"));
                    joiners.push(joiner);
                }
                joiners.drain(..joiners.len() / 2).for_each(|own| own.shutdown());
            }
            if client.is_gone() {
                // It was closed for what it did, and comes again.
                *client = world.connect(0);
                client.send(&upgrade_request_offering_deflate(path_of(*attack), ""));
            }
            // No more than a kernel would take from it.
            if client.connection.pending_bytes() < 64 << 10 && random.percent(70) && round < 100 {
                client.send(&bytes_of(*attack, &mut random));
            }
            if *attack != Attack::Unread {
                client.read_all();
            }
        }
        for bystander in &mut bystanders {
            if bystander.waits.is_none() && random.percent(50) {
                bystander.client.send_frame(BINARY, b"hello");
                bystander.sent += 1;
                bystander.waits = Some(0);
            }
        }
        world.step()?;
        after_turn(&world).map_err(|broken| format!("round {round}: {broken}"))?;
        for client in &mut members {
            client.read_all();
        }
        for bystander in &mut bystanders {
            bystander.receive()?;
        }
    }
    leave(&mut world, bystanders, members, attackers, joiners)?;
    Ok(world)
}

/// Holds what a turn has done against what it was charged with; what it has done.
fn check_work(world: &World) -> Result<u64, String> {
    let spent = meter::take();
    let charged = world.server.work_used(0).unwrap_or(0);
    if spent > charged + UNCHARGED_MAX {
        return Err(format!("{spent} units done, {charged} charged"));
    }
    if spent > TURN_MAX {
        return Err(format!("a turn of {spent} units"));
    }
    Ok(spent)
}

/// All leave: whatever was held for them is given back.
fn leave(
    world: &mut World,
    bystanders: Vec<Bystander>,
    members: Vec<Client>,
    attackers: Vec<(Attack, Client)>,
    joiners: Vec<Client>,
) -> Result<(), String> {
    let attackers = attackers.into_iter().map(|(_, client)| client);
    let bystanders = bystanders.into_iter().map(|own| own.client);
    let clients: Vec<Client> = attackers.chain(bystanders).chain(members).chain(joiners).collect();
    for client in &clients {
        client.shutdown();
    }
    for mut client in clients {
        world.exchange(&mut client);
    }
    // Pings that were sent are answered first, as fast as their rate allows.
    world.pass(300_000);
    match (world.server.connection_count(), world.counter("pool_bytes_now")) {
        (0, 0) => Ok(()),
        left => {
            let available = world.server.pool.available();
            Err(format!("left at the end: {left:?} connections and bytes, {available} available"))
        }
    }
}

#[test]
fn no_turn_is_longer_than_its_bound_and_who_wants_little_waits_little() {
    let mut longest = 0;
    for seed in seeds() {
        let after_turn = |world: &World| {
            longest = longest.max(check_work(world)?);
            Ok(())
        };
        if let Err(broken) = run(seed, World::new(&setup(seed)), after_turn) {
            panic!("seed {seed}: {broken}");
        }
    }
    // The attacks are worth their name.
    assert!(longest > LIMITS.turn || !cfg!(debug_assertions), "{longest}");
}

fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("TIDEGATE_SIM_SEEDS").ok().and_then(|count| count.parse().ok());
    0..count.unwrap_or(25)
}

/// In a process of its own: other tests allocate as well.
#[test]
fn all_that_is_allocated_is_charged() {
    let program = std::env::current_exe().unwrap();
    let test = "attacks::all_that_is_allocated_is_charged_alone";
    let arguments = ["--exact", test, "--ignored", "--nocapture", "--test-threads=1"];
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

#[test]
#[ignore = "the test above runs it without any other"]
fn all_that_is_allocated_is_charged_alone() {
    let mut most = 0;
    for seed in seeds() {
        let setup = setup(seed);
        let world = World::serving(&setup, |_| plain_routes(&setup));
        let after_turn = |world: &World| {
            let held = usize::try_from(world.held_bytes()).map_err(|error| error.to_string())?;
            let charged = usize::try_from(world.counter("pool_bytes_now")).unwrap();
            most = most.max(held);
            if held > charged + UNCHARGED_BYTES_MAX || charged > POOL_BYTES_MAX {
                return Err(format!("{held} bytes are held, and {charged} are charged"));
            }
            Ok(())
        };
        let world = run(seed, world, after_turn).unwrap_or_else(|broken| {
            panic!("seed {seed}: {broken}");
        });
        let left = world.held_bytes();
        assert!(
            left <= UNCHARGED_BYTES_MAX.cast_signed(),
            "seed {seed}: {left} bytes are held at the end"
        );
    }
    // The attacks use the pool up.
    assert!(most > POOL_BYTES_MAX / 2, "{most}");
}

/// Services without the journal of the simulation, which holds memory of its own.
fn plain_routes(setup: &Setup) -> Vec<Route> {
    let options = RouteOptions {
        message_bytes_max: 1 << 20,
        deflate: Some(setup.deflate),
        ..RouteOptions::default()
    };
    let echo = |_: LoopSite| Box::new(Echo) as Box<dyn Service>;
    let broadcast = |_: LoopSite| Box::new(Broadcast::new(Order::Topic)) as Box<dyn Service>;
    vec![
        Route::new("/echo", Handler::Socket(Arc::new(echo), options.clone())),
        Route::new("/broadcast", Handler::Socket(Arc::new(broadcast), options)),
    ]
}
