//! Acts: counted, asked about, done, and done again until the relay has come to the end.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use reqwest::Method;

use super::{How, failed, text};
use crate::admin::queue::act::ActRequest;
use crate::admin::queue::shown::ActAnswer;
use crate::cli::remote::{Failure, Remote};
use crate::cli::terminal::{columns, visible_json};

/// Wrong usage: nobody has agreed.
const NOT_AGREED: u8 = 2;
/// So often is a relay asked to go on at most; each time it acts for some seconds.
const ROUNDS_MAX: usize = 10_000;
/// So often is an act agreed to again where more entries match than were counted.
const RECOUNTS_MAX: usize = 5;

pub(super) fn main(remote: &Remote, verb: &str, how: &How, more: impl FnOnce(&mut ActRequest)) -> ExitCode {
    let mut request = ActRequest {
        ids: how.which.ids.clone(),
        filter: how.which.filter(),
        all: how.all,
        reason: how.reason.clone(),
        dry_run: true,
        ..ActRequest::default()
    };
    more(&mut request);
    let path = format!("/api/v1/queue/{verb}");
    let would = match rounds(remote, &path, &mut request) {
        Ok(would) => would,
        Err(error) => return failed(&error.words),
    };
    if how.dry_run {
        return show(remote, &would, ExitCode::SUCCESS);
    }
    if would.matched == 0 {
        // What has come since then was not counted.
        let nothing = ActAnswer { dry_run: false, ..would };
        return show(remote, &nothing, whole(&nothing));
    }
    if would.matched > 1 && !how.yes {
        match agreed(verb, &would) {
            Some(true) => {}
            Some(false) => {
                eprintln!("remuda: nothing was done");
                return ExitCode::from(NOT_AGREED);
            }
            None => {
                eprintln!(
                    "remuda: {} entries match and there is no terminal to ask at; nothing was done. Say --yes",
                    would.matched
                );
                return ExitCode::from(NOT_AGREED);
            }
        }
    }
    request.dry_run = false;
    request.until = would.until;
    request.confirm = Some(would.matched);
    let mut acted = rounds(remote, &path, &mut request);
    for _ in 0..RECOUNTS_MAX {
        // What was counted comes and goes under a condition, such as a reason; nobody has agreed to a number.
        let Some(more) = acted.as_ref().err().and_then(more_by_now).filter(|_| how.yes) else { break };
        request.confirm = Some(more);
        acted = rounds(remote, &path, &mut request);
    }
    match acted {
        Err(error) => failed(&error.words),
        Ok(done) => show(remote, &done, whole(&done)),
    }
}

/// Success where nothing is left to be done.
fn whole(done: &ActAnswer) -> ExitCode {
    let is_whole = done.stopped.is_none()
        && done.unknown.is_empty()
        && done.done + done.unchanged + done.on_the_wire == done.matched;
    if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many match, where the relay has refused to act on so many.
fn more_by_now(failure: &Failure) -> Option<u64> {
    failure.problem.as_ref()?.matched.map(|matched| matched as u64)
}

/// Asks until the relay has come to the end; what came of all rounds together.
fn rounds(remote: &Remote, path: &str, request: &mut ActRequest) -> Result<ActAnswer, Failure> {
    let mut all: Option<ActAnswer> = None;
    request.after = None;
    for _ in 0..ROUNDS_MAX {
        let text = remote.exchange(Method::POST, path, &[], Some(&*request)).map_err(|failure| match &all {
            // What was done is done: it must not look as if it were not.
            Some(done) => Failure::from(format!("{}\nbefore that {} entries were done", failure.words, done.done)),
            None => failure,
        })?;
        let answer: ActAnswer = serde_json::from_str(&text)
            .map_err(|error| format!("{} answered something else than what came of it: {error}", remote.admin))?;
        let after = answer.after.clone();
        all = Some(match all {
            None => answer,
            Some(before) => together(before, answer, request.dry_run),
        });
        match after {
            Some(after) if request.after.as_ref() != Some(&after) => request.after = Some(after),
            _ => break,
        }
    }
    request.after = None;
    all.ok_or_else(|| Failure::from("nothing was asked".to_owned()))
}

fn together(mut before: ActAnswer, answer: ActAnswer, is_dry: bool) -> ActAnswer {
    let reached =
        |a: &ActAnswer| a.done + a.unchanged + a.on_the_wire + a.held + a.another + a.stranded + a.gone + a.unread;
    // Of an act that stopped early, what is still to come is counted again by the next round.
    let seen = if is_dry { before.matched } else { reached(&before) };
    before.matched = seen + answer.matched;
    before.done += answer.done;
    before.unchanged += answer.unchanged;
    before.on_the_wire += answer.on_the_wire;
    before.held += answer.held;
    before.another += answer.another;
    before.stranded += answer.stranded;
    before.gone += answer.gone;
    before.unread += answer.unread;
    for reason in answer.reasons {
        match before.reasons.iter_mut().find(|known| known.reason == reason.reason) {
            Some(known) => known.count += reason.count,
            None => before.reasons.push(reason),
        }
    }
    before.after = answer.after;
    before.until = answer.until.or(before.until);
    before.stopped = answer.stopped;
    before
}

fn show(remote: &Remote, answer: &ActAnswer, code: ExitCode) -> ExitCode {
    if remote.json {
        match serde_json::to_string(answer) {
            Ok(text) => println!("{}", visible_json(&text)),
            Err(error) => return failed(&error.to_string()),
        }
    } else {
        print!("{}", text::acted(answer, columns()));
    }
    code
}

/// Asks at the terminal; `None` where there is none.
fn agreed(verb: &str, would: &ActAnswer) -> Option<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return None;
    }
    let reasons = text::reasons(&would.reasons);
    eprint!("{verb} {} entries ({reasons})? [y/N] ", would.matched);
    std::io::stderr().flush().ok()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok()?;
    Some(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::queue::shown::ReasonCount;

    #[test]
    fn rounds_add_up_and_what_is_still_to_come_is_counted_once() {
        let reason = |reason: &str, count| ReasonCount { reason: reason.into(), count };
        let first = ActAnswer {
            matched: 1_000,
            done: 600,
            on_the_wire: 2,
            reasons: vec![reason("cap", 5)],
            after: Some("x".into()),
            ..ActAnswer::default()
        };
        let second = ActAnswer {
            matched: 397,
            done: 390,
            gone: 7,
            reasons: vec![reason("cap", 1), reason("ready", 2)],
            ..ActAnswer::default()
        };
        let all = together(first, second, false);
        assert_eq!((all.matched, all.done, all.on_the_wire, all.gone), (999, 990, 2, 7));
        assert_eq!(all.reasons, [reason("cap", 6), reason("ready", 2)]);
        let counted = ActAnswer { matched: 10, dry_run: true, ..ActAnswer::default() };
        let more = ActAnswer { matched: 5, dry_run: true, ..ActAnswer::default() };
        assert_eq!(together(counted, more, true).matched, 15);
    }
}
