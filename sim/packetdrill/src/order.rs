//! The order of options in a SYN. Scripts compare it byte for byte, and systems differ: ours is
//! that of Linux.

const TCP_HEADER_LEN: usize = 20;
const FLAGS_AT: usize = 13;
const SYN: u8 = 2;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const TIMESTAMPS: u8 = 8;

/// Puts the options of a SYN into FreeBSD's order; another packet stays as it is. `packet` begins
/// with the IP header of `ip_header_len` bytes; both forms have the same length.
pub fn as_freebsd(packet: &mut [u8], ip_header_len: usize) {
    let Some((header, options)) =
        packet.get_mut(ip_header_len..).and_then(|tcp| tcp.split_at_mut_checked(TCP_HEADER_LEN))
    else {
        return;
    };
    if header[FLAGS_AT] & SYN == 0 {
        return;
    }
    let mut ordered = Vec::with_capacity(options.len());
    for kind in [MSS, WINDOW_SCALE, SACK_PERMITTED, TIMESTAMPS] {
        let Some(option) = find(options, kind) else { continue };
        // What comes before is padded so that the value is aligned.
        let rest = match kind {
            WINDOW_SCALE => 1,
            TIMESTAMPS => 2,
            _ => 0,
        };
        while ordered.len() % 4 != rest {
            ordered.push(NOP);
        }
        ordered.extend_from_slice(option);
    }
    ordered.resize(ordered.len().next_multiple_of(4), END);
    if ordered.len() == options.len() {
        options.copy_from_slice(&ordered);
    }
}

fn find(options: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = options;
    while let [kind, behind @ ..] = rest {
        if *kind == END {
            return None;
        }
        if *kind == NOP {
            rest = behind;
            continue;
        }
        let len = usize::from(*behind.first()?).max(2);
        let option = rest.get(..len)?;
        if *kind == wanted {
            return Some(option);
        }
        rest = &rest[len..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(options: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; TCP_HEADER_LEN];
        packet[FLAGS_AT] = SYN;
        packet.extend_from_slice(options);
        as_freebsd(&mut packet, 0);
        packet.split_off(TCP_HEADER_LEN)
    }

    #[test]
    fn all_options_get_the_other_order() {
        let ours = [2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 6];
        let theirs = [2, 4, 5, 180, 1, 3, 3, 6, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(ordered(&ours), theirs);
    }

    #[test]
    fn what_is_left_over_is_padded_behind() {
        assert_eq!(ordered(&[2, 4, 5, 180, 1, 1, 4, 2]), [2, 4, 5, 180, 4, 2, 0, 0]);
        assert_eq!(ordered(&[2, 4, 5, 180]), [2, 4, 5, 180]);
    }
}
