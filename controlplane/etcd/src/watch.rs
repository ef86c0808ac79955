//! Hears of changes of the key as they happen.
//!
//! What it hears is a hint to look, and no more: the truth comes from a read. So a watch that is
//! lost, late or compacted away costs time at most, since the keeper looks now and then by itself.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::client::{Client, ClientError};
use crate::gateway;

/// A pause before a watch that was lost is begun again.
const PAUSE: Duration = Duration::from_millis(500);
/// A watch that has not said anything for so long is begun again: its connection may be dead.
const SILENCE: Duration = Duration::from_secs(120);
/// The longest line.
const MOST_BYTES: usize = 256 * 1024;

/// Follows `key` for ever. Each thing that happens is a hint; `works` says whether any would come.
pub(crate) async fn follow(
    mut client: Client,
    key: String,
    hints: &Notify,
    works: &watch::Sender<bool>,
) {
    loop {
        if let Ok(body) = client.follow(&key).await {
            let _ended = listen(body, hints, works).await;
            works.send_replace(false);
            client.turn_away();
        }
        sleep(PAUSE).await;
    }
}

/// Until the watch is over.
async fn listen(
    mut body: Incoming,
    hints: &Notify,
    works: &watch::Sender<bool>,
) -> Result<(), ClientError> {
    let mut line = Vec::new();
    while let Ok(Some(frame)) = timeout(SILENCE, body.frame()).await {
        let Ok(data) = frame?.into_data() else { continue };
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") {
                if !gateway::goes_on(&line) {
                    return Ok(());
                }
                line.clear();
                works.send_replace(true);
                hints.notify_one();
            }
        }
        if line.len() > MOST_BYTES {
            return Ok(());
        }
    }
    Ok(())
}
