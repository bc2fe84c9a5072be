//! What the broker in Redis costs. docs/decisions/engines.md has the command and the figures.

use std::fs;

use tidegate::channels::remote::Retention;
use tidegate::control::RedisUrl;
use tidegate::control::engine::redis::{RedisEngineSettings, run_redis};

use crate::broker::{Broker, kept};
use crate::redis_server::RedisServer;
use crate::skip::say;
use crate::wait::now;

#[test]
#[ignore = "measures, and checks nothing"]
fn figures() {
    let Some(redis) = RedisServer::start() else { return };
    let url = RedisUrl::parse(&redis.socket_url()).unwrap();
    let settings = RedisEngineSettings::new(url, 1);
    let broker = Broker::start(move |commands, events| run_redis(settings, commands, events));
    broker.up();
    broker.subscribe(&["room"]);
    let payload = [b'x'; 100];
    let publish = |what: &str, name: &str, retention: Option<Retention>, count: u32| {
        let (start, own, server) = (now(), cpu_us("self"), cpu_us(&redis.pid().to_string()));
        for number in 1..=count {
            let last = broker.publish_later(name, retention, &payload, None);
            // No more under way than a gateway would have.
            if number % AT_ONCE == 0 || number == count {
                broker.published(last).unwrap();
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let each = |cpu: f64| cpu / f64::from(count);
        say(&format!(
            "{what}: {:.0} a second; a publication takes {:.1} us of the gateway and {:.1} us of Redis",
            f64::from(count) / seconds,
            each(cpu_us("self") - own),
            each(cpu_us(&redis.pid().to_string()) - server),
        ));
    };
    for (heard, name) in [("not heard", "quiet"), ("heard by itself", "room")] {
        publish(&format!("not kept, {heard}"), name, None, 102_400);
        publish(&format!("list of 10, {heard}"), name, Some(kept(10)), 102_400);
        publish(&format!("stream of 1,000, {heard}"), name, Some(kept(1_000)), 102_400);
    }
    for (form, size) in [("list", 10), ("stream", 101)] {
        let before = used_memory(&redis);
        for channel in 0..10_000 {
            let name = format!("{form}:{channel:05}");
            let mut last = 0;
            for _ in 0..10 {
                last = broker.publish_later(&name, Some(kept(size)), &payload, None);
            }
            broker.published(last).unwrap();
        }
        let each = (used_memory(&redis) - before) / 10_000;
        say(&format!("{form}: {each} bytes a channel with 10 publications of 100 bytes"));
    }
}

/// Publications under way, as of many connections.
const AT_ONCE: u32 = 512;

/// Processor time in microseconds, by the 10 ms of the kernel.
fn cpu_us(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields = stat.rsplit(')').next().unwrap().split(' ');
    fields.skip(12).take(2).map(|ticks| ticks.parse::<f64>().unwrap() * 10_000.0).sum()
}

fn used_memory(redis: &RedisServer) -> u64 {
    let info: String = redis::cmd("INFO").arg("memory").query(&mut redis.connection()).unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.unwrap().trim().parse().unwrap()
}
