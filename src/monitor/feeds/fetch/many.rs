//! (shell) Feeds that are asked about each address or domain by itself.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::IpAddr;

use super::{Fetcher, Harvest, parse, unreadable};
use crate::clock::Wall;
use crate::monitor::feeds::answer::{Failure, Outcome};
use crate::monitor::feeds::client::Body;
use crate::monitor::feeds::memory::Memory;
use crate::monitor::feeds::oauth::Secret;
use crate::monitor::feeds::observation::Observation;
use crate::monitor::feeds::reading::day_at;
use crate::monitor::feeds::snds::Report;
use crate::monitor::feeds::{postmaster, wqs};

/// How asking about one after the other goes.
#[derive(Debug, Default)]
struct Going {
    is_any_answered: bool,
    refused: Vec<Failure>,
    is_over: bool,
}

impl Going {
    /// Takes in what came of a question about `whom`. `is_note`: the other side does not want to be asked about this one.
    fn goes<T>(
        &mut self,
        part: Result<T, Failure>,
        whom: &dyn Display,
        is_note: impl Fn(&Failure) -> bool,
        harvest: &mut Harvest,
    ) -> Option<T> {
        match part {
            Ok(part) => {
                self.is_any_answered = true;
                Some(part)
            }
            Err(failure) if failure.outcome == Outcome::NoData => None,
            Err(failure) if is_note(&failure) => {
                self.refused.push(failure.of(whom));
                None
            }
            Err(failure) => {
                self.is_over |= !harvest.fails(failure.of(whom));
                None
            }
        }
    }

    /// One was asked about; where it was only too much for now, it stays the next.
    fn done_with(&self, whom: String, harvest: &mut Harvest) {
        if harvest.failure.as_ref().is_none_or(|failure| failure.outcome != Outcome::Limited) {
            harvest.tried.push(whom);
        }
    }

    /// What some were refused becomes notes where others were answered, else the failure that it is.
    fn ends(self, harvest: &mut Harvest) {
        let first = self.refused.first().cloned().filter(|_| !self.is_any_answered);
        let notes: BTreeSet<String> = self.refused.into_iter().map(|failure| failure.detail).collect();
        harvest.notes = notes.into_iter().collect();
        harvest.failure = harvest.failure.take().or(first);
    }
}

impl Fetcher {
    pub(super) async fn postmaster(&self, memory: &Memory, harvest: &mut Harvest, now: Wall) {
        let mut domains = match self.domains(now).await {
            Ok(domains) => domains,
            Err(failure) => return harvest.failure = Some(failure),
        };
        harvest.of = domains.iter().cloned().collect();
        domains.sort_by_key(|domain| memory.tried.get(domain));
        let is_note = |failure: &Failure| failure.is_forbidden || failure.outcome == Outcome::Refused;
        let mut going = Going::default();
        for domain in domains {
            for is_figures in [true, false] {
                if going.is_over {
                    break;
                }
                let part = match is_figures {
                    true => self.figures(&domain, now).await,
                    false => self.compliance(&domain, now).await,
                };
                if let Some(report) = going.goes(part, &domain, is_note, harvest) {
                    harvest.report.add(report);
                }
            }
            going.done_with(domain, harvest);
            if going.is_over {
                break;
            }
        }
        going.ends(harvest);
    }

    async fn domains(&self, now: Wall) -> Result<Vec<String>, Failure> {
        if !self.feed.domains.is_empty() {
            return Ok(self.feed.domains.iter().map(|domain| domain.as_str().to_owned()).collect());
        }
        let (mut all, mut page) = (Vec::new(), None);
        for _ in 0..postmaster::MOST_PAGES {
            let answer = self.json(&postmaster::list_path(page.as_deref()), Body::None, now).await?;
            all.extend(postmaster::domains(&answer));
            page = postmaster::next_page(&answer);
            if page.is_none() || all.len() >= postmaster::MOST_DOMAINS {
                break;
            }
        }
        Ok(all)
    }

    async fn figures(&self, domain: &str, now: Wall) -> Result<Report, Failure> {
        let (mut report, mut page) = (Report::default(), None);
        for _ in 0..postmaster::MOST_PAGES {
            let question = Body::Json(postmaster::query(day_at(now), page.as_deref()).to_string());
            let answer = self.json(&postmaster::query_path(domain), question, now).await?;
            report.add(postmaster::figures(&answer, domain, now).map_err(unreadable)?);
            page = postmaster::next_page(&answer);
            if page.is_none() {
                break;
            }
        }
        Ok(report)
    }

    async fn compliance(&self, domain: &str, now: Wall) -> Result<Report, Failure> {
        let answer = self.json(&postmaster::compliance_path(domain), Body::None, now).await?;
        postmaster::compliance(&answer, domain, now).map_err(unreadable)
    }

    /// Each list proves itself first. Of an address that not every list could be asked about, only what is on one is known.
    pub(super) async fn wqs(&self, memory: &Memory, harvest: &mut Harvest, now: Wall) {
        let key = match self.credentials.secret() {
            Ok(key) => key.map(|key| Secret::new(format!("Bearer {}", key.reveal()))),
            Err(failure) => return harvest.failure = Some(failure),
        };
        let (key, all) = (key.as_ref(), self.feed.lists.len() as u32);
        let left = memory.left(self.feed.daily_budget, now);
        harvest.of = self.ours.iter().map(ToString::to_string).collect();
        // What is left must do for the proofs and one address.
        if left < all.saturating_mul(2) {
            return;
        }
        let lists = self.proven(key, harvest, now).await;
        let mut ours: Vec<(String, IpAddr)> = self.ours.iter().map(|ip| (ip.to_string(), *ip)).collect();
        ours.sort_by_key(|(name, _)| memory.tried.get(name));
        let mut going = Going::default();
        for (name, ip) in ours {
            if going.is_over || lists.is_empty() || harvest.spent + lists.len() as u32 > left {
                break;
            }
            let (mut listed, mut is_known) = (Vec::new(), lists.len() == self.feed.lists.len());
            for list in &lists {
                if going.is_over {
                    break;
                }
                harvest.spent += 1;
                let said = self.look_up(list, ip, key, now).await;
                let said = going.goes(said, &ip, |failure| failure.outcome == Outcome::Refused, harvest);
                is_known &= said.is_some();
                listed.extend(said.flatten());
            }
            is_known &= !going.is_over;
            going.done_with(name, harvest);
            let raw: Vec<&str> = listed.iter().map(|seen| seen.raw.as_str()).collect();
            let raw = raw.join("; ");
            let seen = listed.first().cloned().map(|seen| Observation { raw, ..seen });
            let seen = seen.or_else(|| is_known.then(|| wqs::not_listed(ip, now)));
            harvest.report.rows += usize::from(seen.is_some());
            harvest.report.observations.extend(seen);
        }
        going.ends(harvest);
    }

    /// The lists that have their test address; none where it is of no use to go on.
    async fn proven(&self, key: Option<&Secret>, harvest: &mut Harvest, now: Wall) -> Vec<&str> {
        let mut proven = Vec::new();
        for list in &self.feed.lists {
            harvest.spent += 1;
            let failure = match self.look_up(list, wqs::TEST, key, now).await {
                Ok(Some(_)) => {
                    proven.push(list.as_str());
                    continue;
                }
                Ok(None) => {
                    let what = format!("its test address {} is not on it: is its name or url wrong?", wqs::TEST);
                    Failure::new(Outcome::Refused, what)
                }
                Err(failure) => failure,
            };
            if !harvest.fails(failure.of(&format_args!("list {list}"))) {
                return Vec::new();
            }
        }
        proven
    }

    /// What one list says of an address; `None` where it has it not.
    async fn look_up(
        &self,
        list: &str,
        ip: IpAddr,
        key: Option<&Secret>,
        now: Wall,
    ) -> Result<Option<Observation>, Failure> {
        let url = format!("{}{}", self.feed.url, wqs::path(list, ip));
        let answer = self.client.ask(&url, key.map(|key| ("Authorization", key)), Body::None).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        let json = parse(answer.document(now)?).await?;
        wqs::listed(&json, list, ip, now).map(Some).map_err(unreadable)
    }
}
