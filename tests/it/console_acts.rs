//! Every act of the web console, pressed in a real Chromium: what its dialog holds, and what the API says afterwards.

mod peers {
    //! With Chromium; tests/run installs it.

    use remuda::demo::sink::{Rule, Sink};
    use remuda::outcome::Stage;
    use serde_json::{Value, json};

    use crate::console::peers::{nothing_wrong, open, sign_in, with_token};
    use crate::console::send;
    use crate::support::browser::Browser;
    use crate::support::{Relay, Settings, array, named, number, sink, text, wait_until};

    fn settings(one: &Sink, two: &Sink, rest: &Sink) -> Settings {
        let settings = Settings::new()
            .set("queue", "retry_first", "\"1h\"")
            .set("queue", "retry_max", "\"2h\"")
            .binding("a", 11, "daily_cap = 5000")
            .binding("b", 12, "")
            .binding("spare", 13, "")
            .binding("w", 14, "warmup = { ladder = \"standard\", stage = 1 }\ndaily_cap = 20_000")
            .pool("active = [\"a\", { binding = \"b\", weight = 2 }]\nbackup = [[\"spare\"]]")
            .block("[pool.side]\nactive = [\"w\"]\n".to_owned())
            .provider("one", "one.test", one.addr())
            .provider("two", "two.test", two.addr())
            .to(rest.addr());
        with_token(settings, "read")
    }

    /// Puts `value` into the control of the open dialog whose label begins with `label`, as a person would.
    async fn put(browser: &Browser, label: &str, value: &str) {
        let script = format!(
            "const label = [...document.querySelectorAll('dialog label')].find((one) => one.textContent.startsWith({}));\
             const one = label && document.getElementById(label.htmlFor);\
             if (!one) return false;\
             one.value = {};\
             one.dispatchEvent(new Event(one.tagName === 'SELECT' ? 'change' : 'input', {{ bubbles: true }}));\
             return true;",
            json!(label),
            json!(value)
        );
        wait_until(&format!("a field {label}"), async || (browser.run(&script).await == true).then_some(())).await;
    }

    /// What stands in that control.
    async fn held(browser: &Browser, label: &str) -> Value {
        let label = json!(label);
        browser
            .until(&format!(
                "[...document.querySelectorAll('dialog label')].some((one) => one.textContent.startsWith({label}))"
            ))
            .await;
        let script = format!(
            "const label = [...document.querySelectorAll('dialog label')].find((one) => one.textContent.startsWith({label}));\
             return document.getElementById(label.htmlFor).value;"
        );
        browser.run(&script).await
    }

    /// Opens the dialog of `button` at `place`.
    async fn press(browser: &Browser, place: &str, selector: &str, button: &str) {
        browser.run(&format!("if (location.hash !== {place}) location.hash = {place};", place = json!(place))).await;
        browser
            .until(&format!(
                "[...document.querySelectorAll({})].some((one) => one.textContent.includes({}) && !one.disabled)",
                json!(selector),
                json!(button)
            ))
            .await;
        browser.click(selector, button).await;
        browser.until("document.querySelector('dialog form')").await;
    }

    /// Asks for a dry run and sends the act.
    async fn carry_out(browser: &Browser) {
        put(browser, "Reason", "asked for").await;
        let dry = "[...document.querySelectorAll('dialog button')].find((one) => one.textContent.includes('What would change?'))";
        if browser.run(&format!("return Boolean({dry})")).await == true {
            browser.run(&format!("{dry}.click()")).await;
            browser.until_says("dialog .answer", "would be done").await;
        }
        browser.run("document.querySelector('dialog button[type=submit]').click()").await;
    }

    /// The same, and the dialog is gone.
    async fn done(browser: &Browser) {
        carry_out(browser).await;
        browser.until("!document.querySelector('dialog')").await;
    }

    /// The orders in force, in words.
    async fn orders(relay: &Relay) -> Vec<String> {
        let orders: Value = serde_json::from_str(&relay.get("/api/v1/orders").await).unwrap();
        array(&orders, "/orders").iter().map(|order| text(order, "/words").to_owned()).collect()
    }

    /// Takes the order back whose button is called so.
    async fn take_back(browser: &Browser, relay: &Relay, what: &str) {
        browser.run("location.hash = '#/orders'").await;
        let button = format!("document.querySelector({})", json!(format!("[aria-label=\"Take back {what}\"]")));
        browser.until(&format!("{button}?.disabled === false")).await;
        browser.run(&format!("{button}.click()")).await;
        browser.click("dialog button", "Take it back").await;
        browser.until("!document.querySelector('dialog')").await;
        assert_eq!(orders(relay).await, Vec::<String>::new());
        browser.until_says("main", "Everything is as the file says").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Chromium; tests/run installs it"]
    async fn what_is_pressed_for_a_binding_is_what_is_ordered() {
        let (one, two, rest) = (sink().await, sink().await, sink().await);
        let relay = Relay::start(&settings(&one, &two, &rest)).await;
        let browser = open(&relay).await;
        browser.until_says(".card", "spare").await;
        sign_in(&browser).await;

        press(&browser, "#/binding/a", ".binding-page button", "Drain").await;
        done(&browser).await;
        assert_eq!(orders(&relay).await, ["drain a"]);
        // Drained, and everywhere shown as that.
        browser.run("location.hash = '#/matrix'").await;
        browser.until("document.querySelector('.cell[aria-label^=\"a at one: Drained\"]')").await;
        take_back(&browser, &relay, "drained of a").await;

        // The configured cap is proposed; another span has to be said, and one that is not wanted any more stops nothing.
        for (binding, cap) in [("a", "5000"), ("w", "20000"), ("b", "")] {
            press(&browser, &format!("#/binding/{binding}"), ".binding-page button", "Set the daily cap").await;
            assert_eq!(held(&browser, "Recipients a day").await, cap, "{binding}");
            browser.click("dialog button", "Cancel").await;
        }
        press(&browser, "#/binding/a", ".binding-page button", "Set the daily cap").await;
        put(&browser, "Recipients a day", "700").await;
        put(&browser, "Reason", "asked for").await;
        put(&browser, "For how long", "other").await;
        for span in ["", "soon"] {
            browser.run(&format!("document.querySelector('[aria-label=\"Another span\"]').value = {span:?}")).await;
            browser.run("document.querySelector('dialog button[type=submit]').click()").await;
            assert_eq!(browser.run("return Boolean(document.querySelector('dialog form'))").await, true, "{span:?}");
        }
        assert_eq!(orders(&relay).await, Vec::<String>::new(), "not without a span, and not with one that is none");
        put(&browser, "For how long", "").await;
        done(&browser).await;
        assert_eq!(orders(&relay).await, ["daily cap of a: 700"]);
        press(&browser, "#/binding/a", ".binding-page button", "Set the daily cap").await;
        put(&browser, "Daily cap", "none").await;
        put(&browser, "For how long", "").await;
        done(&browser).await;
        assert_eq!(orders(&relay).await, ["no daily cap for a"]);
        press(&browser, "#/binding/a", ".binding-page button", "Set the daily cap").await;
        put(&browser, "Daily cap", "default").await;
        done(&browser).await;
        assert_eq!(orders(&relay).await, Vec::<String>::new());

        press(&browser, "#/binding/w", ".binding-page button", "Set the warm-up stage").await;
        assert_eq!(held(&browser, "Stage").await, "2", "where it stands, counted from 1");
        put(&browser, "Stage", "5").await;
        done(&browser).await;
        assert_eq!(number(named(&relay.status().await, "/bindings", "w"), "/warmup/0/stage"), 4);

        // A weight that nobody touched is not sent.
        browser.run("location.hash = '#/pools'").await;
        browser.until("document.querySelector('[aria-label=\"Act on b\"]')?.disabled === false").await;
        browser.run("document.querySelector('[aria-label=\"Act on b\"]').click()").await;
        press(&browser, "#/pools", "dialog .choice", "Move in main").await;
        assert_eq!(held(&browser, "Weight").await, "");
        put(&browser, "Tier", "1").await;
        done(&browser).await;
        assert_eq!(orders(&relay).await, ["b in tier 1 of pool main"]);
        take_back(&browser, &relay, "tier 1 of main of b").await;

        // What is to be deleted from the file stays to be read; what is gone can be had back.
        press(&browser, "#/binding/spare", ".binding-page button", "Remove").await;
        carry_out(&browser).await;
        browser.until_says("dialog .changes", "[binding.spare]").await;
        browser.click("dialog .primary", "Close").await;
        browser.until_says("main", "There is no such binding").await;
        browser.until_says("main .order-line", "removed").await;
        assert_eq!(orders(&relay).await, ["remove spare"]);
        take_back(&browser, &relay, "removed of spare").await;
        assert_eq!(array(&relay.status().await, "/bindings").len(), 4);
        nothing_wrong(&browser).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Chromium; tests/run installs it"]
    async fn a_site_without_a_provider_is_resumed_where_it_is_out_and_nowhere_else() {
        let (one, two, rest) = (sink().await, sink().await, sink().await);
        rest.add(Rule::reply(Stage::Rcpt, "451 4.2.1 mailbox busy"));
        let relay = Relay::start(&settings(&one, &two, &rest)).await;
        send(&relay, 0, 1, "elsewhere.test").await;
        let site = wait_until("it was tried", async || {
            let queue = relay.queue().await;
            let tried = queue.iter().find(|entry| number(entry, "/attempts") > 0)?;
            Some(text(tried, "/destination").to_owned())
        })
        .await;
        assert!(site.starts_with("site:"), "{site}");
        for destination in [&site, "one"] {
            let body = json!({ "reason": "they asked", "destination": destination });
            let (code, answer) = relay.post("/api/v1/bindings/a/suspend", &body).await;
            assert_eq!((code.as_str(), &answer["changed"]), ("200", &json!(true)), "{answer:#}");
        }
        let is_out = async |destination: &str| {
            let status = relay.status().await;
            array(named(&status, "/bindings", "a"), "/routes")
                .iter()
                .any(|route| route["destination"] == destination && route["health"] == "suspended")
        };
        assert!(is_out(&site).await && is_out("one").await);
        let browser = open(&relay).await;
        browser.until_says(".card", "spare").await;
        sign_in(&browser).await;

        // In the matrix all sites are one column; its panel names each.
        browser.run("location.hash = '#/matrix'").await;
        let cell = "document.querySelector('.cell[aria-label^=\"a at other: Suspended\"]')";
        browser.until(cell).await;
        browser.run(&format!("{cell}.click()")).await;
        browser.until_says("dialog .fact", &site).await;
        browser.click("dialog button", &format!("Resume at {site}")).await;
        browser.until("document.querySelector('dialog form')").await;
        assert_eq!(held(&browser, "Where").await, site.as_str());
        put(&browser, "Reason", "they answer again").await;
        browser.run("document.querySelector('dialog form button[type=submit]').click()").await;
        wait_until("it is back", async || (!is_out(&site).await).then_some(())).await;
        assert!(is_out("one").await, "what was not meant stays");

        // From the page of the binding it can be chosen as well.
        let body = json!({ "reason": "again", "destination": site });
        assert_eq!(relay.post("/api/v1/bindings/a/suspend", &body).await.0, "200");
        browser.run("[...document.querySelectorAll('dialog')].forEach((one) => one.close())").await;
        browser.run("location.hash = '#/binding/a'").await;
        browser.until_says(".binding-page table", &site).await;
        press(&browser, "#/binding/a", ".binding-page button", "Resume").await;
        put(&browser, "Where", &site).await;
        done(&browser).await;
        wait_until("it is back again", async || (!is_out(&site).await).then_some(())).await;
        assert!(is_out("one").await);
        nothing_wrong(&browser).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Chromium; tests/run installs it"]
    async fn what_is_pressed_for_a_tenant_is_what_is_ordered() {
        let (one, two, rest) = (sink().await, sink().await, sink().await);
        let relay = Relay::start(&settings(&one, &two, &rest)).await;
        let browser = open(&relay).await;
        browser.until_says(".card", "spare").await;
        sign_in(&browser).await;

        press(&browser, "#/orders", "[aria-label='Hold acme']", "Hold").await;
        done(&browser).await;
        assert_eq!(orders(&relay).await, ["hold the mail of acme"]);
        browser.until_says("main", "held by the operator").await;
        press(&browser, "#/orders", "[aria-label='Release acme']", "Release").await;
        done(&browser).await;
        assert_eq!(orders(&relay).await, Vec::<String>::new());
        press(&browser, "#/orders", "[aria-label='Assign acme']", "Assign").await;
        put(&browser, "Through the pool", "side").await;
        done(&browser).await;
        assert_eq!(orders(&relay).await, ["default of acme through pool side"]);
        take_back(&browser, &relay, "stream default through side of acme").await;

        nothing_wrong(&browser).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Chromium; tests/run installs it"]
    async fn what_is_pressed_for_the_queue_is_what_becomes_of_it() {
        let (one, two, rest) = (sink().await, sink().await, sink().await);
        two.add(Rule::reply(Stage::Rcpt, "451 4.2.1 mailbox busy"));
        let relay = Relay::start(&settings(&one, &two, &rest)).await;
        send(&relay, 0, 3, "two.test").await;
        let tries = async |least: u64| {
            let queue = relay.queue().await;
            let waiting = queue.iter().filter(|entry| entry["domain"] == "two.test");
            let tried = waiting.filter(|entry| number(entry, "/attempts") >= least && entry["last_reply"].is_string());
            (tried.count() == 3).then_some(())
        };
        wait_until("all were tried", async || tries(1).await).await;
        let all = async |what: &str, of: &str| {
            let queue = relay.queue().await;
            let waiting = queue.iter().filter(|entry| entry["domain"] == "two.test");
            (waiting.filter(|entry| entry[what] == of).count() == 3).then_some(())
        };
        let browser = open(&relay).await;
        browser.until_says(".card", "spare").await;
        sign_in(&browser).await;
        // A search in replies is made once: it reads every record.
        browser.run("location.hash = '#/queue?reply=busy&domain=two.test'").await;
        browser.until("document.querySelectorAll('table.entries tbody tr').length === 3").await;
        browser.until_says("main button", "Refresh").await;
        for act in ["Retry now", "Hold", "Release", "Move", "Bounce"] {
            press(&browser, "#/queue?reply=busy&domain=two.test", ".acts button", act).await;
            if act == "Move" {
                put(&browser, "To the pool", "side").await;
            }
            put(&browser, "Reason", "asked for").await;
            browser.run("document.querySelector('dialog button[type=submit]').click()").await;
            browser.until_says("dialog [role=alert]", "3 entries are concerned").await;
            browser.click("dialog button[type=submit]", "3 entries").await;
            browser.until("!document.querySelector('dialog')").await;
            let what = format!("{act} is done");
            match act {
                "Retry now" => wait_until(&what, async || tries(2).await).await,
                "Hold" => wait_until(&what, async || all("reason", "held").await).await,
                "Release" => wait_until(&what, async || all("reason", "retry").await).await,
                "Move" => wait_until(&what, async || all("pool", "side").await).await,
                _ => {
                    let gone = async || {
                        let queue = relay.queue().await;
                        queue.iter().all(|entry| entry["domain"] != "two.test").then_some(())
                    };
                    wait_until(&what, gone).await;
                }
            }
        }
        // The groups of tenants say the same, and one walk serves all who ask.
        let waiting: Value = serde_json::from_str(&relay.get("/api/v1/console/waiting").await).unwrap();
        assert!(array(&waiting, "/groups").iter().all(|group| group["tenant"] != "acme"), "{waiting:#}");
        nothing_wrong(&browser).await;
    }
}
