//! One direction of one line, and its weather.

use arrayvec::ArrayVec;

use super::{Frame, Router};
use crate::coverage::Coverage;
use crate::random::Random;
use crate::time::{MS, S, US};
use crate::wire::{self, CE, LINK_HEADER};

/// Bytes of an IPv6 header that no checksum covers, and those between them.
const IPV6_UNCOVERED: usize = 8;
/// Why a frame is lost that a router may speak of.
const TOO_LONG: &str = "too long for the path";
/// How long a frame is held back to come out of order, at most.
const HELD_BACK_NS: u64 = 3 * MS;

/// What a line does to frames. Chances are in permille.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Time on the line.
    pub delay_ns: u64,
    /// Added to that: from nothing to so much.
    pub jitter_ns: u64,
    /// Bandwidth; 0 for no limit.
    pub bits_per_s: u64,
    /// Bytes that wait for the line at most; what comes then is lost.
    pub queue_bytes: u64,
    /// Frames lost, each for itself.
    pub loss: u32,
    /// Frames lost in a row.
    pub burst: Option<Burst>,
    /// Frames held back behind later ones.
    pub reorder: u32,
    /// Frames that come twice.
    pub duplicate: u32,
    /// Frames that come with a byte changed.
    pub corrupt: u32,
    /// Frames that are marked, of those that may be (RFC 3168).
    pub mark: u32,
    /// Bytes that wait for the line from which on all of these are.
    pub mark_above_bytes: u64,
    /// Largest L3 packet that passes.
    pub mtu: u16,
    /// What becomes of a larger one.
    pub router: Router,
    /// Nothing passes.
    pub cut: bool,
}

/// Loss with a memory (Gilbert and Elliott): in a burst everything is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Chance of each frame to begin one.
    pub begin: u32,
    /// Chance of each frame in it to end it.
    pub end: u32,
}

impl Weather {
    /// A line of a machine room: 10 Gbit/s.
    pub const FAIR: Weather = Weather {
        delay_ns: 20 * US,
        jitter_ns: 0,
        bits_per_s: 10_000_000_000,
        queue_bytes: 1 << 20,
        loss: 0,
        burst: None,
        reorder: 0,
        duplicate: 0,
        corrupt: 0,
        mark: 0,
        mark_above_bytes: u64::MAX,
        mtu: 9216,
        router: Router::Silent,
        cut: false,
    };
}

/// What comes of a frame that was put on a line.
#[derive(Debug, Default)]
pub struct Passage {
    /// What arrives, and when: nothing, the frame, or that twice.
    pub arrives: ArrayVec<(u64, Frame), 2>,
    /// What a router says to the sender, and when it does.
    pub answer: Option<(u64, Frame)>,
}

/// A line.
#[derive(Debug)]
pub struct Line {
    base: Weather,
    weather: Weather,
    random: Random,
    /// When the line has sent all that waits for it.
    free_ns: u64,
    /// Arrival of the last frame that kept its place.
    last_ns: u64,
    in_burst: bool,
    /// When a frame last passed.
    pub passed_ns: u64,
}

impl Line {
    /// A line with its everyday weather.
    #[must_use]
    pub fn new(base: Weather, random: Random) -> Line {
        let (free_ns, last_ns, in_burst) = (0, 0, false);
        Line { base, weather: base, random, free_ns, last_ns, in_burst, passed_ns: 0 }
    }

    /// Another weather, from now on.
    pub fn set(&mut self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.weather);
    }

    /// Back to everyday's weather.
    pub fn clear_up(&mut self) {
        self.weather = self.base;
        self.in_burst = false;
    }

    /// The weather at the moment.
    #[must_use]
    pub fn weather(&self) -> &Weather {
        &self.weather
    }

    /// What comes of a frame that is sent at `now_ns`.
    pub fn pass(&mut self, now_ns: u64, mut frame: Frame, coverage: &mut Coverage) -> Passage {
        let mut passage = Passage::default();
        let waited_ns = self.free_ns.saturating_sub(now_ns);
        let Some(sent_ns) = self.queue(now_ns, frame.bytes.len(), coverage) else { return passage };
        let weather = self.weather;
        let lost = if weather.cut {
            Some("cut")
        } else if frame.bytes.len() > usize::from(weather.mtu) + LINK_HEADER {
            Some(TOO_LONG)
        } else if self.bursts() {
            Some("lost in a burst")
        } else {
            self.random.permille(weather.loss).then_some("lost")
        };
        if let Some(reason) = lost {
            coverage.count("frames", reason);
            let answers = reason == TOO_LONG;
            let answer = answers.then(|| weather.router.answer(&frame, weather.mtu)).flatten();
            passage.answer = answer.map(|answer| (sent_ns + weather.delay_ns, answer));
            return passage;
        }
        self.mark(waited_ns, &mut frame, coverage);
        let random = &mut self.random;
        if random.permille(weather.corrupt) {
            coverage.count("frames", "corrupted");
            damage(&mut frame, random);
        }
        let jitter_ns = random.below(weather.jitter_ns + 1);
        let at_ns = sent_ns + weather.delay_ns + jitter_ns;
        if random.permille(weather.duplicate) {
            coverage.count("frames", "duplicated");
            passage.arrives.push((at_ns + random.below(MS), frame.clone()));
        }
        if random.permille(weather.reorder) {
            coverage.count("frames", "held back");
            passage.arrives.push((at_ns + random.below(HELD_BACK_NS), frame));
        } else {
            self.last_ns = self.last_ns.max(at_ns);
            passage.arrives.push((self.last_ns, frame));
        }
        self.passed_ns = now_ns;
        passage
    }

    /// Marks a frame that may be marked, because of what waits before it, or by chance.
    fn mark(&mut self, waited_ns: u64, frame: &mut Frame, coverage: &mut Coverage) {
        let Weather { mark, mark_above_bytes, bits_per_s, .. } = self.weather;
        let above = bytes_within(waited_ns, bits_per_s) > mark_above_bytes.into();
        let may = wire::ecn(&frame.bytes).is_some_and(|codepoint| codepoint != 0);
        if may && (above || self.random.permille(mark)) {
            wire::set_ecn(&mut frame.bytes, CE);
            coverage.count("frames", if above { "marked in a queue" } else { "marked" });
        }
    }

    /// When the last bit has left, if there is room for it to wait.
    fn queue(&mut self, now_ns: u64, bytes: usize, coverage: &mut Coverage) -> Option<u64> {
        let Weather { bits_per_s, queue_bytes, .. } = self.weather;
        if bits_per_s == 0 {
            return Some(now_ns);
        }
        let ahead_ns = self.free_ns.saturating_sub(now_ns);
        if bytes_within(ahead_ns, bits_per_s) > u128::from(queue_bytes) {
            coverage.count("frames", "no room in the queue");
            return None;
        }
        let send_ns = bytes as u64 * 8 * S / bits_per_s;
        self.free_ns = now_ns + ahead_ns + send_ns;
        Some(self.free_ns)
    }

    fn bursts(&mut self) -> bool {
        if let Some(burst) = self.weather.burst {
            let chance = if self.in_burst { burst.end } else { burst.begin };
            self.in_burst ^= self.random.permille(chance);
        }
        self.in_burst && self.weather.burst.is_some()
    }
}

/// Bytes that a line takes in this time.
fn bytes_within(ns: u64, bits_per_s: u64) -> u128 {
    u128::from(ns) * u128::from(bits_per_s) / u128::from(8 * S)
}

/// Changes one byte of an IP packet. Behind the Ethernet header only: that one, ARP, and the first
/// words of IPv6 have nothing but the frame check sequence, with which no damaged frame ever comes
/// out of a card. A change within one byte cannot escape the sums of IP and of what it carries.
fn damage(frame: &mut Frame, random: &mut Random) {
    let is_ip = frame.bytes.get(12..14).is_some_and(|kind| kind != [8, 6]);
    let is_ipv6 = frame.bytes.get(12..14) == Some(&[0x86, 0xdd]);
    let from = LINK_HEADER + if is_ipv6 { IPV6_UNCOVERED } else { 0 };
    if is_ip && frame.bytes.len() > from {
        let at = from + random.below((frame.bytes.len() - from) as u64) as usize;
        frame.bytes[at] ^= random.between(1, 255) as u8;
        frame.damaged = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(weather: Weather, frames: usize) -> Vec<(u64, Frame)> {
        let mut line = Line::new(weather, Random::new(3, 0));
        let mut coverage = Coverage::default();
        let frame = || Frame::new([&[0; 12][..], &[8, 0], &[1; 986]].concat());
        (0..frames).flat_map(|_| line.pass(0, frame(), &mut coverage).arrives).collect()
    }

    #[test]
    fn a_thousand_bytes_take_eight_milliseconds_at_a_megabit() {
        let weather = Weather { bits_per_s: 1_000_000, delay_ns: MS, ..Weather::FAIR };
        let times: Vec<u64> = arrivals(weather, 3).iter().map(|(at_ns, _)| *at_ns).collect();
        assert_eq!(times, [9 * MS, 17 * MS, 25 * MS]);
    }

    #[test]
    fn a_full_queue_and_a_cut_line_pass_nothing_more() {
        let weather = Weather { bits_per_s: 1_000_000, queue_bytes: 4000, ..Weather::FAIR };
        assert_eq!(arrivals(weather, 20).len(), 5);
        assert!(arrivals(Weather { cut: true, ..weather }, 20).is_empty());
        assert!(arrivals(Weather { mtu: 985, ..weather }, 20).is_empty());
    }

    #[test]
    fn bursts_lose_frames_in_a_row() {
        let burst = Some(Burst { begin: 20, end: 200 });
        let through = arrivals(Weather { burst, bits_per_s: 0, ..Weather::FAIR }, 4000).len();
        assert!((3400..3800).contains(&through), "{through}");
    }

    #[test]
    fn a_queue_marks_what_may_be_marked_and_loses_nothing_for_it() {
        let marks = |codepoint: u8, kind: [u8; 2]| {
            let weather =
                Weather { bits_per_s: 1_000_000, mark_above_bytes: 1500, ..Weather::FAIR };
            let mut line = Line::new(weather, Random::new(3, 0));
            let mut bytes = [&[0; 12][..], &kind, &[0; 986]].concat();
            bytes[14] = if kind == [8, 0] { 0x45 } else { 0x60 };
            wire::set_ecn(&mut bytes, codepoint);
            let passed = (0..4).flat_map(|_| {
                line.pass(0, Frame::new(bytes.clone()), &mut Coverage::default()).arrives
            });
            passed.map(|(_, frame)| wire::ecn(&frame.bytes).unwrap()).collect::<Vec<_>>()
        };
        for kind in [[8, 0], [0x86, 0xdd]] {
            let may = wire::ECT_0;
            assert_eq!(marks(may, kind), [may, may, CE, CE]);
            assert_eq!(marks(0, kind), [0; 4]);
        }
    }

    #[test]
    fn damage_is_marked_and_spares_the_ethernet_header() {
        let weather = Weather { corrupt: 1000, bits_per_s: 0, ..Weather::FAIR };
        for (_, frame) in arrivals(weather, 200) {
            assert!(frame.damaged && frame.bytes[..14] == [&[0; 12][..], &[8, 0]].concat());
            assert_eq!(frame.bytes[14..].iter().filter(|byte| **byte != 1).count(), 1);
        }
    }
}
