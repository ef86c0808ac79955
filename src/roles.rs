//! `holdfast switchover`, `drain`, `undrain`: an operator changes the roles of a pair.

use std::{
    io::{self, Write},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;
use controlplane::{
    Accepted, Order,
    admin::{AdminClient, AdminError, Status},
    status::{Standing, SwitchoverStatus},
};

use crate::{
    cli::{DrainArgs, SwitchoverArgs, UndrainArgs, WaitArgs},
    node_socket, status, text,
};

/// Between two looks at what became of an order.
const LOOK: Duration = Duration::from_millis(20);

/// Gives the service to the other node.
///
/// # Errors
/// No node answers, it refuses, or with `--wait` the switchover comes to nothing.
pub fn switchover(args: &SwitchoverArgs) -> anyhow::Result<ExitCode> {
    let client = AdminClient::new(&node_socket::choose(&args.socket)?);
    match order(&client, Order::Switchover { to: args.to })? {
        Accepted::Began { attempt } => {
            let Some(patience) = args.wait.patience()? else {
                return say("the switchover has begun; `holdfast status` tells how it goes");
            };
            let done = |status: &Status| {
                let last = status.member.switchover.as_ref()?;
                let over = last.peer_serves_us.is_some() || last.failed.is_some();
                (last.attempt == attempt && over).then(|| last.clone())
            };
            report(&until(&client, patience, "the other node serves", done)?)
        }
        Accepted::Done | Accepted::NothingToDo => say("it serves already"),
    }
}

fn report(switchover: &SwitchoverStatus) -> anyhow::Result<ExitCode> {
    let to = &switchover.to;
    if let Some(why) = &switchover.failed {
        bail!("the service stays here: {why}");
    }
    let pause_us = switchover.steps()[3].1.unwrap_or(0);
    say(&format!("{to} serves; nobody served for {} us", text::count(pause_us)))
}

/// Takes a node out of the pair.
///
/// # Errors
/// No node answers, it refuses, or with `--wait` it does not leave in time.
pub fn drain(args: &DrainArgs) -> anyhow::Result<ExitCode> {
    let client = AdminClient::new(&node_socket::choose(&args.socket)?);
    let accepted = order(&client, Order::Drain)?;
    if accepted == Accepted::NothingToDo {
        return say("it is drained already");
    }
    let Some(patience) = args.wait.patience()? else {
        return say("the node leaves the pair; `holdfast status` tells when it has");
    };
    let done = |status: &Status| {
        let gave_up = !status.member.drained;
        (gave_up || status.member.standing == Standing::Spare).then_some(gave_up)
    };
    if until(&client, patience, "the node has left the pair", done)? {
        bail!("the node could not hand its service over; see its log");
    }
    say("drained: the node can be stopped")
}

/// Lets a drained node into the pair again.
///
/// # Errors
/// No node answers, or with `--wait` it is not in sync in time.
pub fn undrain(args: &UndrainArgs) -> anyhow::Result<ExitCode> {
    let client = AdminClient::new(&node_socket::choose(&args.socket)?);
    if order(&client, Order::Undrain)? == Accepted::NothingToDo {
        return say("it is not drained");
    }
    let Some(patience) = args.wait.patience()? else {
        return say("the node may join again; `holdfast status` tells when it is in sync");
    };
    let done = |status: &Status| status.member.pair_in_sync.then_some(());
    until(&client, patience, "the pair is in sync", done)?;
    say("the pair is in sync")
}

fn order(client: &AdminClient, order: Order) -> anyhow::Result<Accepted> {
    client.order(&order).map_err(|error| match error {
        AdminError::Refused { status: 409, message, .. } => anyhow::anyhow!(message),
        other => status::failure(&other).into(),
    })
}

/// Looks at the node's status until `done` finds what it looks for.
fn until<T>(
    client: &AdminClient,
    patience: Duration,
    what: &str,
    done: impl Fn(&Status) -> Option<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        let status = client.status().map_err(|error| status::failure(&error))?;
        if let Some(found) = done(&status) {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("gave up after {} s: not yet {what}", patience.as_secs());
        }
        thread::sleep(LOOK);
    }
}

fn say(text: &str) -> anyhow::Result<ExitCode> {
    writeln!(io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

impl WaitArgs {
    /// How long to wait; `None`: not at all.
    fn patience(&self) -> anyhow::Result<Option<Duration>> {
        let seconds = self.wait.map(|seconds| seconds.max(0.0));
        let patience = seconds.map(Duration::try_from_secs_f64).transpose();
        patience.map_err(|_| {
            crate::exit::Failure::usage("--wait: expected seconds, e.g. --wait=30").into()
        })
    }
}
