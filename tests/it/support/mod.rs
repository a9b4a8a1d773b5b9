//! What the scenarios share: a relay in a directory of its own, its configuration, and looking at it from outside.

pub(crate) mod browser;
mod machine;
mod rbldnsd;
mod relay;
mod settings;
pub(crate) mod tls;
mod users;

pub(crate) use machine::Machine;
pub(crate) use rbldnsd::Rbldnsd;
pub(crate) use relay::Relay;
pub(crate) use settings::Settings;
pub(crate) use users::{Talker, Users, quoted};

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use remuda::demo::injector::Injected;
use remuda::demo::sink::{Sink, SinkOptions};
use serde_json::Value;

/// Long enough for a loaded machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Port 0 on 127.0.0.1.
pub(crate) fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// 127.0.0.`last`.
pub(crate) fn local(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

/// A receiver with the defaults.
pub(crate) async fn sink() -> Sink {
    Sink::start(anywhere()).await.unwrap()
}

/// A receiver that keeps bodies.
pub(crate) async fn keeping_sink() -> Sink {
    Sink::start_with(anywhere(), SinkOptions { keep_bodies: true, ..SinkOptions::default() }).await.unwrap()
}

/// Asks `look` again and again until it finds something.
///
/// # Panics
/// After [`PATIENCE`], with `what` in words.
pub(crate) async fn wait_until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// Waits until `sink` has taken `messages`.
pub(crate) async fn wait_for_messages(sink: &Sink, messages: u64) {
    let what = format!("{messages} messages at {}", sink.addr());
    wait_until(&what, async || (sink.messages() >= messages).then_some(())).await;
}

/// The number at `pointer` of a JSON document.
pub(crate) fn number(document: &Value, pointer: &str) -> u64 {
    let found = document.pointer(pointer).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("no number at {pointer} in {document:#}"))
}

/// The text at `pointer` of a JSON document.
pub(crate) fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    let found = document.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text at {pointer} in {document:#}"))
}

/// The array at `pointer` of a JSON document.
pub(crate) fn array<'a>(document: &'a Value, pointer: &str) -> &'a [Value] {
    let found = document.pointer(pointer).and_then(Value::as_array);
    found.unwrap_or_else(|| panic!("no array at {pointer} in {document:#}"))
}

/// The element of the array at `pointer` whose `name` (or `destination`) is this.
pub(crate) fn named<'a>(document: &'a Value, pointer: &str, name: &str) -> &'a Value {
    let is = |element: &&Value| element["name"] == name || element["destination"] == name;
    array(document, pointer).iter().find(is).unwrap_or_else(|| panic!("no {name} at {pointer} in {document:#}"))
}

/// A moment in a JSON document: RFC 3339, or milliseconds since the epoch.
pub(crate) fn moment(value: &Value) -> jiff::Timestamp {
    match (value.as_i64(), value.as_str()) {
        (Some(millis), _) => jiff::Timestamp::from_millisecond(millis).unwrap(),
        (_, Some(text)) => text.parse().unwrap_or_else(|e| panic!("{text}: {e}")),
        _ => panic!("no moment: {value}"),
    }
}

/// Fails unless everything was answered `250`.
pub(crate) fn all_accepted(done: &Injected) {
    let nothing = (done.refused.is_empty(), done.unknown.is_empty(), done.unsent.is_empty());
    assert_eq!(nothing, (true, true, true), "{:?} {:?} {:?}", done.refused.first(), done.unknown, done.errors);
}

/// Fails unless `sink` got every one of `numbers` exactly once, and nothing else.
pub(crate) fn arrived_once_each(sink: &Sink, numbers: impl IntoIterator<Item = u64>) {
    let ids = sink.ids();
    let wanted: BTreeSet<String> = numbers.into_iter().map(|n| n.to_string()).collect();
    let missing: Vec<_> = wanted.iter().filter(|id| !ids.contains_key(*id)).take(10).collect();
    let others: Vec<_> = ids.keys().filter(|id| !wanted.contains(*id)).take(10).collect();
    let again: Vec<_> = ids.iter().filter(|(_, times)| **times > 1).take(10).collect();
    assert!(missing.is_empty() && others.is_empty() && again.is_empty(), "{missing:?} {others:?} {again:?}");
}

/// A day that began twelve hours ago, so that no test runs over its end, as TOML; and when
/// the next one begins.
pub(crate) fn day_with_room() -> (String, jiff::Timestamp) {
    let middle = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let next = middle.saturating_add(jiff::Span::new().hours(12));
    let next = next.with().second(0).subsec_nanosecond(0).build().unwrap();
    let day = format!("{{ timezone = \"UTC\", starts = \"{}\" }}", next.strftime("%H:%M"));
    (day, next.timestamp())
}
