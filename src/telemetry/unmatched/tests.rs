//! What is kept, what goes first, what a restart finds, and that nobody is named.

use std::collections::BTreeSet;
use std::time::Duration;

use super::log::owner;
use super::*;
use crate::message::{EntryId, EntryState, MessageId, Recipient, Wishes};
use crate::outcome::{Classifier, Context};
use crate::store::Op;

fn reply(destination: &str, template: &str, at: i64) -> UnmatchedReply {
    UnmatchedReply {
        class: 5,
        code: 550,
        enhanced: None,
        stage: Stage::Rcpt,
        provider: if destination.starts_with("site:") { "other".into() } else { destination.into() },
        destination: destination.into(),
        template: template.into(),
        sample: format!("550 {template}"),
        count: 1,
        first_seen: Wall::from_millis(at),
        last_seen: Wall::from_millis(at),
        binding: "mta1".into(),
        cause: Some(Cause::Unknown),
        scope: Scope::Unknown,
        counts_against_ip: false,
        rule: "fallback.code.permanent".into(),
    }
}

fn holding(kept: usize) -> Unmatched {
    Unmatched { log: Mutex::new(Log::new(kept)) }
}

fn see(unmatched: &Unmatched, destination: &str, template: &str, at: i64) {
    unmatched.log.lock().see(reply(destination, template, at), None);
}

fn templates(unmatched: &Unmatched) -> BTreeSet<String> {
    unmatched.most(usize::MAX).0.into_iter().map(|reply| reply.template).collect()
}

#[test]
fn the_same_reply_is_counted_and_the_most_frequent_come_first() {
    let unmatched = holding(8);
    for (template, at) in [("a", 1), ("b", 2), ("a", 3), ("a", 4)] {
        see(&unmatched, "gmail", template, at);
    }
    see(&unmatched, "gmx", "a", 5);
    let (all, total) = unmatched.most(2);
    assert_eq!((all.len(), total), (2, 3));
    let first = &all[0];
    assert_eq!((first.template.as_str(), first.provider.as_str(), first.count), ("a", "gmail", 3));
    assert_eq!((first.first_seen.as_millis(), first.last_seen.as_millis()), (1, 4));
}

#[test]
fn the_longest_unseen_goes_first() {
    let unmatched = holding(4);
    for (n, template) in ["a", "b", "c", "d", "a", "e"].into_iter().enumerate() {
        see(&unmatched, &format!("site:mx.r{template}.example"), template, n as i64);
    }
    assert_eq!(templates(&unmatched), BTreeSet::from(["a", "c", "d", "e"].map(String::from)));
}

#[test]
fn who_says_something_else_each_time_pushes_out_only_his_own() {
    let unmatched = holding(20);
    for n in 0..15 {
        see(&unmatched, &format!("site:mx.r{n}.example"), &format!("kept {n}"), n);
    }
    for n in 0..1000 {
        see(&unmatched, &format!("site:mx{}.flood.example", n % 7), &format!("flood {n}"), 100 + n);
    }
    let left = templates(&unmatched);
    assert_eq!(left.iter().filter(|text| text.starts_with("kept")).count(), 15);
    let flood: Vec<&String> = left.iter().filter(|text| text.starts_with("flood")).collect();
    assert_eq!(flood, ["flood 995", "flood 996", "flood 997", "flood 998", "flood 999"]);
    let log = unmatched.log.lock();
    assert_eq!((log.slots.len(), log.order.len(), log.changed.len(), log.gone.len()), (20, 20, 20, 0));
    assert_eq!(log.owners.values().map(BTreeSet::len).sum::<usize>(), 20);
}

#[test]
fn sites_belong_to_the_domain_of_their_hosts() {
    for (destination, wanted) in [
        ("gmail", "gmail"),
        ("site:mx[1-3].a.example.net", "example.net"),
        ("site:{a,b}.example.net", "example.net"),
        ("site:example.net", "example.net"),
        ("site:mx.example.co.uk", "example.co.uk"),
        ("site:mx.example.de", "example.de"),
        ("site:{a.example.net,b.example.org}", "site:{a.example.net,b.example.org}"),
        ("site:mx[1,2].test", "site:mx[1,2].test"),
        ("site:127.0.0.1:2525", "site:127.0.0.1:2525"),
        ("site:localhost", "site:localhost"),
    ] {
        assert_eq!(owner(destination), wanted);
    }
}

fn facts(batch: &Batch) -> Vec<(String, Vec<u8>)> {
    let put = |op: &Op| if let Op::PutFact(name, value) = op { Some((name.clone(), value.clone())) } else { None };
    batch.iter().filter_map(put).collect()
}

fn removed(batch: &Batch) -> usize {
    batch.iter().filter(|op| matches!(op, Op::RemoveFact(_))).count()
}

#[test]
fn what_is_written_is_read_back_and_counted_on() {
    let unmatched = holding(8);
    see(&unmatched, "gmail", "a", 1);
    see(&unmatched, "gmx", "b", 2);
    let disk = facts(&unmatched.changes());
    assert!(disk.len() == 2 && unmatched.changes().is_empty(), "only changes are written");

    let again = holding(0);
    assert!(again.restore(8, disk).is_empty());
    assert_eq!(again.most(9), unmatched.most(9));
    assert!(again.changes().is_empty(), "nothing has changed by reading");
    see(&again, "gmail", "a", 3);
    let changes = again.changes();
    assert_eq!((facts(&changes).len(), removed(&changes), again.most(1).0[0].count), (1, 0, 2));
}

#[test]
fn what_cannot_be_read_is_named_and_removed_and_the_rest_stays() {
    let unmatched = holding(8);
    see(&unmatched, "gmail", "a", 1);
    let mut disk = facts(&unmatched.changes());
    disk.push(("unmatched/bad".into(), Vec::new()));
    let problems = unmatched.restore(8, disk);
    assert!(problems.len() == 1 && problems[0].starts_with("unmatched/bad: "), "{problems:?}");
    assert_eq!(templates(&unmatched).len(), 1);
    assert_eq!(unmatched.changes(), [Op::RemoveFact("unmatched/bad".into())]);
}

#[test]
fn fewer_kept_after_a_restart_are_the_last_seen() {
    let unmatched = holding(40);
    for n in 0..10 {
        see(&unmatched, &format!("p{n}"), &format!("{n}"), n);
    }
    let disk = facts(&unmatched.changes());
    unmatched.restore(4, disk);
    assert_eq!(templates(&unmatched), BTreeSet::from(["6", "7", "8", "9"].map(String::from)));
    assert_eq!(removed(&unmatched.changes()), 6);
}

#[test]
fn changes_that_did_not_get_to_the_disk_are_written_the_next_time() {
    let unmatched = holding(4);
    for n in 0..4 {
        see(&unmatched, &format!("p{n}"), "a", n);
    }
    unmatched.changes();
    see(&unmatched, "p9", "a", 9);
    let lost = unmatched.changes();
    assert_eq!((facts(&lost).len(), removed(&lost)), (1, 1));
    unmatched.not_written(&lost);
    assert_eq!(unmatched.changes(), lost);
}

fn entry(recipients: &[&str]) -> Entry {
    let recipient = |text: &&str| Recipient::from(text.parse::<Mailbox>().expect("an address"));
    Entry {
        id: EntryId(1),
        message: MessageId(1),
        tenant: "acme".into(),
        stream: "default".into(),
        pool: "main".into(),
        domain: "example.org".parse().expect("a domain"),
        reverse_path: Some("newsdesk@sender.example".parse().expect("an address")),
        recipients: recipients.iter().map(recipient).collect(),
        arrived: Wall::default(),
        expires: Wall::default(),
        size: 1,
        eight_bit: false,
        wishes: Wishes::NONE,
        state: EntryState::default(),
    }
}

/// Notes an attempt in which the recipients got these replies.
fn attempt(unmatched: &Unmatched, answers: &[(&str, u16, &str)]) {
    let classifier = Classifier::shipped();
    let entry = entry(&answers.iter().map(|(to, ..)| *to).collect::<Vec<_>>());
    let replies: Vec<Reply> =
        answers.iter().map(|(_, code, text)| Reply { code: *code, enhanced: None, text: (*text).to_owned() }).collect();
    let context = Context { stage: Stage::Rcpt, provider: None, own: &[] };
    let answered = |(recipient, reply): (usize, &Reply)| Answered {
        recipient,
        outcome: classifier.reply(reply, context),
        text: reply.to_string(),
        host: None,
    };
    let judged: Vec<Answered> = replies.iter().enumerate().map(answered).collect();
    let report = Report {
        local: None,
        remote: None,
        host: Some("mx7.example.org".into()),
        reused: false,
        tls: crate::delivery::TlsReport::default(),
        answers: replies.into_iter().map(|reply| Answer::Reply(Stage::Rcpt, reply)).collect(),
        latency: Duration::ZERO,
    };
    let binding = "mta1".into();
    let attempted = Attempted {
        entry: &entry,
        binding: &binding,
        ehlo: "mta1.example.net",
        provider: "other",
        destination: "site:mx7.example.org",
        report: &report,
        answers: &judged,
    };
    unmatched.note(&attempted, Wall::from_millis(7));
}

#[test]
fn only_replies_of_fallbacks_are_noted_with_nobodys_name_in_them() {
    let unmatched = Unmatched::default();
    attempt(
        &unmatched,
        &[
            ("ann.lee@example.org", 250, "ok"),
            ("bob@example.org", 550, "5.1.1 user unknown"),
            ("ann.lee@example.org", 550, "Frobnicated ann.lee for newsdesk at mx7.example.org: 4XyZ1k2b9cz"),
            (
                "carl@example.org",
                550,
                "Frobnicated <carl@example.org> for newsdesk@sender.example at mx7.example.org: 4B2A31F8E0",
            ),
        ],
    );
    let (all, total) = unmatched.most(9);
    assert_eq!(total, 1, "{all:#?}");
    let one = &all[0];
    assert_eq!((one.count, one.template.as_str()), (2, "Frobnicated <address> for <address> at <host>: <id>"));
    assert_eq!(one.sample, "550 Frobnicated <address> for <address> at mx7.example.org: 4XyZ1k2b9cz");
    assert_eq!((one.stage, one.binding.as_str(), one.class), (Stage::Rcpt, "mta1", 5));
    assert!(one.rule.starts_with("fallback."), "{}", one.rule);
}

#[test]
fn a_reply_whose_rule_blames_nobody_is_noted_too() {
    let unmatched = Unmatched::default();
    attempt(&unmatched, &[("ann@example.org", 550, "Policy violation"), ("bob@example.org", 550, "User unknown")]);
    let (all, total) = unmatched.most(9);
    assert_eq!((total, &*all[0].rule, all[0].cause), (1, "words.blame_nobody", Some(Cause::Unknown)), "{all:#?}");
}

#[test]
fn one_reply_to_many_recipients_hides_all_of_them() {
    let unmatched = Unmatched::default();
    let text = "Frobnicated because of carl";
    attempt(
        &unmatched,
        &[("ann@example.org", 550, text), ("carl@example.org", 550, text), ("bob@example.org", 550, text)],
    );
    let (all, _) = unmatched.most(9);
    assert_eq!((all[0].count, all[0].template.as_str()), (3, "Frobnicated because of <address>"));
}

#[test]
fn none_are_kept_where_none_are_wanted() {
    let unmatched = holding(0);
    attempt(&unmatched, &[("ann@example.org", 550, "Frobnicated")]);
    assert!(unmatched.most(9).0.is_empty() && unmatched.changes().is_empty());
}
