//! Real mail programs on both sides of the relay, and odd octets through it.
//!
//! [`inward`]: swaks, Python, Postfix, Exim and OpenSMTPD send through us. [`outward`]: Postfix, Exim, OpenSMTPD and
//! aiosmtpd take our mail. [`trouble`]: receivers that refuse, greylist, stall and hang up, at every stage. [`octets`]:
//! the corpus of `tests/it/corpus`, octet for octet. [`checklist`]: the tests that docs/smtp.md names exist.
//!
//! The first two are tables: a row is who, over which TLS, with which login, how, and which letters. A letter is found
//! again by its header field; that it came for each recipient, with its envelope, its parameters and its octets, is looked
//! at in one place ([`arrived`]) for all of them. That it came only once is looked at ([`once_each`]) when nothing is left
//! in the queue.

mod checklist;
mod inward;
mod octets;
mod outward;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};

use crate::support::peers::{Letter, Mechanism, Parts, Receiver, Taken, Tls, bare};
use crate::support::{Settings, wait_until};

/// Which letters a row sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Plain,
    EightBit,
    Utf8,
    Large,
    Many,
    Dsn,
    Wishes,
}

impl What {
    fn letter(self, id: &str) -> Letter {
        match self {
            Self::Plain => Letter::plain(id),
            Self::EightBit => Letter::eight_bit(id),
            Self::Utf8 => Letter::utf8(id),
            Self::Large => Letter::large(id),
            Self::Many => Letter::many(id),
            Self::Dsn => Letter::dsn(id),
            Self::Wishes => Letter::wishes(id),
        }
    }
}

/// A relay with one binding at 127.0.0.11 whose failed attempts are soon made again.
fn settings() -> Settings {
    Settings::new().binding("a", 11, "").pool("active = [\"a\"]").set(
        "window",
        "back_off",
        "{ pause = \"100ms\", add_every = \"100ms\" }",
    )
}

/// Waits until the letter has come once for each of its recipients, and fails unless envelope and octets are the
/// letter's. Returns what came.
async fn arrived(receiver: &dyn Receiver, id: &str, letter: &Letter) -> Vec<(Taken, Parts)> {
    let wanted = letter.to.len();
    let what = format!("{id} at {}, {wanted} recipients", receiver.name());
    let came = |taken: Vec<Taken>| -> Vec<Taken> { taken.into_iter().filter(|taken| taken.id() == id).collect() };
    let taken = wait_until(&what, async || {
        let taken = came(receiver.taken());
        (taken.iter().map(|taken| taken.to.len()).sum::<usize>() >= wanted).then_some(taken)
    })
    .await;
    let recipients: Vec<&str> = taken.iter().flat_map(|taken| taken.to.iter().map(|(address, _)| &**address)).collect();
    let once: BTreeSet<&str> = recipients.iter().copied().collect();
    let all: BTreeSet<&str> = letter.to.iter().map(|(address, _)| &**address).collect();
    assert_eq!((recipients.len(), &once), (wanted, &all), "{what}: once for each");
    let sent = bare(&letter.octets);
    taken
        .into_iter()
        .map(|taken| {
            assert_eq!(taken.from, letter.from, "{what}");
            let parts = taken.parts().unwrap_or_else(|| panic!("{what}: no trace field of ours"));
            assert!(parts.after.ends_with(&sent), "{what}: {}", String::from_utf8_lossy(&start(&parts.after)));
            (taken, parts)
        })
        .collect()
}

/// Fails unless the letters, each with its number of recipients, are there once for each recipient: for when nothing is
/// left to come.
fn once_each<'a>(receiver: &dyn Receiver, letters: impl IntoIterator<Item = (&'a str, usize)>) {
    let mut came = BTreeMap::new();
    for taken in receiver.taken() {
        *came.entry(taken.id()).or_insert(0) += taken.to.len();
    }
    for (id, recipients) in letters {
        assert_eq!(came.get(id), Some(&recipients), "{id} at {}: once for each", receiver.name());
    }
}

/// As much as a person wants to read.
fn start(octets: &[u8]) -> Vec<u8> {
    octets[..octets.len().min(4000)].to_vec()
}

/// The word of the trace field for how a letter came (RFC 3848, RFC 6531 §4.3).
fn protocol(tls: Tls, login: Mechanism, what: What) -> String {
    let base = if what == What::Utf8 { "UTF8SMTP" } else { "ESMTP" };
    let s = if tls == Tls::None { "" } else { "S" };
    let a = if login == Mechanism::None { "" } else { "A" };
    format!("{base}{s}{a}")
}
