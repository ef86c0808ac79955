//! Strangers at a shard's door: segments of no connection are screened before they are logged, in a
//! flood those of connections too, and what is not for the shard is answered from here. Nothing of
//! it is logged or gated: it leaves no trace in a shard, and tells nobody more than that there is
//! no such connection, or that a SYN has arrived.

use engine::guard::{Guard, MAX_ANSWER_LEN, Verdict};
use engine::shard::Shard;
use engine::time::Instant;
use engine::wire::segment::{self, Segment};

use crate::counters::Counters;
use crate::input::MAX_SEGMENTS;
use crate::limit::RateLimit;
use crate::nic::Nic;
use crate::port::Port;
use crate::respond;

const _: () = assert!(MAX_SEGMENTS <= u64::BITS as usize && segment::RESET_LEN <= MAX_ANSWER_LEN);

/// What it takes to answer a stranger.
pub(crate) struct Door<'a, N: Nic> {
    pub lan: &'a mut Port<N>,
    pub resets: &'a mut RateLimit,
    pub now_us: u64,
    pub counters: &'a mut Counters,
}

impl<N: Nic> Door<'_, N> {
    /// Screens the segments from number `first` on; the others were screened before. Bit `i` of the
    /// answer: segment `i`, which came in frame `i`, is not for the shard, and has got its answer
    /// if there is one.
    pub fn screen(
        &mut self,
        shard: &Shard,
        guard: &mut Guard,
        now: Instant,
        segments: &[Segment<'_>],
        frames: &[N::Frame],
        first: usize,
    ) -> u64 {
        let mut refused = 0;
        let beset = shard.is_beset(now);
        for (number, segment) in segments.iter().enumerate().skip(first) {
            let stranger = segment.is_stranger();
            let mut answer = [0; MAX_ANSWER_LEN];
            let verdict = if stranger {
                guard.screen(shard, now, segment, &mut answer)
            } else if beset {
                let first = !follows_another(segments, number, refused);
                guard.screen_known(shard, now, segment, first)
            } else {
                continue;
            };
            let len = match verdict {
                Verdict::Log => continue,
                Verdict::Answer(len) => len,
                Verdict::Reset => self.reset(segment, &mut answer),
                Verdict::Drop => 0,
            };
            refused |= 1 << number;
            self.counters.strangers += u64::from(stranger);
            self.counters.suspects += u64::from(!stranger);
            if len > 0 {
                let (frame, packet) = (&frames[number], &answer[..len]);
                respond::return_to_sender(self.lan, frame, packet, self.counters);
            }
        }
        refused
    }

    fn reset(&mut self, segment: &Segment<'_>, answer: &mut [u8]) -> usize {
        if !self.resets.allows(self.now_us) {
            self.counters.drop_rate_limited += 1;
            return 0;
        }
        let len = segment::reset_for(segment, answer);
        self.counters.resets += u64::from(len > 0);
        len
    }
}

/// Whether one of the segments before this one, and not among the refused, is of its connection.
fn follows_another(segments: &[Segment<'_>], number: usize, refused: u64) -> bool {
    let flow = &segments[number].flow;
    let mut before = segments[..number].iter().enumerate();
    before.any(|(other, segment)| segment.flow == *flow && refused >> other & 1 == 0)
}
