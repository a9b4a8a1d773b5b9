//! Feeds that stay, go and change while the program runs.

use super::*;

const OTHER: &str = "[feed.other]\nkind = \"json\"\nurl = \"URL/y\"\nscope = { address = \"/ip\" }\n[feed.other.metric.score]\nvalue = \"/score\"\nthrottle_below = 50\n";

impl Bench {
    fn change(&self, lines: &str) -> Vec<String> {
        let lines =
            lines.replace("URL", &self.server.url()).replace("DIR", &self.directory.path().display().to_string());
        let mut config = testing::config(&lines);
        config.server.state_dir = self.directory.path().to_owned();
        let prepared = self.feeds.prepare(&config);
        let warnings = prepared.warnings.clone();
        self.feeds.reconfigure(prepared);
        warnings
    }
}

fn score(ip: &str, score: u32) -> Reply {
    good(json!([{ "ip": ip, "score": score }]))
}

#[tokio::test]
async fn a_feed_that_is_the_same_is_not_asked_again_and_one_that_is_gone_takes_back_its_word() {
    let bench = Bench::new(&format!("{VENDOR}{OTHER}")).await;
    bench.server.at("/x", score("192.0.2.11", 10));
    bench.server.at("/y", score("192.0.2.12", 10));
    bench.round().await;
    let bad = Some(DAY * 4);
    assert_eq!(bench.evidence(), [("a".into(), String::new(), bad), ("b".into(), String::new(), bad)]);
    bench.server.forget();

    bench.change(&format!("{VENDOR}{OTHER}"));
    let runners = |bench: &Bench| bench.feeds.setup().runners.clone();
    let before = runners(&bench);
    bench.change(VENDOR);
    assert!(Arc::ptr_eq(&before[0], &runners(&bench)[0]));
    bench.round().await;
    assert_eq!(bench.evidence(), [("b".into(), String::new(), None)], "and nothing of the other");
    assert!(bench.server.asked("/").is_empty(), "nobody is asked for a reload");
    assert_eq!(bench.feeds.snapshot().len(), 1);

    // Back: what it had said is on disk, and its turn has not come.
    bench.change(&format!("{VENDOR}{OTHER}"));
    bench.round().await;
    assert_eq!(bench.evidence(), [("b".into(), String::new(), bad)]);
    assert!(bench.server.asked("/").is_empty());
}

#[tokio::test]
async fn another_question_is_put_at_once_and_another_threshold_judges_what_is_known() {
    let bench = Bench::new(VENDOR).await;
    bench.server.at("/x", score("192.0.2.11", 40));
    bench.server.at("/z", score("192.0.2.12", 40));
    bench.round().await;
    assert_eq!(bench.evidence(), [("a".into(), String::new(), Some(DAY * 4))]);
    bench.server.forget();
    bench.change(&VENDOR.replace("throttle_below = 50", "throttle_below = 30"));
    bench.round().await;
    assert_eq!((bench.evidence(), bench.server.asked("/").len()), (vec![("a".into(), String::new(), None)], 0));
    bench.change(&VENDOR.replace("URL/x", "URL/z"));
    bench.round().await;
    assert_eq!(bench.server.asked("/z").len(), 1);
    assert!(bench.evidence().contains(&("b".into(), String::new(), Some(DAY * 4))));
}

#[tokio::test]
async fn a_secret_that_was_replaced_is_tried_at_once() {
    let bench = Bench::new(VENDOR).await;
    bench.server.at("/x", reply(401, ""));
    assert!(bench.round().await.credentials_refused);
    bench.change(VENDOR);
    bench.server.forget();
    bench.round().await;
    assert!(bench.server.asked("/x").is_empty(), "the same secret is refused again");
    std::fs::write(bench.directory.path().join("key"), "topsecret-another-key\n").unwrap();
    bench.server.at("/x", score("192.0.2.11", 90));
    assert_eq!(bench.change(VENDOR), Vec::<String>::new());
    assert_eq!(bench.round().await.outcome, Some("ok"));
    assert_eq!(bench.server.asked("/x")[0].key, "topsecret-another-key");

    std::fs::remove_file(bench.directory.path().join("key")).unwrap();
    let warnings = bench.change(VENDOR);
    assert!(warnings.len() == 1 && warnings[0].contains("feed.vendor") && warnings[0].contains("cannot be read"));
}

#[tokio::test]
async fn tokens_go_on_unless_the_settings_that_got_them_change() {
    let bench = Bench::new(SNDS).await;
    bench.server.at(STATUS, good(json!([])));
    bench.round().await;
    assert_eq!(bench.server.script.lock().rotations, 1);
    // Asked elsewhere with the same credentials; the access token holds for another half an hour.
    bench.clock.advance(HOUR / 2);
    bench.change(&SNDS.replace("url = \"URL\"", "url = \"URL/v2\""));
    bench.round().await;
    let rotations = bench.server.script.lock().rotations;
    assert_eq!((rotations, bench.server.asked("/v2").is_empty()), (1, false));
    bench.change(&SNDS.replace("client_id = \"c\"", "client_id = \"d\""));
    bench.round().await;
    let asked = bench.server.asked("/token");
    assert_eq!(asked.len(), 2);
    assert!(asked[1].body.contains("client_id=d") && asked[1].body.contains("topsecret-r1"), "the rotated one");
}

#[tokio::test]
async fn the_task_follows_and_drops_what_it_had_on_the_wire() {
    let (url, mut stalled) = stalling().await;
    let bench = Bench::new(&VENDOR.replace("URL/x", &url).replace("300ms", "60s")).await;
    bench.server.at("/x", score("192.0.2.11", 10));
    let feeds = Arc::new(bench.feeds);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(Arc::clone(&feeds).run(stopped));
    stalled.wait_for(|count| *count == 1).await.unwrap();
    let mut config = testing::config(
        &VENDOR.replace("URL", &bench.server.url()).replace("DIR", &bench.directory.path().display().to_string()),
    );
    config.server.state_dir = bench.directory.path().to_owned();
    feeds.reconfigure(feeds.prepare(&config));
    let is_told = async {
        while feeds.states()[0].outcome != Some("ok") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), is_told).await.expect("the new address is asked without delay");
    assert_eq!(bench.server.asked("/x").len(), 1);
    stop.send_replace(true);
    running.await.unwrap();
}
