use super::*;
use crate::frame::{self, Data};
use crate::role::{Epoch, Incarnation};

fn address() -> Address {
    let (sender, receiver) = (Incarnation(1), Incarnation(2));
    Address { channel: 3, epoch: Epoch(4), sender, receiver }
}

fn sealed_with(secrets: &[&[u8]]) -> Protection {
    Protection::Sealed(KeyRing::new("lab", secrets).unwrap())
}

fn plain_frame() -> Vec<u8> {
    let data = Data { sequence: 7, batch_end: true, payload: b"what a client sent" };
    let mut frame = frame::encode(&address(), None, Some(&data)).to_vec();
    frame.extend_from_slice(data.payload);
    frame
}

/// The next datagram of a sealer.
fn next(sealer: &mut Sealer, numbers: &mut Numbers) -> Vec<u8> {
    let mut datagram = plain_frame();
    let trailer = sealer.seal(numbers, &mut datagram);
    datagram.extend_from_slice(&trailer);
    datagram
}

fn first(protection: &Protection) -> Vec<u8> {
    next(&mut Sealer::new(address(), protection), &mut Numbers::default())
}

fn open(opener: &mut Opener, datagram: &[u8]) -> Result<Vec<u8>, SealError> {
    opener.open(&mut datagram.to_vec()).map(<[u8]>::to_vec)
}

#[test]
fn payload_is_hidden_on_the_wire_and_there_when_opened() {
    let protection = sealed_with(&[b"secret"]);
    let datagram = first(&protection);
    assert_eq!(datagram.len(), plain_frame().len() + SEAL_BYTES);
    assert!(!datagram.windows(6).any(|bytes| bytes == b"client"));
    assert_eq!(frame::address_of(&datagram), Ok(address()), "readable, so that it can be told");
    let mut opener = Opener::new(address(), &protection);
    assert_eq!(open(&mut opener, &datagram), Ok(plain_frame()));
}

#[test]
fn every_changed_bit_and_every_cut_is_refused() {
    for protection in [sealed_with(&[b"secret"]), Protection::Checksum] {
        let datagram = first(&protection);
        let mut opener = Opener::new(address(), &protection);
        for place in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[place] ^= 1 << (place % 8);
            assert!(open(&mut opener, &changed).is_err(), "byte {place}");
            assert!(open(&mut opener, &datagram[..place]).is_err(), "cut at {place}");
        }
        assert!(open(&mut opener, &datagram).is_ok(), "refusals cost the real one nothing");
    }
}

#[test]
fn each_datagram_opens_once_and_late_ones_still_do() {
    let protection = sealed_with(&[b"secret"]);
    let (mut sealer, mut numbers) = (Sealer::new(address(), &protection), Numbers::default());
    let datagrams: Vec<_> = (0..5).map(|_| next(&mut sealer, &mut numbers)).collect();
    assert_ne!(datagrams[0], datagrams[1], "the same frame never looks the same");
    let mut opener = Opener::new(address(), &protection);
    for at in [0, 4, 2, 1, 3] {
        assert!(open(&mut opener, &datagrams[at]).is_ok(), "{at}");
        assert_eq!(open(&mut opener, &datagrams[at]), Err(SealError::Replayed(at as u64)));
    }
    numbers.0 += window::WIDTH;
    assert!(open(&mut opener, &next(&mut sealer, &mut numbers)).is_ok());
    let mut forgetful = Opener::new(address(), &protection);
    assert!(open(&mut forgetful, &datagrams[0]).is_ok(), "the numbers are the session's own");
}

#[test]
fn other_keys_clusters_and_names_open_nothing() {
    let protection = sealed_with(&[b"secret"]);
    let datagram = first(&protection);
    let refused = |address, protection: &Protection| {
        open(&mut Opener::new(address, protection), &datagram).unwrap_err()
    };
    let Protection::Sealed(ring) = &protection else { unreachable!() };
    let unknown = SealError::UnknownKey(ring.sealing());
    assert_eq!(refused(address(), &sealed_with(&[b"other"])), unknown);
    let other_cluster = Protection::Sealed(KeyRing::single("labs", b"secret"));
    assert_eq!(refused(address(), &other_cluster), unknown);
    for other in [
        Address { epoch: Epoch(3), ..address() },
        Address { channel: 0, ..address() },
        Address { sender: Incarnation(9), ..address() },
        Address { receiver: Incarnation(9), ..address() },
        address().reversed(),
    ] {
        assert_eq!(refused(other, &protection), SealError::Unauthentic);
    }
    let checksum = refused(address(), &Protection::Checksum);
    assert!(matches!(checksum, SealError::Checksum { .. }));
    let bare = first(&Protection::Checksum);
    let opened = open(&mut Opener::new(address(), &protection), &bare);
    assert!(opened.is_err(), "what is not sealed is refused where seals are expected");
}

#[test]
fn keys_rotate_without_a_datagram_lost() {
    let (old, both) = (sealed_with(&[b"old"]), sealed_with(&[b"old", b"new"]));
    let (turned, new) = (sealed_with(&[b"new", b"old"]), sealed_with(&[b"new"]));
    let (mut sealer, mut numbers) = (Sealer::new(address(), &old), Numbers::default());
    let mut opener = Opener::new(address(), &old);
    let mut late = Vec::new();
    for (sender, receiver) in
        [(&old, &both), (&both, &both), (&turned, &both), (&turned, &turned), (&new, &turned)]
    {
        sealer.protect(sender);
        opener.protect(receiver);
        late.push(next(&mut sealer, &mut numbers));
        assert!(open(&mut opener, &next(&mut sealer, &mut numbers)).is_ok());
    }
    for datagram in &late {
        assert!(open(&mut opener, datagram).is_ok(), "either key opens until one is dropped");
        assert!(matches!(open(&mut opener, datagram), Err(SealError::Replayed(_))));
    }
    opener.protect(&new);
    sealer.protect(&old);
    let dropped = open(&mut opener, &next(&mut sealer, &mut numbers));
    assert!(matches!(dropped, Err(SealError::UnknownKey(_))));
}

#[test]
fn next_key_follows_by_itself_and_the_former_one_still_opens() {
    let protection = sealed_with(&[b"secret"]);
    let mut sealer = Sealer::new(address(), &protection);
    let mut numbers = Numbers(DATAGRAMS_PER_KEY - 2);
    let datagrams: Vec<_> = (0..4).map(|_| next(&mut sealer, &mut numbers)).collect();
    let mut opener = Opener::new(address(), &protection);
    for at in [0, 2, 1, 3] {
        assert!(open(&mut opener, &datagrams[at]).is_ok(), "{at}");
    }
    assert_eq!(opener.ready.len(), 2);
    for generation in 0..10 {
        numbers.0 = generation * DATAGRAMS_PER_KEY;
        let mut stranger = next(&mut sealer, &mut numbers);
        stranger[CLEAR_BYTES] ^= 1;
        assert!(open(&mut opener, &stranger).is_err());
    }
    assert_eq!(opener.ready.len(), READY_KEYS, "guesses take no memory");
}
