//! `holdfast-path`: two interfaces with a path between them, as slow, far and lossy as asked for.
//! What enters one leaves the other. Start reading at [`direction`].

mod direction;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use arrayvec::ArrayVec;
use clap::Parser;
use direction::{Counts, Direction, Shape};
use dpdk::{Eal, EalConfig, Mbuf, Mempool, MempoolConfig, Port, PortConfig, QueuePair};

/// Frames of one call to a port.
const BURST: usize = 32;
/// How long to sleep when nothing is due: delays are right to about twice as much.
const SLEEP: Duration = Duration::from_micros(30);
/// What frames on their way and at the ports need at most, besides queue and delay.
const SPARE_MBUFS: u32 = 8192;
/// Smallest frames are not what fills a path; more than this many bytes each are assumed.
const TYPICAL_FRAME_BYTES: f64 = 500.0;
/// The profile of both interfaces.
const PROFILE: &str = "af_packet";

/// A path between two interfaces: rate, delay, queue and loss, the same in both directions.
///
/// Interfaces are used promiscuously, through packet sockets; their kernel ends must not offload
/// segmentation. It runs until SIGINT or SIGTERM, and then prints what it lost and dropped.
#[derive(Debug, Parser)]
#[command(name = "holdfast-path", version)]
struct Args {
    /// One end
    #[arg(long, value_name = "INTERFACE")]
    left: String,
    /// The other end
    #[arg(long, value_name = "INTERFACE")]
    right: String,
    /// Rate of the bottleneck, in Mbit/s
    #[arg(long, value_name = "MBIT_PER_S", default_value_t = 200.0, value_parser = positive)]
    rate: f64,
    /// Round trip: half of it each way, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1.0, value_parser = positive)]
    rtt: f64,
    /// What may wait at the bottleneck, in KiB
    #[arg(long, value_name = "KIB", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(2..=65_536))]
    queue: u32,
    /// Frames that the bottleneck drops at random when its queue is nearly full, in percent; none
    /// while it is half empty
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    early_drop: f64,
    /// Frames lost at random in each direction, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    loss: f64,
    /// Which frames are lost
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Args {
    fn shape(&self) -> Shape {
        Shape {
            rate_bps: self.rate * 1e6,
            delay: Duration::from_secs_f64(self.rtt / 2e3),
            queue_bytes: self.queue as usize * 1024,
            early_drop: self.early_drop / 100.0,
            loss: self.loss / 100.0,
        }
    }

    /// Mbufs that both directions hold when delay and queue are full.
    fn mbufs(&self) -> u32 {
        let shape = self.shape();
        let on_the_wire = shape.rate_bps / 8.0 * shape.delay.as_secs_f64();
        let frames = (on_the_wire + shape.queue_bytes as f64) / TYPICAL_FRAME_BYTES;
        2 * frames as u32 + SPARE_MBUFS
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let profile = hw_profiles::load(PROFILE, None)?;
    let prefix = format!("holdfast-path-{}", std::process::id());
    let eal = Eal::init(&EalConfig::from_profile(&profile.eal, &prefix, Vec::new()))
        .context("DPDK did not start")?;
    let (mut left, left_port) = open(&eal, &args, &profile, 0, &args.left)?;
    let (mut right, right_port) = open(&eal, &args, &profile, 1, &args.right)?;
    let mut rightwards = Direction::new(args.shape(), args.seed);
    let mut leftwards = Direction::new(args.shape(), args.seed.wrapping_add(1));
    let start = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now_ns = start.elapsed().as_nanos() as u64;
        let moved = carry(now_ns, &mut left, &mut rightwards, &mut right)
            + carry(now_ns, &mut right, &mut leftwards, &mut left);
        if moved == 0 {
            std::thread::sleep(SLEEP);
        }
    }
    for (from, direction, port) in
        [(&args.left, &rightwards, &left_port), (&args.right, &leftwards, &right_port)]
    {
        let Counts { passed, lost, dropped } = direction.counts();
        let missed = port.stats().map_or(0, |stats| stats.rx_missed);
        println!("from {from}: {passed} passed, {lost} lost, {dropped} dropped, {missed} missed");
    }
    Ok(())
}

fn open(
    eal: &Eal,
    args: &Args,
    profile: &hw_profiles::Profile,
    index: u16,
    interface: &str,
) -> anyhow::Result<(QueuePair, Port)> {
    const MTU: u16 = 1500;
    let no_frames = "the profile has no frames for 1500 bytes";
    let config = PortConfig::from_profile(profile, index, interface, 1, MTU).context(no_frames)?;
    let mempool = config.mempool(profile).context(no_frames)?;
    let mempool = MempoolConfig { mbufs: args.mbufs(), ..mempool };
    let pool = Mempool::new(eal, &format!("path{index}"), &mempool)?;
    let mut port = Port::open(eal, &config, &pool)?;
    port.set_promiscuous(true)?;
    let queues = port.take_queues().into_iter().next();
    Ok((queues.with_context(|| format!("{interface} has no queue"))?, port))
}

/// Takes what came in at `from` into `direction`, and what has arrived out at `to`. Gives the
/// number of frames.
fn carry(
    now_ns: u64,
    from: &mut QueuePair,
    direction: &mut Direction<Mbuf>,
    to: &mut QueuePair,
) -> usize {
    let mut burst = ArrayVec::<Mbuf, BURST>::new();
    let received = from.rx.receive(&mut burst);
    for frame in burst.drain(..) {
        let bytes = frame.len();
        direction.enter(now_ns, frame, bytes);
    }
    while !burst.is_full()
        && let Some(frame) = direction.leave(now_ns)
    {
        burst.push(frame);
    }
    let left = burst.len();
    // What the interface has no room for is dropped with the burst, as at any other queue.
    to.tx.transmit(&mut burst);
    received + left
}

fn positive(text: &str) -> Result<f64, String> {
    const RANGE: std::ops::RangeInclusive<f64> = 0.01..=10_000.0;
    match text.parse() {
        Ok(number) if RANGE.contains(&number) => Ok(number),
        _ => Err(format!("expected a number, {} to {}", RANGE.start(), RANGE.end())),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=100.0).contains(&share) => Ok(share),
        _ => Err("expected a number, 0 to 100".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
