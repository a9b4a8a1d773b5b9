//! (shell) One fetch: which questions each kind of feed puts, in which order, and when it gives up.
//!
//! What was read before something failed is kept. A failure that would meet every further question (credentials, too many
//! requests, no connection) ends the fetch; one about a single document does not.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::civil::Date;
use serde_json::Value as Json;

use super::answer::{Answer, Failure, Outcome};
use super::book::Book;
use super::client::{Body, Client};
use super::credentials::Credentials;
use super::memory::Memory;
use super::oauth::Secret;
use super::observation::Scope;
use super::reading::day_at;
use super::snds::{self, Report};
use super::{generic, postmaster, wqs};
use crate::clock::Wall;
use crate::config::{Feed, FeedKind};

/// What a fetch brought.
#[derive(Debug, Default)]
pub struct Harvest {
    /// What was read.
    pub report: Report,
    /// Days whose report has come.
    pub days: Vec<Date>,
    /// Requests made, where there is a budget.
    pub spent: u32,
    /// What went wrong, the first thing.
    pub failure: Option<Failure>,
}

impl Harvest {
    /// What it comes to.
    pub fn outcome(&self) -> Outcome {
        match &self.failure {
            Some(failure) => failure.outcome,
            None if self.report.observations.is_empty() => Outcome::NoData,
            None => Outcome::Ok,
        }
    }

    /// Takes in one document. False where it is of no use to go on.
    fn take(&mut self, document: Result<Report, Failure>) -> bool {
        match document {
            Ok(report) => {
                self.report.add(report);
                true
            }
            Err(failure) if failure.outcome == Outcome::NoData => true,
            Err(failure) => {
                let goes_on = matches!(failure.outcome, Outcome::Unreadable | Outcome::Refused | Outcome::TooLarge);
                self.failure.get_or_insert(failure);
                goes_on
            }
        }
    }
}

/// Asks for one feed.
#[derive(Debug)]
pub struct Fetcher {
    feed: Arc<Feed>,
    client: Client,
    credentials: Arc<Credentials>,
    ours: Vec<IpAddr>,
}

impl Fetcher {
    /// `ours` are the addresses that the account covers.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn new(feed: Arc<Feed>, credentials: Arc<Credentials>, ours: Vec<IpAddr>) -> Result<Self, Failure> {
        let client = Client::new(feed.timeout, feed.max_bytes)?;
        Ok(Self { feed, client, credentials, ours })
    }

    /// Asks everything that is to be asked now.
    pub async fn fetch(&self, memory: &Memory, book: &Book, now: Wall) -> Harvest {
        let mut harvest = Harvest::default();
        match self.feed.kind {
            FeedKind::Snds => self.snds(memory, &mut harvest, now).await,
            FeedKind::SndsCsv => self.snds_csv(&mut harvest, now).await,
            FeedKind::Postmaster => self.postmaster(&mut harvest, now).await,
            FeedKind::Wqs => self.wqs(memory, book, &mut harvest, now).await,
            FeedKind::Json | FeedKind::Csv => {
                let report = self.generic(now).await;
                harvest.take(report);
            }
        }
        harvest
    }

    async fn snds(&self, memory: &Memory, harvest: &mut Harvest, now: Wall) {
        let status = self.slashed("/api/report/status/ip", now).await;
        if !harvest.take(status.and_then(|body| self.status(&body, now))) {
            return;
        }
        for day in memory.missing_days(now) {
            let document = self.slashed(&format!("/api/report/data/{day}"), now).await;
            let report = document.and_then(|body| read_data(&body, Some(day), now));
            // A day without a single row may yet come.
            if report.as_ref().is_ok_and(|report| !report.observations.is_empty()) {
                harvest.days.push(day);
            }
            if !harvest.take(report) {
                return;
            }
        }
    }

    /// A document of the REST interface; where there is none, perhaps it is under the name with a slash.
    async fn slashed(&self, path: &str, now: Wall) -> Result<Vec<u8>, Failure> {
        match self.authorised(path, Body::None, now).await {
            Err(failure) if failure.outcome == Outcome::NoData => {
                self.authorised(&format!("{path}/"), Body::None, now).await
            }
            found => found,
        }
    }

    fn status(&self, body: &[u8], now: Wall) -> Result<Report, Failure> {
        let rows = snds::rows(&String::from_utf8_lossy(body), true).map_err(unreadable)?;
        let v4: Vec<IpAddr> = self.ours.iter().copied().filter(IpAddr::is_ipv4).collect();
        snds::status(&rows, &v4, now).map_err(unreadable)
    }

    async fn snds_csv(&self, harvest: &mut Harvest, now: Wall) {
        let key = match self.credentials.secret() {
            Ok(key) => key.map(|key| postmaster::escaped(key.reveal())).unwrap_or_default(),
            Err(failure) => return harvest.failure = Some(failure),
        };
        for (page, is_status) in [("ipStatus.aspx", true), ("data.aspx", false)] {
            let url = Secret::new(format!("{}/{page}?key={key}", self.feed.url));
            let document = match self.client.ask(url.reveal(), None, Body::None).await {
                Ok(answer) if answer.status == 404 => Err(Failure::new(
                    Outcome::Credentials,
                    "answered 404: the link has expired (they last 30 days); make a new one",
                )),
                Ok(answer) => answer.document(now),
                Err(failure) => Err(failure),
            };
            let read = |body: Vec<u8>| if is_status { self.status(&body, now) } else { read_data(&body, None, now) };
            if !harvest.take(document.and_then(read)) {
                return;
            }
        }
    }

    async fn postmaster(&self, harvest: &mut Harvest, now: Wall) {
        let domains = match self.domains(now).await {
            Ok(domains) => domains,
            Err(failure) => return harvest.failure = Some(failure),
        };
        for domain in domains {
            for part in [self.figures(&domain, now).await, self.compliance(&domain, now).await] {
                let is_about_one = part.as_ref().is_err_and(|failure| failure.outcome == Outcome::Credentials);
                // A domain that we may not see says nothing of the others.
                if !harvest.take(part) && !is_about_one {
                    return;
                }
            }
        }
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

    /// The addresses of which nothing was heard for the longest come first: a budget that is too small is shared.
    async fn wqs(&self, memory: &Memory, book: &Book, harvest: &mut Harvest, now: Wall) {
        let key = match self.credentials.secret() {
            Ok(key) => key.map(|key| Secret::new(format!("Bearer {}", key.reveal()))),
            Err(failure) => return harvest.failure = Some(failure),
        };
        let mut ours = self.ours.clone();
        ours.sort_by_key(|ip| book.last(&Scope::Address(*ip), "listed").map(|seen| seen.fetched));
        let left = memory.left(self.feed.daily_budget, now);
        for ip in ours {
            if harvest.spent + self.feed.lists.len() as u32 > left {
                return;
            }
            let mut listed = Vec::new();
            for list in &self.feed.lists {
                harvest.spent += 1;
                let url = format!("{}{}", self.feed.url, wqs::path(list, ip));
                let header = key.as_ref().map(|key| ("Authorization", key));
                let document = self.client.ask(&url, header, Body::None).await.and_then(|answer| answer.document(now));
                let said = document
                    .and_then(|body| parse(&body))
                    .and_then(|json| wqs::listed(&json, list, ip, now).map_err(unreadable));
                match said {
                    Ok(seen) => listed.push(seen),
                    Err(failure) if failure.outcome == Outcome::NoData => {}
                    Err(failure) => return harvest.failure = Some(failure),
                }
            }
            let raw: Vec<&str> = listed.iter().map(|seen| seen.raw.as_str()).collect();
            let raw = raw.join("; ");
            let seen = listed.first().cloned().map(|seen| super::observation::Observation { raw, ..seen });
            harvest.report.observations.push(seen.unwrap_or_else(|| wqs::not_listed(ip, now)));
            harvest.report.rows += 1;
        }
    }

    async fn generic(&self, now: Wall) -> Result<Report, Failure> {
        let secret = self.credentials.secret()?;
        let header = secret.as_ref().map(|secret| (self.feed.auth.header.as_str(), secret));
        let body = self.client.ask(&self.feed.url, header, Body::None).await?.document(now)?;
        // The check of the configuration gives these kinds their rows.
        let Some(how) = &self.feed.rows else { return Ok(Report::default()) };
        let read = match self.feed.kind {
            FeedKind::Json => generic::json(&body, &self.feed, how, now),
            _ => generic::csv(&body, &self.feed, how, now),
        };
        read.map_err(unreadable)
    }

    async fn json(&self, path: &str, body: Body, now: Wall) -> Result<Json, Failure> {
        parse(&self.authorised(path, body, now).await?)
    }

    /// Asks with an access token; one that is refused is renewed once.
    async fn authorised(&self, path: &str, body: Body, now: Wall) -> Result<Vec<u8>, Failure> {
        let url = format!("{}{path}", self.feed.url);
        let first = self.with_token(&url, body.clone(), false).await?;
        if first.status != 401 {
            return first.document(now);
        }
        self.with_token(&url, body, true).await?.document(now)
    }

    async fn with_token(&self, url: &str, body: Body, anew: bool) -> Result<Answer, Failure> {
        let bearer = self.credentials.bearer(&self.client, anew).await?;
        self.client.ask(url, Some(("Authorization", &bearer)), body).await
    }
}

fn read_data(body: &[u8], day: Option<Date>, now: Wall) -> Result<Report, Failure> {
    let rows = snds::rows(&String::from_utf8_lossy(body), false).map_err(unreadable)?;
    let report = snds::data(&rows, day, now);
    match report.rows > 0 && report.observations.is_empty() {
        true => Err(unreadable(format!("no row can be read: {}", report.unknown.join("; ")))),
        false => Ok(report),
    }
}

fn parse(body: &[u8]) -> Result<Json, Failure> {
    serde_json::from_slice(body).map_err(|error| unreadable(format!("no JSON: line {}", error.line())))
}

fn unreadable(what: String) -> Failure {
    Failure::new(Outcome::Unreadable, what)
}
