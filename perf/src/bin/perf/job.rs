//! What the command line asks for, as a load and its plan.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::args::{
    BulkArgs, Command, CommonArgs, CrrArgs, ExchangeArgs, IdleArgs, OpeningArgs, Protocol, RpcArgs,
};
use crate::load::driver::Plan;
use crate::load::workload::Exchange;
use crate::load::workload::bulk::{Bulk, Direction};
use crate::load::workload::crr::{self, Crr};
use crate::load::workload::rpc::{self, Pace, Rpc};
use crate::progress::Goal;

/// Length of a run of which nothing else says when it ends.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// Most requests on their way, all connections together: 2 GiB of memory to time them.
const MAX_ON_THEIR_WAY: u64 = 1 << 28;

/// A load to run.
#[derive(Debug)]
pub struct Job {
    /// Name of the sub-command.
    pub command: &'static str,
    pub load: Load,
    pub plan: Plan,
    pub goal: Goal,
    /// Connections at a time, at most.
    pub connections: u32,
    /// The options of the run, for the result.
    pub parameters: Value,
    pub common: CommonArgs,
}

/// A load of any kind.
#[derive(Debug)]
pub enum Load {
    Rpc(Rpc),
    Bulk(Bulk),
    Crr(Crr),
}

impl Job {
    /// What a sub-command asks for; None if it is none that runs a load.
    ///
    /// # Errors
    /// Options that do not go together.
    pub fn new(command: Command) -> anyhow::Result<Option<Job>> {
        Ok(Some(match command {
            Command::Rpc(args) => rpc_job(args)?,
            Command::Bulk(args) => bulk_job(args),
            Command::Crr(args) => crr_job(args),
            Command::Idle(args) => idle_job(args)?,
            Command::Failover(_)
            | Command::Report(_)
            | Command::Draw(_)
            | Command::Completions(_)
            | Command::Man(_) => return Ok(None),
        }))
    }
}

fn rpc_job(args: RpcArgs) -> anyhow::Result<Job> {
    let on_their_way = u64::from(args.connections) * u64::from(args.pipeline);
    ensure!(
        on_their_way <= MAX_ON_THEIR_WAY,
        "{} connections with {} requests each on their way are more than {MAX_ON_THEIR_WAY} \
         requests",
        args.connections,
        args.pipeline
    );
    let target = args.common.target;
    let config = rpc::Config {
        connections: args.connections,
        pipeline: args.pipeline,
        pace: args.rate.map_or(Pace::Closed, Pace::Open),
        count: args.length.count,
        verifies: false,
    };
    let duration = duration(args.length.duration, args.length.count);
    let mut parameters = exchange_parameters(&args.exchange, target);
    parameters["connections"] = json!(args.connections);
    parameters["pipeline"] = json!(args.pipeline);
    parameters["rate"] = json!(args.rate);
    Ok(Job {
        command: "rpc",
        load: Load::Rpc(Rpc::new(config, exchange(&args.exchange, target, false))),
        plan: plan(duration, Some(&args.opening), &args.common),
        goal: goal(duration, args.length.count),
        connections: args.connections,
        parameters,
        common: args.common,
    })
}

fn idle_job(args: IdleArgs) -> anyhow::Result<Job> {
    let target = args.common.target;
    let config = rpc::Config {
        connections: args.connections,
        pipeline: 1,
        pace: args.touch_rate.map_or(Pace::Silent, Pace::Open),
        count: None,
        verifies: true,
    };
    let mut parameters = exchange_parameters(&args.exchange, target);
    parameters["connections"] = json!(args.connections);
    parameters["touch_rate"] = json!(args.touch_rate);
    parameters["hold_s"] = json!(args.hold.as_secs_f64());
    Ok(Job {
        command: "idle",
        load: Load::Rpc(Rpc::new(config, exchange(&args.exchange, target, false))),
        plan: plan(Some(args.hold), Some(&args.opening), &args.common),
        goal: Goal::Time(args.hold),
        connections: args.connections,
        parameters,
        common: args.common,
    })
}

fn bulk_job(args: BulkArgs) -> Job {
    let (direction, name) = match (args.up, args.down) {
        (true, _) => (Direction::Up, "up"),
        (_, true) => (Direction::Down, "down"),
        _ => (Direction::Both, "both"),
    };
    let duration = duration(args.duration, args.bytes);
    Job {
        command: "bulk",
        load: Load::Bulk(Bulk::new(direction, args.streams, args.bytes)),
        plan: plan(duration, Some(&args.opening), &args.common),
        goal: goal(duration, None),
        connections: args.streams,
        parameters: json!({
            "target": args.common.target.to_string(),
            "direction": name,
            "streams": args.streams,
            "bytes": args.bytes,
        }),
        common: args.common,
    }
}

fn crr_job(args: CrrArgs) -> Job {
    let target = args.common.target;
    let config = crr::Config {
        concurrent: args.concurrent,
        rate: args.rate,
        count: args.length.count,
        resets: args.reset,
    };
    let duration = duration(args.length.duration, args.length.count);
    let mut parameters = exchange_parameters(&args.exchange, target);
    parameters["concurrent"] = json!(args.concurrent);
    parameters["rate"] = json!(args.rate);
    parameters["reset"] = json!(args.reset);
    Job {
        command: "crr",
        load: Load::Crr(Crr::new(config, exchange(&args.exchange, target, true))),
        plan: plan(duration, None, &args.common),
        goal: goal(duration, args.length.count),
        connections: args.concurrent,
        parameters,
        common: args.common,
    }
}

fn exchange(args: &ExchangeArgs, target: SocketAddr, closes: bool) -> Exchange {
    match args.protocol {
        Protocol::Echo => Exchange::echo(args.request),
        Protocol::Http => Exchange::http(&target.to_string(), &args.path, closes),
    }
}

fn exchange_parameters(args: &ExchangeArgs, target: SocketAddr) -> Value {
    let target = target.to_string();
    match args.protocol {
        Protocol::Echo => json!({ "target": target, "protocol": "echo", "request": args.request }),
        Protocol::Http => json!({ "target": target, "protocol": "http", "path": args.path }),
    }
}

fn duration(asked: Option<Duration>, other_end: Option<u64>) -> Option<Duration> {
    asked.or(other_end.is_none().then_some(DEFAULT_DURATION))
}

fn goal(duration: Option<Duration>, count: Option<u64>) -> Goal {
    match (count, duration) {
        (Some(count), _) => Goal::Requests(count),
        (None, Some(duration)) => Goal::Time(duration),
        (None, None) => Goal::Unknown,
    }
}

fn plan(duration: Option<Duration>, opening: Option<&OpeningArgs>, common: &CommonArgs) -> Plan {
    Plan {
        ramp_ns: opening.map_or(0, |opening| nanos(opening.ramp)),
        handshakes: opening.map_or(1, |opening| opening.handshakes),
        duration_ns: duration.map(nanos),
        timeout_ns: nanos(common.timeout),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
