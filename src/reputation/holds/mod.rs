//! Holds: mail of one tenant, or of one of its sender domains, that waits because a receiver refuses *it*.
//!
//! Some refusals speak of the sender and not of the address: no DMARC, a blocked domain, "too many complaints about this
//! sender". Sending on would earn more of them and wear out the addresses others depend on; another binding does not
//! help. So when enough distinct messages were refused like that and none was accepted between them
//! ([`Holds::refused`]), the mail of that tenant to that destination waits. Everybody else's goes on, and the tenant's
//! goes on elsewhere.
//!
//! ```text
//!   counting ──hold_count messages within hold_window──▶ held ──span is over──▶ probing ──accepted──▶ gone
//!      └─any message accepted──▶ from the beginning        ▲                      │  └─hold_window without a word──▶ gone
//!                                                          └──refused again, span doubled (at most 24 h)
//! ```
//!
//! While probing one message at a time may go: were all that waits let loose at once, hundreds of refusals would be on the
//! wire before the first was heard. Only the answer about that message ends the probe; where its recipients were answered
//! differently, an acceptance wins. A probe of which nothing is heard for [`PROBE_PATIENCE`] is given up for lost. After
//! an accepted probe all that waited goes at once; but what is refused again within `hold_window` is held for twice as
//! long, so that a receiver which lets one message in a while pass is not flooded every hour. Where it
//! only wished for less, three times as many must have been told so in a row, and a hold is doubled twice at most.
//!
//! Mail that was refused for the *address's* sake over one binding after the other is held as well, at once and by sender
//! domain and stream ([`Holds::stop`]; [`moves`](super::moves) decides when): sent on, it would wear out the next address.
//! Its probes use only bindings that it has met before.
//!
//! A tenant whose list is full of dead addresses is held, too, where the fuse of hard bounces finds that the list explains
//! them ([`Holds::stop_mail`]): at once, and for as long as an address would have been taken out otherwise; only the
//! sender domain, or the stream from there, where that explains it.
//!
//! A clock that was wrong holds nothing for long: no end is further away than its span from now.
//!
//! Pure. Holds are written down; what is still counted is not: a restart forgets at most `hold_count` − 1 refusals, and
//! the penalties of holds that have ended.

mod counted;
mod hold;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::counted::Counted;
use self::hold::Hold;
use super::facts::{self, Fact};
use crate::clock::{Wall, rfc3339};
use crate::config;
use crate::message::{BindingName, DestinationName, Domain, MessageId, StreamName, TenantName};

/// Times in a row up to which the span of mail that was stopped from moving is doubled, and of mail that was only told to
/// come back later: whoever says so may well let a part of it pass, and what waits for a day is as good as lost.
const STOPPED_TIMES: u32 = 3;

/// How many times `hold_count` wishes for less make a hold. Whoever puts off every third message says so three times in a row
/// about every thirty messages, and nine times about every thirty thousand.
const WISHES: u32 = 3;

/// Holds of one tenant at the same time. Sender domains and destinations are the tenant's own choice; whoever fills this is
/// held as a whole where the next one would begin.
pub const HOLDS_MAX: usize = 1_000;

/// How long a probe may be under way before the next one is let go.
pub const PROBE_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// One message on its way, as far as holds care.
#[derive(Clone, Copy, Debug)]
pub struct Mail<'a> {
    /// Whose.
    pub tenant: &'a TenantName,
    /// Kind of mail; mail with the null reverse path needs none.
    pub stream: Option<&'a StreamName>,
    /// The domain of the reverse path; `None` for the null reverse path.
    pub sender_domain: Option<&'a Domain>,
    /// Where to.
    pub destination: &'a DestinationName,
    /// Which.
    pub message: MessageId,
}

/// What a refusal's rule asks for.
pub(super) struct Asked<'a> {
    /// All of the tenant's mail to there, and not only its sender domain's.
    pub(super) whole_tenant: bool,
    /// For how long, the first time.
    pub(super) span: Duration,
    /// The reply only wished for less, or for another time.
    pub(super) is_wish: bool,
    /// Rule and reply.
    pub(super) evidence: &'a str,
}

/// Why and how far mail moves no further.
pub(super) struct Stop<'a> {
    /// All of the tenant's mail to there, and not only this kind.
    pub(super) whole_tenant: bool,
    /// The bindings that it was sent over before.
    pub(super) met: Vec<BindingName>,
    /// The one that was refused last.
    pub(super) refused_by: &'a BindingName,
    /// What was said, in words.
    pub(super) evidence: &'a str,
}

impl Mail<'_> {
    /// The keys it falls under: its tenant's, its sender domain's, its group's.
    fn keys(self) -> impl Iterator<Item = HoldKey> {
        let key = move |domain: Option<&Domain>, stream: Option<&StreamName>| HoldKey {
            tenant: self.tenant.clone(),
            sender_domain: domain.cloned(),
            stream: stream.cloned(),
            destination: self.destination.clone(),
        };
        let own = self.sender_domain.map(|domain| key(Some(domain), None));
        let group = self.sender_domain.zip(self.stream).map(|(domain, stream)| key(Some(domain), Some(stream)));
        std::iter::once(key(None, None)).chain(own).chain(group)
    }
}

/// Whose mail to where.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct HoldKey {
    /// The tenant.
    pub tenant: TenantName,
    /// Only mail from this domain; `None` for all of the tenant's.
    pub sender_domain: Option<Domain>,
    /// Only mail of this stream from that domain: a group of mail that was refused over one binding after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// At this destination.
    pub destination: DestinationName,
}

impl HoldKey {
    /// All of a tenant's mail to a destination.
    fn of_all(tenant: &TenantName, to: &DestinationName) -> Self {
        Self { tenant: tenant.clone(), sender_domain: None, stream: None, destination: to.clone() }
    }
}

/// What became of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldState {
    /// Mail waits until this moment.
    Held {
        /// End of the hold, when a message probes.
        until: Wall,
    },
    /// One message at a time is let go, to see.
    Probing,
    /// Nothing is held any more.
    Released,
}

impl HoldState {
    /// Stable text: held, probing, released.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held { .. } => "held",
            Self::Probing => "probing",
            Self::Released => "released",
        }
    }
}

/// A move of a hold, to be logged and counted.
#[derive(Clone, Debug, PartialEq)]
pub struct HoldChange {
    /// Whose.
    pub key: HoldKey,
    /// What it is now.
    pub to: HoldState,
    /// Why: rule and reply, the probe's acceptance, time, the operator.
    pub evidence: String,
}

/// The answer for one message that would go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// When to look again.
    pub until: Wall,
    /// All of the tenant's mail there waits, not just that from one domain.
    pub whole_tenant: bool,
}

/// Mail that may be looked at again before the time it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freed {
    /// All of it.
    All(HoldKey),
    /// One message: the last probe showed nothing either way.
    One(HoldKey),
}

/// A hold as the status shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HoldView {
    /// Whose.
    #[serde(flatten)]
    pub key: HoldKey,
    /// End of the hold; in the past while probing.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub until: Wall,
    /// held or probing.
    pub state: String,
    /// Times in a row, this one included.
    pub times: u32,
    /// The last refusal.
    pub evidence: String,
    /// Where the mail was refused over one binding after the other: those it has met, the only ones that its probes use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bindings: Vec<BindingName>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    key: HoldKey,
    hold: Hold,
}

/// All holds, and the refusals that may become one.
#[derive(Debug, Default)]
pub struct Holds {
    counted: Counted,
    holds: BTreeMap<HoldKey, Hold>,
    /// No hold moves by itself before; may be too early, never too late.
    next: Option<Wall>,
    /// The last accepted message, where to and when: what its other recipients are told now weighs nothing.
    accepted: Option<(MessageId, DestinationName, Wall)>,
    /// The last tick: a clock that was set back shows.
    ticked: Wall,
    changes: Vec<HoldChange>,
    freed: Vec<Freed>,
    dirty: BTreeSet<HoldKey>,
    /// Automation only watches: nothing is kept back, and no hold begins.
    inert: bool,
}

impl Holds {
    /// A refusal of this mail, for the tenant's sake or its sender domain's, whose rule asks to hold it. Several recipients
    /// of one message, and its repetitions, are one refusal. Not for mail without the domain that is refused.
    pub(super) fn refused(&mut self, mail: Mail<'_>, asked: Asked<'_>, rules: &config::Reputation, now: Wall) {
        let Asked { whole_tenant, span, is_wish, evidence } = asked;
        let count = if is_wish { rules.hold_count.saturating_mul(WISHES) } else { rules.hold_count };
        if self
            .accepted
            .as_ref()
            .is_some_and(|(message, to, at)| *message == mail.message && to == mail.destination && *at == now)
        {
            return;
        }
        for key in mail.keys() {
            if key.sender_domain.is_none() != whole_tenant || key.stream.is_some() {
                self.show_nothing(key, mail.message, now);
                continue;
            }
            let times = match self.holds.get(&key) {
                // What is no probe was on the wire when the hold began: it has been acted on.
                Some(hold) if now < hold.until || !hold.is_probed_by(mail.message, now) => continue,
                Some(hold) => Some(hold.times.saturating_add(1)),
                None => self.counted.refused(&key, mail.message, count, rules.hold_window, now),
            };
            if let Some(times) = times {
                let doubled = if is_wish { times.min(STOPPED_TIMES) } else { times };
                let mut hold = Hold::new(doubled, span, evidence, Some(mail.message), now);
                hold.times = times;
                // What it was begun for may have been its moving: that is not forgotten over another refusal.
                hold.met = self.holds.remove(&key).map(|known| known.met).unwrap_or_default();
                self.begin(key, hold, rules);
            }
        }
    }

    /// Whether holds keep nothing back, since automation only watches. Those there are end in their time.
    pub(super) fn keep_inert(&mut self, inert: bool) {
        self.inert = inert;
    }

    fn begin(&mut self, key: HoldKey, hold: Hold, rules: &config::Reputation) {
        if self.inert {
            return;
        }
        let key = self.place(key);
        if self.holds.get(&key).is_some_and(|known| known.until > hold.until) {
            return;
        }
        let (to, evidence) = (HoldState::Held { until: hold.until }, hold.evidence.clone());
        self.holds.insert(key.clone(), hold);
        self.arm(rules.hold_window);
        self.tell(key, to, evidence);
    }

    /// Where a hold of `key` is kept: there or, where the tenant has too many, at the whole tenant's, for which the one of
    /// its holds that ends first makes room.
    fn place(&mut self, key: HoldKey) -> HoldKey {
        let first = HoldKey::of_all(&key.tenant, &DestinationName::new(""));
        let own = || self.holds.range(&first..).take_while(|(other, _)| other.tenant == key.tenant);
        if self.holds.contains_key(&key) || own().nth(HOLDS_MAX - 1).is_none() {
            return key;
        }
        let next = own().min_by_key(|(_, hold)| hold.until).map(|(next, _)| next.clone());
        let whole = HoldKey { sender_domain: None, stream: None, ..key };
        if let Some(next) = next.filter(|_| !self.holds.contains_key(&whole)) {
            self.release(&next, "too many holds of this tenant");
        }
        whole
    }

    /// Mail of this kind was refused for the address's sake over one binding after the other: it waits at once. Its probes
    /// use the bindings it has met, one after the other. Repeated by a probe that fares no better: the next one takes
    /// another binding, and does not wait for more than four times
    /// the first span, since one address that is really blocked must not keep back what the others could carry. False
    /// where another recipient of the message has just been accepted.
    pub(super) fn stop(&mut self, mail: Mail<'_>, stop: Stop<'_>, rules: &config::Reputation, now: Wall) -> bool {
        let Stop { whole_tenant, met, refused_by, evidence } = stop;
        let (message, to) = (mail.message, mail.destination);
        if self.accepted.as_ref().is_some_and(|(last, at_whom, at)| (*last, at_whom, *at) == (message, to, now)) {
            return false;
        }
        let key = HoldKey {
            tenant: mail.tenant.clone(),
            sender_domain: mail.sender_domain.filter(|_| !whole_tenant).cloned(),
            stream: mail.stream.filter(|_| !whole_tenant).cloned(),
            destination: to.clone(),
        };
        let (times, met) = match self.holds.get_mut(&key) {
            Some(hold) => {
                hold.meet(met);
                // What was on the wire when the hold began has been acted on.
                if now < hold.until || !hold.is_probed_by(message, now) {
                    return true;
                }
                (hold.times.saturating_add(1), std::mem::take(&mut hold.met))
            }
            None => (self.counted.refused(&key, message, 1, rules.hold_window, now).unwrap_or(1), met),
        };
        let mut hold = Hold::new(times.min(STOPPED_TIMES), rules.group_hold, evidence, Some(message), now);
        hold.times = times;
        hold.meet(met);
        hold.ask_last(refused_by);
        self.begin(key, hold, rules);
        true
    }

    /// The tenant's list is bad at `to`: all of its mail there waits, the first time for `suspend_first`. What is still
    /// heard of mail that was on the wire then changes nothing.
    pub(super) fn stop_list(
        &mut self,
        tenant: &TenantName,
        to: &DestinationName,
        evidence: &str,
        rules: &config::Reputation,
        now: Wall,
    ) {
        let key = HoldKey::of_all(tenant, to);
        let begins = self.holds.get(&key).is_none_or(|hold| now >= hold.until);
        self.stop_mail(key.clone(), evidence, rules, now);
        if let Some(hold) = self.holds.get_mut(&key).filter(|_| begins) {
            hold.for_its_list = true;
        }
    }

    /// All of the tenant's mail to `to` waits, for another reason than dead addresses: nobody there knows any address, or
    /// people complain.
    pub(super) fn stop_there(
        &mut self,
        tenant: &TenantName,
        to: &DestinationName,
        evidence: &str,
        rules: &config::Reputation,
        now: Wall,
    ) {
        let key = HoldKey::of_all(tenant, to);
        self.stop_mail(key, evidence, rules, now);
    }

    /// Whether mail of the tenant is held (or probes) anywhere because its list is bad.
    pub(super) fn has_bad_list(&self, tenant: &TenantName) -> bool {
        let first = HoldKey::of_all(tenant, &DestinationName::new(""));
        let mut own = self.holds.range(&first..).take_while(|(key, _)| key.tenant == *tenant);
        own.any(|(_, hold)| hold.for_its_list)
    }

    /// The same for all that falls under `key`, which may be less than a tenant's mail: from one sender domain, or of one
    /// stream from there.
    pub(super) fn stop_mail(&mut self, key: HoldKey, evidence: &str, rules: &config::Reputation, now: Wall) {
        let (times, met) = match self.holds.get_mut(&key) {
            Some(hold) if now < hold.until => return,
            Some(hold) => (hold.times.saturating_add(1), std::mem::take(&mut hold.met)),
            // One is enough here, whichever it is.
            None => (self.counted.refused(&key, MessageId(0), 1, rules.hold_window, now).unwrap_or(1), Vec::new()),
        };
        let mut hold = Hold::new(times, rules.suspend_first, evidence, None, now);
        hold.met = met;
        self.begin(key, hold, rules);
    }

    /// Whether all of the tenant's mail to this destination waits.
    pub(super) fn waits(&self, tenant: &TenantName, to: &DestinationName, now: Wall) -> bool {
        if self.holds.is_empty() || self.inert {
            return false;
        }
        let key = HoldKey::of_all(tenant, to);
        self.holds.get(&key).is_some_and(|hold| now < hold.until)
    }

    /// Whether this mail waits, as a whole or as a kind of it.
    pub(super) fn waits_as(&self, mail: Mail<'_>, now: Wall) -> bool {
        if self.holds.is_empty() || self.inert {
            return false;
        }
        mail.keys().any(|key| self.holds.get(&key).is_some_and(|hold| now < hold.until))
    }

    /// The bindings that mail of this kind has met, where it has been stopped from moving to others: the hold of the whole
    /// tenant before that of the group. Next to no cost while nothing is held anywhere.
    pub fn stopped(&self, mail: Mail<'_>) -> Option<(bool, &[BindingName])> {
        if self.holds.is_empty() || self.inert {
            return None;
        }
        mail.keys().find_map(|key| {
            let met = &self.holds.get(&key)?.met[..];
            (!met.is_empty()).then_some((key.sender_domain.is_none(), met))
        })
    }

    /// Any other answer about this mail. What was accepted is no row of refusals, and ends the holds that the message
    /// probed; anything else only ends the probe.
    pub(super) fn answered(&mut self, mail: Mail<'_>, accepted: bool, now: Wall) {
        if accepted {
            self.accepted = Some((mail.message, mail.destination.clone(), now));
        }
        if self.holds.is_empty() && self.counted.is_empty() {
            return;
        }
        for key in mail.keys() {
            if !accepted {
                self.show_nothing(key, mail.message, now);
                continue;
            }
            self.counted.accepted(&key);
            let Some(hold) = self.holds.get(&key).filter(|hold| hold.is_probed_by(mail.message, now)) else { continue };
            let times = hold.times_without_the_last(now);
            self.counted.remember(&key, times, now);
            self.release(&key, "mail is accepted again");
        }
    }

    /// An answer about `message` that says nothing about `key`: where it was the probe, the next may follow.
    fn show_nothing(&mut self, key: HoldKey, message: MessageId, now: Wall) {
        if self.holds.get_mut(&key).is_some_and(|hold| hold.end_probe(message, now)) {
            self.freed.push(Freed::One(key));
        }
    }

    /// The operator's word: every hold of the tenant (at this destination) ends, and counting begins anew.
    pub(super) fn operator_release(&mut self, tenant: &TenantName, destination: Option<&DestinationName>) {
        let is_meant = |key: &HoldKey| key.tenant == *tenant && destination.is_none_or(|to| key.destination == *to);
        self.counted.forget(tenant, is_meant);
        let meant: Vec<HoldKey> = self.holds.keys().filter(|key| is_meant(key)).cloned().collect();
        for key in meant {
            self.release(&key, "released by the operator");
        }
    }

    fn release(&mut self, key: &HoldKey, why: &str) {
        if self.holds.remove(key).is_some() {
            self.freed.push(Freed::All(key.clone()));
            self.tell(key.clone(), HoldState::Released, why.to_owned());
        }
    }

    fn tell(&mut self, key: HoldKey, to: HoldState, evidence: String) {
        self.dirty.insert(key.clone());
        self.changes.push(HoldChange { key, to, evidence });
    }

    /// Lets time pass: holds end and are probed; what nothing was heard of for `window` after its end is forgotten.
    pub(super) fn tick(&mut self, window: Duration, now: Wall) {
        if now < std::mem::replace(&mut self.ticked, now) {
            self.set_back(window, now);
        }
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        let mut over = Vec::new();
        for (key, hold) in &mut self.holds {
            if hold.until <= now && !hold.told {
                hold.told = true;
                let evidence = hold.evidence.clone();
                self.changes.push(HoldChange { key: key.clone(), to: HoldState::Probing, evidence });
            }
            if hold.told && hold.end(window) <= now {
                over.push(key.clone());
            }
        }
        for key in over {
            self.release(&key, "not refused again");
        }
        self.arm(window);
    }

    /// The clock was set back: what was reckoned from the future ends as if it had begun now.
    fn set_back(&mut self, window: Duration, now: Wall) {
        self.counted.set_back(now);
        for (key, hold) in &mut self.holds {
            if hold.set_back(now) {
                self.dirty.insert(key.clone());
            }
        }
        self.arm(window);
    }

    fn arm(&mut self, window: Duration) {
        self.next = self.holds.values().map(|hold| hold.next_moment(window)).min();
    }

    /// Forgets refusals that no longer count.
    pub(super) fn sweep(&mut self, window: Duration, now: Wall) {
        self.counted.sweep(window, now);
    }

    pub(super) fn next_wakeup(&self) -> Option<Wall> {
        self.next
    }

    /// Whether this mail must wait, and until when. Constant cost, and next to none while
    /// nothing is held anywhere.
    pub fn held(&self, mail: Mail<'_>, now: Wall) -> Option<Held> {
        if self.holds.is_empty() || self.inert {
            return None;
        }
        mail.keys().find_map(|key| {
            let until = self.holds.get(&key)?.blocked_until(now)?;
            Some(Held { until, whole_tenant: key.sender_domain.is_none() })
        })
    }

    /// A message that [`Holds::held`] let pass is tried now: where a hold is being probed, this is the probe.
    pub(super) fn begins(&mut self, mail: Mail<'_>, now: Wall) {
        if self.holds.is_empty() {
            return;
        }
        for key in mail.keys() {
            if let Some(hold) = self.holds.get_mut(&key) {
                hold.probe = Some((mail.message, now));
            }
        }
    }

    /// Every hold, in order of its key.
    pub fn all(&self, now: Wall) -> impl Iterator<Item = HoldView> {
        self.holds.iter().map(move |(key, hold)| HoldView {
            key: key.clone(),
            until: hold.until,
            state: hold.state(now).as_str().to_owned(),
            times: hold.times,
            evidence: hold.evidence.clone(),
            bindings: hold.met.clone(),
        })
    }

    pub(super) fn take_changes(&mut self) -> Vec<HoldChange> {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn take_freed(&mut self) -> Vec<Freed> {
        std::mem::take(&mut self.freed)
    }

    pub(super) fn take_facts(&mut self) -> impl Iterator<Item = Fact> {
        std::mem::take(&mut self.dirty).into_iter().map(|key| {
            let name = fact_key(&key);
            // Names, numbers and texts always serialise.
            let written = self
                .holds
                .get(&key)
                .and_then(|hold| serde_json::to_vec(&Written { key: key.clone(), hold: hold.clone() }).ok());
            written.map_or(Fact::Remove(name.clone()), |json| Fact::Put(name, json))
        })
    }

    /// Takes back a hold. One that ended meanwhile is probed; one from the future ends a span from the next tick.
    pub(super) fn restore(&mut self, bytes: &[u8]) -> Result<(), serde_json::Error> {
        let Written { key, hold } = serde_json::from_slice(bytes)?;
        self.next = Some(self.next.map_or(hold.until, |next| next.min(hold.until)));
        // Whatever the next tick's clock shows, it is looked at as one that was set back.
        self.ticked = Wall::from_millis(i64::MAX);
        self.holds.insert(key, hold);
        Ok(())
    }
}

/// Key of a hold's fact. Names hold no spaces.
fn fact_key(key: &HoldKey) -> String {
    let domain = key.sender_domain.as_ref().map_or("*", Domain::as_str);
    let stream = key.stream.as_ref().map_or_else(String::new, |stream| format!(" {stream}"));
    format!("{}{} {} {domain}{stream}", facts::HOLD_PREFIX, key.tenant, key.destination)
}
