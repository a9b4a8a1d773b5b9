//! The task that asks.
//!
//! [`DOMAINS_AT_ONCE`] domains are evaluated at a time, so that one whose name servers are dead does not hold up the
//! others, each for at most [`IN_FLIGHT`] bindings at once, and with a pause of [`PACE`] between two beginnings: mail from
//! ever new domains cannot become a flood of questions. Nothing is asked while our own name servers are proven to lie;
//! every answer is then a temporary error, also of what was on its way when they were.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ask::{Asker, Opened};
use super::outcome::{Answer, Outcome, Reason, worst};
use super::{Cover, Heard, Setup, Target};
use crate::config::Family;
use crate::message::Domain;

/// Domains that are evaluated at the same time.
pub const DOMAINS_AT_ONCE: usize = 8;

/// Bindings of a domain that are evaluated at the same time.
pub const IN_FLIGHT: usize = 8;

/// Pause between the beginnings of two domains.
pub const PACE: Duration = Duration::from_millis(50);

/// Time for all bindings of a domain. What has no answer by then is not asked any more.
const DOMAIN_PATIENCE: Duration = Duration::from_secs(60);

/// Longest sleep: a clock that is set forward is noticed this soon.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// Pause between two looks whether the name servers were tested.
const UNTESTED_PAUSE: Duration = Duration::from_millis(200);

/// Notes are put together for this long where there is more to evaluate.
const NOTES_EVERY: Duration = Duration::from_secs(10);

impl Cover {
    /// Works until `stopped` turns true. What is in flight then is dropped: it decided nothing yet.
    pub async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut workers = JoinSet::new();
        // There may be domains to ask about only with a later configuration.
        for number in 0..DOMAINS_AT_ONCE {
            let cover = Arc::clone(&self);
            workers.spawn(async move { cover.work(number).await });
        }
        // An error means that the sender is gone, which is a stop as well. The workers end with their set.
        drop(stopped.wait_for(|stop| *stop).await);
    }

    async fn work(&self, number: usize) {
        loop {
            let domain = self.take_due().await;
            let setup = self.setup();
            match setup.askers.get(number) {
                Some(asker) => self.evaluate(&setup, asker, &domain).await,
                // Nobody is to be asked any more: the domain is nobody's either.
                None => self.table.lock().put_back(&domain, self.clock.now().wall.plus(SLEEP_MAX)),
            }
            // The domain has a new turn, for which somebody may wait too long.
            self.wake.notify_one();
        }
    }

    /// Waits for a domain that is due. One worker waits, the others wait for it.
    async fn take_due(&self) -> Domain {
        let _next = self.next.lock().await;
        loop {
            self.admit_new();
            let now = self.clock.now().wall;
            let is_tested = (self.around.is_tested)();
            let (due, next) = {
                let mut table = self.table.lock();
                (if is_tested { table.take_due(now) } else { None }, table.next_due())
            };
            if let Some(domain) = due {
                tokio::time::sleep(PACE).await;
                return domain;
            }
            let pause = match is_tested {
                true => next.map_or(SLEEP_MAX, |next| next.since(now)).min(SLEEP_MAX),
                false => UNTESTED_PAUSE,
            };
            tokio::select! {
                () = tokio::time::sleep(pause.max(PACE)) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// Takes in what was seen in mail.
    fn admit_new(&self) {
        loop {
            let Some((tenant, domain)) = self.seen.lock().take_new() else { return };
            let now = self.clock.now().wall;
            let (is_in, news) = {
                let (mut table, mut seen) = (self.table.lock(), self.seen.lock());
                let is_in = table.admit(&mut seen, &tenant, &domain, |domain| (self.around.waits)(domain), now);
                (is_in, table.take_news())
            };
            news.into_iter().for_each(|news| (self.around.sink)(Heard::News(news)));
            if !is_in {
                (self.around.sink)(Heard::PassedOver(tenant));
            }
        }
    }

    /// Evaluates one domain for every binding.
    async fn evaluate(&self, setup: &Arc<Setup>, asker: &Arc<Asker>, domain: &Domain) {
        let distrusted = Answer::without_record(Outcome::TempError, Reason::Distrusted);
        let mut answers = vec![distrusted; setup.targets.len()];
        if (self.around.is_believed)() {
            let found = self.ask(&setup.targets, asker, domain).await;
            if (self.around.is_believed)() {
                found.iter().for_each(|answer| (self.around.sink)(Heard::Evaluated(answer.outcome)));
                answers = found;
            }
        }
        let unit = self.random.lock().random::<f64>();
        let now = self.clock.now().wall;
        let (news, notes) = {
            let mut table = self.table.lock();
            if Arc::ptr_eq(setup, &self.setup()) {
                table.answered(domain, &answers, unit, now);
            } else {
                // Other bindings were asked about than there are now, or other servers asked.
                table.put_back(domain, now);
            }
            let notes = if table.is_time_to_tell(NOTES_EVERY, now) { table.take_notes(now) } else { Vec::new() };
            (table.take_news(), notes)
        };
        news.into_iter().for_each(|news| (self.around.sink)(Heard::News(news)));
        notes.into_iter().for_each(|note| (self.around.sink)(Heard::Note(note)));
    }

    /// An answer for each binding.
    async fn ask(&self, targets: &[Target], asker: &Arc<Asker>, domain: &Domain) -> Vec<Answer> {
        asker.forget();
        let opened = match asker.open(domain.as_str()).await {
            Ok(opened) => Arc::new(opened),
            Err(answer) => return vec![answer; targets.len()],
        };
        let begun = self.clock.now().mono;
        let mut answers = Vec::with_capacity(targets.len());
        for some in targets.chunks(IN_FLIGHT) {
            let is_dead =
                !answers.is_empty() && answers.iter().all(|answer: &Answer| answer.outcome == Outcome::TempError);
            if is_dead || self.clock.now().mono.since(begun) >= DOMAIN_PATIENCE {
                let given_up = Answer::without_record(Outcome::TempError, Reason::GaveUp);
                answers.resize(targets.len(), given_up);
                break;
            }
            answers.extend(judge_all(asker, &opened, domain, some).await);
        }
        answers
    }
}

async fn judge_all(asker: &Arc<Asker>, opened: &Arc<Opened>, domain: &Domain, targets: &[Target]) -> Vec<Answer> {
    let mut asked = JoinSet::new();
    for (place, target) in targets.iter().cloned().enumerate() {
        let (asker, opened, domain) = (Arc::clone(asker), Arc::clone(opened), domain.clone());
        asked.spawn(async move {
            let ehlo = target.ehlo.as_deref().unwrap_or(domain.as_str());
            let mut answer: Option<(Family, Answer)> = None;
            for address in target.addresses.iter() {
                let next = (Family::of(address), asker.judge(&opened, address, ehlo).await);
                answer = Some(match answer {
                    Some(first) => worst(first, next),
                    None => next,
                });
            }
            (place, answer.map(|(_, answer)| answer))
        });
    }
    // One whose task went wrong says nothing.
    let unknown = Answer::without_record(Outcome::TempError, Reason::WentWrong);
    let mut answers = vec![unknown; targets.len()];
    while let Some(joined) = asked.join_next().await {
        if let Ok((place, Some(answer))) = joined {
            answers[place] = answer;
        }
    }
    answers
}
