//! What etcd's JSON gateway is sent, and what it answers.
//!
//! The gateway is part of etcd (v3.4 and later have it under `/v3`) and speaks of the same requests
//! as its gRPC port, with bytes in base64 and numbers as text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use controlplane::View;
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::scribe::{Answer, Ask};

/// An answer that is none of etcd's.
#[derive(Debug, Error)]
pub enum AnswerError {
    #[error("the answer is none of etcd's: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("the answer has bytes that are no base64: {0}")]
    Bytes(#[from] base64::DecodeError),
    #[error("the answer says that nothing was written, and not what is there")]
    Incomplete,
}

/// Path and body of a request about `key`.
pub fn request(key: &str, ask: &Ask) -> (&'static str, String) {
    let key = STANDARD.encode(key);
    let (compare, next) = match ask {
        // Linearizable unless it says otherwise.
        Ask::Read => return ("/v3/kv/range", json!({ "key": key }).to_string()),
        Ask::Create => {
            let absent = json!({ "key": key, "target": "CREATE", "result": "EQUAL",
                "create_revision": "0" });
            (absent, &View::default())
        }
        Ask::Swap { held, next } => {
            let same = json!({ "key": key, "target": "VALUE", "result": "EQUAL",
                "value": STANDARD.encode(held) });
            (same, next)
        }
    };
    let body = json!({
        "compare": [compare],
        "success": [{ "request_put": { "key": key, "value": STANDARD.encode(next.to_json()) } }],
        "failure": [{ "request_range": { "key": key } }],
    });
    ("/v3/kv/txn", body.to_string())
}

/// Path and body of the request that follows what happens to `key`.
pub fn watch(key: &str) -> (&'static str, String) {
    ("/v3/watch", json!({ "create_request": { "key": STANDARD.encode(key) } }).to_string())
}

/// Path and body of the request for a token.
pub fn login(user: &str, password: &str) -> (&'static str, String) {
    ("/v3/auth/authenticate", json!({ "name": user, "password": password }).to_string())
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

#[derive(Deserialize)]
struct KeyValue {
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Transaction {
    #[serde(default)]
    succeeded: bool,
    #[serde(default)]
    responses: Vec<Response>,
}

#[derive(Deserialize)]
struct Response {
    response_range: Option<Range>,
}

/// What the answer to a request about a key says.
pub fn answer(ask: &Ask, body: &[u8]) -> Result<Answer, AnswerError> {
    if *ask == Ask::Read {
        return holds(serde_json::from_slice(body)?);
    }
    let transaction: Transaction = serde_json::from_slice(body)?;
    if transaction.succeeded {
        return Ok(Answer::Made);
    }
    let range = transaction.responses.into_iter().find_map(|response| response.response_range);
    holds(range.ok_or(AnswerError::Incomplete)?)
}

fn holds(range: Range) -> Result<Answer, AnswerError> {
    let value = range.kvs.first().map(|pair| STANDARD.decode(&pair.value)).transpose()?;
    Ok(Answer::Holds(value))
}

/// The token in the answer to a [`login`].
pub fn token(body: &[u8]) -> Result<String, AnswerError> {
    #[derive(Deserialize)]
    struct Token {
        token: String,
    }
    Ok(serde_json::from_slice::<Token>(body)?.token)
}

/// Why etcd refuses, in its own words if these can be found.
pub fn refusal(body: &[u8]) -> String {
    let said = serde_json::from_slice::<Value>(body).ok();
    let words = said.as_ref().and_then(|said| said.get("error").or(said.get("message"))?.as_str());
    words.unwrap_or("it does not say why").to_owned()
}

/// Whether a line of a watch says that it goes on.
pub fn goes_on(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Line {
        result: Option<Watched>,
    }
    #[derive(Deserialize)]
    struct Watched {
        #[serde(default)]
        canceled: bool,
    }
    let line = serde_json::from_slice::<Line>(line).ok().and_then(|line| line.result);
    line.is_some_and(|watched| !watched.canceled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "/holdfast/lab/view";

    fn swap() -> Ask {
        Ask::Swap { held: b"before".to_vec(), next: View::default() }
    }

    #[test]
    fn read_is_linearizable() {
        let (path, body) = request(KEY, &Ask::Read);
        assert_eq!(
            (path, body.as_str()),
            ("/v3/kv/range", r#"{"key":"L2hvbGRmYXN0L2xhYi92aWV3"}"#)
        );
    }

    #[test]
    fn swap_compares_every_byte_and_asks_what_is_there_instead() {
        let (path, body) = request(KEY, &swap());
        assert_eq!(path, "/v3/kv/txn");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["compare"][0]["target"], "VALUE");
        assert_eq!(body["compare"][0]["value"], STANDARD.encode("before"));
        let put = STANDARD.decode(body["success"][0]["request_put"]["value"].as_str().unwrap());
        assert_eq!(put.unwrap(), View::default().to_json().into_bytes());
        assert_eq!(body["failure"][0]["request_range"]["key"], STANDARD.encode(KEY));
    }

    /// As etcd 3.4 has written them.
    #[test]
    fn reads_what_etcd_answers() {
        let header =
            r#""header":{"cluster_id":"1","member_id":"2","revision":"3","raft_term":"4"}"#;
        let range = format!(r#"{{{header},"kvs":[{{"key":"YQ==","value":"Yg=="}}],"count":"1"}}"#);
        let there = Answer::Holds(Some(b"b".to_vec()));
        assert_eq!(answer(&Ask::Read, range.as_bytes()).unwrap(), there);
        let nothing = format!("{{{header}}}");
        assert_eq!(answer(&Ask::Read, nothing.as_bytes()).unwrap(), Answer::Holds(None));
        let made =
            format!(r#"{{{header},"succeeded":true,"responses":[{{"response_put":{{}}}}]}}"#);
        assert_eq!(answer(&swap(), made.as_bytes()).unwrap(), Answer::Made);
        let not = format!(r#"{{{header},"responses":[{{"response_range":{range}}}]}}"#);
        assert_eq!(answer(&swap(), not.as_bytes()).unwrap(), there);
        let bare = answer(&swap(), nothing.as_bytes());
        assert!(matches!(bare, Err(AnswerError::Incomplete)), "neither made nor refused");
        assert!(answer(&Ask::Read, b"<html>").is_err());
    }

    #[test]
    fn says_why_etcd_refuses() {
        let both =
            br#"{"error":"etcdserver: no leader","message":"etcdserver: no leader","code":14}"#;
        assert_eq!(refusal(both), "etcdserver: no leader");
        assert_eq!(refusal(br#"{"code":7,"message":"denied"}"#), "denied");
        assert_eq!(refusal(b"404"), "it does not say why");
    }

    #[test]
    fn watch_ends_when_it_is_canceled_or_fails() {
        assert!(goes_on(br#"{"result":{"header":{},"created":true}}"#));
        assert!(goes_on(br#"{"result":{"header":{},"events":[{"kv":{}}]}}"#));
        assert!(!goes_on(br#"{"result":{"canceled":true,"compact_revision":"9"}}"#));
        assert!(!goes_on(br#"{"error":{"message":"no leader"}}"#));
        assert!(!goes_on(b""));
    }
}
