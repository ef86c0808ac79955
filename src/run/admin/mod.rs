//! The admin API's thread, and where its answers come from.

mod event_log;
mod latency;
mod sources;

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::Context;
use controlplane::admin::{AdminSocket, serve};
use tokio::sync::oneshot;
use tracing::error;

pub use event_log::EventLog;
pub use sources::Sources;

/// The running thread.
#[derive(Debug)]
pub struct AdminThread {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Answers on `socket` from a thread of its own.
///
/// # Errors
/// The system gives no thread.
pub fn start(socket: AdminSocket, sources: Sources) -> anyhow::Result<AdminThread> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the admin API")?;
    let (stop, stopped) = oneshot::channel();
    let answer = move || {
        let ended = async {
            // A sender that is gone means the same as one that has spoken.
            let _gone = stopped.await;
        };
        if let Err(error) = runtime.block_on(serve(socket, Arc::new(sources), ended)) {
            error!(%error, "the admin API ended; the node goes on without it");
        }
    };
    let thread = thread::Builder::new()
        .name("admin".into())
        .spawn(answer)
        .context("cannot start the admin thread")?;
    Ok(AdminThread { stop, thread })
}

impl AdminThread {
    /// Answers what was asked, closes the socket and removes its file.
    pub fn end(self) {
        let _ended = self.stop.send(());
        let _panicked = self.thread.join();
    }
}
