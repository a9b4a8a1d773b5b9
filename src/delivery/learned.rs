//! What destinations taught about their connections, for the next ones there. Pure.
//!
//! Some hosts take so many messages over one connection and then answer `421`, or `451 4.7.x`, or hang up. They rarely
//! announce it (LIMITS, RFC 9422). What happens at the n-th message, n > 1, before anything of it was taken raises a
//! suspicion; the second time at the same place in a row it is believed, and connections there carry n − 1 from then on.
//! A connection that carries more in between clears the suspicion. What is believed is forgotten after [`KEPT_FOR`]: it
//! costs two connections to learn it again, and hosts change.
//!
//! Likewise a host that offers CHUNKING and does not know BDAT is not asked for it for that long.
//!
//! At most [`DESTINATIONS`] are remembered, the longest unheard of goes first.

use std::collections::HashMap;
use std::time::Duration;

use super::Answer;
use crate::clock::Wall;
use crate::message::DestinationName;
use crate::outcome::{FailureKind, Stage};

/// How long something learned holds.
pub const KEPT_FOR: Duration = Duration::from_secs(6 * 3600);
/// Destinations remembered at most.
pub const DESTINATIONS: usize = 10_000;

/// All of it.
#[derive(Debug, Default)]
pub struct Learned {
    known: HashMap<DestinationName, Known>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Ended at this message the last time.
    suspect: Option<u32>,
    /// So many messages at most, until a moment.
    limit: Option<(u32, Wall)>,
    /// No BDAT until then.
    plain_until: Option<Wall>,
    heard: Wall,
}

/// How a message fared on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fared {
    /// The host took it, or refused it as a message.
    Well,
    /// The host had enough of the connection.
    Ended,
    /// It says nothing about how many messages a connection carries.
    Otherwise,
}

impl Learned {
    /// The `number`-th message (from 1) over a connection there fared like this. Whether a limit was learned from it.
    pub fn note(&mut self, destination: &DestinationName, number: u32, fared: Fared, now: Wall) -> Option<u32> {
        if number < 2 || fared == Fared::Otherwise {
            return None;
        }
        if fared == Fared::Well {
            // The usual case writes nothing.
            let known = self.known.get_mut(destination)?;
            known.suspect.take_if(|suspect| *suspect <= number);
            return None;
        }
        let known = self.enter(destination, now);
        match known.suspect.replace(number) {
            Some(before) if before == number => {
                known.limit = Some((number - 1, now.plus(KEPT_FOR)));
                Some(number - 1)
            }
            _ => None,
        }
    }

    /// The host offers CHUNKING and does not know BDAT.
    pub fn no_chunks(&mut self, destination: &DestinationName, now: Wall) {
        self.enter(destination, now).plain_until = Some(now.plus(KEPT_FOR));
    }

    /// Messages per connection there, as far as that was learned.
    pub fn messages(&self, destination: &DestinationName, now: Wall) -> Option<u32> {
        let (limit, until) = self.known.get(destination)?.limit?;
        (until > now).then_some(limit)
    }

    /// Whether BDAT is not to be tried there.
    pub fn is_plain(&self, destination: &DestinationName, now: Wall) -> bool {
        self.known.get(destination).and_then(|known| known.plain_until).is_some_and(|until| until > now)
    }

    fn enter(&mut self, destination: &DestinationName, now: Wall) -> &mut Known {
        if self.known.len() >= DESTINATIONS && !self.known.contains_key(destination) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.heard).map(|(name, _)| name.clone());
            oldest.map(|name| self.known.remove(&name));
        }
        let known = self.known.entry(destination.clone()).or_default();
        known.heard = now;
        known
    }
}

impl Fared {
    /// What the answers of one transaction say; `stale`: the connection was gone before MAIL was answered.
    pub fn of(answers: &[Answer], stale: bool) -> Self {
        if stale {
            return Self::Ended;
        }
        match answers.first() {
            Some(Answer::Reply(Stage::Mail, reply)) if reply.code == 421 => Self::Ended,
            Some(Answer::Reply(Stage::Mail, reply))
                if reply.code == 451 && reply.enhanced.is_some_and(|code| code.subject == 7) =>
            {
                Self::Ended
            }
            Some(Answer::Reply(Stage::Rcpt | Stage::Data | Stage::EndOfData, reply)) if reply.code != 421 => Self::Well,
            Some(Answer::Failure(failure)) if failure.stage == Stage::Mail && failure.kind == FailureKind::Reset => {
                Self::Ended
            }
            _ => Self::Otherwise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{EnhancedCode, Reply};

    const NOW: Wall = Wall::from_millis(1_795_000_000_000);

    fn name(text: &str) -> DestinationName {
        text.into()
    }

    #[test]
    fn what_ends_twice_at_the_same_message_is_learned_and_forgotten_in_time() {
        let mut learned = Learned::default();
        let far = name("site:a");
        assert_eq!(learned.note(&far, 1, Fared::Ended, NOW), None, "the first message says nothing of numbers");
        assert_eq!(learned.note(&far, 4, Fared::Ended, NOW), None);
        assert_eq!(learned.messages(&far, NOW), None, "once is chance");
        assert_eq!(learned.note(&far, 4, Fared::Ended, NOW), Some(3));
        assert_eq!(learned.messages(&far, NOW), Some(3));
        assert_eq!(learned.messages(&name("site:b"), NOW), None);
        assert_eq!(learned.messages(&far, NOW.plus(KEPT_FOR)), None);
    }

    #[test]
    fn a_longer_connection_clears_the_suspicion() {
        let mut learned = Learned::default();
        let far = name("site:a");
        for ended in [4, 7, 4] {
            assert_eq!(learned.note(&far, ended, Fared::Ended, NOW), None, "at another place each time");
        }
        learned.note(&far, 3, Fared::Well, NOW);
        learned.note(&far, 5, Fared::Well, NOW);
        assert_eq!(learned.note(&far, 4, Fared::Ended, NOW), None);
        learned.note(&far, 3, Fared::Well, NOW);
        assert_eq!(learned.note(&far, 4, Fared::Ended, NOW), Some(3), "shorter ones clear nothing");
    }

    #[test]
    fn only_so_many_destinations_are_remembered() {
        let mut learned = Learned::default();
        for number in 0..DESTINATIONS + 5 {
            learned.no_chunks(&name(&format!("site:{number}")), NOW.plus(Duration::from_millis(number as u64)));
        }
        assert_eq!(learned.known.len(), DESTINATIONS);
        assert!(!learned.is_plain(&name("site:0"), NOW) && learned.is_plain(&name("site:10004"), NOW));
    }

    #[test]
    fn answers_tell_how_a_message_fared() {
        let reply = |stage, code, subject| {
            let enhanced = Some(EnhancedCode { class: 4, subject, detail: 0 });
            Answer::Reply(stage, Reply { code, enhanced, text: String::new() })
        };
        for (answer, stale, fared) in [
            (reply(Stage::Mail, 421, 3), false, Fared::Ended),
            (reply(Stage::Mail, 451, 7), false, Fared::Ended),
            (reply(Stage::Mail, 451, 3), false, Fared::Otherwise),
            (reply(Stage::Mail, 550, 7), false, Fared::Otherwise),
            (reply(Stage::EndOfData, 250, 0), false, Fared::Well),
            (reply(Stage::EndOfData, 250, 0), true, Fared::Ended),
            (reply(Stage::Rcpt, 550, 1), false, Fared::Well),
            (reply(Stage::Rcpt, 421, 1), false, Fared::Otherwise),
        ] {
            assert_eq!(Fared::of(std::slice::from_ref(&answer), stale), fared, "{answer:?}");
        }
        assert_eq!(Fared::of(&[], false), Fared::Otherwise);
    }
}
