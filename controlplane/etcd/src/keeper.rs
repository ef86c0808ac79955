//! A scribe at work: a thread with its connections and its clock.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use controlplane::View;
use controlplane::register::QuorumLines;
use thiserror::Error;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::client::{Access, Client, Login};
use crate::endpoint::Endpoint;
use crate::scribe::{Answer, Ask, Scribe};
use crate::tls::Tls;
use crate::watch::follow;

/// How often to look, so that nothing depends on the watch, and a loss of etcd is known before it
/// is needed.
const LOOK: Duration = Duration::from_secs(1);
/// The same while a change waits for something to be put right.
const LOOK_PRESSED: Duration = Duration::from_millis(200);
/// A pause after every endpoint has failed.
const PAUSE: Duration = Duration::from_millis(200);
/// What stands for every reason not to answer: those change all the time.
const SILENT: &str = "silent";
/// How long to try to make a new cluster's key.
const MAKING: Duration = Duration::from_secs(15);

/// What a keeper is made with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Members of one etcd cluster; at least one.
    pub endpoints: Vec<Endpoint>,
    /// The key that holds the view; of this cluster alone.
    pub key: String,
    pub login: Option<Login>,
    /// Needed where endpoints are `https`.
    pub tls: Option<Tls>,
    /// How long one answer may take.
    pub patience: Duration,
}

/// Why there is no register.
#[derive(Debug, Error)]
pub enum KeeperError {
    #[error("cannot start the register's thread: {0}")]
    Thread(io::Error),
    #[error("the register's thread failed; its last words are above; please report this")]
    Failed,
    #[error("{key} could not be made within {} s: {endpoint}: {why}", MAKING.as_secs())]
    NotMade { key: String, endpoint: String, why: String },
    #[error(
        "{key} is there already: the cluster is not new; start without --init. If it is to begin \
         anew, stop all its nodes and delete the key first: all connections are lost"
    )]
    Exists { key: String },
}

/// How the register fares, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeeperStatus {
    pub key: String,
    /// Who was asked last.
    pub endpoint: String,
    /// Why nothing can change, if so.
    pub problem: Option<String>,
    /// When etcd answered last.
    pub answered: Option<Instant>,
    /// Changes are heard of at once.
    pub watches: bool,
    /// The newest view known, as the key has or should have it.
    pub view: View,
    pub requests: u64,
    /// Of these, those that were not answered.
    pub failures: u64,
}

/// What an endpoint says of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub endpoint: Endpoint,
    /// Whether the key is there, or why that is not known.
    pub is_there: Result<bool, String>,
}

/// A keeper's thread. It ends when this is dropped.
#[derive(Debug)]
pub struct Keeper {
    status: watch::Receiver<KeeperStatus>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Makes the key of a new cluster. Blocks until it is made.
///
/// # Errors
/// It cannot be made, or is there already.
pub fn make(setup: &Setup) -> Result<(), KeeperError> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let mut client = Client::new(setup.access());
        let began = Instant::now();
        loop {
            let problem = match client.ask(&setup.key, &Ask::Create).await {
                Ok(Answer::Made) => return Ok(()),
                Ok(Answer::Holds(value)) if is_new(value.as_deref()) => return Ok(()),
                Ok(Answer::Holds(_)) => return Err(KeeperError::Exists { key: setup.key.clone() }),
                Err(problem) => problem,
            };
            if began.elapsed() > MAKING {
                let (key, endpoint) = (setup.key.clone(), client.endpoint().to_string());
                return Err(KeeperError::NotMade { key, endpoint, why: problem.to_string() });
            }
            sleep(PAUSE).await;
        }
    });
    runtime.shutdown_background();
    outcome
}

/// Asks each endpoint once whether the key is there. Blocks until all have answered, or failed to.
///
/// # Errors
/// Nobody can be asked.
pub fn survey(setup: &Setup) -> Result<Vec<Found>, KeeperError> {
    let runtime = runtime()?;
    let answers = runtime.block_on(async {
        let mut client = Client::new(setup.access());
        let mut answers = Vec::new();
        for endpoint in &setup.endpoints {
            let answer = client.ask(&setup.key, &Ask::Read).await;
            if answer.is_ok() {
                client.turn_away();
            }
            let is_there = answer.map(|answer| matches!(answer, Answer::Holds(Some(_))));
            let is_there = is_there.map_err(|problem| problem.to_string());
            answers.push(Found { endpoint: endpoint.clone(), is_there });
        }
        answers
    });
    runtime.shutdown_background();
    Ok(answers)
}

/// The key as it is made, by this node or by one that is as new.
fn is_new(value: Option<&[u8]>) -> bool {
    value.is_some_and(|value| value == View::default().to_json().as_bytes())
}

fn runtime() -> Result<tokio::runtime::Runtime, KeeperError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(KeeperError::Thread)
}

impl Setup {
    fn access(&self) -> Arc<Access> {
        Arc::new(Access {
            endpoints: self.endpoints.clone(),
            login: self.login.clone(),
            tls: self.tls.clone(),
            patience: self.patience,
        })
    }

    /// Starts the thread. `lines` lead to the node's member.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(self, lines: QuorumLines) -> Result<Keeper, KeeperError> {
        let (stop, stopped) = oneshot::channel();
        let work = Work::new(self, lines);
        let status = work.status.subscribe();
        let run = move || match runtime() {
            Ok(runtime) => {
                runtime.block_on(work.run(stopped));
                // The name of an endpoint may be looked up still, for as long as that takes.
                runtime.shutdown_background();
            }
            Err(problem) => warn!(event = "register_keeper_ended", "{problem}"),
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

    /// Ends the thread.
    ///
    /// # Errors
    /// It had failed before.
    pub fn end(mut self) -> Result<(), KeeperError> {
        drop(self.stop.take());
        let ended = self.thread.take().map_or(Ok(()), JoinHandle::join);
        ended.map_err(|_| KeeperError::Failed)
    }
}

struct Work {
    scribe: Scribe,
    client: Client,
    key: String,
    lines: QuorumLines,
    status: watch::Sender<KeeperStatus>,
    /// Failures since the last answer.
    in_vain: usize,
    endpoints: usize,
    /// The problem that was told of last, if it lasts.
    reported: Option<String>,
}

impl Work {
    fn new(setup: Setup, lines: QuorumLines) -> Work {
        let client = Client::new(setup.access());
        let status = KeeperStatus {
            key: setup.key.clone(),
            endpoint: client.endpoint().to_string(),
            problem: None,
            answered: None,
            watches: false,
            view: View::default(),
            requests: 0,
            failures: 0,
        };
        Work {
            scribe: Scribe::default(),
            client,
            key: setup.key.clone(),
            lines,
            status: watch::Sender::new(status),
            in_vain: 0,
            endpoints: setup.endpoints.len(),
            // So that the first answer is told of.
            reported: Some(SILENT.into()),
        }
    }
}

impl Work {
    /// Until the node's member is gone, or the node ends.
    async fn run(mut self, stopped: oneshot::Receiver<()>) {
        let (hints, works) = (Notify::new(), watch::Sender::new(false));
        let watching = follow(self.client.another(), self.key.clone(), &hints, &works);
        tokio::select! {
            biased;
            _ = stopped => {}
            () = watching => {}
            () = self.serve(&hints, works.subscribe()) => {}
        }
    }

    async fn serve(&mut self, hints: &Notify, watches: watch::Receiver<bool>) {
        loop {
            while let Ok(change) = self.lines.changes.try_recv() {
                self.scribe.want(change);
            }
            if let Some(ask) = self.scribe.next() {
                // Who borrows it must not wait: that would stop the watch.
                let watched = *watches.borrow();
                self.ask(&ask, watched).await;
                continue;
            }
            let look = if self.scribe.is_pressed() { LOOK_PRESSED } else { LOOK };
            tokio::select! {
                change = self.lines.changes.recv() => match change {
                    Some(change) => self.scribe.want(change),
                    None => return,
                },
                () = hints.notified() => self.scribe.look(),
                () = sleep(look) => self.scribe.look(),
            }
        }
    }

    async fn ask(&mut self, ask: &Ask, watches: bool) {
        let endpoint = self.client.endpoint().to_string();
        let outcome = self.client.ask(&self.key, ask).await;
        let mut status = self.status.borrow().clone();
        (status.endpoint, status.watches) = (endpoint, watches);
        status.requests += 1;
        match outcome {
            Ok(answer) => {
                self.in_vain = 0;
                self.scribe.learn(ask, answer);
                self.publish();
                status.answered = Some(Instant::now());
                status.view.clone_from(self.scribe.view());
                status.problem = self.scribe.trouble().map(ToString::to_string);
            }
            Err(problem) => {
                self.in_vain += 1;
                status.failures += 1;
                if self.has_failed_everywhere() {
                    status.problem = Some(problem.to_string());
                }
            }
        }
        self.report(&status);
        self.status.send_replace(status);
        if self.has_failed_everywhere() {
            sleep(PAUSE).await;
        }
    }

    /// A connection may break once because an endpoint was started anew.
    fn has_failed_everywhere(&self) -> bool {
        self.in_vain > self.endpoints
    }

    fn publish(&self) {
        self.lines.views.send_if_modified(|view| {
            let is_news = self.scribe.view().epoch > view.epoch;
            if is_news {
                view.clone_from(self.scribe.view());
            }
            is_news
        });
    }

    /// Says once that nothing can change, and why, and once that it can again.
    fn report(&mut self, status: &KeeperStatus) {
        let silent = self.has_failed_everywhere();
        let problem = status.problem.as_deref().map(|why| if silent { SILENT } else { why });
        if problem == self.reported.as_deref() {
            return;
        }
        let KeeperStatus { key, endpoint, .. } = status;
        match &status.problem {
            Some(why) if silent => warn!(
                event = "register_silent",
                "etcd does not answer, so no role can change: {endpoint}: {why}"
            ),
            Some(why) => warn!(event = "register_unfit", "no role can change: {key}: {why}"),
            None => info!(event = "register_answers", "etcd answers: {key} at {endpoint}"),
        }
        self.reported = problem.map(Into::into);
    }
}
