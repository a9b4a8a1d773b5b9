//! Receivers with tempers of their own.
//!
//! What a receiver does is one policy of its sink, so that the order is fixed: whom it blocks, whom it does not know, and
//! then its temper.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{Clock, Mono, SystemClock};
use crate::demo::sink::{Act, Moment, Sink, SinkOptions};
use crate::outcome::Stage;

/// Local part that nobody has.
pub(super) const NOBODY: &str = "nobody";

/// How a receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Temper {
    /// Takes everything at once.
    Easy,
    /// Puts off whom it has not seen for a while (RFC 6647).
    Greylists,
    /// Takes a while to think at the end of each message.
    Slow,
    /// Puts off one recipient in so many.
    Busy(u64),
}

/// How long a greylisting receiver lets an unknown triple wait, and after how long it has forgotten one.
const GREY: Duration = Duration::from_secs(4);
const FORGETS: Duration = Duration::from_secs(120);
/// Triples it keeps at most; it forgets all of them rather than grow.
const TRIPLES: usize = 50_000;
const THINKS: Duration = Duration::from_millis(250);

/// A running receiver.
pub(super) struct Receiver {
    pub(super) name: &'static str,
    pub(super) sink: Sink,
    mind: Arc<Mind>,
}

struct Mind {
    temper: Temper,
    clock: SystemClock,
    /// Source address of a binding → what it is told.
    blocked: Mutex<BTreeMap<IpAddr, String>>,
    seen: Mutex<HashMap<String, Mono>>,
    asked: AtomicU64,
}

impl Receiver {
    pub(super) async fn start(name: &'static str, temper: Temper, address: SocketAddr) -> io::Result<Self> {
        let options = SinkOptions { hostname: format!("mx.{name}.example"), ..SinkOptions::default() };
        let sink = Sink::start_with(address, options).await?;
        let mind = Arc::new(Mind {
            temper,
            clock: SystemClock::default(),
            blocked: Mutex::default(),
            seen: Mutex::default(),
            asked: AtomicU64::new(0),
        });
        let thinks = Arc::clone(&mind);
        sink.policy(move |moment| thinks.act(moment));
        Ok(Self { name, sink, mind })
    }

    /// Refuses what comes from `source`, whose address the world knows as `public`.
    pub(super) fn block(&self, source: IpAddr, public: IpAddr) {
        let reply = format!("550 5.7.1 {public} is refused here until somebody says unblock");
        self.mind.blocked.lock().insert(source, reply);
    }

    /// True when it was blocked.
    pub(super) fn unblock(&self, source: IpAddr) -> bool {
        self.mind.blocked.lock().remove(&source).is_some()
    }

    pub(super) fn blocked(&self) -> Vec<IpAddr> {
        self.mind.blocked.lock().keys().copied().collect()
    }
}

impl Mind {
    fn act(&self, moment: &Moment<'_>) -> Option<Act> {
        match (moment.stage, self.temper) {
            (Stage::Rcpt, _) => self.recipient(moment).map(Act::Reply),
            (Stage::EndOfData, Temper::Slow) => Some(Act::After(THINKS, Box::new(Act::Accept))),
            _ => None,
        }
    }

    /// What it says against a recipient.
    fn recipient(&self, moment: &Moment<'_>) -> Option<String> {
        if let Some(reply) = self.blocked.lock().get(&moment.source) {
            return Some(reply.clone());
        }
        let recipient = moment.recipients.first()?;
        if recipient.split('@').next() == Some(NOBODY) {
            return Some(format!("550 5.1.1 <{recipient}>: Recipient address rejected: User unknown"));
        }
        match self.temper {
            Temper::Greylists => {
                let triple = format!("{} {} {recipient}", moment.source, moment.reverse_path);
                self.is_new(triple, self.clock.now().mono)
                    .then(|| "451 4.7.1 Greylisted, please try again in 4 seconds".into())
            }
            Temper::Busy(one_in) => (self.asked.fetch_add(1, Ordering::Relaxed) % one_in == one_in - 1)
                .then(|| "451 4.3.2 Busy, please try again later".into()),
            Temper::Easy | Temper::Slow => None,
        }
    }

    fn is_new(&self, triple: String, now: Mono) -> bool {
        let mut seen = self.seen.lock();
        if seen.len() >= TRIPLES {
            seen.clear();
        }
        let first = seen.entry(triple).or_insert(now);
        if now.since(*first) > FORGETS {
            *first = now;
        }
        now.since(*first) < GREY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mind(temper: Temper) -> Mind {
        Mind {
            temper,
            clock: SystemClock::default(),
            blocked: Mutex::default(),
            seen: Mutex::default(),
            asked: AtomicU64::new(0),
        }
    }

    fn says(mind: &Mind, source: u8, to: &str) -> Option<String> {
        let recipients = [Box::from(to)];
        let source = IpAddr::from([127, 0, 0, source]);
        let moment =
            Moment { stage: Stage::Rcpt, source, ehlo: "", reverse_path: "a@b.example", recipients: &recipients };
        mind.recipient(&moment).map(|reply| reply[..3].to_owned())
    }

    #[test]
    fn a_block_comes_before_everything_and_is_for_one_address() {
        let mind = mind(Temper::Easy);
        mind.blocked.lock().insert(IpAddr::from([127, 0, 0, 11]), "550 5.7.1 no".into());
        let code = |text: &str| Some(text.to_owned());
        assert_eq!(says(&mind, 11, "u@x.example"), code("550"));
        assert_eq!(says(&mind, 12, "u@x.example"), None);
        assert_eq!(says(&mind, 12, "nobody@x.example"), code("550"));
    }

    #[test]
    fn greylisting_puts_off_what_is_new_and_what_was_forgotten() {
        let mind = mind(Temper::Greylists);
        let start = Mono::default();
        let at = |seconds: u64| Mono::from_nanos(seconds * 1_000_000_000);
        let answers = [(0, true), (3, true), (5, false), (100, false), (122, true), (123, true), (127, false)];
        for (second, is_new) in answers {
            assert_eq!(mind.is_new("a".into(), at(second)), is_new, "after {second} s");
        }
        assert!(mind.is_new("b".into(), start));
    }

    #[test]
    fn a_busy_receiver_puts_off_its_share() {
        let mind = mind(Temper::Busy(20));
        let off = (0..200).filter(|n| says(&mind, 11, &format!("u{n}@x.example")).is_some()).count();
        assert_eq!(off, 10);
    }
}
