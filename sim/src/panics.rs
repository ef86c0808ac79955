//! A panic of the code under test is a finding like any other: its words belong to the world's
//! report, not to the terminal.

use std::cell::RefCell;
use std::panic;

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on a panic of any thread keeps its words for [`last`].
pub fn keep() {
    panic::set_hook(Box::new(|info| LAST.set(info.to_string())));
}

/// What this thread last panicked with.
#[must_use]
pub fn last() -> String {
    LAST.with_borrow(Clone::clone)
}
