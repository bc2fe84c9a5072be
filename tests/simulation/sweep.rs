//! The sweep: each seed makes a server with random settings and faults, and clients that send random
//! scripts to it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tidegate::proxy_protocol::HeaderPolicy;
use tidegate::services::{Echo, RouteOptions};
use tidegate::sim::{Random, ServerSettings};

use crate::access::AccessJournal;
use crate::actor::{Actor, Pace};
use crate::checker::{Disturbances, check_client, check_deliveries};
use crate::client::Client;
use crate::intruder::Intruder;
use crate::operator_script::ScriptedOperator;
use crate::plan::{Plan, RunEnd, work_limits};
use crate::script::Script;
use crate::wire::{PROXY_V1 as V1, PROXY_V2 as V2, PROXY_V2_LOCAL as V2_LOCAL};
use crate::world::{World, routes, socket};

/// What stands between sockets and plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Plain,
    Cipher,
    Tls,
}

/// A run in progress.
struct Run {
    plan: Plan,
    random: Random,
    world: World,
    access: Option<AccessJournal>,
    actors: Vec<Actor>,
    intruders: Vec<Intruder>,
    operator: ScriptedOperator,
    trace: DefaultHasher,
    is_logged: bool,
}

impl Run {
    fn new(seed: u64, over: Over, is_logged: bool) -> Self {
        let mut random = Random::new(seed);
        let mut plan = Plan::new(seed, &mut random);
        match over {
            Over::Plain => {}
            Over::Cipher => plan.run_over_cipher(),
            Over::Tls => plan.run_over_tls(&mut random),
        }
        // With it each connection has a record, and so takes other ways.
        let access = (seed.is_multiple_of(2) && over != Over::Cipher).then(AccessJournal::default);
        plan.setup.server.access = access.as_ref().map(AccessJournal::sink);
        if seed.is_multiple_of(3) {
            plan.setup.server.headers = vec![HeaderPolicy::Required];
        }
        plan.disturbances.messages_timed = plan.setup.server.connections.message_grace_ms > 0;
        let world = World::new(&plan.setup);
        world.network.set_send_buffer_bytes(plan.send_buffer_bytes);
        let (actors, intruders, trace) = (Vec::new(), Vec::new(), DefaultHasher::new());
        let operator = ScriptedOperator::default();
        let run =
            Self { plan, random, world, access, actors, intruders, operator, trace, is_logged };
        run.log(|| format!("{:#?}", run.plan));
        run
    }

    #[expect(clippy::print_stderr, reason = "a replayed seed shows its steps")]
    fn log(&self, line: impl FnOnce() -> String) {
        if self.is_logged {
            eprintln!("{:>8} ms  {}", self.world.now(), line());
        }
    }

    /// Runs the plan and returns a hash of what every client received and when.
    fn play(mut self) -> Result<u64, String> {
        for _ in 0..self.plan.steps {
            self.step()?;
        }
        self.world.network.set_descriptors_max(usize::MAX);
        match self.plan.end {
            RunEnd::Empty => self.leave_empty()?,
            RunEnd::Drained => {
                self.wind_down()?;
                self.drain()?;
            }
            RunEnd::CutShort => self.drain()?,
        }
        self.check_clients()?;
        self.check_access()?;
        Ok(self.trace.finish())
    }

    /// The access log has one line for each connection that was accepted, and in these lines all messages.
    fn check_access(&self) -> Result<(), String> {
        let Some(access) = &self.access else { return Ok(()) };
        let messages = access.check()?;
        let logged = access.told().len() as u64 + self.world.counter("access_unlogged");
        let accepted = self.world.counter("connections_accepted");
        // A drain that is cut short drops handshakes.
        let is_whole = logged == accepted || self.plan.end != RunEnd::Empty && logged < accepted;
        if !is_whole {
            return Err(format!("{logged} lines in the access log for {accepted} connections"));
        }
        let received = self.world.counter("messages_in");
        let is_counted = self.world.counter("access_unlogged") > 0 || messages == received;
        if is_counted {
            Ok(())
        } else {
            Err(format!("{messages} messages in the access log, {received} received"))
        }
    }

    fn step(&mut self) -> Result<(), String> {
        if self.plan.reloads && self.random.percent(15) {
            self.reload()?;
        }
        if self.plan.has_operator && self.random.percent(30) {
            let loops = self.plan.setup.server.loops;
            let what = self.operator.act(&self.world, loops, &mut self.random);
            self.log(|| format!("the operator {what}"));
        }
        let dice = self.random.below(100);
        match dice {
            0..=24 if self.actors.len() < self.plan.clients_max => self.connect()?,
            0..=4 if self.plan.runs_out_of_descriptors => {
                let spare = self.random.below(4);
                let max =
                    if spare == 3 { usize::MAX } else { self.world.network.descriptors() + spare };
                self.log(|| format!("descriptors: {max}"));
                self.world.network.set_descriptors_max(max);
            }
            90..=97 => {
                let ms = 1 + self.random.below(200) as u64;
                self.pass(ms)?;
            }
            98 => self.jump()?,
            99 => {
                let ms = 1_000 + self.random.below(60) as u64 * self.random.below(60) as u64 * 34;
                self.pass(ms)?;
            }
            86..=89 if self.plan.setup.tls.is_some() => self.intrude()?,
            _ if self.actors.is_empty() => self.connect()?,
            _ => {
                let index = self.random.below(self.actors.len());
                self.actors[index].act(&mut self.random);
                self.log(|| format!("client {index} sends"));
            }
        }
        if self.random.percent(70) {
            self.settle_and_read()?;
        }
        Ok(())
    }

    /// The order of the routes changes, one comes or goes, and so do numbers that decide nothing about a
    /// client. Each loop takes that over after as many turns as chance has it.
    fn reload(&mut self) -> Result<(), String> {
        let mut routes = routes(&self.plan.setup, &self.world.journal);
        let turn = self.random.below(routes.len());
        routes.rotate_left(turn);
        if self.random.percent(50) {
            let path = format!("/more-{}", self.random.below(4));
            let options = RouteOptions::default();
            routes.insert(0, socket(&path, &options, &self.world.journal, |_, _| Echo));
        }
        let (reads_per_turn, work) = (1 + self.random.below(4), work_limits(&mut self.random));
        self.log(|| format!("a reload: {} routes, {reads_per_turn} reads, {work:?}", routes.len()));
        let change = |settings: &mut ServerSettings| {
            settings.connections.reads_per_turn = reads_per_turn;
            settings.connections.work = work;
            settings.mail_per_turn = 16 * reads_per_turn;
        };
        self.world.reload(change, &routes);
        for _ in 0..self.random.below(6) {
            let loop_index = self.random.below(self.plan.setup.server.loops);
            self.world.server.step_loop(loop_index)?;
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<(), String> {
        let loop_index = self.random.below(self.plan.setup.server.loops);
        let client = self.world.connect(loop_index);
        self.introduce(&client, loop_index)?;
        let script = Script::random(&mut self.random, self.plan.bounds);
        let actor = Actor::new(client, script, &mut self.random, self.world.now());
        self.log(|| {
            let (pace, leave) = (actor.pace, actor.leave);
            let bytes = actor.script.bytes.len();
            format!(
                "client {} connects to loop {loop_index}: {pace:?} {leave:?} {bytes} bytes",
                self.actors.len()
            )
        });
        self.actors.push(actor);
        Ok(())
    }

    /// Where the server asks for it, a proxy says whom it has connected for, in two parts.
    fn introduce(&mut self, client: &Client, loop_index: usize) -> Result<(), String> {
        if self.plan.setup.server.headers.is_empty() {
            return Ok(());
        }
        let header = [V1, V2, V2_LOCAL][self.random.below(3)];
        let (first, rest) = header.split_at(self.random.below(header.len()));
        client.connection.send(first);
        for _ in 0..self.random.below(3) {
            self.world.server.step_loop(loop_index)?;
        }
        client.connection.send(rest);
        Ok(())
    }

    /// A client connects that does not keep to TLS.
    fn intrude(&mut self) -> Result<(), String> {
        let loop_index = self.random.below(self.plan.setup.server.loops);
        let client = self.world.connect(loop_index);
        self.introduce(&client, loop_index)?;
        let intruder = Intruder::new(client, &mut self.random);
        self.log(|| format!("an intruder comes to loop {loop_index}: {:?}", intruder.misconduct));
        self.intruders.push(intruder);
        Ok(())
    }

    /// Settles and reads once from each client; returns whether any received something.
    fn settle_and_read(&mut self) -> Result<bool, String> {
        self.world.try_settle()?;
        self.operator.check(&self.world).map_err(|error| format!("the operator: {error}"))?;
        let mut any = false;
        let (now, pong_ms) = (self.world.now(), self.plan.setup.server.connections.pong_ms);
        for (index, actor) in self.actors.iter_mut().enumerate() {
            let count = actor.read().map_err(|error| format!("client {index}: {error}"))?;
            actor.note_pace(now, pong_ms);
            (index, count, now).hash(&mut self.trace);
            any |= count > 0;
        }
        for intruder in &mut self.intruders {
            any |= intruder.act() > 0;
        }
        Ok(any)
    }

    /// Settles and reads until no client receives anything.
    fn exchange(&mut self) -> Result<(), String> {
        while self.settle_and_read()? {}
        self.world.try_settle()
    }

    /// Advances the clock in slices; before each, clients meet the server's deadlines.
    fn pass(&mut self, ms: u64) -> Result<(), String> {
        self.log(|| format!("{ms} ms pass"));
        let end = self.world.now() + ms;
        loop {
            let now = self.world.now();
            self.actors.iter_mut().for_each(|actor| actor.keep_alive(now));
            self.settle_and_read()?;
            if now >= end {
                return Ok(());
            }
            self.world.try_pass(SLICE_MS.min(end - now))?;
            self.settle_and_read()?;
        }
    }

    /// The server's machine is suspended; what clients sent before and meanwhile is still unread
    /// when it goes on.
    fn jump(&mut self) -> Result<(), String> {
        let ms = 1_000 << self.random.below(13);
        self.log(|| format!("a jump of {ms} ms"));
        if self.plan.setup.tls.is_some() {
            // A client can do nothing for a handshake while it waits for the server.
            self.actors.iter().for_each(Actor::greet);
        }
        self.exchange()?;
        let now = self.world.now();
        for actor in &mut self.actors {
            actor.ask();
            actor.keep_alive(now);
            // What it sends in small pieces is sent as a whole by then.
            while actor.read()? > 0 && actor.client.tls().is_some() {}
        }
        self.world.skip(ms);
        self.exchange()
    }

    /// All clients send the rest of their scripts.
    fn wind_down(&mut self) -> Result<(), String> {
        self.log(|| "winding down".into());
        for round in 0.. {
            for actor in &mut self.actors {
                actor.read_promptly();
                actor.finish();
            }
            self.exchange()?;
            self.pass(100)?;
            self.exchange()?;
            if self.actors.iter().all(Actor::is_settled) {
                break;
            }
            if round > ROUNDS_MAX {
                let left = self.actors.iter().enumerate().find(|(_, actor)| !actor.is_settled());
                return Err(left.map_or_else(String::new, |(index, actor)| {
                    format!("client {index} waits for ever: {}", actor.summary())
                }));
            }
        }
        // Longer than the handshake, stall and pong timeouts: clients that stopped reading or never
        // completed their request are dropped in this time.
        self.pass(75_000)?;
        self.exchange()?;
        self.note_losses();
        self.check_all_deliveries()?;
        self.check_calm()
    }

    /// Without disturbances no client is dropped, refused or left to time out.
    fn check_calm(&self) -> Result<(), String> {
        let Disturbances { slots_scarce, memory_scarce, .. } = self.plan.disturbances;
        let any_is_slow =
            self.actors.iter().any(|actor| actor.is_slow) || !self.intruders.is_empty();
        let scarce = [
            (slots_scarce || memory_scarce, "refused_at_limit"),
            (slots_scarce, "half_open_dropped"),
            (slots_scarce, "accept_failures"),
            (memory_scarce, "closed_overload"),
            (any_is_slow, "closed_stalled"),
            (any_is_slow, "closed_idle"),
            (any_is_slow, "close_timed_out"),
        ];
        for (may_happen, name) in scarce {
            if !may_happen && self.world.counter(name) > 0 {
                return Err(format!("{name}: {}", self.world.counter(name)));
            }
        }
        Ok(())
    }

    fn check_all_deliveries(&self) -> Result<(), String> {
        let entries = self.world.journal.entries();
        let is_certain = |actor: &&Actor| {
            actor.pace == Pace::Prompt && !actor.has_left && !self.plan.disturbances.pushes_lost
        };
        for actor in self.actors.iter().filter(is_certain) {
            check_deliveries(actor, &entries)
                .map_err(|error| format!("{error}: {}", actor.summary()))?;
        }
        Ok(())
    }

    /// All clients leave; connections, descriptors and budgets are back where they began.
    fn leave_empty(&mut self) -> Result<(), String> {
        self.wind_down()?;
        self.actors.iter_mut().for_each(Actor::shutdown);
        self.exchange()?;
        self.pass(20_000)?;
        self.exchange()?;
        let server = &self.world.server;
        let loops = self.plan.setup.server.loops;
        let left = (server.connection_count(), self.world.network.descriptors());
        if left != (0, loops) {
            let intruder = self.intruders.iter().find(|own| own.check(false).is_err());
            let intruder = intruder.map(|own| own.misconduct);
            return Err(format!(
                "{left:?} connections and descriptors left, {loops} loops, {intruder:?}"
            ));
        }
        if self.world.journal.open_count() > 0 {
            return Err("open for the services, but gone".into());
        }
        self.check_budgets()?;
        self.world.drain(20_000, true);
        self.world.try_settle()?;
        if self.world.server.has_finished() { Ok(()) } else { Err("not finished".into()) }
    }

    /// The server drains and ends in time.
    fn drain(&mut self) -> Result<(), String> {
        self.note_losses();
        self.plan.disturbances.drained = true;
        self.plan.disturbances.cut_short = self.plan.end == RunEnd::CutShort;
        let is_paced = self.random.percent(50);
        self.log(|| format!("drain, paced: {is_paced}"));
        self.world.drain(DRAIN_MS, is_paced);
        for _ in 0..DRAIN_MS / 50 {
            self.pass(50)?;
        }
        self.exchange()?;
        self.note_losses();
        if !self.world.server.has_finished() {
            return Err("the drain never ended".into());
        }
        if self.world.journal.open_count() > 0 {
            return Err("the server ended without calling on_close".into());
        }
        self.check_budgets()
    }

    fn check_budgets(&self) -> Result<(), String> {
        let own = (self.world.server.connections.available(), self.world.server.pool.available());
        let server = &self.plan.setup.server;
        let all = (server.connections_max, server.pool_bytes_max);
        if own == all { Ok(()) } else { Err(format!("budgets {own:?} of {all:?}")) }
    }

    /// Records whether a slow policy has dropped pushes so far.
    fn note_losses(&mut self) {
        let lost = ["pushes_dropped", "closed_slow"].map(|name| self.world.counter(name));
        self.plan.disturbances.pushes_lost = lost != [0, 0];
    }

    fn check_clients(&self) -> Result<(), String> {
        let received: usize =
            self.actors.iter().map(|actor| actor.client.received.from_operator).sum();
        let closed = self.world.counter("closed_by_operator");
        let (sent, closes) = (self.operator.sent, self.operator.closed);
        if received > sent || closed != closes as u64 {
            return Err(format!("{received} texts of {sent}, {closed} closes of {closes}"));
        }
        let entries = self.world.journal.entries();
        let any_idle = self.world.counter("closed_idle") > 0;
        let disturbances = Disturbances { any_idle, ..self.plan.disturbances };
        for (index, actor) in self.actors.iter().enumerate() {
            check_client(actor, disturbances, &entries)
                .map_err(|error| format!("client {index}: {error}: {}", actor.summary()))?;
        }
        let is_calm = !self.plan.disturbances.slots_scarce && !self.plan.disturbances.memory_scarce;
        for intruder in &self.intruders {
            let checked = intruder.check(is_calm);
            checked.map_err(|error| format!("{:?}: {error}", intruder.misconduct))?;
        }
        Ok(())
    }
}

/// Runs one seed. A panic is returned as an error.
fn run(seed: u64, over: Over, is_logged: bool) -> Result<u64, String> {
    let caught = catch_unwind(AssertUnwindSafe(|| Run::new(seed, over, is_logged).play()));
    caught.unwrap_or_else(|_| Err("panicked".into()))
}

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect(name))
}

#[test]
fn sweep() {
    sweep_over(Over::Plain);
}

/// Everything above the stream holds as well where bytes come and go in records.
#[test]
fn sweep_over_a_fake_cipher() {
    sweep_over(Over::Cipher);
}

/// And over TLS, among clients that do not keep to it.
#[test]
fn sweep_over_tls() {
    sweep_over(Over::Tls);
}

fn sweep_over(over: Over) {
    if let Some(seed) = number_from_env("TIDEGATE_SIM_SEED") {
        let trace = run(seed, over, true).unwrap();
        assert_eq!(run(seed, over, false), Ok(trace));
        return;
    }
    // A handshake takes longer than all else that a client does.
    let usual = if over == Over::Tls { SEEDS / 5 } else { SEEDS };
    let seeds = number_from_env("TIDEGATE_SIM_SEEDS").unwrap_or(usual);
    let failures: Vec<String> = (0..seeds)
        .filter_map(|seed| {
            run(seed, over, false).err().map(|error| format!("seed {seed}: {error}"))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {seeds} seeds failed\n{}\n\
         replay one: TIDEGATE_SIM_SEED=… cargo test --test simulation sweep -- --nocapture",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..10 {
        for over in [Over::Plain, Over::Cipher, Over::Tls] {
            assert_eq!(run(seed, over, false), run(seed, over, false), "seed {seed}");
        }
    }
    assert_ne!(run(1, Over::Plain, false), run(2, Over::Plain, false));
}

const SEEDS: u64 = 300;
/// Shorter than any timeout of the server, less the time that a client takes for its request.
const SLICE_MS: u64 = 2_500;
const DRAIN_MS: u64 = 6_000;
const ROUNDS_MAX: usize = 200;
