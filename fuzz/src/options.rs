//! TCP options: any bytes in, and back onto the wire.

use engine::wire::tcp::{MAX_OPTIONS_LEN, Options};

pub fn run(input: &[u8]) {
    let bytes = &input[..input.len().min(MAX_OPTIONS_LEN)];
    let Ok(options) = Options::parse(bytes) else { return };
    let mut out = [0xee; MAX_OPTIONS_LEN];
    let len = options.emit(&mut out);
    assert!(len <= MAX_OPTIONS_LEN && len.is_multiple_of(4) && len == options.emitted_len());
    let again = Options::parse(&out[..len]).expect("our own options are well-formed");
    let mut expected = options.clone();
    expected.sack.truncate(options.sack_room());
    assert_eq!(again, expected);
}
