//! How many connections at the same time.
//!
//! A [`Window`] counts the leases that are out. It has no limit of its own: the limit depends on the configuration, on
//! health and on what was learnt at the moment of asking, and when it shrinks below what is out, nothing is taken back —
//! it only stays full.
//!
//! The limit of a route (binding × destination) has three parts, each in its file:
//!
//! - The *ceiling* is `max_outbound_connections` of the configuration. Without `window.adaptive` that is all.
//! - The *size* ([`adaptive`]) lies between 1 and the ceiling. It starts modestly, takes small steps up while mail is
//!   accepted and quick steps down when the receiver struggles: deferrals, refused or lost connections, blame, and, more
//!   gently, answers that take clearly longer than they used to.
//! - A *back-off* ([`recipe`]) begins when a reply asks us to go slower and its rule says `back_off`: no connection for a
//!   while, then one, then one more at a time. It works also where the size is not adaptive.
//!
//! Nobody is punished twice: while a back-off runs it sets the pace of the size, and the throttle that reputation puts on
//! the route for the same reply (`rate_limited`, for the span of the rule) divides its rates only. That throttle is on
//! disk, and with it a restart knows of the back-off: it begins again with a pause, see [`recipe`].
//!
//! Neither takes a binding out. A route that pauses is busy, like one ahead of its rate, and no reason to open a backup
//! tier: the receiver asked for less mail from us, not for the same from elsewhere.

pub mod adaptive;
#[cfg(test)]
mod adaptive_tests;
pub mod recipe;
mod route;
#[cfg(test)]
mod route_tests;

pub use adaptive::Adaptive;
pub use recipe::BackOff;
pub use route::RouteWindow;
pub(super) use route::Sizing;

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
