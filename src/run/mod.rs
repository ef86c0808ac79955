//! `holdfast run`: a node, put together from its parts.
//!
//! Threads: a worker on each core of `node.cores` (the first one carries the control plane's
//! member), one for the log, one for the admin API, one for the register if others keep it, too,
//! and the main thread, which waits for a signal.

mod admin;
mod events;
mod fence;
mod logging;
mod ports;
mod process;
pub mod register;
mod steward;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};

use anyhow::Context;
use controlplane::{AnyRegister, Member, admin::AdminSocket};
use dpdk::{Eal, ThreadRegistration};
use engine::{content::Content, wire::ethernet::Mac};
use replication::Incarnation;
use tracing::{info, warn};
use worker::{Clock, DpdkNic, MonotonicClock, Shares, Worker};

use crate::{
    cli::RunArgs,
    config::{self, NodeConfig},
    content_loader,
};
pub use logging::install as install_log;
use ports::{OpenPort, Ports};
pub use process::{EndSignals, incarnation};
use register::Keeper;
use steward::MemberSteward;

/// Runs a node until SIGTERM or SIGINT.
///
/// # Errors
/// The configuration is wrong, the content can't be loaded, or a device can't be had.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let config = config::load(&args.config).context("the configuration is wrong")?;
    logging::install(&config.log, args.log_level.as_deref())?;
    process::abort_on_panic();
    // Before any other thread: all of them must leave these signals to the one that waits.
    let mut signals = EndSignals::catch()?;
    // First of all: a second run of the same node ends here, before it touches a device. Questions
    // wait until the node can answer.
    let socket = AdminSocket::bind(&config.admin_socket)?;
    let content = Arc::new(content_loader::load(&config.content_roots)?);
    info!(files = content.len(), bytes = content.size(), "content is loaded");

    let incarnation = incarnation()?;
    // Before EAL, which binds this thread to a core and all that it starts from then on.
    let (register, keeper) = register::open(&config, incarnation.0, args.init)?;

    let eal = Arc::new(ports::start_eal(&config)?);
    let mut ports = ports::open(&eal, &config)?;
    let assumed_ended = args.assume_ended.clone();
    let core = Core { incarnation, register, keeper, assumed_ended, content, socket };
    let node = start(&config, core, &eal, &mut ports)?;
    info!(
        node = config.node.name,
        cluster = config.cluster.name,
        socket = %config.admin_socket.display(),
        "node runs"
    );
    signals.wait();
    node.end();
    Ok(ExitCode::SUCCESS)
}

/// What a node is made of, apart from its devices.
struct Core {
    incarnation: Incarnation,
    register: AnyRegister,
    keeper: Option<Keeper>,
    /// Runs that an operator vouches to have ended.
    assumed_ended: Vec<Incarnation>,
    content: Arc<Content>,
    socket: AdminSocket,
}

/// The threads of a running node.
struct Node {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Worker<DpdkNic, MemberSteward>>>,
    admin: admin::AdminThread,
    log: JoinHandle<()>,
    keeper: Option<Keeper>,
}

fn start(
    config: &NodeConfig,
    core: Core,
    eal: &Arc<Eal>,
    ports: &mut Ports,
) -> anyhow::Result<Node> {
    let Core { incarnation, register, keeper, assumed_ended, content, socket } = core;
    let mut clock = MonotonicClock::since(Instant::now());
    let identity = config.identity(incarnation, &content)?;
    let mut member = Member::with_register(config.member(), identity, register, clock.now_us())?;
    assumed_ended.into_iter().for_each(|run| member.assume_ended(run));
    let (steward, lines) = MemberSteward::new(member);
    let workers = config.node.cores.len();
    let lan = shares(&mut ports.lan, workers)?;
    let links = ports.links.iter_mut().map(|link| shares(link, workers));
    let mut links: Vec<_> =
        links.map(|link| Ok(link?.into_iter())).collect::<anyhow::Result<_>>()?;
    let of_links =
        |lan| Shares { lan, links: links.iter_mut().filter_map(Iterator::next).collect() };
    let shares = lan.into_iter().map(of_links).collect();
    let crew = worker::crew(config.worker(incarnation, content), shares, steward)?;

    let kept = Arc::new(admin::EventLog::default());
    let log = events::start(lines.events, crew.events, Arc::clone(&kept))
        .context("cannot start the log thread")?;
    let health = keeper.as_ref().map(Keeper::health);
    let sources = admin::Sources::new(config, clock, lines.questions, crew.queries, kept, health);
    let admin = admin::start(socket, sources)?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::with_capacity(workers);
    for (worker, core) in crew.workers.into_iter().zip(&config.node.cores) {
        let (stop, eal) = (Arc::clone(&stop), Arc::clone(eal));
        let thread = worker::spawn(worker, Some(usize::from(*core)), clock, stop, move || {
            register_thread(&eal)
        });
        threads.push(thread.context("cannot start a worker thread")?);
    }
    Ok(Node { stop, workers: threads, admin, log, keeper })
}

/// One share of a port for each worker; the first ones get the queues that there are.
fn shares(open: &mut OpenPort, workers: usize) -> anyhow::Result<Vec<DpdkNic>> {
    let mac = Mac(open.port.mac()?);
    let mut queues = open.port.take_queues().into_iter();
    let share = |_| DpdkNic::new(&open.port, mac, queues.next(), open.pool);
    Ok((0..workers).map(share).collect())
}

/// Gives the worker's thread a cache of its own in the frame pools.
fn register_thread(eal: &Eal) -> Option<ThreadRegistration> {
    let registration = ThreadRegistration::new(eal);
    if let Err(error) = &registration {
        warn!(%error, "this worker allocates frames more slowly");
    }
    registration.ok()
}

impl Node {
    /// Stops the workers, then everything that listens to them. The admin socket goes first, so
    /// that nobody asks workers that are gone.
    fn end(self) {
        self.admin.end();
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            // A worker that panicked has aborted the process. Dropping it gives its frames and
            // queues back, and ends the channels to the log thread.
            drop(worker.join());
        }
        // It ends by itself once the last worker is gone.
        let _panicked = self.log.join();
        if let Some(Err(problem)) = self.keeper.map(Keeper::end) {
            warn!(%problem, "this node's part in the register had ended before");
        }
        info!("node ended");
    }
}
