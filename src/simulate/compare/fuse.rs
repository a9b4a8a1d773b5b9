//! The fixed fuse: what the field's simple automation does, as a baseline.
//!
//! Per binding, over all destinations: of the last hundred recipients that were answered, more than five refused for good
//! (a reply that begins with 5, whatever it says) take the binding out for an hour. It comes back with an empty count. It
//! reads no reply, looks at no tenant, spares no last binding, and doubles nothing.

use std::time::Duration;

use crate::clock::Wall;

/// How its suspensions begin, so that they can be told from those of an operator.
pub const WHY: &str = "fixed fuse";
/// Recipients it looks back on.
const WINDOW: u32 = 100;
/// Refusals among them at which it holds still.
const ALLOWED: u32 = 5;
/// How long it takes a binding out.
pub const OUT: Duration = Duration::from_secs(3600);

/// The last answers of a binding: a bit each, set where it was refused.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    refused: u128,
    count: u32,
    out_until: Wall,
}

/// Fuses of all bindings.
#[derive(Clone, Debug)]
pub struct FixedFuse(Vec<Last>);

impl FixedFuse {
    /// Whole fuses for so many bindings.
    pub fn new(bindings: usize) -> Self {
        Self(vec![Last::default(); bindings])
    }

    /// A recipient got this reply over the binding; silence is none. Returns why it blows, if it does: the binding is to
    /// be out for [`OUT`].
    pub fn answered(&mut self, binding: usize, reply: &str, now: Wall) -> Option<String> {
        let last = self.0.get_mut(binding)?;
        let is_reply = reply.as_bytes().first().is_some_and(|first| matches!(first, b'2'..=b'5'));
        // What was on the wire when it blew has been paid for.
        if now < last.out_until || !is_reply {
            return None;
        }
        last.refused = (last.refused << 1 | u128::from(reply.starts_with('5'))) & ((1 << WINDOW) - 1);
        last.count = (last.count + 1).min(WINDOW);
        let refused = last.refused.count_ones();
        if last.count < WINDOW || refused <= ALLOWED {
            return None;
        }
        *last = Last { out_until: now.plus(OUT), ..Last::default() };
        Some(format!("{WHY}: {refused} of the last {WINDOW} recipients were refused, the last: {reply}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Wall {
        Wall::from_millis(1_750_000_000_000).plus(Duration::from_secs(seconds))
    }

    /// Answers until it blows, of which every `nth` is refused by `word`.
    fn blows_after(nth: u64, word: &str) -> Option<u64> {
        let mut fuse = FixedFuse::new(1);
        (1..=10_000).find(|n| fuse.answered(0, if n % nth == 0 { word } else { "250 ok" }, at(0)).is_some())
    }

    #[test]
    fn more_than_five_of_the_last_hundred_blow_it_and_never_before_there_are_a_hundred() {
        assert_eq!(blows_after(1, "550 no"), Some(100));
        assert_eq!(blows_after(16, "550 no"), Some(100), "six of the first hundred");
        assert_eq!(blows_after(20, "550 no"), None, "five of each hundred");
        assert_eq!(blows_after(1, "421 later"), None, "it counts what is refused for good");
        assert_eq!(blows_after(2, "connect: timed out"), None, "silence is no answer");
    }

    #[test]
    fn a_binding_is_out_for_an_hour_and_comes_back_with_an_empty_count() {
        let mut fuse = FixedFuse::new(2);
        let mut refuse =
            |binding, times: u32, now| (0..times).filter(|_| fuse.answered(binding, "550 no", now).is_some()).count();
        assert_eq!(refuse(0, 100, at(0)), 1);
        assert_eq!(refuse(0, 500, at(3599)), 0, "what was on the wire");
        assert_eq!(refuse(0, 99, at(3600)), 0);
        assert_eq!(refuse(1, 100, at(3600)), 1, "each binding has its own");
        assert_eq!(refuse(0, 1, at(3600)), 1);
        assert_eq!(refuse(7, 100, at(0)), 0, "nobody");
    }
}
