//! The server's side of the admin API.

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::identity::NodeName;
use crate::order::{Accepted, Order, OrderRefused};

use super::filter::Filter;
use super::latency::LatencyReport;
use super::socket::AdminSocket;
use super::types::{ApiError, ConnPage, EventRecord, KeyNames, Status};

/// Rows or events in one answer unless the request says otherwise, and at most.
const DEFAULT_LIMIT: usize = 1_000;
const MAX_LIMIT: usize = 1_000_000;

/// The poll loops did not answer in time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Why a node did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Declined {
    /// It would do harm, or it can't be done now.
    #[error("{0}")]
    Conflict(String),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Where the data come from. Methods may block: each call has a thread of its own.
pub trait AdminSource: Send + Sync + 'static {
    /// # Errors
    /// A poll loop did not answer.
    fn status(&self) -> Result<Status, Unavailable>;

    /// The first `limit` connections that `filter` selects, and how many it selects in all.
    ///
    /// # Errors
    /// A poll loop did not answer.
    fn connections(&self, filter: &Filter, limit: usize) -> Result<ConnPage, Unavailable>;

    /// Events that are still kept, oldest first, with a sequence number above `after`.
    fn events(&self, after: u64, limit: usize) -> Vec<EventRecord>;

    /// Orders a change of roles; it begins before this returns, if it is accepted.
    ///
    /// # Errors
    /// The order is refused, or the poll loop did not answer.
    fn order(&self, order: Order) -> Result<Accepted, OrderError>;

    /// How long things took since the recording began, which with `reset` is now.
    ///
    /// # Errors
    /// A poll loop did not answer.
    fn latency(&self, reset: bool) -> Result<LatencyReport, Unavailable>;

    /// Reads the shared keys again and uses them from now on; with `force` even if the peer could
    /// not be heard any more, or would not hear this node.
    ///
    /// # Errors
    /// The keys can't be used, or a poll loop did not answer.
    fn reload_keys(&self, force: bool) -> Result<KeyNames, Declined>;
}

/// Why an order was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OrderError {
    #[error(transparent)]
    Refused(#[from] OrderRefused),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<OrderError> for Declined {
    fn from(error: OrderError) -> Declined {
        match error {
            OrderError::Refused(refused) => Declined::Conflict(refused.to_string()),
            OrderError::Unavailable(unavailable) => Declined::Unavailable(unavailable),
        }
    }
}

#[derive(Debug, Deserialize)]
struct SwitchoverQuery {
    to: Option<NodeName>,
}

#[derive(Debug, Deserialize)]
struct ConnsQuery {
    #[serde(default)]
    filter: String,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct EventsQuery {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct ReloadQuery {
    #[serde(default)]
    force: bool,
}

/// Serves until `stop` resolves; requests that were begun are answered first. Runs in a tokio
/// runtime with I/O enabled, and removes the socket's file at the end.
///
/// # Errors
/// The socket cannot be used with the runtime.
pub async fn serve<S: AdminSource>(
    socket: AdminSocket,
    source: Arc<S>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(socket.listener()?)?;
    axum::serve(listener, router(source)).with_graceful_shutdown(stop).await
}

/// The requests that [`serve`] answers, for whoever has a connection of another kind.
pub fn router<S: AdminSource>(source: Arc<S>) -> Router {
    Router::new()
        .route("/v1/status", get(status::<S>))
        .route("/v1/conns", get(connections::<S>))
        .route("/v1/events", get(events::<S>))
        .route("/v1/latency", get(latency::<S>))
        .route("/v1/latency/reset", post(reset_latency::<S>))
        .route("/v1/switchover", post(switchover::<S>))
        .route("/v1/drain", post(drain::<S>))
        .route("/v1/undrain", post(undrain::<S>))
        .route("/v1/keys/reload", post(reload_keys::<S>))
        .fallback(no_such_path)
        .with_state(source)
}

async fn no_such_path() -> Response {
    let error =
        "no such path; there are /v1/status, /v1/conns, /v1/events, /v1/latency, /v1/switchover, \
         /v1/drain, /v1/undrain and /v1/keys/reload"
            .to_owned();
    (StatusCode::NOT_FOUND, Json(ApiError { error, column: None })).into_response()
}

async fn status<S: AdminSource>(State(source): State<Arc<S>>) -> Response {
    answer(move || source.status()).await
}

async fn connections<S: AdminSource>(
    State(source): State<Arc<S>>,
    query: Result<Query<ConnsQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(rejection) => return wrong(rejection.body_text(), None),
    };
    let filter = match Filter::parse(&query.filter) {
        Ok(filter) => filter,
        Err(error) => return wrong(error.message, Some(error.column)),
    };
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    answer(move || source.connections(&filter, limit)).await
}

async fn events<S: AdminSource>(
    State(source): State<Arc<S>>,
    query: Result<Query<EventsQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(rejection) => return wrong(rejection.body_text(), None),
    };
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    answer(move || Ok::<_, Unavailable>(source.events(query.after, limit))).await
}

async fn latency<S: AdminSource>(State(source): State<Arc<S>>) -> Response {
    answer(move || source.latency(false)).await
}

async fn reset_latency<S: AdminSource>(State(source): State<Arc<S>>) -> Response {
    answer(move || source.latency(true)).await
}

async fn switchover<S: AdminSource>(
    State(source): State<Arc<S>>,
    query: Result<Query<SwitchoverQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    match query {
        Ok(Query(SwitchoverQuery { to })) => give(source, Order::Switchover { to }).await,
        Err(rejection) => wrong(rejection.body_text(), None),
    }
}

async fn reload_keys<S: AdminSource>(
    State(source): State<Arc<S>>,
    query: Result<Query<ReloadQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    match query {
        Ok(Query(query)) => answer(move || source.reload_keys(query.force)).await,
        Err(rejection) => wrong(rejection.body_text(), None),
    }
}

async fn drain<S: AdminSource>(State(source): State<Arc<S>>) -> Response {
    give(source, Order::Drain).await
}

async fn undrain<S: AdminSource>(State(source): State<Arc<S>>) -> Response {
    give(source, Order::Undrain).await
}

async fn give<S: AdminSource>(source: Arc<S>, order: Order) -> Response {
    answer(move || source.order(order)).await
}

fn wrong(error: String, column: Option<usize>) -> Response {
    (StatusCode::BAD_REQUEST, Json(ApiError { error, column })).into_response()
}

/// Asks the source on a thread where it may wait.
async fn answer<T: Serialize + Send + 'static, E: Into<Declined> + Send + 'static>(
    ask: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Response {
    let (status, error) = match tokio::task::spawn_blocking(ask).await {
        Ok(Ok(found)) => return Json(found).into_response(),
        Ok(Err(error)) => match error.into() {
            Declined::Conflict(error) => (StatusCode::CONFLICT, error),
            Declined::Unavailable(Unavailable(error)) => (StatusCode::SERVICE_UNAVAILABLE, error),
        },
        Err(_) => {
            let error = "the node failed to answer; its log says more".to_owned();
            (StatusCode::SERVICE_UNAVAILABLE, error)
        }
    };
    (status, Json(ApiError { error, column: None })).into_response()
}
