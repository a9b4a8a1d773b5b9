//! Silence is no good news, and neither one address, one row nor one bad day of the reporter's undoes the rest.

use super::*;
use crate::message::BindingName;

const WQS: &str = "[feed.wqs]\nkind = \"wqs\"\nurl = \"URL\"\nsecret_file = \"DIR/key\"\n";
const LINK: &str =
    "[feed.link]\nkind = \"snds_csv\"\nurl = \"URL/snds\"\nsecret_file = \"DIR/key\"\nprovider = \"microsoft\"\n";
const BLOCKED: &str = "192.0.2.11,192.0.2.11,Yes,Blocked\n";

/// Eight more bindings, from 192.0.2.13 on.
fn fleet() -> String {
    let binding =
        |n: u32| format!("[binding.m{n}]\nbind_address = \"127.0.0.{n}\"\npublic_address = \"192.0.2.{n}\"\n");
    (13..21).map(binding).collect()
}

fn events(bench: &Bench, what: &str) -> Vec<String> {
    let words = bench.words.lock();
    let events = words.iter().filter_map(|word| match word {
        Word::Event(fields) => Some(fields),
        Word::Evidence(_) => None,
    });
    let wanted = events.filter(|fields| fields.iter().any(|(name, text)| *name == "what" && text == what));
    wanted.map(|fields| format!("{fields:?}")).collect()
}

#[tokio::test]
async fn a_status_of_now_does_not_make_reports_fresh_that_never_come() {
    let mut bench = Bench::new(SNDS).await;
    bench.server.at(STATUS, good(json!([])));
    let feed = bench.round().await;
    assert_eq!((feed.newest, feed.silent_since), (None, NOW), "no report so far");
    bench.server.at(&day(21), good(json!([row("192.0.2.11", "GREEN")])));
    let end = Some("2026-11-22T00:00:00.000Z".to_owned());
    let newest = |feed: &FeedSnapshot| feed.newest.map(|at| at.to_string());
    let feed = bench.round_after(HOUR * 7).await;
    assert_eq!(newest(&feed), end, "the day, not the status of now");
    // Weeks without a report: what was said is forgotten, how long ago is not.
    bench.clock.advance(DAY * 20);
    bench.restart();
    let feed = bench.round().await;
    assert_eq!((newest(&feed), feed.up), (end.clone(), Some(true)));
    assert_eq!(Some(feed.silent_since.to_string()), end);
}

#[tokio::test]
async fn an_empty_body_clears_no_block() {
    let bench = Bench::new(SNDS).await;
    let range = json!({ "beginningIpAddress": "192.0.2.11", "endingIpAddress": "192.0.2.11", "blocked": true });
    bench.server.at(STATUS, good(json!([range])));
    assert_eq!(bench.round().await.states["a"], 2);
    bench.server.at(STATUS, reply(200, "\r\n"));
    let feed = bench.round_after(HOUR * 7).await;
    assert_eq!((feed.outcome, feed.up, feed.states["a"]), (Some("unreadable"), Some(false), 2));

    // Behind the old link nothing is what it says when there is nothing to say, or when it is broken.
    let bench = Bench::new(LINK).await;
    bench.server.at("/snds/data.aspx?key=topsecret-key", reply(200, ""));
    bench.server.at("/snds/ipStatus.aspx?key=topsecret-key", reply(200, BLOCKED));
    assert_eq!(bench.round().await.states["a"], 2);
    bench.server.at("/snds/ipStatus.aspx?key=topsecret-key", reply(200, ""));
    let feed = bench.round_after(HOUR * 7).await;
    assert_eq!((feed.up, feed.states["a"]), (Some(true), 2), "{}", feed.detail);
}

#[tokio::test]
async fn a_document_that_is_not_there_is_a_wrong_address() {
    let bench = Bench::new(VENDOR).await;
    let feed = bench.round().await;
    assert_eq!((feed.up, feed.outcome), (Some(false), Some("refused")));
    assert!(feed.detail.contains("404") && feed.detail.contains("url"), "{}", feed.detail);
}

#[tokio::test]
async fn a_list_that_does_not_know_its_test_address_says_nothing_of_ours() {
    let bench = Bench::new(WQS).await;
    let feed = bench.round().await;
    assert_eq!((feed.up, feed.outcome), (Some(false), Some("refused")), "a typo in url answers 404 as well");
    assert!(feed.detail.contains("127.0.0.2") && feed.detail.contains("zen"), "{}", feed.detail);
    assert_eq!((feed.states["a"], feed.states["b"], bench.server.asked("/zen/192").len()), (-1, -1, 0));

    // Of two lists one is real: what it has counts, what it has not means nothing.
    let bench = Bench::new(&format!("{WQS}lists = [\"zen\", \"zne\"]\n")).await;
    bench.server.at("/zen/127.0.0.2", good(json!({ "resp": [1002] })));
    bench.server.at("/zen/192.0.2.11", good(json!({ "resp": [1003] })));
    let feed = bench.round().await;
    assert_eq!((feed.up, feed.states["a"], feed.states["b"]), (Some(false), 2, -1), "{}", feed.detail);
}

#[tokio::test]
async fn one_address_that_cannot_be_asked_for_does_not_keep_the_others_from_it() {
    let bench = Bench::new(WQS).await;
    bench.server.at("/zen/127.0.0.2", good(json!({ "resp": [1002, 1004, 1010] })));
    bench.server.at("/zen/192.0.2.11", reply(400, ""));
    let feed = bench.round().await;
    assert_eq!((feed.up, feed.states["a"], feed.states["b"]), (Some(true), -1, 0));
    assert!(feed.notes.len() == 1 && feed.notes[0].contains("192.0.2.11"), "{:?}", feed.notes);
    for (answer, outcome) in [(reply(200, "{}"), "unreadable"), (reply(200, vec![b' '; 17 << 20]), "too_large")] {
        bench.server.at("/zen/192.0.2.11", answer);
        bench.server.forget();
        let feed = bench.round_after(DAY).await;
        assert_eq!((feed.outcome, bench.server.asked("/zen/192.0.2.12").len()), (Some(outcome), 1));
    }
}

#[tokio::test]
async fn whoever_was_asked_last_comes_last_also_where_the_answer_was_of_no_use() {
    let bench = Bench::new(&format!("{WQS}daily_budget = 2\n")).await;
    bench.server.at("/zen/127.0.0.2", good(json!({ "resp": [1002] })));
    bench.server.at("/zen/192.0.2.11", reply(500, ""));
    bench.round().await;
    bench.round_after(DAY).await;
    bench.round_after(DAY).await;
    let asked: Vec<_> = bench.server.asked("/zen/192").into_iter().map(|asked| asked.path).collect();
    assert_eq!(asked, ["/zen/192.0.2.11", "/zen/192.0.2.12", "/zen/192.0.2.11"]);
}

#[tokio::test]
async fn a_feed_that_calls_everybody_bad_is_held_and_told_of() {
    let mut bench = Bench::new(&format!("{SNDS}{}", fleet())).await;
    bench.server.at(STATUS, good(json!([])));
    let rows = |filter: &str| (11..21).map(|n| row(&format!("192.0.2.{n}"), filter)).collect::<Vec<_>>();
    bench.server.at(&day(20), good(json!(rows("GREEN"))));
    bench.round().await;
    bench.evidence();

    bench.server.at(&day(21), good(json!(rows("RED"))));
    let feed = bench.round_after(HOUR * 7).await;
    assert_eq!((feed.states["a"], feed.held.len()), (2, 10), "it is shown");
    assert_eq!(events(&bench, "held").len(), 1);
    assert!(bench.evidence().iter().all(|(.., until)| until.is_none()), "but throttles nobody");
    bench.restart();
    let feed = bench.round().await;
    assert_eq!(feed.held.len(), 10, "also after a restart");
    assert!(bench.evidence().iter().all(|(.., until)| until.is_none()));

    // The next day only two are red, which is believed.
    bench.clock.advance(DAY);
    bench.server.at(&day(22), good(json!([rows("RED")[..2].to_vec(), rows("GREEN")[2..].to_vec()].concat())));
    let feed = bench.round().await;
    assert_eq!((feed.held.len(), events(&bench, "released").len()), (0, 1));
    let bad: Vec<String> = bench.evidence().into_iter().filter(|word| word.2.is_some()).map(|word| word.0).collect();
    assert_eq!(bad, ["a", "b"]);
}

#[tokio::test]
async fn days_missed_in_an_outage_are_asked_for_as_long_as_they_count_and_old_ones_only_once() {
    let bench = Bench::new(SNDS).await;
    bench.server.at(STATUS, good(json!([])));
    bench.round().await;
    let asked = |bench: &Bench| {
        let asked = bench.server.asked("/data/").into_iter().map(|asked| asked.path);
        asked.filter(|path| !path.ends_with('/')).collect::<Vec<_>>()
    };
    assert_eq!(asked(&bench), [21, 20, 19, 18, 17, 16, 15].map(day), "what ended within max_age");
    bench.server.forget();
    bench.round_after(HOUR * 7).await;
    assert_eq!(asked(&bench), [21, 20, 19].map(day), "one that is days late does not come any more");

    // Four days without the server; then all of them come.
    bench.server.at(STATUS, reply(500, ""));
    for _ in 0..16 {
        bench.round_after(HOUR * 7).await;
    }
    bench.server.at(STATUS, good(json!([])));
    bench.server.at(&day(21), good(json!([row("192.0.2.11", "GREEN")])));
    bench.server.forget();
    let feed = bench.round_after(HOUR * 7).await;
    assert!(
        asked(&bench).contains(&day(21))
            && feed.observations.iter().any(|seen| seen.observation.metric == "filter_result")
    );
}

#[tokio::test]
async fn a_new_token_file_forgets_when_the_old_token_ended() {
    let mut bench = Bench::new(SNDS).await;
    bench.server.at(STATUS, good(json!([])));
    let granted = |ends: Option<u32>| {
        let mut token = json!({ "access_token": "topsecret-a", "expires_in": 60, "refresh_token": "topsecret-n" });
        if let Some(ends) = ends {
            token["refresh_token_expires_in"] = json!(ends);
        }
        good(token)
    };
    bench.server.at("/token", granted(Some(86_400)));
    assert_eq!(bench.round().await.credential_expires, Some(NOW.plus(DAY)));
    bench.server.at("/token", granted(None));
    bench.restart();
    let feed = bench.round_after(HOUR * 7).await;
    assert_eq!(feed.credential_expires, Some(NOW.plus(DAY)), "nothing else is known of this one");
    std::fs::write(bench.directory.path().join("token"), "topsecret-another").unwrap();
    assert_eq!(bench.round_after(HOUR * 7).await.credential_expires, None);
}

#[tokio::test]
async fn what_is_said_of_ours_is_kept_and_shown_however_much_is_said_of_strangers() {
    let bench = Bench::new(&VENDOR.replace("64KiB", "16MiB").replace("300ms", "1m")).await;
    let mut rows: Vec<Json> = (0..60_000u32)
        .map(|n| json!({ "ip": format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255), "score": 1 }))
        .collect();
    rows.push(json!({ "ip": "192.0.2.11", "score": 12 }));
    bench.server.at("/x", good(json!(rows)));
    let feed = bench.round().await;
    assert_eq!(feed.states["a"], 2);
    assert_eq!(feed.observations[0].bindings, [BindingName::new("a")]);
    assert!(bench.feeds.states()[0].observations.is_empty());
    assert_eq!((feed.dropped.ours, feed.dropped.others > 50_000), (0, true), "{:?}", feed.dropped);
}
