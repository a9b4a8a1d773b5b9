//! Sessions of the console.
//!
//! A browser must not keep a token where a script can read it. So the console hands it over once and is given a cookie
//! that no script sees and no other site's request carries. Kept is SHA-256 of the cookie's value and of the token: a
//! session is as good as its token, and ends with it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::failures;
use super::token::Digest;
use crate::clock::{Mono, Wall};

/// How long one lasts.
pub(in crate::admin) const LASTS: Duration = Duration::from_secs(12 * 3600);
/// Sessions of one token.
const PER_TOKEN: usize = 32;
/// Sessions in all.
const MOST: usize = 512;
/// For so long another sign-in of the same name from the same client is no news.
const QUIET: Duration = Duration::from_secs(600);
/// Sign-ins remembered for that.
const REMEMBERED: usize = 1024;
/// Name of the cookie.
pub(in crate::admin) const COOKIE: &str = "remuda_session";

/// One that was begun.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Whose it is.
    pub(super) token: Digest,
    /// When it ends.
    pub(super) until: Wall,
}

/// All of them, by SHA-256 of what the cookie says.
#[derive(Debug, Default)]
pub(super) struct Sessions(HashMap<Digest, Session>);

impl Sessions {
    /// Begins one. Where a token has too many the one goes that would end first.
    pub(super) fn open(&mut self, id: Digest, session: Session, now: Wall) {
        self.0.retain(|_, session| session.until > now);
        let is_same = |one: &Session| one.token == session.token;
        if self.0.values().filter(|one| is_same(one)).count() >= PER_TOKEN {
            self.forget_first(is_same);
        }
        if self.0.len() >= MOST {
            self.forget_first(|_| true);
        }
        self.0.insert(id, session);
    }

    fn forget_first(&mut self, of: impl Fn(&Session) -> bool) {
        let first = self.0.iter().filter(|(_, session)| of(session)).min_by_key(|(_, session)| session.until);
        if let Some(id) = first.map(|(id, _)| *id) {
            self.0.remove(&id);
        }
    }

    /// The one with this id, as long as it lasts.
    pub(super) fn find(&self, id: &Digest, now: Wall) -> Option<Session> {
        self.0.get(id).filter(|session| session.until > now).cloned()
    }

    /// Ends it.
    pub(super) fn close(&mut self, id: &Digest) {
        self.0.remove(id);
    }

    /// Ends all others.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Session) -> bool) {
        self.0.retain(|_, session| keep(session));
    }
}

/// Who signed in lately, and from where: so that one who does it again and again fills no record.
#[derive(Debug, Default)]
pub(super) struct Lately(HashMap<(String, Option<IpAddr>), Mono>);

impl Lately {
    /// Notes that `name` signed in from `client`. Whether that is worth an event.
    pub(super) fn is_news(&mut self, name: &str, client: Option<IpAddr>, now: Mono) -> bool {
        let key = (name.to_owned(), failures::key(client));
        if self.0.get(&key).is_some_and(|at| now.since(*at) < QUIET) {
            return false;
        }
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, at| now.since(*at) < QUIET);
        }
        // Whoever has a token and so many addresses is not worth an event for each.
        let is_room = self.0.len() < REMEMBERED;
        if is_room {
            self.0.insert(key, now);
        }
        is_room
    }
}

/// The id in the cookies of a request (RFC 6265 §4.2).
pub(super) fn id_in<'a>(headers: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut pairs = headers.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value).filter(|value| !value.is_empty())
}

/// The header that gives a cookie to a browser; an empty id takes it away.
pub(in crate::admin) fn cookie(id: &str, is_secure: bool) -> String {
    let age = if id.is_empty() { 0 } else { LASTS.as_secs() };
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{COOKIE}={id}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(token: &str, until: i64) -> Session {
        Session { token: Digest::of(token), until: Wall::from_millis(until) }
    }

    #[test]
    fn a_session_ends_by_itself_and_when_it_is_closed() {
        let mut sessions = Sessions::default();
        for id in ["a", "b"] {
            sessions.open(Digest::of(id), session("t", 100), Wall::from_millis(0));
        }
        sessions.close(&Digest::of("b"));
        let found = |id: &str, at| sessions.find(&Digest::of(id), Wall::from_millis(at)).is_some();
        assert_eq!((found("a", 99), found("a", 100), found("b", 0)), (true, false, false));
    }

    #[test]
    fn nobody_fills_the_memory_and_nobody_ends_the_sessions_of_others() {
        let mut sessions = Sessions::default();
        sessions.open(Digest::of("first"), session("other", 1), Wall::from_millis(0));
        for n in 0..1000 {
            sessions.open(Digest::of(&n.to_string()), session("greedy", 1000 + n), Wall::from_millis(0));
        }
        assert_eq!(sessions.0.len(), PER_TOKEN + 1);
        assert!(sessions.find(&Digest::of("first"), Wall::from_millis(0)).is_some());
        assert!(sessions.find(&Digest::of("999"), Wall::from_millis(0)).is_some(), "the newest stays");
        for n in 0..1000 {
            sessions.open(Digest::of(&format!("x{n}")), session(&n.to_string(), 5), Wall::from_millis(0));
        }
        assert_eq!(sessions.0.len(), MOST);
    }

    #[test]
    fn who_signs_in_again_and_again_is_news_once_in_a_while() {
        let at = |seconds: u64| Mono::from_nanos(seconds * 1_000_000_000);
        let mut lately = Lately::default();
        let mut is_news = |name: &str, client: &str, seconds| {
            lately.is_news(name, Some(client.parse().expect("an address")), at(seconds))
        };
        let news = [("ci", "192.0.2.1", 0), ("ci", "192.0.2.1", 599), ("ci", "192.0.2.2", 1), ("eye", "192.0.2.1", 1)];
        assert_eq!(news.map(|(name, client, at)| is_news(name, client, at)), [true, false, true, true]);
        assert!(is_news("ci", "192.0.2.1", 600), "it was a while ago");
        let many = (0..10_000_u32).filter(|n| is_news("ci", &IpAddr::from(n.to_be_bytes()).to_string(), 600)).count();
        assert!(many < REMEMBERED, "{many}");
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = |headers: &[&'static str]| id_in(headers.iter().copied());
        assert_eq!(found(&["a=b; remuda_session=xyz; c=d"]), Some("xyz"));
        assert_eq!(found(&["a=b", "remuda_session=xyz"]), Some("xyz"));
        assert_eq!(found(&["remuda_session=", "not_remuda_session=1"]), None);
        assert!(cookie("x", true).ends_with("HttpOnly; SameSite=Strict; Secure"));
        assert!(cookie("", false).contains("Max-Age=0") && !cookie("", false).contains("Secure"));
    }
}
