//! One connection to etcd, and requests over it, none of which is waited for without end.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::endpoint::Endpoint;
use crate::gateway::{self, AnswerError};
use crate::scribe::{Answer, Ask};
use crate::tls::{Tls, TlsError};

/// The longest answer that is read. A view has a few hundred bytes.
const MOST_BYTES: usize = 256 * 1024;

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What is common to all connections of a node.
#[derive(Debug)]
pub(crate) struct Access {
    /// Members of one etcd cluster; at least one.
    pub endpoints: Vec<Endpoint>,
    pub login: Option<Login>,
    /// For endpoints that are to be spoken to over it.
    pub tls: Option<Tls>,
    /// How long an answer may take.
    pub patience: Duration,
}

/// Why there is no answer. What was asked may be done all the same.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no TLS with it: {0}")]
    Tls(io::Error),
    #[error("no TLS with it: {0}")]
    TlsFiles(#[from] TlsError),
    #[error("no TLS with it: nothing says whom to believe")]
    NoTls,
    #[error("no TLS with it: its name is no name: {0}")]
    Name(#[from] InvalidDnsNameError),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the connection broke: {}", with_causes(.0))]
    Broken(#[from] hyper::Error),
    #[error("cannot ask: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("the answer could not be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("refused with status {}: {why}", .status.as_u16())]
    Refused { status: StatusCode, why: String },
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

/// A refused certificate is not in the first words: with TLS 1.3 it is told once the handshake is over.
fn with_causes(error: &hyper::Error) -> String {
    let (mut words, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

type Sender = SendRequest<Full<Bytes>>;

/// One connection at a time, to one endpoint after the other.
pub(crate) struct Client {
    access: Arc<Access>,
    at: usize,
    connection: Option<Sender>,
    token: Option<String>,
}

impl Client {
    pub fn new(access: Arc<Access>) -> Client {
        Client { access, at: 0, connection: None, token: None }
    }

    /// A client for a connection beside this one.
    pub fn another(&self) -> Client {
        Client::new(Arc::clone(&self.access))
    }

    /// Where the next request goes.
    pub fn endpoint(&self) -> &Endpoint {
        &self.access.endpoints[self.at]
    }

    /// Asks the present endpoint. After a failure it is the next one's turn.
    pub async fn ask(&mut self, key: &str, ask: &Ask) -> Result<Answer, ClientError> {
        let (path, body) = gateway::request(key, ask);
        let patience = self.access.patience;
        let asked = async {
            let response = self.post(path, body).await?;
            Ok(gateway::answer(ask, &read(response).await?)?)
        };
        let outcome = timeout(patience, asked).await.unwrap_or(Err(ClientError::Timeout(patience)));
        if outcome.is_err() {
            self.turn_away();
        }
        outcome
    }

    /// Asks the present endpoint to tell what happens to `key`, on a connection of its own.
    pub async fn follow(&mut self, key: &str) -> Result<Incoming, ClientError> {
        let (path, body) = gateway::watch(key);
        let patience = self.access.patience;
        let answered = timeout(patience, self.post(path, body)).await;
        let outcome = answered.unwrap_or(Err(ClientError::Timeout(patience)));
        if outcome.is_err() {
            self.turn_away();
        }
        outcome.map(Response::into_body)
    }

    /// Leaves the present endpoint. Whatever is under way there is not heard of any more.
    pub fn turn_away(&mut self) {
        self.connection = None;
        self.at = (self.at + 1) % self.access.endpoints.len();
    }

    async fn post(&mut self, path: &str, body: String) -> Result<Response<Incoming>, ClientError> {
        if let (Some(login), None) = (&self.access.login, &self.token) {
            let (path, body) = gateway::login(&login.user, &login.password);
            let token = gateway::token(&read(self.send(path, body).await?).await?)?;
            self.token = Some(token);
        }
        self.send(path, body).await
    }

    async fn send(&mut self, path: &str, body: String) -> Result<Response<Incoming>, ClientError> {
        let endpoint = &self.access.endpoints[self.at];
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => connect(endpoint, self.access.tls.as_ref()).await?,
        };
        connection.ready().await?;
        let request = Request::post(path)
            .header(HOST, endpoint.authority())
            .header(CONTENT_TYPE, "application/json");
        let request = match &self.token {
            Some(token) => request.header(AUTHORIZATION, token),
            None => request,
        };
        let response = connection.send_request(request.body(body.into())?).await?;
        self.connection = Some(connection);
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        if status.is_client_error() {
            // Tokens expire, and end with a change of rights; the next request begins with a new one.
            self.token = None;
        }
        Err(ClientError::Refused { status, why: gateway::refusal(&read(response).await?) })
    }
}

async fn connect(endpoint: &Endpoint, tls: Option<&Tls>) -> Result<Sender, ClientError> {
    let stream = TcpStream::connect((endpoint.host(), endpoint.port())).await;
    let stream = stream.map_err(ClientError::Connect)?;
    stream.set_nodelay(true).map_err(ClientError::Connect)?;
    if !endpoint.is_secure() {
        return speak(stream).await;
    }
    let connector = tls.ok_or(ClientError::NoTls)?.connector()?;
    let name = ServerName::try_from(endpoint.host().to_owned())?;
    speak(connector.connect(name, stream).await.map_err(ClientError::Tls)?).await
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Sender, ClientError> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender, or by itself: then the next request finds out.
    tokio::spawn(connection);
    Ok(sender)
}

async fn read(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let whole = Limited::new(response.into_body(), MOST_BYTES).collect().await;
    Ok(whole.map_err(ClientError::Body)?.to_bytes())
}
