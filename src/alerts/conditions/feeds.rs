//! What others say, and whether they still say anything.

use super::{Doubt, Judgement};
use crate::alerts::view::{FeedView, View};
use crate::clock::Wall;
use crate::config::{AlertName, Alerts};

pub(super) fn feeds(view: &View, alerts: &Alerts, now: Wall, out: &mut Judgement) {
    for feed in &view.feeds {
        fetches(feed, out);
        let labels = [("feed", feed.name.as_str())];
        // One that never said anything has been silent since the start at least.
        let age = feed.age.unwrap_or(view.running);
        if age > feed.max_age {
            out.say(
                AlertName::FeedStale,
                &labels,
                format!("feed {} has had no news for {} h", feed.name, age.as_secs() / 3_600),
                "What it said before counts less and less. Missing data is not good news.".into(),
            );
        } else if feed.age.is_none() {
            out.doubts.push(Doubt::new(AlertName::FeedStale, &labels));
        }
        if let Some(expires) = feed.expires.filter(|at| at.since(now) < alerts.limits.credential_life) {
            out.say(
                AlertName::FeedCredentialExpiring,
                &labels,
                format!("the credentials of feed {} expire at {expires}", feed.name),
                "Renew them; afterwards the feed is silent.".into(),
            );
        }
    }
}

/// Whether it can be read.
fn fetches(feed: &FeedView, out: &mut Judgement) {
    let labels = [("feed", feed.name.as_str())];
    let worked = match feed.last_success {
        Some(at) => format!("The last fetch that worked was at {at}. {}", feed.detail),
        None => format!("No fetch ever worked. {}", feed.detail),
    };
    match (feed.up, feed.is_refused) {
        (None, _) => {
            let names = [AlertName::FeedDown, AlertName::FeedCredentialsRefused];
            out.doubts.extend(names.map(|name| Doubt::new(name, &labels)));
        }
        (Some(_), true) => {
            let summary = format!("feed {} does not accept our credentials", feed.name);
            out.say(AlertName::FeedCredentialsRefused, &labels, summary, worked);
        }
        (Some(false), false) => {
            out.say(AlertName::FeedDown, &labels, format!("feed {} cannot be read", feed.name), worked);
        }
        (Some(true), false) => {}
    }
}
