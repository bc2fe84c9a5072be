//! The command line of `loadtest attack`.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::attacks::{self, ATTACKS, Attack};
use super::bystanders::BystanderOptions;
use super::options::AttackOptions;
use crate::commands::options::SessionArguments;
use crate::output::units::parse_seconds;

/// Attacks a server, which must be your own, and reports what it costs and what others notice
#[derive(Args, Debug)]
#[command(after_help = attacks::list())]
pub(crate) struct AttackArguments {
    /// The attack, or `list`
    #[arg(value_name = "NAME")]
    pub(super) attack: Choice,

    #[command(flatten)]
    pub(super) session: SessionArguments,

    /// Print the configuration that --spawn adds to its command as `--config FILE`, and end
    #[arg(long)]
    pub(super) print_config: bool,

    /// The longest time that the attack takes
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub(super) seconds: Duration,

    /// How long to measure before the attack
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = parse_seconds)]
    pub(super) before_seconds: Duration,

    /// How long to measure after it
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = parse_seconds)]
    pub(super) after_seconds: Duration,

    /// Connections of the attackers; each attack has a number of its own
    #[arg(long, value_name = "COUNT", value_parser = parse_attackers)]
    pub(super) connections: Option<NonZeroU16>,

    /// Messages of the attacks that send a certain number
    #[arg(long, value_name = "COUNT")]
    pub(super) messages: Option<NonZeroU16>,

    /// Clients that exchange small messages with the server meanwhile
    #[arg(long, value_name = "COUNT", default_value = "20")]
    pub(super) bystanders: NonZeroUsize,

    /// Pause of each of them between two messages
    #[arg(long, value_name = "MILLISECONDS", default_value = "10")]
    pause_ms: NonZeroU32,

    /// Interval at which further clients connect and leave
    #[arg(long, value_name = "MILLISECONDS", default_value = "100")]
    handshake_ms: NonZeroU32,

    /// Event loops in the configuration; each attack has a number of its own
    #[arg(long, value_name = "COUNT")]
    pub(super) loops: Option<NonZeroU16>,

    /// `limits.pool_bytes_max` in the configuration, and in the report
    #[arg(long, value_name = "BYTES", default_value = "268435456")]
    pub(super) pool_bytes_max: NonZeroU64,
}

impl AttackArguments {
    pub(super) fn bystander_options(&self, is_split: bool) -> BystanderOptions {
        let millis = |count: NonZeroU32| Duration::from_millis(count.get().into());
        BystanderOptions {
            count: self.bystanders.get(),
            pause: millis(self.pause_ms),
            probe_interval: millis(self.handshake_ms),
            is_split,
        }
    }

    /// The bounds of an attack.
    pub(super) fn attack_options(&self, attack: &Attack) -> AttackOptions {
        let given = |count: Option<NonZeroU16>| count.map(|count| usize::from(count.get()));
        AttackOptions {
            connections: given(self.connections).unwrap_or(attack.connections),
            messages: given(self.messages).unwrap_or(attack.messages),
            duration: self.seconds,
        }
    }

    /// The longest time that all stages take.
    pub(super) fn total(&self) -> Duration {
        self.before_seconds + self.seconds + self.after_seconds
    }
}

/// The value of `NAME`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    List,
    Attack(&'static Attack),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == "list" {
            return Ok(Self::List);
        }
        ATTACKS.iter().find(|attack| attack.name == name).map(Self::Attack).ok_or_else(|| {
            let names: Vec<_> = ATTACKS.iter().map(|attack| attack.name).collect();
            format!("must be list or one of {}", names.join(", "))
        })
    }
}

fn parse_attackers(count: &str) -> Result<NonZeroU16, String> {
    let count: NonZeroU16 = count.parse().map_err(|_| "must be a number".to_owned())?;
    if count.get() > CONNECTIONS_MAX {
        return Err(format!("must be at most {CONNECTIONS_MAX}"));
    }
    Ok(count)
}

/// What fits into one process with the bystanders.
const CONNECTIONS_MAX: u16 = 10_000;
