//! Google Postmaster Tools, domain by domain.

use super::*;

const DOMAINS: [&str; 3] = ["one.example", "two.example", "three.example"];

/// A bench whose three domains answer, known by a refresh token that is exchanged at `/token`.
async fn bench() -> Bench {
    let named = format!("domains = {DOMAINS:?}\ncarried_by = {{ \"one.example\" = [\"b\"] }}\n");
    let lines =
        POSTMASTER.replace("URL/grant", "URL/token").replace("carried_by = { \"news.example\" = [\"b\"] }\n", &named);
    let bench = Bench::new(&lines).await;
    let file = json!({ "type": "authorized_user", "client_id": "c", "client_secret": "topsecret-c", "refresh_token": "topsecret-r0" });
    std::fs::write(bench.directory.path().join("google"), file.to_string()).unwrap();
    for domain in DOMAINS {
        bench.server.at(&postmaster::query_path(domain), good(json!({})));
        bench.server.at(&postmaster::compliance_path(domain), good(json!({ "complianceData": { "rowData": [] } })));
    }
    bench
}

fn queries(bench: &Bench) -> Vec<String> {
    let asked = bench.server.asked("domainStats:query").into_iter();
    asked.map(|asked| asked.path.split('/').nth(3).unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_domain_that_may_not_be_seen_is_a_note_and_the_feed_is_up() {
    let bench = bench().await;
    bench.server.at(&postmaster::query_path("one.example"), reply(403, ""));
    bench.server.at(&postmaster::compliance_path("one.example"), reply(403, ""));
    let feed = bench.round().await;
    assert_eq!((feed.up, feed.credentials_refused), (Some(true), false), "{}", feed.detail);
    assert!(feed.notes.len() == 1 && feed.notes[0].contains("one.example"), "{:?}", feed.notes);
    assert_eq!((queries(&bench).len(), bench.server.asked("/token").len()), (3, 1));
    let told =
        |bench: &Bench| bench.words.lock().iter().filter(|word| format!("{word:?}").contains("\"note\"")).count();
    assert_eq!(told(&bench), 1);
    bench.round_after(HOUR * 7).await;
    assert_eq!(told(&bench), 1, "once");

    for domain in DOMAINS {
        bench.server.at(&postmaster::query_path(domain), reply(403, ""));
        bench.server.at(&postmaster::compliance_path(domain), reply(403, ""));
    }
    let feed = bench.round_after(HOUR * 7).await;
    assert_eq!((feed.up, feed.credentials_refused), (Some(false), true), "nothing at all may be seen");
}

#[tokio::test]
async fn a_token_that_is_not_given_ends_the_fetch() {
    let bench = bench().await;
    bench.server.script.lock().refresh = Some("another".into());
    let feed = bench.round().await;
    assert_eq!((feed.outcome, feed.credentials_refused), (Some("credentials"), true));
    assert_eq!((bench.server.asked("/token").len(), queries(&bench).len()), (1, 0));
    bench.server.at("/token", reply(403, ""));
    bench.server.forget();
    assert_eq!(bench.round_after(HOUR * 7).await.outcome, Some("credentials"));
    assert_eq!((bench.server.asked("/token").len(), queries(&bench).len()), (1, 0));
}

#[tokio::test]
async fn after_too_many_requests_the_next_fetch_begins_where_the_last_one_ended() {
    let bench = bench().await;
    bench.server.at(&postmaster::query_path("two.example"), reply(429, ""));
    assert_eq!(bench.round().await.outcome, Some("limited"));
    assert_eq!(queries(&bench), ["one.example", "two.example"]);
    bench.server.at(&postmaster::query_path("two.example"), good(json!({})));
    bench.server.at(&postmaster::query_path("one.example"), reply(429, ""));
    bench.server.forget();
    assert_eq!(bench.round_after(HOUR * 7).await.outcome, Some("limited"));
    assert_eq!(queries(&bench), ["two.example", "three.example", "one.example"]);
}

#[tokio::test]
async fn a_state_of_now_is_no_report() {
    let bench = bench().await;
    let feed = bench.round().await;
    assert_eq!((feed.outcome, feed.newest, feed.silent_since), (Some("ok"), None, NOW), "compliance alone");
}
