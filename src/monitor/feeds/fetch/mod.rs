//! (shell) One fetch: which questions each kind of feed puts, in which order, and when it gives up.
//!
//! What was read before something failed is kept. A failure that would meet every further question (credentials, too many
//! requests, no connection) ends the fetch; one about a single document does not. Where many are asked about, those asked
//! longest ago come first, so that neither a budget nor one that always fails keeps the rest from their turn; and what
//! only some of them are refused is a note, not a failure of the feed.
//!
//! A report may have megabytes: reading it is done aside, where nobody else waits.

mod many;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::civil::Date;
use serde_json::Value as Json;

use super::answer::{Answer, Failure, Outcome};
use super::client::{Body, Client};
use super::credentials::Credentials;
use super::generic;
use super::memory::Memory;
use super::oauth::Secret;
use super::postmaster;
use super::snds::{self, Report};
use crate::clock::Wall;
use crate::config::{Feed, FeedKind};

/// What a fetch brought.
#[derive(Debug, Default)]
pub struct Harvest {
    /// What was read.
    pub report: Report,
    /// Days whose report has come, or comes no more.
    pub days: Vec<Date>,
    /// Requests made, where there is a budget.
    pub spent: u32,
    /// What went wrong, the first thing.
    pub failure: Option<Failure>,
    /// What is wrong with a part of it, each once.
    pub notes: Vec<String>,
    /// Addresses or domains that were asked about.
    pub tried: Vec<String>,
    /// All that are to be.
    pub of: BTreeSet<String>,
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
            Err(failure) => self.fails(failure),
        }
    }

    /// Takes in a failure. False where it would meet every further question.
    fn fails(&mut self, failure: Failure) -> bool {
        let goes_on = failure.is_about_one();
        match goes_on {
            true => drop(self.failure.get_or_insert(failure)),
            // It may say when to come back.
            false => self.failure = Some(failure),
        }
        goes_on
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
    pub async fn fetch(&self, memory: &Memory, now: Wall) -> Harvest {
        let mut harvest = Harvest::default();
        match self.feed.kind {
            FeedKind::Snds => self.snds(memory, &mut harvest, now).await,
            FeedKind::SndsCsv => self.snds_csv(&mut harvest, now).await,
            FeedKind::Postmaster => self.postmaster(memory, &mut harvest, now).await,
            FeedKind::Wqs => self.wqs(memory, &mut harvest, now).await,
            FeedKind::Json | FeedKind::Csv => {
                let report = self.generic(now).await;
                harvest.take(report);
            }
        }
        harvest
    }

    async fn snds(&self, memory: &Memory, harvest: &mut Harvest, now: Wall) {
        let status = match self.slashed("/api/report/status/ip", now).await {
            Ok(body) => self.status(body, now).await,
            Err(failure) => Err(failure),
        };
        if !harvest.take(status) {
            return;
        }
        for day in memory.missing_days(self.feed.max_age, now) {
            let report = match self.slashed(&format!("/api/report/data/{day}"), now).await {
                Ok(body) => aside(move || read_data(&body, Some(day), now)).await,
                Err(failure) => Err(failure),
            };
            // A day without a single row may yet come.
            let has_come = report.as_ref().is_ok_and(|report| !report.observations.is_empty());
            let is_none = report.as_ref().map_or_else(|failure| failure.outcome == Outcome::NoData, |_| !has_come);
            if has_come || is_none && Memory::is_past_hope(day, now) {
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

    async fn status(&self, body: Vec<u8>, now: Wall) -> Result<Report, Failure> {
        let v4: Vec<IpAddr> = self.ours.iter().copied().filter(IpAddr::is_ipv4).collect();
        aside(move || {
            let rows = snds::rows(&String::from_utf8_lossy(&body), true).map_err(unreadable)?;
            snds::status(&rows, &v4, now).map_err(unreadable)
        })
        .await
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
            let report = match document {
                // Nothing is what a table without a header has when it has no rows, and when it is broken: it neither
                // blames nor acquits.
                Ok(body) if body.trim_ascii().is_empty() => Ok(Report::default()),
                Ok(body) if is_status => self.status(body, now).await,
                Ok(body) => aside(move || read_data(&body, None, now)).await,
                Err(failure) => Err(failure),
            };
            if !harvest.take(report) {
                return;
            }
        }
    }

    async fn generic(&self, now: Wall) -> Result<Report, Failure> {
        let secret = self.credentials.secret()?;
        let header = secret.as_ref().map(|secret| (self.feed.auth.header.as_str(), secret));
        let answer = self.client.ask(&self.feed.url, header, Body::None).await?;
        let body = answer.must_be_there()?.document(now)?;
        let feed = Arc::clone(&self.feed);
        aside(move || {
            // The check of the configuration gives these kinds their rows.
            let Some(how) = &feed.rows else { return Ok(Report::default()) };
            let read = match feed.kind {
                FeedKind::Json => generic::json(&body, &feed, how, now),
                _ => generic::csv(&body, &feed, how, now),
            };
            read.map_err(unreadable)
        })
        .await
    }

    async fn json(&self, path: &str, body: Body, now: Wall) -> Result<Json, Failure> {
        parse(self.authorised(path, body, now).await?).await
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

async fn parse(body: Vec<u8>) -> Result<Json, Failure> {
    let read =
        move || serde_json::from_slice(&body).map_err(|error| unreadable(format!("no JSON: line {}", error.line())));
    aside(read).await
}

/// Does what takes long where nobody else waits.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(unreadable("the reading was given up".to_owned())))
}

fn unreadable(what: String) -> Failure {
    Failure::new(Outcome::Unreadable, what)
}
