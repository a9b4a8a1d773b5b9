//! How many connections at the same time.
//!
//! A window counts the leases that are out. It has no limit of its own: the limit depends on the configuration and on
//! health at the moment of asking, and when it shrinks below what is out, nothing is taken back — it only stays full.

/// Connections in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    in_use: u32,
}

impl Window {
    /// Connections in use.
    pub fn in_use(self) -> u32 {
        self.in_use
    }

    /// Whether one more fits into `limit` (`None`: no limit) divided by `divisor`. A limit divided is at least 1; a limit
    /// of 0 is none at all.
    pub fn has_room(self, limit: Option<u32>, divisor: u32) -> bool {
        limit.is_none_or(|limit| self.in_use < effective(limit, divisor))
    }

    /// One more.
    pub fn take(&mut self) {
        self.in_use = self.in_use.saturating_add(1);
    }

    /// One less.
    pub fn give(&mut self) {
        self.in_use = self.in_use.saturating_sub(1);
    }
}

/// `limit` while it is throttled by `divisor`.
pub fn effective(limit: u32, divisor: u32) -> u32 {
    (limit / divisor.max(1)).max(limit.min(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttled_window_is_smaller_but_never_shut() {
        for (limit, divisor, expected) in [(10, 1, 10), (10, 4, 2), (10, 100, 1), (1, 2, 1), (0, 2, 0), (5, 0, 5)] {
            assert_eq!(effective(limit, divisor), expected, "{limit} / {divisor}");
        }
    }

    #[test]
    fn a_window_is_full_at_its_limit_and_stays_full_when_the_limit_shrinks() {
        let mut window = Window::default();
        (0..3).for_each(|_| window.take());
        assert!(window.has_room(None, 9) && window.has_room(Some(4), 1));
        assert!(!window.has_room(Some(3), 1) && !window.has_room(Some(4), 2));
        window.give();
        assert!(window.has_room(Some(3), 1) && !window.has_room(Some(1), 1));
    }
}
