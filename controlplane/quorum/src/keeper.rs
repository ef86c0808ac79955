//! A voter at work: a thread with its socket, its clock and its file.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use controlplane::register::{Change, QuorumLines};
use controlplane::{NodeName, View};
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use crate::datagram::{Channel, Key};
use crate::log::Voters;
use crate::state_file::{StateError, StateFile};
use crate::voter::{Role, Standing, Voter, VoterError};

const TICK: Duration = Duration::from_millis(10);
/// Voters greet each other every so many ticks, so that a vote finds their runs known.
const GREETING_TICKS: u64 = 25;
/// A voter that was not heard for so many ticks is reported as silent.
const SILENT_TICKS: u64 = 100;
const MOST_BYTES: usize = 16 * 1024;

/// What a voter is made with.
#[derive(Debug, Clone)]
pub struct Setup {
    pub cluster: String,
    pub key: Key,
    pub me: NodeName,
    /// Where this voter listens.
    pub address: SocketAddr,
    pub others: Vec<(NodeName, SocketAddr)>,
    /// The one of all that is no node, if there is one.
    pub witness: Option<NodeName>,
    /// Where its memory is kept.
    pub folder: PathBuf,
    /// The memory is to be made: this voter has never voted.
    pub init: bool,
    /// Random and never zero: of this process.
    pub run: u64,
}

/// Why a voter cannot work.
#[derive(Debug, Error)]
pub enum KeeperError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Voter(#[from] VoterError),
    #[error("cannot listen for the register's voters on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot start the register's thread: {0}")]
    Thread(io::Error),
    #[error("the register's thread failed; its last words are above; please report this")]
    Failed,
}

/// How the register fares, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeeperStatus {
    pub standing: Standing,
    /// The other voters, and whether each is heard.
    pub others: Vec<(NodeName, bool)>,
    pub datagrams_refused: u64,
}

/// A voter's thread. It ends when this is dropped.
#[derive(Debug)]
pub struct Keeper {
    status: watch::Receiver<KeeperStatus>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), KeeperError>>>,
}

/// A voter that is ready to work, and the view that it knows.
#[derive(Debug)]
pub struct Prepared {
    setup: Setup,
    voter: Voter,
    file: StateFile,
    socket: std::net::UdpSocket,
}

impl Prepared {
    /// Opens the memory and the socket.
    ///
    /// # Errors
    /// Either cannot be had, or the memory is not this voter's.
    pub fn new(setup: Setup) -> Result<Prepared, KeeperError> {
        let others = setup.others.iter().map(|(name, _)| *name).collect();
        let voters = Voters::new(&setup.cluster, setup.me, others, setup.witness);
        let (voter, file) = if setup.init {
            let voter = Voter::new(voters, None)?;
            let file = StateFile::create(&setup.folder, &voter.memory())?;
            (voter, file)
        } else {
            let (file, memory) = StateFile::open(&setup.folder)?;
            (Voter::new(voters, Some(&memory))?, file)
        };
        let address = setup.address;
        let socket = std::net::UdpSocket::bind(address)
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .map_err(|source| KeeperError::Listen { address, source })?;
        Ok(Prepared { setup, voter, file, socket })
    }

    /// The newest view in the memory.
    #[must_use]
    pub fn view(&self) -> &View {
        self.voter.view()
    }

    /// Starts the thread. `lines` lead to the own node's member; a witness has none.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(self, lines: Option<QuorumLines>) -> Result<Keeper, KeeperError> {
        let (stop, stopped) = oneshot::channel();
        let mut work = Work::new(self, lines);
        let status = work.status.subscribe();
        let socket = work.socket.take();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(KeeperError::Thread)?;
            runtime.block_on(async {
                let socket = socket.ok_or_else(|| io::Error::other("the socket is in use"));
                let socket = socket.and_then(UdpSocket::from_std).map_err(KeeperError::Thread)?;
                work.run(&socket, stopped).await
            })
        };
        let thread = thread::Builder::new().name("register".into()).spawn(run);
        let thread = thread.map_err(KeeperError::Thread)?;
        Ok(Keeper { status, stop: Some(stop), thread: Some(thread) })
    }
}

impl Keeper {
    /// Follows how the register fares, from any thread.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<KeeperStatus> {
        self.status.clone()
    }

    /// Ends the voter.
    ///
    /// # Errors
    /// It had ended by itself before, for this reason.
    pub fn end(mut self) -> Result<(), KeeperError> {
        drop(self.stop.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(KeeperError::Failed),
            None => Ok(()),
        }
    }

    /// The voter has ended by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// Another voter.
struct Other {
    channel: Channel,
    address: SocketAddr,
    heard_at: Option<u64>,
    reported_heard: bool,
}

struct Work {
    voter: Voter,
    file: StateFile,
    socket: Option<std::net::UdpSocket>,
    others: Vec<Other>,
    views: Option<watch::Sender<View>>,
    changes: Option<mpsc::Receiver<Change>>,
    status: watch::Sender<KeeperStatus>,
    ticks: u64,
    refused: u64,
    out: Vec<(NodeName, Vec<u8>)>,
}

impl Work {
    fn new(prepared: Prepared, lines: Option<QuorumLines>) -> Work {
        let Prepared { setup, voter, file, socket } = prepared;
        let other = |(name, address): &(NodeName, SocketAddr)| Other {
            channel: Channel::new(setup.key.clone(), setup.me, *name, setup.run),
            address: *address,
            heard_at: None,
            reported_heard: false,
        };
        let others: Vec<Other> = setup.others.iter().map(other).collect();
        let (views, changes) = lines.map(|lines| (lines.views, lines.changes)).unzip();
        let status = KeeperStatus {
            standing: voter.standing(),
            others: setup.others.iter().map(|(name, _)| (*name, false)).collect(),
            datagrams_refused: 0,
        };
        Work {
            voter,
            file,
            socket: Some(socket),
            others,
            views,
            changes,
            status: watch::Sender::new(status),
            ticks: 0,
            refused: 0,
            out: Vec::new(),
        }
    }

    async fn run(
        &mut self,
        socket: &UdpSocket,
        mut stopped: oneshot::Receiver<()>,
    ) -> Result<(), KeeperError> {
        let mut clock = tokio::time::interval(TICK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut buffer = vec![0; MOST_BYTES];
        self.greet(socket).await;
        loop {
            tokio::select! {
                biased;
                _ = &mut stopped => return Ok(()),
                change = next_change(&mut self.changes) => self.voter.want(change),
                received = socket.recv_from(&mut buffer) => match received {
                    Ok((length, from)) => self.receive(from, &buffer[..length]),
                    // An ICMP error of a voter that is down.
                    Err(_) => continue,
                },
                _ = clock.tick() => self.tick(socket).await,
            }
            if let Err(problem) = self.act(socket).await {
                error!(event = "register_voter_ended", "{problem}");
                return Err(problem.into());
            }
        }
    }

    async fn tick(&mut self, socket: &UdpSocket) {
        self.ticks += 1;
        self.voter.tick();
        if self.ticks.is_multiple_of(GREETING_TICKS) {
            self.greet(socket).await;
        }
        for other in &mut self.others {
            let heard = other.is_heard(self.ticks);
            if heard == other.reported_heard {
                continue;
            }
            other.reported_heard = heard;
            let voter = other.channel.other();
            if heard {
                info!(event = "voter_heard", %voter, "the register's voter {voter} is heard");
            } else {
                warn!(
                    event = "voter_silent",
                    %voter,
                    "the register's voter {voter} is silent; check that it runs, and the way to it"
                );
            }
        }
    }

    /// What is lost here is lost on the way, too: Raft says it again.
    async fn greet(&mut self, socket: &UdpSocket) {
        for other in &mut self.others {
            let _lost = socket.send_to(&other.channel.seal(&[]), other.address).await;
        }
    }

    fn receive(&mut self, from: SocketAddr, datagram: &[u8]) {
        let Some(other) = self.others.iter_mut().find(|other| other.address == from) else {
            self.refused += 1;
            return;
        };
        match other.channel.open(datagram) {
            Ok(message) => {
                other.heard_at = Some(self.ticks);
                if !message.is_empty() {
                    self.voter.receive(other.channel.other(), message);
                }
            }
            Err(_) => self.refused += 1,
        }
    }

    async fn act(&mut self, socket: &UdpSocket) -> Result<(), VoterError> {
        let out = &mut self.out;
        self.voter.act(&mut self.file, &mut |to, bytes| out.push((to, bytes.to_vec())))?;
        for (to, bytes) in self.out.drain(..) {
            if let Some(other) = self.others.iter_mut().find(|other| other.channel.other() == to) {
                let _lost = socket.send_to(&other.channel.seal(&bytes), other.address).await;
            }
        }
        if let Some(views) = &self.views {
            views.send_if_modified(|view| {
                let is_news = self.voter.view().epoch > view.epoch;
                if is_news {
                    view.clone_from(self.voter.view());
                }
                is_news
            });
        }
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        let heard = |other: &Other| (other.channel.other(), other.is_heard(self.ticks));
        let status = KeeperStatus {
            standing: self.voter.standing(),
            others: self.others.iter().map(heard).collect(),
            datagrams_refused: self.refused,
        };
        self.status.send_if_modified(|told| {
            let was_leader = told.standing.role == Role::Leader;
            let is_leader = status.standing.role == Role::Leader;
            if is_leader && !was_leader {
                let term = status.standing.term;
                info!(event = "register_leader", term, "leads the register's voters");
            }
            let is_news = *told != status;
            *told = status;
            is_news
        });
    }
}

impl Other {
    fn is_heard(&self, now: u64) -> bool {
        self.heard_at.is_some_and(|at| now - at <= SILENT_TICKS)
    }
}

/// The next change that the own node asks for, if it has a say.
async fn next_change(changes: &mut Option<mpsc::Receiver<Change>>) -> Change {
    if let Some(changes) = changes
        && let Some(change) = changes.recv().await
    {
        return change;
    }
    std::future::pending().await
}
