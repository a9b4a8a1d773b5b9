//! One zone's questions: the probes first, our own addresses and domains only when they were good.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::{Probe, Zone, ZoneKind};

use super::answer::{AnswerClass, classify, domain_query_name, query_name, shown_text};
use super::budget::{Budget, Purpose};
use super::dns::{Asker, Liars, SetupError};
use super::keys;
use super::subject::Subject;
use super::watch::Seen;
use super::zone::{Probes, judge};

/// RFC 5782 §5: `::FFFF:7F00:2` must be listed, `::FFFF:7F00:1` must not.
const POSITIVE_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 2);
const NEGATIVE_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 1);

/// Longest wait for a text: it is words for people, and a listing must not wait for it.
const TEXT_PATIENCE: Duration = Duration::from_secs(1);

/// What to ask about.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) subject: Subject,
    /// Of a binding.
    pub(super) address: Option<IpAddr>,
    /// A listing would be new: the second resolver is asked as well.
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
    /// Shared by all zones.
    gate: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    budget: Mutex<Budget>,
    /// Where the next round begins, where one is too large for the budget.
    cursor: AtomicUsize,
    answers: Mutex<BTreeMap<&'static str, u64>>,
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
            gate: Arc::clone(&shared.gate),
            clock: Arc::clone(&shared.clock),
            budget: Mutex::new(budget),
            cursor: AtomicUsize::new(0),
            answers: Mutex::default(),
        })
    }

    /// Questions left of the day's, and those that were not put.
    pub(super) fn budget(&self) -> (Option<u64>, u64) {
        let budget = self.budget.lock();
        (budget.left(self.clock.now().mono), budget.denied())
    }

    /// Answers since the start, by what they said.
    pub(super) fn answers(&self) -> Vec<(&'static str, u64)> {
        self.answers.lock().iter().map(|(outcome, count)| (*outcome, *count)).collect()
    }

    /// Asks; nothing where the budget has no room for as much as the probes and one question. `random` is a label that
    /// cannot exist in the zone.
    pub(super) async fn look(
        &self,
        questions: Vec<Question>,
        sentinels: &[IpAddr],
        random: &str,
        whole: bool,
    ) -> Option<Seen> {
        let questions = self.afforded(questions, sentinels.len(), whole)?;
        let has_v6 = self.zone.families.ipv6 && questions.iter().any(|q| q.address.is_some_and(|a| a.is_ipv6()));
        let probes = self.probes(random, has_v6).await;
        let mut seen = Seen::round(probes, []);
        seen.whole = whole;
        if judge(&seen.probes).is_ok() {
            let counts_v6 = seen.probes.ipv6_counts();
            let questions: Vec<Question> =
                questions.into_iter().filter(|q| counts_v6 || !q.address.is_some_and(|a| a.is_ipv6())).collect();
            let guards = sentinels.iter().filter(|a| self.zone.families.hold(**a) && (counts_v6 || a.is_ipv4()));
            for address in guards {
                let answer = self.ask(&self.asker, &self.address_name(*address)).await;
                seen.sentinels.push((*address, answer));
            }
            self.ask_all(questions, &mut seen).await;
        }
        self.count(&seen);
        Some(seen)
    }

    /// As many of the questions as the budget grants; a round that is too large goes on where the last one ended.
    fn afforded(&self, mut questions: Vec<Question>, sentinels: usize, whole: bool) -> Option<Vec<Question>> {
        if questions.is_empty() && !whole {
            return None;
        }
        let purpose = if whole { Purpose::Round } else { Purpose::Urgent };
        let overhead = self.zone.questions(0) + u64::try_from(sentinels).unwrap_or(u64::MAX / 2);
        let wanted = overhead + u64::try_from(questions.len()).unwrap_or(u64::MAX / 2);
        let mut budget = self.budget.lock();
        let granted = budget.take(wanted, purpose, self.clock.now().mono);
        if granted == wanted {
            return Some(questions);
        }
        let Some(room) = granted.checked_sub(overhead).filter(|room| *room > 0) else {
            budget.put_back(granted);
            return None;
        };
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if whole {
            let from = self.cursor.load(Ordering::Relaxed) % questions.len().max(1);
            questions.rotate_left(from);
            self.cursor.store(from.wrapping_add(room), Ordering::Relaxed);
        }
        questions.truncate(room);
        Some(questions)
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
            (Subject::Binding(_), Some(address)) => Some(self.address_name(address)),
            (Subject::Binding(_), None) => None,
        }
    }

    async fn ask(&self, asker: &Asker, name: &str) -> AnswerClass {
        // Never closed; were it, an unlimited question is still a question.
        let _slot = self.gate.acquire().await.ok();
        classify(&asker.a(name).await, &self.zone)
    }

    async fn ask_all(&self, questions: Vec<Question>, seen: &mut Seen) {
        let mut asked = JoinSet::new();
        for question in questions {
            let Some(name) = self.name_of(&question) else { continue };
            let (asker, gate, zone) = (Arc::clone(&self.asker), Arc::clone(&self.gate), self.zone.clone());
            asked.spawn(async move {
                let _slot = gate.acquire().await.ok();
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

    /// Asks the second resolver about new listings, and the list for its reasons.
    async fn look_closer(&self, answers: &[(Question, String, AnswerClass)], seen: &mut Seen) {
        let (mut seconds, mut texts) = (JoinSet::new(), JoinSet::new());
        let listed = answers.iter().filter(|(_, _, answer)| matches!(answer, AnswerClass::Listed { .. }));
        for (question, name, _) in listed {
            let name = || (question.subject.clone(), name.clone(), Arc::clone(&self.gate));
            let second = self.second.as_ref().filter(|second| question.is_new && !second.is_all_lies());
            if let Some(second) = second.filter(|_| self.may_ask()) {
                let ((subject, name, gate), asker, zone) = (name(), Arc::clone(second), self.zone.clone());
                seconds.spawn(async move {
                    let _slot = gate.acquire().await.ok();
                    (subject, classify(&asker.a(&name).await, &zone))
                });
            }
            if question.wants_text && self.may_ask() {
                let ((subject, name, gate), asker) = (name(), Arc::clone(&self.asker));
                texts.spawn(async move {
                    let _slot = gate.acquire().await.ok();
                    (subject, tokio::time::timeout(TEXT_PATIENCE, asker.txt(&name)).await.unwrap_or_default())
                });
            }
        }
        while let Some(second) = seconds.join_next().await {
            seen.seconds.extend(second.ok());
        }
        let key = self.key.as_deref().unwrap_or_default();
        while let Some(text) = texts.join_next().await {
            let Ok((subject, found)) = text else { continue };
            // An empty one is remembered as well: it is not asked for again.
            seen.texts.push((subject, shown_text(&found, &[key, &self.zone.zone])));
        }
    }

    fn may_ask(&self) -> bool {
        self.budget.lock().take(1, Purpose::Urgent, self.clock.now().mono) == 1
    }

    fn count(&self, seen: &Seen) {
        let probes = [&seen.probes.positive, &seen.probes.negative, &seen.probes.random];
        let probes = probes.into_iter().filter_map(Option::as_ref);
        let probes = probes.chain(seen.probes.ipv6.iter().flat_map(|(positive, negative)| [positive, negative]));
        let ours = seen.answers.iter().chain(&seen.seconds).map(|(_, answer)| answer);
        let mut answers = self.answers.lock();
        for answer in probes.chain(ours).chain(seen.sentinels.iter().map(|(_, answer)| answer)) {
            *answers.entry(answer.as_str()).or_insert(0) += 1;
        }
    }

    /// Whether it is asked about addresses or domains.
    pub(super) fn kind(&self) -> ZoneKind {
        self.zone.kind
    }
}
