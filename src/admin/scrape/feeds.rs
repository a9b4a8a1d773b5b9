//! Gauges of feeds. What is no more known leaves no series.

use std::collections::HashMap;

use super::catch_up;
use super::gone::forget;
use crate::admin::Sources;
use crate::clock::Wall;
use crate::monitor::feeds::FeedSnapshot;
use crate::monitor::feeds::answer::Outcome;
use crate::telemetry::Metrics;

pub(super) fn fill(metrics: &Metrics, sources: &Sources) {
    let own = &metrics.feeds;
    let gauges = [&own.age_seconds, &own.last_success, &own.credential_expiry, &own.value];
    gauges.iter().for_each(|gauge| gauge.reset());
    let now = sources.dispatcher.now().wall;
    let seen = sources.feeds.snapshot();
    forget_gone(metrics, &seen);
    for feed in seen {
        one(metrics, &feed, now);
    }
}

fn forget_gone(metrics: &Metrics, seen: &[FeedSnapshot]) {
    let has_feed = |labels: &HashMap<&str, &str>| {
        let name = labels.get("feed").copied().unwrap_or_default();
        seen.iter().any(|feed| feed.feed == name)
    };
    let own = &metrics.feeds;
    forget(&own.up, has_feed);
    forget(&own.credentials_refused, has_feed);
    forget(&own.notes, has_feed);
    forget(&own.held, has_feed);
    forget(&own.fetches, has_feed);
    forget(&own.unknown_fields, has_feed);
    forget(&own.dropped, has_feed);
    forget(&own.state, |labels| {
        let (feed, binding) = (labels.get("feed"), labels.get("binding"));
        let known = seen.iter().find(|known| feed.is_some_and(|feed| known.feed == **feed));
        known.zip(binding).is_some_and(|(known, binding)| known.states.contains_key(*binding))
    });
}

fn one(metrics: &Metrics, feed: &FeedSnapshot, now: Wall) {
    let (own, name) = (&metrics.feeds, [feed.feed.as_str()]);
    let seconds = |at: Wall| at.as_millis() as f64 / 1000.0;
    if let Some(up) = feed.up {
        own.up.with_label_values(&name).set(i64::from(up));
    }
    own.credentials_refused.with_label_values(&name).set(i64::from(feed.credentials_refused));
    let known = [
        (&own.age_seconds, Some(now.since(feed.silent_since).as_secs_f64())),
        (&own.last_success, feed.last_success.map(seconds)),
        (&own.credential_expiry, feed.credential_expires.map(seconds)),
    ];
    for (gauge, value) in known {
        if let Some(value) = value {
            gauge.with_label_values(&name).set(value);
        }
    }
    for outcome in Outcome::ALL {
        let count = feed.fetches.get(outcome.as_str()).copied().unwrap_or_default();
        catch_up(&own.fetches.with_label_values(&[name[0], outcome.as_str()]), count);
    }
    catch_up(&own.unknown_fields.with_label_values(&name), feed.unknown_fields);
    for (whose, count) in [("ours", feed.dropped.ours), ("others", feed.dropped.others)] {
        catch_up(&own.dropped.with_label_values(&[name[0], whose]), count);
    }
    own.notes.with_label_values(&name).set(i64::try_from(feed.notes.len()).unwrap_or(i64::MAX));
    own.held.with_label_values(&name).set(i64::try_from(feed.held.len()).unwrap_or(i64::MAX));
    for (binding, state) in &feed.states {
        own.state.with_label_values(&[name[0], binding]).set(i64::from(*state));
    }
    for seen in &feed.observations {
        let (metric, value) = (seen.observation.metric.as_str(), seen.observation.value.number);
        let bindings = seen.bindings.iter().map(|binding| [name[0], metric, binding.as_str(), ""]);
        let others = seen.name.iter().map(|domain| [name[0], metric, "", domain]);
        for labels in bindings.chain(others) {
            own.value.with_label_values(&labels).set(value);
        }
    }
}
