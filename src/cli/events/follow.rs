//! `remuda events --follow`: server-sent events, by number, so that nothing is missed when the connection breaks.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::{Args, Event, EventList, HEAD, line};
use crate::cli::fail;
use crate::cli::remote::{Failure, runtime};
use crate::cli::terminal::{columns, visible, visible_json};

/// Before a connection that broke is made anew.
const AGAIN: Duration = Duration::from_secs(2);
/// How often in a row the relay may refuse one whom it let before.
const REFUSED: u32 = 2;
/// Octets of one line at most.
const LINE_MAX: usize = 1024 * 1024;

/// What a stream says (HTML Standard §9.2.6, as far as the relay uses it).
#[derive(Debug, Default)]
struct Reading {
    octets: Vec<u8>,
    event: String,
    data: String,
}

#[derive(Debug, PartialEq)]
struct Said {
    event: String,
    data: String,
}

impl Reading {
    /// What is whole with these octets.
    fn take(&mut self, octets: &[u8]) -> Vec<Said> {
        self.octets.extend_from_slice(octets);
        let mut said = Vec::new();
        while let Some(end) = self.octets.iter().position(|octet| *octet == b'\n') {
            let line: Vec<u8> = self.octets.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            said.extend(self.line(line.trim_end_matches(['\r', '\n'])));
        }
        if self.octets.len() > LINE_MAX {
            self.octets.clear();
        }
        said
    }

    fn line(&mut self, line: &str) -> Option<Said> {
        if line.is_empty() {
            let said = Said { event: std::mem::take(&mut self.event), data: std::mem::take(&mut self.data) };
            return (!said.data.is_empty()).then_some(said);
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.event),
            "data" if self.data.len() < LINE_MAX => self.data.push_str(value),
            _ => {}
        }
        None
    }
}

/// Why it ends.
enum End {
    /// Whoever reads has seen enough.
    Enough,
    /// Nothing more can be had.
    Failed(String),
}

/// `text` is what happened up to now.
pub(super) fn main(args: &Args, text: &str) -> ExitCode {
    let list: EventList = match serde_json::from_str(text) {
        Ok(list) => list,
        Err(error) => return fail(format_args!("{} answered something else than events: {error}", args.remote.admin)),
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    match runtime.block_on(follow(args, list)) {
        End::Enough => ExitCode::SUCCESS,
        End::Failed(why) => fail(why),
    }
}

async fn follow(args: &Args, list: EventList) -> End {
    // Where nothing happened yet, everything that does is new.
    let mut after = list.events.last().map_or(0, |event| event.seq);
    if !args.remote.json && out(HEAD).is_err() {
        return End::Enough;
    }
    for event in &list.events {
        if show(args, event).is_err() {
            return End::Enough;
        }
    }
    let (mut has_begun, mut refused) = (false, 0);
    loop {
        match stream(args, &mut after, &mut has_begun).await {
            Ok(end) => return end,
            Err(Failure { words, problem }) => {
                // What the relay itself refuses does not come right by asking again; but it may just have begun anew, and
                // have another token for this machine than was read a moment ago.
                let is_refused = problem.as_ref().is_some_and(|problem| problem.status < 500 && problem.status != 429);
                refused = if is_refused { refused + 1 } else { 0 };
                if !has_begun || refused > REFUSED {
                    return End::Failed(words);
                }
                eprintln!("remuda: {words}");
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Shows what one connection says. An end of it is a failure like others, unless nobody reads any more.
async fn stream(args: &Args, after: &mut u64, has_begun: &mut bool) -> Result<End, Failure> {
    let query: Vec<(&str, String)> = args.filter().into_iter().chain([("after", after.to_string())]).collect();
    let mut answer = args.remote.stream("/api/v1/events/stream", &query).await?;
    *has_begun = true;
    let mut reading = Reading::default();
    let broke = |why: &dyn std::fmt::Display| Failure::from(format!("the connection broke ({why}); asking again"));
    while let Some(octets) = answer.chunk().await.map_err(|error| broke(&error))? {
        for said in reading.take(&octets) {
            if said.event == "lagged" {
                eprintln!("remuda: some events are missing here: they are no longer kept");
                continue;
            }
            let Ok(event) = serde_json::from_str::<Event>(&said.data) else {
                eprintln!("remuda: no event: {}", visible(&said.data));
                continue;
            };
            *after = event.seq;
            let shown = if args.remote.json { out(&(visible_json(&said.data) + "\n")) } else { show(args, &event) };
            if shown.is_err() {
                return Ok(End::Enough);
            }
        }
    }
    Err(broke(&"it ended"))
}

fn show(args: &Args, event: &Event) -> std::io::Result<()> {
    let mut text = String::new();
    if args.remote.json {
        let fields = serde_json::json!({ "seq": event.seq, "at": event.at.to_string(), "kind": event.kind });
        let mut fields = fields.as_object().cloned().unwrap_or_default();
        fields.extend(event.fields.iter().map(|(name, text)| (name.clone(), text.clone().into())));
        text = visible_json(&serde_json::Value::from(fields).to_string()) + "\n";
    } else {
        line(&mut text, event, columns());
    }
    out(&text)
}

/// At once: whoever follows wants to see it.
fn out(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(error),
        // A terminal that cannot take more now is no reason to stop following.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_however_it_is_cut() {
        let text = ": alive\n\nid: 5\nevent: health\ndata: {\"a\":1}\r\n\r\nevent: lagged\ndata: {}\n\nid: 6\nevent:audit\ndata:{}\n\nid";
        let said = |event: &str, data: &str| Said { event: event.into(), data: data.into() };
        let expected = [said("health", "{\"a\":1}"), said("lagged", "{}"), said("audit", "{}")];
        for size in 1..text.len() {
            let mut reading = Reading::default();
            let all: Vec<Said> = text.as_bytes().chunks(size).flat_map(|octets| reading.take(octets)).collect();
            assert_eq!(all, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_end_fills_no_memory() {
        let mut reading = Reading::default();
        for _ in 0..100 {
            assert_eq!(reading.take(&[b'x'; 65_536]), []);
        }
        assert!(reading.octets.len() <= LINE_MAX);
    }
}
