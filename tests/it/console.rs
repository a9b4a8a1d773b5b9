//! The web console: its files, the data only it needs, and the pages as a person meets them, in a real Chromium.

use remuda::demo::sink::{Rule, Sink};
use remuda::outcome::Stage;
use serde_json::Value;

use crate::support::{
    Relay, Settings, all_accepted, array, local, named, number, sink, text, wait_for_messages, wait_until,
};

const BLOCKED: &str = "550 5.7.1 Service unavailable; client host blocked using our blocklist";
/// What somebody answers who hopes that his reply is shown to somebody.
const HOSTILE: &str =
    "451 4.7.1 later <img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";

fn two_receivers(one: &Sink, two: &Sink) -> Settings {
    Settings::new()
        .set("delivery", "max_outbound_connections", "2")
        .set("queue", "retry_first", "\"1h\"")
        .set("queue", "retry_max", "\"2h\"")
        .binding("a", 11, "daily_cap = 5000")
        .binding("b", 12, "")
        .binding("spare", 13, "")
        .pool("active = [\"a\", { binding = \"b\", weight = 2 }]\nbackup = [[\"spare\"]]")
        .provider("one", "one.test", one.addr())
        .provider("two", "two.test", two.addr())
}

fn recipients(domain: &'static str) -> impl Fn(u64) -> Vec<String> {
    move |n| vec![format!("u{n}@{domain}")]
}

pub(crate) async fn send(relay: &Relay, first: u64, messages: u64, domain: &'static str) {
    all_accepted(&relay.load(messages).first(first).recipients(recipients(domain)).run().await);
}

async fn board(relay: &Relay) -> Value {
    serde_json::from_str(&relay.get("/api/v1/console/board").await).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_the_programs_own_and_is_sent_once() {
    let sink = sink().await;
    let relay = Relay::start(&two_receivers(&sink, &sink)).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = |path: &str| format!("http://{}{path}", relay.admin());
    let page = client.get(url("/")).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let tag = page.headers()["etag"].clone();
    let page = page.text().await.unwrap();
    let files: Vec<&str> = page.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let answer = client.get(url(file)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{file}");
        let kind = answer.headers()["content-type"].to_str().unwrap();
        let wanted = match file.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(kind, wanted, "{file}");
    }
    let again = client.get(url("/")).header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status(), 304);
    for no in [
        "/assets/",
        "/assets/../index.html",
        "/assets/%2e%2e/mod.rs",
        "/assets/app.js/",
        "/index.html",
        "/assets/none.js",
    ] {
        assert_eq!(client.get(url(no)).send().await.unwrap().status(), 404, "{no}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_board_shows_what_each_binding_did_and_what_was_said_last() {
    let (one, two) = (sink().await, sink().await);
    two.add(Rule::reply(Stage::Rcpt, HOSTILE));
    let relay = Relay::start(&two_receivers(&one, &two)).await;
    send(&relay, 0, 30, "one.test").await;
    wait_for_messages(&one, 30).await;
    send(&relay, 100, 9, "two.test").await;
    let board = wait_until("every attempt is counted", async || {
        let board = board(&relay).await;
        let sum = |kind: &str| array(&board, &format!("/minutes/{kind}")).iter().filter_map(Value::as_u64).sum::<u64>();
        ((sum("delivered"), sum("deferred")) == (30, 9)).then_some(board)
    })
    .await;
    let hours =
        |kind: &str| array(&board, "/herd").iter().map(|card| number(card, &format!("/hour/{kind}"))).sum::<u64>();
    assert_eq!((hours("delivered"), hours("deferred"), hours("bounced")), (30, 9, 0));
    let refused = array(&board, "/herd").iter().find_map(|card| card["refusal"].as_object()).unwrap();
    assert_eq!((&refused["text"], &refused["destination"]), (&HOSTILE.into(), &"two".into()));
    assert_eq!(board["destinations"], serde_json::json!(["one", "two", "other"]));
    let pool = named(&board, "/pools", "main");
    assert_eq!((number(pool, "/eligible"), pool["on_backup"].as_bool()), (3, Some(false)));
    assert_eq!(pool["tiers"][0][1], serde_json::json!({ "binding": "b", "weight": 2 }));
    assert_eq!(number(named(&board, "/herd", "a"), "/cap/limit"), 5000);

    let past: Value = serde_json::from_str(&relay.get("/api/v1/console/past?bindings=a%20b%20nobody").await).unwrap();
    let delivered =
        |name: &str| array(&past, &format!("/bindings/{name}/delivered")).iter().filter_map(Value::as_u64).sum::<u64>();
    assert_eq!(delivered("a") + delivered("b"), 30);
    assert_eq!(past["bindings"].as_object().unwrap().len(), 2);
    let many = vec!["x"; 501].join("%20");
    let (status, said) = relay.ask(&format!("/api/v1/console/past?bindings={many}")).await;
    assert_eq!(status, "400", "{said}");
    assert!(said.contains("at most 500"), "{said}");
    // Where nothing is wrong, nothing is refused for good.
    assert_eq!(text(&board, "/hostname"), text(&relay.status().await, "/hostname"));
}

pub(crate) mod peers {
    //! With Chromium; tests/run installs it, and axe-core.

    use std::path::PathBuf;

    use aws_lc_rs::digest;
    use serde_json::json;

    use super::*;
    use crate::support::browser::{Browser, key};

    /// What the console of a test is opened with.
    const TOKEN: &str = "remuda_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const SCREENS: [&str; 9] = [
        "pools",
        "matrix",
        "binding/a",
        "queue",
        "orders",
        "events",
        "monitor",
        "explain?tenant=acme&to=one.test",
        "nothing",
    ];

    pub(crate) fn with_token(settings: Settings, anonymous: &str) -> Settings {
        let hash = digest::digest(&digest::SHA256, TOKEN.as_bytes());
        let hash: String = hash.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
        settings
            .set("admin", "anonymous", &format!("{anonymous:?}"))
            .set("admin.token.anna", "hash", &format!("\"sha256:{hash}\""))
            .set("admin.token.anna", "role", "\"operate\"")
    }

    pub(crate) async fn open(relay: &Relay) -> Browser {
        let browser = Browser::start().await;
        browser.looks(1440, 1000, true).await;
        browser.go(&format!("http://{}/", relay.admin())).await;
        browser
    }

    pub(crate) async fn sign_in(browser: &Browser) {
        browser.click(".sign-in", "Sign in").await;
        browser.fill("#token", TOKEN).await;
        browser.keys(&[key::ENTER]).await;
        browser.until_says(".who-name", "anna").await;
    }

    /// Fails where the browser complained of anything.
    pub(crate) async fn nothing_wrong(browser: &Browser) {
        assert_eq!(browser.complaints().await, Vec::<String>::new());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Chromium; tests/run installs it"]
    async fn who_has_no_token_sees_nothing_but_the_door() {
        let sink = sink().await;
        let relay = Relay::start(&with_token(two_receivers(&sink, &sink), "none")).await;
        let browser = open(&relay).await;
        browser.fill("#token", "remuda_wrong").await;
        browser.keys(&[key::ENTER]).await;
        browser.until_says("[role=alert]", "no such token").await;
        assert_eq!(browser.run("return document.body.textContent.includes('spare')").await, false);
        browser.fill("#token", TOKEN).await;
        browser.keys(&[key::ENTER]).await;
        browser.until_says(".card", "spare").await;
        assert_eq!(browser.run("return document.cookie").await, "", "no script can read the session");
        browser.run("document.querySelector('[aria-label=\"Sign out\"]').click()").await;
        browser.until("document.querySelector('#token')").await;
        // What failed on purpose is all that the browser tells.
        let others = browser.complaints().await.into_iter().filter(|said| !said.contains(" 401 ")).collect::<Vec<_>>();
        assert_eq!(others, Vec::<String>::new());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Chromium; tests/run installs it"]
    async fn a_suspension_is_seen_as_it_happens_and_another_is_ordered_and_ended() {
        let (one, two) = (sink().await, sink().await);
        let relay = Relay::start(&with_token(two_receivers(&one, &two), "read")).await;
        let browser = open(&relay).await;
        browser.until_says(".card", "spare").await;
        browser.run("window.sameDocument = true").await;
        assert_eq!(browser.run("return document.querySelector('.card .act').disabled").await, true, "who only looks");

        one.block(local(11), BLOCKED);
        send(&relay, 0, 40, "one.test").await;
        browser.until("document.querySelector('[aria-label^=\"a: \"] a.flag.bad')?.textContent.includes('one')").await;
        browser.until_says("[aria-label^='a: '] .refusal", "blocked using our blocklist").await;
        browser.run("location.hash = '#/matrix'").await;
        browser.until("document.querySelector('[aria-label^=\"a at one: Suspended\"]')").await;
        browser.run("location.hash = '#/events'").await;
        browser.until_says(".event.health", "suspended").await;

        browser.run("location.hash = '#/pools'").await;
        sign_in(&browser).await;
        browser.run("window.sameDocument = true").await;
        browser.until("document.querySelector('[aria-label=\"Act on b\"]')?.disabled === false").await;
        browser.run("document.querySelector('[aria-label=\"Act on b\"]').click()").await;
        browser.click("dialog .choice", "Suspend").await;
        browser.click("dialog button[type=submit]", "Suspend").await;
        assert_eq!(named(&relay.status().await, "/bindings", "b")["health"], "active", "not without a reason");
        browser.fill("dialog input[required]", "the provider asked us to").await;
        browser.click("dialog button[type=submit]", "Suspend").await;
        browser.until("document.querySelector('[aria-label=\"b: Suspended\"]')").await;
        let b = named(&relay.status().await, "/bindings", "b").clone();
        assert_eq!((&b["health"], &b["reason"]), (&"suspended".into(), &"operator".into()), "{b:#}");
        assert!(text(&b, "/evidence").contains("anna") && text(&b, "/evidence").contains("the provider asked us to"));
        browser.until_says("[aria-label='b: Suspended'] time", "left").await;

        browser.run("document.querySelector('[aria-label=\"Act on b\"]').click()").await;
        browser.click("dialog .choice", "Resume").await;
        browser.fill("dialog input[required]", "all is well").await;
        browser.click("dialog button[type=submit]", "Resume").await;
        browser.until("document.querySelector('[aria-label=\"b: Active\"], [aria-label=\"b: Probation\"]')").await;
        assert_ne!(named(&relay.status().await, "/bindings", "b")["health"], "suspended");
        assert_eq!(browser.run("return window.sameDocument").await, true, "all that without a reload");
        nothing_wrong(&browser).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Chromium; tests/run installs it"]
    async fn the_queue_is_searched_and_what_is_found_is_held_after_saying_how_many() {
        let (one, two) = (sink().await, sink().await);
        one.add(Rule::reply(Stage::Rcpt, "451 4.2.1 mailbox busy"));
        two.add(Rule::reply(Stage::Rcpt, HOSTILE));
        let relay = Relay::start(&with_token(two_receivers(&one, &two), "read")).await;
        send(&relay, 0, 5, "one.test").await;
        send(&relay, 100, 3, "two.test").await;
        wait_until("all were tried", async || {
            let queue = relay.queue().await;
            (queue.len() == 8 && queue.iter().all(|entry| entry["last_reply"].is_string())).then_some(())
        })
        .await;
        let browser = open(&relay).await;
        browser.until_says(".card", "spare").await;
        sign_in(&browser).await;
        browser.run("location.hash = '#/queue'").await;
        let rows = "document.querySelectorAll('table.entries tbody tr').length";
        browser.until(&format!("{rows} === 8")).await;
        let domain = "[role=search] .field:nth-child(4) input";
        browser.fill(domain, "two.test").await;
        browser.until(&format!("{rows} === 3")).await;
        browser.until_says("table.entries", "<img src=x").await;
        assert_eq!(browser.run("return document.querySelectorAll('main img, main script').length").await, 0);
        assert_ne!(browser.run("return document.title").await, "owned");

        browser.click(".acts button", "Hold").await;
        browser.fill("dialog input[required]", "until they are ready").await;
        browser.keys(&[key::ENTER]).await;
        browser.until_says("dialog [role=alert]", "3 entries are concerned").await;
        assert!(relay.queue().await.iter().all(|entry| entry["reason"] != "held"), "nothing before that");
        browser.click("dialog button[type=submit]", "Hold 3 entries").await;
        browser.until_says(".toast", "3 entries held").await;
        let held = relay.queue().await.iter().filter(|entry| entry["reason"] == "held").count();
        assert_eq!(held, 3);
        browser.until_says("table.entries", "until they are ready").await;

        browser.run("document.querySelector('table.entries tbody .link').click()").await;
        browser.until_says("dialog", "What each binding says").await;
        browser.until_says("dialog .scroll", "spare").await;
        nothing_wrong(&browser).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Chromium; tests/run installs it"]
    async fn hands_on_the_keyboard_reach_everything() {
        let (one, two) = (sink().await, sink().await);
        let relay = Relay::start(&with_token(two_receivers(&one, &two), "read")).await;
        let browser = open(&relay).await;
        browser.until_says(".card", "spare").await;
        browser.keys(&[key::TAB]).await;
        assert_eq!(browser.focused().await, "Skip to content");
        browser.keys(&[key::ENTER]).await;
        assert_eq!(browser.run("return document.activeElement.id").await, "main");
        for _ in 0..6 {
            browser.keys(&[key::TAB]).await;
        }
        assert_eq!(browser.run("return document.activeElement.matches('main *')").await, true, "on into the content");

        browser.run("location.hash = '#/matrix'").await;
        browser.until("document.querySelector('.cell')").await;
        browser.run("document.querySelector('.cell[tabindex=\"0\"]').focus()").await;
        for (press, label) in [
            (key::RIGHT, "a at two"),
            (key::DOWN, "b at two"),
            (key::LEFT, "b at one"),
            (key::END, "b at other"),
            (key::RIGHT, "b at other"),
        ] {
            browser.keys(&[press]).await;
            let focused = browser.focused().await;
            assert!(focused.starts_with(label), "{focused} instead of {label}");
        }
        assert_eq!(browser.run("return document.querySelectorAll('.cell[tabindex=\"0\"]').length").await, 1);
        browser.keys(&[key::ENTER]).await;
        browser.until_says("dialog[open] h2", "b at other").await;
        browser.until_says("dialog[open]", "daily cap").await;
        browser.keys(&[key::ESCAPE]).await;
        browser.until("!document.querySelector('dialog')").await;
        assert!(browser.focused().await.starts_with("b at other"), "where it came from");
        // What is drawn anew under it takes nobody's place away.
        let at = number(&board(&relay).await, "/queue/messages");
        send(&relay, 0, 3, "one.test").await;
        browser.until_says(".cell", "100 %").await;
        assert!(browser.focused().await.starts_with("b at other"), "{at}");
        nothing_wrong(&browser).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Chromium; tests/run installs it"]
    async fn a_relay_that_is_gone_is_not_shown_as_if_it_were_there() {
        let sink = sink().await;
        let settings = two_receivers(&sink, &sink);
        let mut relay = Relay::start(&settings).await;
        let browser = open(&relay).await;
        browser.until_says(".card", "spare").await;
        relay.kill9();
        browser.until_says("#lost:not([hidden])", "Not up to date").await;
        browser.until("document.documentElement.classList.contains('is-stale')").await;
        browser.until_says(".beat.stale", "old").await;
        assert_eq!(browser.run("return document.querySelectorAll('.card').length").await, 3, "what was known stays");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Chromium; tests/run installs it"]
    async fn a_relay_that_came_back_knows_nobody_and_the_page_says_so() {
        let sink = sink().await;
        let settings = with_token(two_receivers(&sink, &sink), "read");
        let mut relay = Relay::start(&settings).await;
        let settings = settings.set("admin", "address", &format!("\"{}\"", relay.admin()));
        let browser = open(&relay).await;
        browser.until_says(".card", "spare").await;
        sign_in(&browser).await;
        browser.run("location.hash = '#/events'").await;
        browser.until_says(".event", "session.begin").await;
        relay.kill9();
        browser.until_says("main .notice.bad", "cannot be reached").await;
        relay.restart(&settings).await;
        browser.until("!document.querySelector('main .notice.bad') && document.querySelector('.event')").await;
        browser.until("document.querySelector('.sign-in') && !document.querySelector('.who-name')").await;
        browser.run("location.hash = '#/pools'").await;
        browser.until("document.querySelector('[aria-label=\"Act on a\"]')?.disabled === true").await;
        sign_in(&browser).await;
        browser.until("document.querySelector('[aria-label=\"Act on a\"]')?.disabled === false").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Chromium; tests/run installs it"]
    async fn more_tabs_than_a_browser_has_connections_are_all_served() {
        let sink = sink().await;
        let relay = Relay::start(&two_receivers(&sink, &sink)).await;
        let browser = open(&relay).await;
        let first = browser.tab().await;
        for _ in 0..8 {
            browser.until_says(".beat", "live").await;
            browser.until_says(".card", "spare").await;
            browser.new_tab(&format!("http://{}/", relay.admin())).await;
        }
        browser.until_says(".card", "spare").await;
        browser.until_says(".beat", "live").await;
        // Looked at again, the first one has caught up.
        browser.to_tab(&first).await;
        browser.until("!document.hidden").await;
        browser.until_says(".beat", "live").await;
        nothing_wrong(&browser).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Chromium; tests/run installs it"]
    async fn a_thousand_bindings_in_a_hundred_pools_stay_readable() {
        let sink = sink().await;
        let mut settings = Settings::new().without("pool").to(sink.addr());
        for pool in 0..100 {
            let names: Vec<String> = (0..10).map(|n| format!("\"m{pool}-{n}\"")).collect();
            let name = if pool == 0 { "main".to_owned() } else { format!("p{pool}") };
            settings = settings.block(format!("[pool.{name}]\nactive = [{}]\n", names.join(", ")));
            for n in 0..10 {
                settings = settings.binding_at(&format!("m{pool}-{n}"), &format!("127.1.{pool}.{}", n + 1), "");
            }
        }
        let relay = Relay::start(&settings).await;
        let browser = open(&relay).await;
        browser.until_says(".card", "m0-0").await;
        let cards = browser.run("return document.querySelectorAll('.card').length").await.as_u64().unwrap();
        assert!((10..=100).contains(&cards), "{cards} cards at first");
        browser.fill("#filter-pools", "m99-9").await;
        browser.until("document.querySelectorAll('.card').length === 1").await;
        browser.run("location.hash = '#/matrix'").await;
        browser.until("document.querySelectorAll('.matrix tbody tr').length > 10").await;
        let rows = browser.run("return document.querySelectorAll('.matrix tbody tr').length").await.as_u64().unwrap();
        assert!(rows <= 100, "{rows} rows at first");
        let longest = browser
            .run_async(
                "let longest = 0; new PerformanceObserver((list) => { for (const one of list.getEntries()) longest = \
                 Math.max(longest, one.duration); }).observe({ type: 'longtask' }); \
                 await new Promise((on) => setTimeout(on, 15000)); return longest;",
            )
            .await;
        let longest = longest.as_f64().unwrap_or_else(|| panic!("{longest}"));
        assert!(longest < 1_000.0, "the page stood still for {longest} ms while a board of a thousand came in");
        nothing_wrong(&browser).await;
    }

    fn axe() -> PathBuf {
        let path = std::env::var_os("REMUDA_TEST_AXE").expect("REMUDA_TEST_AXE names axe.min.js; tests/run fetches it");
        PathBuf::from(path)
    }

    /// Serious and critical findings of axe-core, in words.
    async fn findings(browser: &Browser) -> Vec<String> {
        browser.load(&axe()).await;
        let found = browser
            .run_async(
                "const { violations, passes } = await axe.run(document);\
                 if (passes.length < 10) throw `only ${passes.length} rules had something to look at`;\
                 return violations\
                 .filter(({ impact }) => impact === 'serious' || impact === 'critical')\
                 .flatMap(({ id, help, nodes }) => nodes.slice(0, 3).map((node) => `${id}: ${help}: ${node.html.slice(0, 200)} \
                 ${node.any.map((one) => one.message).join('; ').slice(0, 200)}`));",
            )
            .await;
        let found = found.as_array().unwrap_or_else(|| panic!("{found}"));
        found.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Chromium and axe-core; tests/run installs them"]
    async fn no_screen_shuts_anybody_out() {
        let (one, two) = (sink().await, sink().await);
        one.block(local(11), BLOCKED);
        two.add(Rule::reply(Stage::Rcpt, HOSTILE));
        let relay = Relay::start(&with_token(two_receivers(&one, &two), "read")).await;
        send(&relay, 0, 40, "one.test").await;
        send(&relay, 100, 10, "two.test").await;
        wait_until("a is out at one", async || {
            let status = relay.status().await;
            let routes = array(named(&status, "/bindings", "a"), "/routes");
            routes.iter().any(|route| route["health"] == "suspended").then_some(())
        })
        .await;
        let browser = open(&relay).await;
        browser.until_says(".card", "spare").await;
        sign_in(&browser).await;
        let mut wrong = Vec::new();
        for (is_dark, width) in [(true, 1440), (false, 1440), (true, 360), (false, 360)] {
            browser.looks(width, 900, is_dark).await;
            for screen in SCREENS {
                browser.run(&format!("location.hash = {}", json!(format!("#/{screen}")))).await;
                browser.until("document.querySelector('main h1') && ![...document.querySelectorAll('main p.soft')].some((one) => one.textContent === '…')").await;
                let place = format!("{screen} at {width}, {}", if is_dark { "dark" } else { "light" });
                wrong.extend(findings(&browser).await.into_iter().map(|found| format!("{place}: {found}")));
                let wide = browser.run("return document.documentElement.scrollWidth - innerWidth").await;
                if wide.as_i64().is_some_and(|wide| wide > 0) {
                    wrong.push(format!("{place}: scrolls sideways by {wide}"));
                }
            }
            // What stands over a screen as well.
            browser.run("location.hash = '#/pools'").await;
            browser.until_says(".card", "spare").await;
            browser.run("document.querySelector('.card .act').click()").await;
            browser.click("dialog .choice", "Suspend").await;
            browser.until("document.querySelector('dialog form')").await;
            wrong.extend(findings(&browser).await.into_iter().map(|found| format!("dialog at {width}: {found}")));
            browser.keys(&[key::ESCAPE]).await;
        }
        assert_eq!(wrong, Vec::<String>::new());
        nothing_wrong(&browser).await;
    }
}
