//! One zone's questions: the probes first, our own addresses and domains only when they were good.
//!
//! A zone has a bounded number of questions in flight, and waits for its own turn before it takes one of the places that
//! all share: one that answers slowly keeps no other from its places. A large round is asked in portions, a moment apart.
//! Looks between rounds take over probes and sentinels that were good a moment ago ([`FRESH`]).

mod follow;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock::{Clock, Mono};
use crate::config::{Probe, Zone, ZoneKind};

use super::account::Account;
use super::answer::{AnswerClass, classify, domain_query_name, likely_keys, query_name, shown_text};
use super::budget::{Budget, Purpose, Wanted};
use super::dns::{Asker, Liars, SetupError};
use super::keys;
use super::places::Gate;
use super::subject::Subject;
use super::watch::Seen;
use super::zone::{Probes, judge};

/// RFC 5782 §5: `::FFFF:7F00:2` must be listed, `::FFFF:7F00:1` must not.
const POSITIVE_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 2);
const NEGATIVE_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 1);

/// Longest wait for a text: it is words for people, and a listing must not wait for it.
const TEXT_PATIENCE: Duration = Duration::from_secs(1);

/// Age up to which good probes stand for those of a look between rounds; less where confirmations come faster.
const FRESH: Duration = Duration::from_secs(10);

/// Questions of a round that are put without a pause.
const PORTION: usize = 50;

/// Longest pause between two portions.
const PAUSE: Duration = Duration::from_secs(1);

/// What to ask about.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) subject: Subject,
    /// Of a binding.
    pub(super) address: Option<IpAddr>,
    /// A listing would be new. The second resolver is asked as well about one, and about the end of one that stands.
    pub(super) is_new: bool,
    /// What the list says of its reason is not known yet.
    pub(super) wants_text: bool,
}

/// One zone and its resolvers.
pub(super) struct Dnsbl {
    zone: Zone,
    key: Option<String>,
    asker: Arc<Asker>,
    second: Option<Arc<Asker>>,
    gate: Gate,
    fresh_for: Duration,
    /// The last good probes.
    fresh: Mutex<Option<Fresh>>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    account: Arc<Account>,
}

/// Good answers to the probes of a zone, and of whom it said what beside them.
#[derive(Clone, Debug)]
struct Fresh {
    at: Mono,
    probes: Probes,
    sentinels: Vec<(IpAddr, AnswerClass)>,
}

/// The servers of all zones and what they share.
pub(super) struct Shared<'a> {
    pub(super) servers: &'a [SocketAddr],
    pub(super) second: &'a [SocketAddr],
    pub(super) timeout: Duration,
    pub(super) gate: Arc<Semaphore>,
    pub(super) clock: Arc<dyn Clock>,
    /// Of `servers` and `second`.
    pub(super) liars: Liars,
}

/// What came of a look.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Nothing where the budget had no room for as much as the probes and one question.
    pub(super) seen: Option<Seen>,
    /// Whom it asked about, or would have, had the probes been good.
    pub(super) asked: Vec<Subject>,
    /// Whom it was to ask about for a confirmation, and whom for blame, and had no budget for.
    pub(super) refused: (Vec<Subject>, Vec<Subject>),
}

impl Look {
    /// The same but for what was seen.
    pub(super) fn without_seen(&self) -> Self {
        Self { seen: None, asked: self.asked.clone(), refused: self.refused.clone() }
    }
}

impl Dnsbl {
    /// Asks the zone's own servers where it has some, else the common ones. `subjects` is how many there are, for the
    /// budget.
    pub(super) fn new(zone: &Zone, shared: &Shared<'_>, subjects: usize) -> Result<Self, SetupError> {
        let what = format!("zone {}", zone.name);
        let failed = |error: keys::Error| SetupError { what: what.clone(), why: error.to_string() };
        let (zone, key) = keys::unlocked(zone).map_err(failed)?;
        let servers = if zone.servers.is_empty() { shared.servers } else { &zone.servers };
        let asker = Asker::new(&what, servers, shared.timeout, &shared.clock)?;
        // Servers of its own answer for this list alone.
        let asker = Arc::new(if zone.servers.is_empty() { asker.heeding(&shared.liars) } else { asker });
        let has_second = zone.servers.is_empty() && !shared.second.is_empty();
        let second = || Asker::new(&what, shared.second, shared.timeout, &shared.clock);
        let second = has_second.then(second).transpose()?.map(|second| Arc::new(second.heeding(&shared.liars)));
        let budget = Budget::new(zone.queries_per_day, zone.questions(subjects), shared.clock.now().mono);
        Ok(Self {
            zone,
            key,
            asker,
            second,
            gate: Gate::new(Arc::clone(&shared.gate), 1),
            fresh_for: Duration::ZERO,
            fresh: Mutex::default(),
            clock: Arc::clone(&shared.clock),
            timeout: shared.timeout,
            account: Arc::new(Account::new(budget)),
        })
    }

    /// Questions left of the day's, and those that were not put.
    pub(super) fn budget(&self) -> (Option<u64>, u64) {
        self.account.left(self.clock.now().mono)
    }

    /// Answers since the start, by what they said.
    pub(super) fn answers(&self) -> Vec<(&'static str, u64)> {
        self.account.answers()
    }

    /// One of `zones` that are asked again and again, and what was seen confirmed after `confirm_after`.
    pub(super) fn watched(mut self, zones: usize, confirm_after: Duration) -> Self {
        self.fresh_for = FRESH.min(confirm_after);
        self.gate = self.gate.one_of(zones);
        self
    }

    /// Asks as much as the budget grants. `random` is a label that cannot exist in the zone.
    pub(super) async fn look(
        &self,
        questions: Vec<Question>,
        sentinels: &[IpAddr],
        random: &str,
        whole: bool,
    ) -> Option<Seen> {
        self.look_for((questions, Vec::new()), sentinels, random, whole).await.seen
    }

    /// The same about what is due, and for the sake of blame.
    pub(super) async fn look_for(
        &self,
        (questions, blamed): (Vec<Question>, Vec<Question>),
        sentinels: &[IpAddr],
        random: &str,
        whole: bool,
    ) -> Look {
        let mut look = Look::default();
        if questions.is_empty() && blamed.is_empty() && !whole {
            return look;
        }
        let has_v6 =
            self.zone.families.ipv6 && questions.iter().chain(&blamed).any(|q| q.address.is_some_and(|a| a.is_ipv6()));
        let fresh = if whole { None } else { self.fresh(has_v6) };
        let overhead = match fresh {
            Some(_) => 0,
            None => self.zone.questions(0) + whole_number(sentinels.len()),
        };
        let Some(questions) = self.afforded((questions, blamed), overhead, whole, &mut look) else {
            return look;
        };
        look.asked = questions.iter().map(|question| question.subject.clone()).collect();
        let is_fresh = fresh.is_some();
        let (probes, guarded) = match fresh {
            Some(fresh) => (fresh.probes, Some(fresh.sentinels)),
            None => (self.probes(random, has_v6).await, None),
        };
        let mut seen = Seen::round(probes, []);
        seen.whole = whole;
        if judge(&seen.probes).is_ok() {
            let counts_v6 = seen.probes.ipv6_counts();
            let questions: Vec<Question> =
                questions.into_iter().filter(|q| counts_v6 || !q.address.is_some_and(|a| a.is_ipv6())).collect();
            seen.sentinels = match guarded {
                Some(guarded) => guarded,
                None => self.guards(sentinels, counts_v6).await,
            };
            if !is_fresh {
                self.remember(&seen);
            }
            self.ask_all(questions, whole, &mut seen).await;
        }
        self.account.count(&seen, is_fresh);
        look.seen = Some(seen);
        look
    }

    /// Probes and sentinels of a moment ago, if they were good and tell of all that is to be asked.
    fn fresh(&self, has_v6: bool) -> Option<Fresh> {
        let now = self.clock.now().mono;
        let known = self.fresh.lock();
        known.as_ref().filter(|f| now.since(f.at) < self.fresh_for && (!has_v6 || f.probes.ipv6.is_some())).cloned()
    }

    fn remember(&self, seen: &Seen) {
        let is_good = seen.sentinels.iter().all(|(_, answer)| *answer == AnswerClass::NotListed);
        let at = self.clock.now().mono;
        let fresh = Fresh { at, probes: seen.probes.clone(), sentinels: seen.sentinels.clone() };
        *self.fresh.lock() = is_good.then_some(fresh);
    }

    async fn guards(&self, sentinels: &[IpAddr], counts_v6: bool) -> Vec<(IpAddr, AnswerClass)> {
        let mut seen = Vec::new();
        for address in sentinels.iter().filter(|a| self.zone.families.hold(**a) && (counts_v6 || a.is_ipv4())) {
            seen.push((*address, self.ask(&self.asker, &self.address_name(*address)).await));
        }
        seen
    }

    /// As many of the questions as the budget grants, confirmations before blame; a round that is too large goes on where
    /// the last one ended. What is left out is written into `look`.
    fn afforded(
        &self,
        (mut questions, mut blamed): (Vec<Question>, Vec<Question>),
        overhead: u64,
        whole: bool,
        look: &mut Look,
    ) -> Option<Vec<Question>> {
        let wanted = Wanted {
            overhead,
            first: whole_number(questions.len()),
            purpose: if whole { Purpose::Round } else { Purpose::Confirmation },
            blamed: whole_number(blamed.len()),
        };
        let granted = self.account.grant(wanted, self.clock.now().mono);
        let part = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let room = part(granted.first);
        if whole && room < questions.len() {
            let from = self.account.begin(room, questions.len());
            questions.rotate_left(from);
        }
        let cut = |all: &mut Vec<Question>, room: usize| -> Vec<Subject> {
            all.split_off(room.min(all.len())).into_iter().map(|question| question.subject).collect()
        };
        let (out, out_blamed) = (cut(&mut questions, room), cut(&mut blamed, part(granted.blamed)));
        look.refused = (if whole { Vec::new() } else { out }, out_blamed);
        questions.extend(blamed);
        granted.probes.then_some(questions)
    }

    async fn probes(&self, random: &str, has_v6: bool) -> Probes {
        let probe = |probe: Option<&Probe>| {
            let name = probe.map(|probe| match probe {
                Probe::Address(address) => self.address_name(*address),
                Probe::Name(name) => domain_query_name(name, &self.zone.zone),
            });
            async move {
                match name {
                    Some(name) => Some(self.ask(&self.asker, &name).await),
                    None => None,
                }
            }
        };
        let nowhere = Probe::Name(random.to_owned());
        let v6 = async {
            let ask = has_v6 && self.zone.positive_probe.is_some() && self.zone.negative_probe.is_some();
            let (positive, negative) = (self.address_name(POSITIVE_V6.into()), self.address_name(NEGATIVE_V6.into()));
            match ask {
                true => Some(tokio::join!(self.ask(&self.asker, &positive), self.ask(&self.asker, &negative))),
                false => None,
            }
        };
        let (positive, negative, random, ipv6) = tokio::join!(
            probe(self.zone.positive_probe.as_ref()),
            probe(self.zone.negative_probe.as_ref()),
            probe(self.zone.random_probe.then_some(&nowhere)),
            v6,
        );
        Probes { positive, negative, random, ipv6 }
    }

    fn address_name(&self, address: IpAddr) -> String {
        query_name(address, &self.zone.zone)
    }

    fn name_of(&self, question: &Question) -> Option<String> {
        match (&question.subject, question.address) {
            (Subject::Domain(domain), _) => Some(domain_query_name(domain, &self.zone.zone)),
            (Subject::Binding(_) | Subject::Second(..), Some(address)) => Some(self.address_name(address)),
            (Subject::Binding(_) | Subject::Second(..), None) => None,
        }
    }

    async fn ask(&self, asker: &Asker, name: &str) -> AnswerClass {
        let _places = self.gate.pass().await;
        classify(&asker.a(name).await, &self.zone)
    }

    async fn ask_all(&self, questions: Vec<Question>, whole: bool, seen: &mut Seen) {
        let mut asked = JoinSet::new();
        let portions = u32::try_from(questions.len() / PORTION).unwrap_or(u32::MAX).saturating_add(1);
        // However many they are: a round is over long before the next.
        let pause = PAUSE.min(self.zone.interval / 4 / portions);
        for (number, question) in questions.into_iter().enumerate() {
            let Some(name) = self.name_of(&question) else { continue };
            if whole && number > 0 && number % PORTION == 0 {
                tokio::time::sleep(pause).await;
            }
            let (asker, gate, zone) = (Arc::clone(&self.asker), self.gate.clone(), self.zone.clone());
            asked.spawn(async move {
                let _places = gate.pass().await;
                let answer = classify(&asker.a(&name).await, &zone);
                (question, name, answer)
            });
        }
        let mut answers = Vec::new();
        while let Some(answer) = asked.join_next().await {
            // A question that panicked or was cancelled is one that was not answered.
            answers.extend(answer.ok());
        }
        // In one order, so that log and evidence do not depend on who answered first.
        answers.sort_by(|(a, ..), (b, ..)| a.subject.cmp(&b.subject));
        self.look_closer(&answers, seen).await;
        seen.answers = answers.into_iter().map(|(question, _, answer)| (question.subject, answer)).collect();
    }

    /// Asks the second resolver about listings that begin or end, and the list for its reasons.
    async fn look_closer(&self, answers: &[(Question, String, AnswerClass)], seen: &mut Seen) {
        let (mut seconds, mut texts) = (JoinSet::new(), JoinSet::new());
        for (question, name, answer) in answers {
            let is_listed = matches!(answer, AnswerClass::Listed { .. });
            let is_clean = matches!(answer, AnswerClass::NotListed | AnswerClass::Good { .. });
            let at_stake = if question.is_new { is_listed } else { is_clean };
            let name = || (question.subject.clone(), name.clone(), self.gate.clone());
            let second = self.second.as_ref().filter(|second| at_stake && !second.is_all_lies());
            if let Some(second) = second.filter(|_| self.may_ask()) {
                let ((subject, name, gate), asker, zone) = (name(), Arc::clone(second), self.zone.clone());
                seconds.spawn(async move {
                    let _places = gate.pass().await;
                    (subject, classify(&asker.a(&name).await, &zone))
                });
            }
            if is_listed && question.wants_text && self.may_ask() {
                let ((subject, name, gate), asker) = (name(), Arc::clone(&self.asker));
                texts.spawn(async move {
                    let _places = gate.pass().await;
                    (subject, tokio::time::timeout(TEXT_PATIENCE, asker.txt(&name)).await.unwrap_or_default())
                });
            }
        }
        while let Some(second) = seconds.join_next().await {
            seen.seconds.extend(second.ok());
        }
        let keys = likely_keys(&self.zone.zone);
        let secrets: Vec<&str> = self.key.iter().map(String::as_str).chain([&*self.zone.zone]).chain(keys).collect();
        while let Some(text) = texts.join_next().await {
            let Ok((subject, found)) = text else { continue };
            // An empty one is remembered as well: it is not asked for again.
            seen.texts.push((subject, shown_text(&found, &secrets)));
        }
    }

    fn may_ask(&self) -> bool {
        self.account.may_ask(self.clock.now().mono)
    }

    /// Whether it is asked about addresses or domains.
    pub(super) fn kind(&self) -> ZoneKind {
        self.zone.kind
    }
}

fn whole_number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX / 4)
}
