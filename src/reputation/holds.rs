//! Holds: mail of one tenant, or of one of its sender domains, that waits because a receiver refuses *it*.
//!
//! Some refusals speak of the sender and not of the address: no DMARC, a blocked domain, "too many complaints about this
//! sender". Sending on would earn more of them and wear out the addresses others depend on; another binding does not
//! help. So when enough distinct messages were refused like that ([`Holds::refused`]), the mail of that tenant to that
//! destination waits. Everybody else's goes on, and the tenant's goes on elsewhere.
//!
//! ```text
//!   counting ──hold_count messages within hold_window──▶ held ──span is over──▶ probing ──accepted──▶ gone
//!                                                          ▲                      │  └─hold_window without a word──▶ gone
//!                                                          └──refused again, span doubled (at most 24 h)
//! ```
//!
//! While probing one message at a time may go: were all that waits let loose at once, hundreds of refusals would be on the
//! wire before the first was heard. A probe of which nothing is heard for [`PROBE_PATIENCE`] is given up for lost.
//!
//! Pure. Holds are written down; what is still counted is not: a restart forgets at most `hold_count` − 1 refusals.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::{self, Fact};
use crate::clock::{Wall, rfc3339};
use crate::config;
use crate::message::{DestinationName, Domain, MessageId, TenantName};

/// How long a probe may be under way before the next one is let go.
pub const PROBE_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Longest hold that doubling leads to. A rule may ask for more by itself.
const SPAN_MAX: Duration = Duration::from_secs(24 * 3600);

/// Shortest hold.
const SPAN_MIN: Duration = Duration::from_secs(60);

/// Subjects counted at the same time; further ones are counted when others have gone. Sender domains are the tenants' own
/// choice and must not fill the memory.
const COUNTED_MAX: usize = 10_000;

/// Whose mail to where.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HoldKey {
    /// The tenant.
    pub tenant: TenantName,
    /// Only mail from this domain; `None` for all of the tenant's.
    pub sender_domain: Option<Domain>,
    /// At this destination.
    pub destination: DestinationName,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldView {
    /// Whose.
    #[serde(flatten)]
    pub key: HoldKey,
    /// End of the hold; in the past while probing.
    #[serde(with = "rfc3339")]
    pub until: Wall,
    /// held or probing.
    pub state: String,
    /// Times in a row, this one included.
    pub times: u32,
    /// The last refusal.
    pub evidence: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Hold {
    until: Wall,
    times: u32,
    evidence: String,
    /// The end of the span has been told.
    #[serde(skip)]
    told: bool,
    /// A probe is under way since.
    #[serde(skip)]
    probe: Option<Wall>,
}

impl Hold {
    fn blocked_until(&self, now: Wall) -> Option<Wall> {
        let lost_at = self.probe.map(|since| since.plus(PROBE_PATIENCE));
        [Some(self.until), lost_at].into_iter().flatten().find(|&end| now < end)
    }

    /// When it is forgotten unless something is heard.
    fn end(&self, window: Duration) -> Wall {
        let end = self.until.plus(window);
        self.probe.map_or(end, |since| end.max(since.plus(PROBE_PATIENCE)))
    }

    fn next_moment(&self, window: Duration) -> Wall {
        if self.told { self.end(window) } else { self.until }
    }

    fn state(&self, now: Wall) -> HoldState {
        if now < self.until { HoldState::Held { until: self.until } } else { HoldState::Probing }
    }
}

#[derive(Serialize, Deserialize)]
struct Written {
    key: HoldKey,
    hold: Hold,
}

/// All holds, and the refusals that may become one.
#[derive(Debug, Default)]
pub struct Holds {
    counted: HashMap<HoldKey, VecDeque<(MessageId, Wall)>>,
    holds: BTreeMap<HoldKey, Hold>,
    /// No hold moves by itself before; may be too early, never too late.
    next: Option<Wall>,
    changes: Vec<HoldChange>,
    freed: Vec<Freed>,
    dirty: BTreeSet<HoldKey>,
}

impl Holds {
    /// A refusal of `message` whose rule asks to hold for `span`. Several recipients of one message, and its repetitions,
    /// are one refusal.
    pub(super) fn refused(
        &mut self,
        key: HoldKey,
        message: MessageId,
        span: Duration,
        evidence: &str,
        rules: &config::Reputation,
        now: Wall,
    ) {
        match self.holds.get(&key) {
            // Was on the wire when the hold began: it has been acted on.
            Some(hold) if now < hold.until => {}
            Some(hold) => {
                let times = hold.times.saturating_add(1);
                self.hold(key, times, span, evidence, rules.hold_window, now);
            }
            None => {
                if self.counted.len() >= COUNTED_MAX && !self.counted.contains_key(&key) {
                    return;
                }
                let seen = self.counted.entry(key.clone()).or_default();
                seen.retain(|&(_, at)| now.since(at) < rules.hold_window);
                if seen.iter().any(|(known, _)| *known == message) {
                    return;
                }
                seen.push_back((message, now));
                if seen.len() >= rules.hold_count.max(1) as usize {
                    self.counted.remove(&key);
                    self.hold(key, 1, span, evidence, rules.hold_window, now);
                }
            }
        }
    }

    fn hold(&mut self, key: HoldKey, times: u32, span: Duration, evidence: &str, window: Duration, now: Wall) {
        let span = span.max(SPAN_MIN);
        let doubled = span.saturating_mul(2u32.saturating_pow(times.saturating_sub(1)));
        let until = now.plus(doubled.min(SPAN_MAX.max(span)));
        let hold = Hold { until, times, evidence: evidence.to_owned(), told: false, probe: None };
        self.holds.insert(key.clone(), hold);
        self.arm(window);
        self.tell(key, HoldState::Held { until }, evidence.to_owned());
    }

    /// Any other answer about mail of this tenant: what was accepted ends a hold that is being probed, anything else only
    /// ends the probe.
    pub(super) fn answered(
        &mut self,
        tenant: &TenantName,
        sender_domain: Option<&Domain>,
        destination: &DestinationName,
        accepted: bool,
        now: Wall,
    ) {
        if self.holds.is_empty() {
            return;
        }
        for key in keys(tenant, sender_domain, destination) {
            let Some(hold) = self.holds.get_mut(&key).filter(|hold| hold.until <= now) else { continue };
            if accepted {
                self.release(&key, "mail is accepted again");
            } else if hold.probe.take().is_some() {
                self.freed.push(Freed::One(key));
            }
        }
    }

    /// The operator's word: every hold of the tenant (at this destination) ends, and counting begins anew.
    pub(super) fn operator_release(&mut self, tenant: &TenantName, destination: Option<&DestinationName>) {
        let is_meant = |key: &HoldKey| key.tenant == *tenant && destination.is_none_or(|to| key.destination == *to);
        self.counted.retain(|key, _| !is_meant(key));
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

    fn arm(&mut self, window: Duration) {
        self.next = self.holds.values().map(|hold| hold.next_moment(window)).min();
    }

    /// Forgets refusals that no longer count.
    pub(super) fn sweep(&mut self, window: Duration, now: Wall) {
        self.counted.retain(|_, seen| seen.back().is_some_and(|&(_, last)| now.since(last) < window));
    }

    pub(super) fn next_wakeup(&self) -> Option<Wall> {
        self.next
    }

    /// Whether mail of this tenant from this domain must wait, and until when. Constant cost, and next to none while
    /// nothing is held anywhere.
    pub fn held(
        &self,
        tenant: &TenantName,
        sender_domain: Option<&Domain>,
        destination: &DestinationName,
        now: Wall,
    ) -> Option<Held> {
        if self.holds.is_empty() {
            return None;
        }
        keys(tenant, sender_domain, destination).find_map(|key| {
            let until = self.holds.get(&key)?.blocked_until(now)?;
            Some(Held { until, whole_tenant: key.sender_domain.is_none() })
        })
    }

    /// A message that [`Holds::held`] let pass is tried now: where a hold is being probed, this is the probe.
    pub(super) fn begins(
        &mut self,
        tenant: &TenantName,
        sender_domain: Option<&Domain>,
        destination: &DestinationName,
        now: Wall,
    ) {
        if self.holds.is_empty() {
            return;
        }
        for key in keys(tenant, sender_domain, destination) {
            if let Some(hold) = self.holds.get_mut(&key) {
                hold.probe = Some(now);
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

    /// Takes back a hold. One that ended meanwhile is probed.
    pub(super) fn restore(&mut self, bytes: &[u8]) -> Result<(), serde_json::Error> {
        let Written { key, hold } = serde_json::from_slice(bytes)?;
        self.next = Some(self.next.map_or(hold.until, |next| next.min(hold.until)));
        self.holds.insert(key, hold);
        Ok(())
    }
}

/// The keys a message falls under: its tenant's, then its sender domain's.
fn keys(
    tenant: &TenantName,
    sender_domain: Option<&Domain>,
    destination: &DestinationName,
) -> impl Iterator<Item = HoldKey> {
    let key = |sender_domain| HoldKey { tenant: tenant.clone(), sender_domain, destination: destination.clone() };
    let own = sender_domain.map(|domain| key(Some(domain.clone())));
    std::iter::once(key(None)).chain(own)
}

/// Key of a hold's fact. Names hold no spaces.
fn fact_key(key: &HoldKey) -> String {
    let domain = key.sender_domain.as_ref().map_or("*", Domain::as_str);
    format!("{}{} {} {domain}", facts::HOLD_PREFIX, key.tenant, key.destination)
}
