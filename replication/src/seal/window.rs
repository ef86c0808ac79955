//! Which numbers came already (RFC 4303 3.4.3), kept as RFC 6479 proposes: in a ring of words that
//! the window moves over, so that nothing is ever shifted.

const WORDS: u64 = 32;
const BITS: u64 = u64::BITS as u64;
/// Numbers behind the newest that are still told apart. One word is always about to be reused.
pub const WIDTH: u64 = (WORDS - 1) * BITS;

#[derive(Debug, Clone, Default)]
pub struct Window {
    newest: u64,
    seen: [u64; WORDS as usize],
}

impl Window {
    /// Whether `number` did not come before, as far as can be known: what is older than the window
    /// counts as come.
    pub fn admits(&self, number: u64) -> bool {
        let age = self.newest.saturating_sub(number);
        number > self.newest || (age < WIDTH && self.seen[word(number)] & bit(number) == 0)
    }

    /// `number` came.
    pub fn note(&mut self, number: u64) {
        if number > self.newest {
            let (old, new) = (self.newest / BITS, number / BITS);
            for passed in (old + 1..=new).take(WORDS as usize) {
                self.seen[(passed % WORDS) as usize] = 0;
            }
            self.newest = number;
        }
        self.seen[word(number)] |= bit(number);
    }
}

fn word(number: u64) -> usize {
    (number / BITS % WORDS) as usize
}

fn bit(number: u64) -> u64 {
    1 << (number % BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_number_passes_once_in_any_order_within_the_window() {
        let mut window = Window::default();
        for number in [0, 5, 3, 4, 1, 2, 100, 99, WIDTH + 90] {
            assert!(window.admits(number), "{number}");
            window.note(number);
            assert!(!window.admits(number), "{number} again");
        }
        assert!(!window.admits(90), "too old to be known");
        assert!(window.admits(91));
    }

    proptest! {
        #[test]
        fn window_agrees_with_a_set(steps in prop::collection::vec(0..3_000_u64, 1..400)) {
            let (mut window, mut came) = (Window::default(), HashSet::new());
            let (mut base, mut newest) = (0, 0);
            for step in steps {
                // Mostly near the newest, now and then far ahead.
                base += if step % 97 == 0 { step * 50 } else { 1 };
                let number = base + step % 2_200;
                let known = number > newest || newest - number < WIDTH;
                prop_assert_eq!(window.admits(number), known && !came.contains(&number));
                if window.admits(number) {
                    window.note(number);
                    came.insert(number);
                    newest = newest.max(number);
                }
            }
        }
    }
}
