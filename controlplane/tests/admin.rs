//! The admin API from both ends, over a real socket.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use controlplane::admin::{
    AdminClient, AdminError, AdminSocket, AdminSource, ConnPage, ConnRow, Declined, EventRecord,
    Filter, KeyNames, LatencyReport, OrderError, Status, TcpState, Unavailable, serve,
};
use controlplane::{Accepted, NodeName, Order, OrderRefused};

/// A node with two connections and no status.
struct Source;

impl AdminSource for Source {
    fn status(&self) -> Result<Status, Unavailable> {
        Err(Unavailable("worker 1 did not answer".to_owned()))
    }

    fn connections(&self, filter: &Filter, limit: usize) -> Result<ConnPage, Unavailable> {
        let all = [row(80, TcpState::Established), row(7, TcpState::CloseWait)];
        let matching: Vec<ConnRow> = all.into_iter().filter(|row| filter.selects(row)).collect();
        let matched = matching.len() as u64;
        let rows = matching.into_iter().take(limit).collect();
        Ok(ConnPage { rows, matched, total: 2 })
    }

    fn events(&self, after: u64, limit: usize) -> Vec<EventRecord> {
        let event = |seq| EventRecord {
            seq,
            unix_ms: 1_000,
            severity: "info".to_owned(),
            name: "pair_formed".to_owned(),
            text: "primary of epoch 1".to_owned(),
        };
        (1..=5).filter(|seq| *seq > after).take(limit).map(event).collect()
    }

    fn order(&self, order: Order) -> Result<Accepted, OrderError> {
        match order {
            Order::Switchover { to: Some(_) } => Ok(Accepted::Began { attempt: 7 }),
            Order::Switchover { to: None } => Err(OrderRefused::Busy.into()),
            Order::Drain => Err(Unavailable("stuck".to_owned()).into()),
            Order::Undrain => Ok(Accepted::NothingToDo),
        }
    }

    fn latency(&self, reset: bool) -> Result<LatencyReport, Unavailable> {
        Ok(LatencyReport { since_us: u64::from(reset), ..LatencyReport::default() })
    }

    fn reload_keys(&self, force: bool) -> Result<KeyNames, Declined> {
        match force {
            true => Ok(KeyNames { keys: vec!["0badcafe".to_owned()] }),
            false => Err(Declined::Conflict("b does not have key 0badcafe".to_owned())),
        }
    }
}

fn row(port: u16, state: TcpState) -> ConnRow {
    ConnRow {
        shard: 0,
        state,
        local: ([10, 77, 0, 100], port).into(),
        remote: ([10, 77, 0, 9], 40_000).into(),
        service: "web".to_owned(),
        recv_queue: 0,
        send_queue: 17,
        rtt_us: Some(120),
        rtt_var_us: Some(10),
        rto_us: 200_000,
        cwnd: 14_600,
        mss: 1_460,
        retransmissions: 0,
        bytes_in: 1,
        bytes_out: 2,
        idle_us: None,
    }
}

/// Runs `ask` against a server on a socket of its own, and stops the server.
fn with_server(ask: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let socket = AdminSocket::bind(&path).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve(socket, Arc::new(Source), async {
            let _ = stopped.await;
        }))
    });
    ask(&path);
    stop.send(()).unwrap();
    server.join().unwrap().unwrap();
    assert!(!path.exists(), "the socket's file is removed at the end");
}

#[test]
fn answers_with_rows_that_the_filter_selects() {
    with_server(|path| {
        let client = AdminClient::new(path);
        let all = client.connections("", 10).unwrap();
        assert_eq!((all.rows.len(), all.matched, all.total), (2, 2, 2));
        assert_eq!(all.rows[0], row(80, TcpState::Established));
        let some = client.connections("sport >= :80 && not state closing", 10).unwrap();
        assert_eq!((some.rows.len(), some.matched), (1, 1));
        let cut = client.connections("src 10.0.0.0/8", 1).unwrap();
        assert_eq!((cut.rows.len(), cut.matched), (1, 2));
        let events = client.events(2, 2).unwrap();
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [3, 4]);
    });
}

#[test]
fn only_a_reset_begins_the_latencies_anew() {
    with_server(|path| {
        let client = AdminClient::new(path);
        assert_eq!(client.latency().unwrap().since_us, 0);
        assert_eq!(client.reset_latency().unwrap().since_us, 1);
        // Whoever only reads must not be able to reset.
        let error = client.get::<LatencyReport>("/v1/latency/reset").unwrap_err();
        assert!(!matches!(error, AdminError::NoSocket(_)), "{error:?}");
    });
}

#[test]
fn orders_are_followed_or_refused() {
    with_server(|path| {
        let client = AdminClient::new(path);
        let to = Some(NodeName::new("b").unwrap());
        let began = client.order(&Order::Switchover { to }).unwrap();
        assert_eq!(began, Accepted::Began { attempt: 7 });
        assert_eq!(client.order(&Order::Undrain).unwrap(), Accepted::NothingToDo);
        let status = |order| match client.order(&order).unwrap_err() {
            AdminError::Refused { status, message, .. } => (status, message),
            other => panic!("{other:?}"),
        };
        let refused = status(Order::Switchover { to: None });
        assert_eq!(refused, (409, OrderRefused::Busy.to_string()));
        assert_eq!(status(Order::Drain), (503, "stuck".to_owned()));
        // A change of roles is nothing that one reads.
        assert!(client.get::<Accepted>("/v1/undrain").is_err());
    });
}

#[test]
fn keys_are_read_again_unless_that_would_part_the_nodes() {
    with_server(|path| {
        let client = AdminClient::new(path);
        match client.reload_keys(false).unwrap_err() {
            AdminError::Refused { status: 409, message, .. } => {
                assert!(message.contains("does not have key"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(client.reload_keys(true).unwrap().keys, ["0badcafe"]);
    });
}

#[test]
fn says_in_words_why_a_request_fails() {
    with_server(|path| {
        let client = AdminClient::new(path);
        match client.connections("sport = :80 and state open", 10).unwrap_err() {
            AdminError::Refused { status: 400, message, column: Some(23) } => {
                assert!(message.contains("\"open\" is no state"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        let error = client.status().unwrap_err();
        assert!(matches!(error, AdminError::Refused { status: 503, .. }), "{error:?}");
        assert_eq!(error.to_string(), "worker 1 did not answer");
        for (wrong, expected) in [("/v2/status", 404), ("/v1/conns?limit=many", 400)] {
            let error = client.get::<Status>(wrong).unwrap_err();
            let AdminError::Refused { status, .. } = error else { panic!("{error:?}") };
            assert_eq!(status, expected, "{wrong}");
        }
    });
}

#[test]
fn tells_a_node_that_is_not_there_from_one_that_died() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let client = AdminClient::new(&path);
    assert!(matches!(client.status(), Err(AdminError::NoSocket(_))));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(matches!(client.status(), Err(AdminError::NotAnswering(_))));
}
