//! Requests and the verification of their responses.

use super::http::{self, Http};
use super::{Index, base};
use crate::load::transport::Stream;
use crate::load::trouble::Trouble;
use engine::buffer::pattern;

/// What a request is, and what its response must be.
#[derive(Debug)]
pub enum Exchange {
    /// A piece of the pattern, which comes back.
    Echo {
        /// Its bytes.
        size: u32,
        /// Room for one request.
        request: Vec<u8>,
    },
    /// An HTTP GET.
    Http(Http),
}

/// How far a connection's next response has come.
#[derive(Debug, Default)]
pub struct Incoming {
    /// Bytes of it.
    got: u32,
    http: Option<Box<http::Incoming>>,
}

impl Incoming {
    /// Bytes of a response that is not complete, as far as they were counted.
    pub fn is_partial(&self) -> bool {
        self.got > 0
    }
}

impl Exchange {
    /// Requests of `size` bytes that are echoed.
    pub fn echo(size: u32) -> Exchange {
        Exchange::Echo { size, request: vec![0; size as usize] }
    }

    /// Requests for a path of an HTTP server. `closes`: the server is to close after each.
    pub fn http(host: &str, path: &str, closes: bool) -> Exchange {
        Exchange::Http(Http::new(host, path, closes))
    }

    /// Bytes of a request.
    pub fn request_len(&self) -> u32 {
        match self {
            Exchange::Echo { size, .. } => *size,
            Exchange::Http(http) => http.request_len(),
        }
    }

    /// Writes the last `left` bytes of a connection's `number`-th request. Returns how many of them
    /// the stream took.
    #[inline]
    pub fn write(&mut self, stream: &mut impl Stream, index: Index, number: u64, left: u32) -> u32 {
        let took = match self {
            Exchange::Echo { size, request } => {
                let piece = &mut request[..left as usize];
                let sent = u64::from(*size - left);
                pattern::fill(echo_at(index, number, *size) + sent, piece);
                stream.write(piece)
            }
            Exchange::Http(http) => stream.write(http.last_bytes(left)),
        };
        // Not more than `left`, which is one.
        took as u32
    }

    /// Verifies bytes that came, of which the first belongs to the response to the connection's
    /// `number`-th request. Returns how many responses they completed.
    ///
    /// # Errors
    /// The trouble, and the byte of `bytes` where it is.
    #[inline]
    pub fn take(
        &mut self,
        incoming: &mut Incoming,
        index: Index,
        number: u64,
        bytes: &[u8],
    ) -> Result<u64, (Trouble, usize)> {
        match self {
            Exchange::Echo { size, .. } => {
                let at = echo_at(index, number, *size) + u64::from(incoming.got);
                let matching = pattern::matching(at, bytes);
                if matching < bytes.len() {
                    return Err((Trouble::WrongByte, matching));
                }
                let got = incoming.got as usize + bytes.len();
                let size = *size as usize;
                if got < size {
                    incoming.got = got as u32;
                    return Ok(0);
                }
                if got == size {
                    incoming.got = 0;
                    return Ok(1);
                }
                incoming.got = (got % size) as u32;
                Ok((got / size) as u64)
            }
            Exchange::Http(http) => {
                let partial = incoming.http.get_or_insert_default();
                let complete = http.take(partial, bytes)?;
                incoming.got = u32::from(!partial.is_empty());
                Ok(complete)
            }
        }
    }
}

/// Where a request of a connection begins in the pattern.
#[inline]
fn echo_at(index: Index, number: u64, size: u32) -> u64 {
    base(index).wrapping_add(number.wrapping_mul(size.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_complete_however_they_are_cut() {
        let mut exchange = Exchange::echo(10);
        let mut bytes = vec![0; 100];
        pattern::fill(base(3) + 20, &mut bytes);
        for cut in 1..60 {
            let mut incoming = Incoming::default();
            let mut answered = 2;
            for piece in bytes.chunks(cut) {
                answered += exchange.take(&mut incoming, 3, answered, piece).unwrap();
            }
            assert_eq!((answered, incoming.is_partial()), (12, false), "pieces of {cut}");
        }
        bytes[25] ^= 1;
        let wrong = exchange.take(&mut Incoming::default(), 3, 2, &bytes);
        assert_eq!(wrong, Err((Trouble::WrongByte, 25)));
        let other_connection = exchange.take(&mut Incoming::default(), 4, 2, &bytes);
        assert!(other_connection.is_err());
    }
}
