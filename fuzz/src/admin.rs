//! The admin API: filter expressions, requests over HTTP in whatever pieces, and answers as a
//! client reads them.

use std::sync::{Arc, LazyLock};

use controlplane::admin::{
    AdminSource, ConnPage, ConnRow, Declined, EventRecord, Filter, KeyNames, LatencyReport,
    OrderError, Status, TcpState, Unavailable, router,
};
use controlplane::{Accepted, Order, OrderRefused};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

pub fn run(input: &[u8]) {
    let Some((&mode, bytes)) = input.split_first() else { return };
    match mode % 3 {
        0 => filter(bytes),
        1 => request(mode >> 2, bytes),
        _ => answer(bytes),
    }
}

fn filter(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match Filter::parse(text) {
        Ok(filter) => {
            let selected = rows().iter().filter(|row| filter.selects(row)).count();
            // Its negation selects the others, if it is not too deep or too long by now.
            if let Ok(negated) = Filter::parse(&format!("not ({text})")) {
                let others = rows().iter().filter(|row| negated.selects(row)).count();
                assert_eq!(selected + others, rows().len(), "{text}");
            }
        }
        Err(error) => {
            let columns = text.chars().count() + 1;
            assert!((1..=columns.max(4097)).contains(&error.column), "{error}");
            assert!(!error.message.is_empty());
        }
    }
}

fn rows() -> Vec<ConnRow> {
    let row = |local: &str, remote: &str, state| ConnRow {
        shard: 0,
        state,
        local: local.parse().expect("an address"),
        remote: remote.parse().expect("an address"),
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
    };
    vec![
        row("10.77.0.100:80", "10.77.0.9:40000", TcpState::Established),
        row("10.77.0.100:7", "192.0.2.1:1", TcpState::CloseWait),
        row("[fd00::1]:80", "[fd00::2]:65535", TcpState::SynRecv),
    ]
}

/// A node that knows three connections and two events, and whose status cannot be had.
struct Source;

impl AdminSource for Source {
    fn order(&self, order: Order) -> Result<Accepted, OrderError> {
        match order {
            Order::Switchover { .. } => Ok(Accepted::Began { attempt: 1 }),
            Order::Drain | Order::Undrain => Err(OrderRefused::Busy.into()),
        }
    }

    fn status(&self) -> Result<Status, Unavailable> {
        Err(Unavailable("worker 1 did not answer".to_owned()))
    }

    fn connections(&self, filter: &Filter, limit: usize) -> Result<ConnPage, Unavailable> {
        let matching: Vec<_> = rows().into_iter().filter(|row| filter.selects(row)).collect();
        let matched = matching.len() as u64;
        Ok(ConnPage { rows: matching.into_iter().take(limit).collect(), matched, total: 3 })
    }

    fn events(&self, after: u64, limit: usize) -> Vec<EventRecord> {
        let event = |seq| EventRecord {
            seq,
            unix_ms: 1_000,
            severity: "info".to_owned(),
            name: "pair_formed".to_owned(),
            text: "primary of epoch 1".to_owned(),
        };
        (1..=2).filter(|seq| *seq > after).take(limit).map(event).collect()
    }

    fn latency(&self, reset: bool) -> Result<LatencyReport, Unavailable> {
        Ok(LatencyReport { since_us: u64::from(reset), ..LatencyReport::default() })
    }

    fn reload_keys(&self, force: bool) -> Result<KeyNames, Declined> {
        match force {
            true => Ok(KeyNames { keys: Vec::new() }),
            false => Err(Declined::Conflict("there is no file".to_owned())),
        }
    }
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime without I/O")
});

/// Whatever is asked, and in how many pieces, the answer is HTTP with a status that the API knows.
fn request(pieces: u8, bytes: &[u8]) {
    let service = TowerToHyperService::new(router(Arc::new(Source)));
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let answer = RUNTIME.block_on(async {
        let served = http1::Builder::new().serve_connection(TokioIo::new(server), service);
        let asked = async {
            let size = bytes.len().div_ceil(usize::from(pieces) + 1).max(1);
            for piece in bytes.chunks(size) {
                // The server may have closed already.
                if client.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let _ = client.shutdown().await;
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer).await;
            answer
        };
        let (_, answer) = tokio::join!(served, asked);
        answer
    });
    if answer.is_empty() {
        return;
    }
    let status = answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    let known: [&[u8]; 10] =
        [b"200", b"400", b"404", b"405", b"409", b"414", b"431", b"501", b"503", b"100"];
    let text = String::from_utf8_lossy(&answer);
    assert!(status.is_some_and(|status| known.contains(&status)), "{text}");
}

/// What a client makes of an answer.
fn answer(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Status>(bytes);
    let _ = serde_json::from_slice::<Vec<EventRecord>>(bytes);
    let _ = serde_json::from_slice::<LatencyReport>(bytes);
    if let Ok(page) = serde_json::from_slice::<ConnPage>(bytes) {
        let text = serde_json::to_vec(&page).expect("plain data");
        let again: ConnPage = serde_json::from_slice(&text).expect("our own JSON");
        assert_eq!(again, page);
    }
}
