//! The client's side of the admin API, for programs that just want an answer.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Method;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;

use crate::order::{Accepted, Order};

use super::latency::LatencyReport;
use super::types::{ApiError, ConnPage, EventRecord, KeyNames, Status};

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 1 << 30;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AdminError {
    #[error(
        "no admin socket at {0}: is the node running? Start it with `holdfast run`, or name its \
         socket"
    )]
    NoSocket(PathBuf),
    #[error(
        "nobody answers on {0}: the node has ended without removing its socket; start it again"
    )]
    NotAnswering(PathBuf),
    #[error("no permission to open {0}: only the user that runs the node may; try as root")]
    Permission(PathBuf),
    #[error(
        "the node did not answer on {0} within 10 s: it is frozen or overloaded; see its log and \
         its CPU"
    )]
    Timeout(PathBuf),
    /// The node understood the request and refuses it; `column` points into a filter expression.
    #[error("{message}")]
    Refused { status: u16, message: String, column: Option<usize> },
    #[error("{path} did not answer like a Holdfast node: {reason}")]
    Protocol { path: PathBuf, reason: String },
}

/// Asks one node. Each call blocks until the answer is complete, 10 s at most.
#[derive(Debug, Clone)]
pub struct AdminClient {
    socket: PathBuf,
}

impl AdminClient {
    #[must_use]
    pub fn new(socket: &Path) -> AdminClient {
        AdminClient { socket: socket.to_owned() }
    }

    /// # Errors
    /// See [`AdminError`].
    pub fn status(&self) -> Result<Status, AdminError> {
        self.get("/v1/status")
    }

    /// # Errors
    /// See [`AdminError`]; a wrong filter is refused with the column.
    pub fn connections(&self, filter: &str, limit: usize) -> Result<ConnPage, AdminError> {
        self.get(&format!("/v1/conns?limit={limit}&filter={}", percent_encoded(filter)))
    }

    /// # Errors
    /// See [`AdminError`].
    pub fn events(&self, after: u64, limit: usize) -> Result<Vec<EventRecord>, AdminError> {
        self.get(&format!("/v1/events?after={after}&limit={limit}"))
    }

    /// # Errors
    /// See [`AdminError`].
    pub fn latency(&self) -> Result<LatencyReport, AdminError> {
        self.get("/v1/latency")
    }

    /// The latencies until now; the recording begins anew.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn reset_latency(&self) -> Result<LatencyReport, AdminError> {
        self.request(Method::POST, "/v1/latency/reset")
    }

    /// Orders a change of roles, which has begun when this returns. As [`Self::status`].
    ///
    /// # Errors
    /// No node answers, or it refuses: [`AdminError::Refused`] with status 409.
    pub fn order(&self, order: &Order) -> Result<Accepted, AdminError> {
        let path = match order {
            Order::Switchover { to: Some(node) } => format!("/v1/switchover?to={node}"),
            Order::Switchover { to: None } => "/v1/switchover".to_owned(),
            Order::Drain => "/v1/drain".to_owned(),
            Order::Undrain => "/v1/undrain".to_owned(),
        };
        self.request(Method::POST, &path)
    }

    /// Has the node read its shared keys again.
    ///
    /// # Errors
    /// See [`AdminError`]; refused with status 409 when they can't be used.
    pub fn reload_keys(&self, force: bool) -> Result<KeyNames, AdminError> {
        self.request(Method::POST, &format!("/v1/keys/reload?force={force}"))
    }

    /// Asks for `path_and_query`, which must be percent-encoded. Must not be called on a thread
    /// of an async runtime.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn get<T: DeserializeOwned>(&self, path_and_query: &str) -> Result<T, AdminError> {
        self.request(Method::GET, path_and_query)
    }

    fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path_and_query: &str,
    ) -> Result<T, AdminError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| self.protocol(error))?;
        let answer = runtime.block_on(async {
            tokio::time::timeout(PATIENCE, self.ask(method, path_and_query))
                .await
                .map_err(|_| AdminError::Timeout(self.socket.clone()))?
        });
        serde_json::from_slice(&answer?)
            .map_err(|error| self.protocol(format!("{error}; run the same release as the node")))
    }

    async fn ask(&self, method: Method, path_and_query: &str) -> Result<Bytes, AdminError> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.protocol(error))?;
        tokio::spawn(connection);
        let request = hyper::Request::builder()
            .method(method)
            .uri(path_and_query)
            .header(hyper::header::HOST, "holdfast")
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.protocol(error))?;
        let response = sender.send_request(request).await.map_err(|error| self.protocol(error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
        let body = body.collect().await.map_err(|error| self.protocol(error))?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let error: ApiError =
            serde_json::from_slice(&body).map_err(|_| self.protocol(format!("HTTP {status}")))?;
        let (message, column) = (error.error, error.column);
        Err(AdminError::Refused { status: status.as_u16(), message, column })
    }

    fn unreachable(&self, error: &io::Error) -> AdminError {
        let path = self.socket.clone();
        match error.kind() {
            io::ErrorKind::NotFound => AdminError::NoSocket(path),
            io::ErrorKind::ConnectionRefused => AdminError::NotAnswering(path),
            io::ErrorKind::PermissionDenied => AdminError::Permission(path),
            _ => AdminError::Protocol { path, reason: error.to_string() },
        }
    }

    fn protocol(&self, reason: impl ToString) -> AdminError {
        AdminError::Protocol { path: self.socket.clone(), reason: reason.to_string() }
    }
}

/// Everything but unreserved characters (RFC 3986 2.3) as `%XX`.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
