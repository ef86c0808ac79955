//! The same log gives the same states in another process, with other addresses, another hash seed
//! and another environment.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use engine::egress::CountingEgress;
use engine::time::Instant;

use crate::support::link::Quality;
use crate::support::pair::Pair;
use crate::support::{DISCARD, DISCARD_INDEX, ECHO, STREAM, STREAM_N, config, parse, shard};

/// Set for the second process.
const ROLE: &str = "ENGINE_DETERMINISM_REPLICA";
const TEST: &str = "determinism::equal_log_gives_equal_states_in_another_process";

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take<'a>(input: &mut &'a [u8]) -> &'a [u8] {
    let (len, rest) = input.split_first_chunk::<4>().expect("a length");
    let (bytes, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
    *input = rest;
    bytes
}

/// Random traffic of all services over a bad link, with everything that can go wrong.
fn traffic(seed: u64, us: u64) -> Pair {
    let quality = Quality {
        delay_us: 1_500,
        loss_permille: 20,
        reorder_permille: 50,
        duplicate_permille: 20,
    };
    let mut pair = Pair::new(config(), quality, seed);
    for round in 0..4_u16 {
        for (port, index) in
            [(STREAM, DISCARD_INDEX), (DISCARD, 2), (ECHO, 2), (STREAM_N, 2), (4444, 1)]
        {
            pair.connect(port, index);
        }
        pair.run(us / 4 + u64::from(round));
    }
    pair
}

/// Runs the log that comes on standard input and prints the full digest after each step.
fn replay() {
    // Proves that this process has a hash seed of its own.
    let seed = RandomState::new().build_hasher().finish();
    eprintln!("hash seed {seed:x}");
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).expect("the log");
    // Other addresses than in the first process.
    let _displaced = vec![0_u8; 12_345];
    let mut replica = shard(config());
    let mut egress = CountingEgress::default();
    let mut input = bytes.as_slice();
    let mut digests = String::new();
    while !input.is_empty() {
        let now = u64::from_le_bytes(take(&mut input).try_into().expect("8 bytes"));
        let mut body = take(&mut input);
        let mut packets = Vec::new();
        while !body.is_empty() {
            packets.push(take(&mut body));
        }
        let segments: Vec<_> = packets.iter().map(|packet| parse(packet)).collect();
        replica.step(Instant::from_micros(now), &segments, &mut egress);
        digests += &format!("digest {:016x} {:016x}\n", replica.full_digest(), replica.digest());
    }
    print!("\n{digests}");
}

#[test]
fn equal_log_gives_equal_states_in_another_process() {
    if std::env::var_os(ROLE).is_some() {
        return replay();
    }
    let pair = traffic(42, 400_000);
    let mut log = Vec::new();
    let mut first = shard(config());
    let mut egress = crate::support::Recorder::default();
    let mut expected = Vec::new();
    for (now_us, packets) in &pair.log {
        put(&mut log, &now_us.to_le_bytes());
        let mut body = Vec::new();
        packets.iter().for_each(|packet| put(&mut body, packet));
        put(&mut log, &body);
        let segments: Vec<_> = packets.iter().map(|packet| parse(packet)).collect();
        first.step(Instant::from_micros(*now_us), &segments, &mut egress);
        let (full, running) = (first.full_digest(), first.digest());
        expected.push(format!("digest {full:016x} {running:016x}"));
    }
    assert!(expected.len() > 500, "{} steps", expected.len());
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env_clear()
        .env(ROLE, "1")
        .env("SOMETHING_ELSE", "x".repeat(4000))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a second process");
    child.stdin.take().expect("its input").write_all(&log).expect("the log is read");
    let output = child.wait_with_output().expect("its output");
    let text = String::from_utf8_lossy(&output.stdout);
    let digests: Vec<&str> = text.lines().filter(|line| line.starts_with("digest ")).collect();
    assert_eq!(digests.len(), expected.len(), "{text}");
    for (step, (theirs, ours)) in digests.iter().zip(&expected).enumerate() {
        assert_eq!(theirs, ours, "step {step}");
    }
}
