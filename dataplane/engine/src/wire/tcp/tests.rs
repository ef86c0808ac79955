use proptest::prelude::*;

use super::*;

fn options() -> impl Strategy<Value = Options> {
    let block = (any::<u32>(), any::<u32>()).prop_map(|(a, b)| (SeqNumber(a), SeqNumber(b)));
    (
        any::<Option<u16>>(),
        any::<Option<u8>>(),
        any::<Option<(u32, u32)>>(),
        any::<bool>(),
        prop::collection::vec(block, 0..=MAX_SACK_BLOCKS),
    )
        .prop_map(|(mss, window_scale, timestamps, sack_permitted, sack)| Options {
            mss,
            window_scale,
            timestamps: timestamps.map(|(value, echo)| Timestamps { value, echo }),
            sack_permitted,
            sack: sack.into_iter().collect(),
        })
}

/// The same options as etherparse reads them.
fn read_by_etherparse(bytes: &[u8]) -> Options {
    use etherparse::TcpOptionElement as Element;
    let mut options = Options::default();
    for element in etherparse::TcpOptionsIterator::from_slice(bytes) {
        match element.unwrap() {
            Element::Noop => {}
            Element::MaximumSegmentSize(mss) => options.mss = Some(mss),
            Element::WindowScale(shift) => options.window_scale = Some(shift),
            Element::SelectiveAcknowledgementPermitted => options.sack_permitted = true,
            Element::Timestamp(value, echo) => {
                options.timestamps = Some(Timestamps { value, echo })
            }
            Element::SelectiveAcknowledgement(first, others) => {
                let blocks = std::iter::once(first).chain(others.into_iter().flatten());
                options.sack = blocks.map(|(a, b)| (SeqNumber(a), SeqNumber(b))).collect();
            }
        }
    }
    options
}

proptest! {
    #[test]
    fn options_come_back_and_etherparse_reads_the_same(options in options()) {
        let mut bytes = [0xaa; MAX_OPTIONS_LEN];
        let len = options.emit(&mut bytes);
        prop_assert_eq!((len, len % 4), (options.emitted_len(), 0));
        let mut expected = options.clone();
        expected.sack.truncate(options.sack_room());
        prop_assert_eq!(&Options::parse(&bytes[..len]).unwrap(), &expected);
        prop_assert_eq!(&read_by_etherparse(&bytes[..len]), &expected);
    }

    #[test]
    fn headers_come_back_and_etherparse_reads_the_same(
        ports: (u16, u16), seq: u32, ack: u32, flags: u8, window: u16, options in options()
    ) {
        let header = Header {
            source_port: ports.0,
            destination_port: ports.1,
            seq: SeqNumber(seq),
            ack: SeqNumber(ack),
            flags: Flags(flags),
            window,
            urgent: 0,
            options: Options { sack: ArrayVec::new(), ..options },
        };
        let mut bytes = [0xaa; HEADER_LEN + MAX_OPTIONS_LEN];
        let len = header.emit(&mut bytes);
        prop_assert_eq!(Header::parse(&bytes[..len]).unwrap(), (header.clone(), &[][..]));
        let oracle = etherparse::TcpHeaderSlice::from_slice(&bytes[..len]).unwrap();
        prop_assert_eq!((oracle.source_port(), oracle.destination_port()), ports);
        prop_assert_eq!((oracle.sequence_number(), oracle.acknowledgment_number()), (seq, ack));
        prop_assert_eq!(oracle.window_size(), window);
        prop_assert_eq!(oracle.syn(), header.flags.syn());
        prop_assert_eq!(oracle.fin(), header.flags.fin());
        prop_assert_eq!(oracle.rst(), header.flags.rst());
        prop_assert_eq!(oracle.ack(), header.flags.ack());
        prop_assert_eq!((oracle.checksum(), oracle.urgent_pointer()), (0, 0));
    }

    #[test]
    fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Header::parse(&bytes);
        let _ = Options::parse(&bytes);
    }

    #[test]
    fn any_sequence_of_short_options_is_safe(bytes in prop::collection::vec(0u8..11, 0..40)) {
        let _ = Options::parse(&bytes);
    }
}

#[test]
fn unknown_options_are_skipped() {
    let bytes = [254, 4, 9, 9, KIND_NOP, KIND_MSS, 4, 5, 0xb4, 30, 2, KIND_END, 3];
    assert_eq!(Options::parse(&bytes).unwrap().mss, Some(1460));
}

#[test]
fn a_known_option_of_the_wrong_length_is_skipped() {
    let bytes = [KIND_MSS, 3, 5, KIND_WINDOW_SCALE, 3, 7];
    let options = Options::parse(&bytes).unwrap();
    assert_eq!((options.mss, options.window_scale), (None, Some(7)));
}

#[test]
fn impossible_option_lengths_are_malformed() {
    for bytes in
        [&[KIND_MSS][..], &[KIND_MSS, 0], &[KIND_MSS, 1, 5, 5], &[KIND_MSS, 4, 5], &[99, 9]]
    {
        assert_eq!(Options::parse(bytes), Err(Malformed::Option), "{bytes:?}");
    }
}

#[test]
fn three_sack_blocks_fit_beside_timestamps() {
    let options = Options { timestamps: Some(Timestamps::default()), ..Options::default() };
    assert_eq!((options.sack_room(), Options::default().sack_room()), (3, 4));
}

#[test]
fn flags_print_by_name() {
    assert_eq!(format!("{:?}", Flags::SYN | Flags::ACK), "SYN,ACK");
    assert_eq!(format!("{:?}", Flags::NONE), "-");
}
