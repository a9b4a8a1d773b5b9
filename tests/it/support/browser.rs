//! A real Chromium through chromedriver: the little of WebDriver that the console's scenarios need.
//!
//! Each one is a browser of its own with a fresh profile, headless, on a port the system chose. What a page shows is asked
//! for by scripts in the page and by keys and clicks as a person gives them; see <https://www.w3.org/TR/webdriver2/>.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PATIENCE, wait_until};

/// A browser with one page. Ends with its handle.
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    client: reqwest::Client,
    _profile: TempDir,
}

/// Keys without a character, as WebDriver writes them.
pub(crate) mod key {
    pub(crate) const TAB: &str = "\u{e004}";
    pub(crate) const ENTER: &str = "\u{e007}";
    pub(crate) const ESCAPE: &str = "\u{e00c}";
    pub(crate) const END: &str = "\u{e010}";
    pub(crate) const LEFT: &str = "\u{e012}";
    pub(crate) const RIGHT: &str = "\u{e014}";
    pub(crate) const DOWN: &str = "\u{e015}";
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser when the session is ended, and not when it is killed.
        if let Ok(mut stream) = TcpStream::connect(self.address) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let end = format!(
                "DELETE /session/{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
                self.session, self.address
            );
            let _ = stream.write_all(end.as_bytes());
            let _ = stream.read(&mut [0; 1024]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Browser {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver");
        let mut said = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port =
            said.find_map(|line| line.unwrap().split_once("successfully on port ").map(|(_, port)| port.to_owned()));
        let port: u16 = port.expect("chromedriver says its port").trim_end_matches('.').parse().unwrap();
        // What it says later must not fill the pipe.
        std::thread::spawn(move || said.for_each(drop));
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut this = Self { driver, address, session: String::new(), client, _profile: profile };
        let arguments = [
            "--headless=new".to_owned(),
            // Tests may run as root, which Chromium's sandbox does not do.
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            format!("--user-data-dir={}", this._profile.path().display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        } } });
        let session = this.ask("", wanted).await;
        this.session = session["sessionId"].as_str().unwrap().to_owned();
        this
    }

    async fn ask(&self, path: &str, body: Value) -> Value {
        let session = if self.session.is_empty() { String::new() } else { format!("/{}", self.session) };
        let url = format!("http://{}/session{session}{path}", self.address);
        let answer = self.client.post(&url).json(&body).send().await.unwrap_or_else(|e| panic!("{path}: {e}"));
        let is_good = answer.status().is_success();
        let mut answer: Value = answer.json().await.unwrap();
        assert!(is_good, "{path} {body}: {:#}", answer["value"]["message"]);
        answer["value"].take()
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        self.ask("/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await;
    }

    /// Shows `url`.
    pub(crate) async fn go(&self, url: &str) {
        self.ask("/url", json!({ "url": url })).await;
    }

    /// The tab that is shown.
    pub(crate) async fn tab(&self) -> String {
        let url = format!("http://{}/session/{}/window", self.address, self.session);
        let answer: Value = self.client.get(url).send().await.unwrap().json().await.unwrap();
        answer["value"].as_str().unwrap().to_owned()
    }

    /// Opens another tab over it and shows `url` there.
    pub(crate) async fn new_tab(&self, url: &str) {
        let tab = self.ask("/window/new", json!({ "type": "tab" })).await;
        self.to_tab(tab["handle"].as_str().unwrap()).await;
        self.go(url).await;
    }

    /// Shows this tab.
    pub(crate) async fn to_tab(&self, tab: &str) {
        self.ask("/window", json!({ "handle": tab })).await;
        self.devtools("Page.bringToFront", json!({})).await;
    }

    /// Makes the page so many pixels wide and high, in a dark scheme or a light one.
    pub(crate) async fn looks(&self, width: u32, height: u32, is_dark: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = json!({ "name": "prefers-color-scheme", "value": if is_dark { "dark" } else { "light" } });
        let still = json!({ "name": "prefers-reduced-motion", "value": "reduce" });
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": [scheme, still] })).await;
    }

    /// What the body of a function says in the page.
    pub(crate) async fn run(&self, body: &str) -> Value {
        self.ask("/execute/sync", json!({ "script": body, "args": [] })).await
    }

    /// What a promise comes to in the page; `body` is the body of an async function.
    pub(crate) async fn run_async(&self, body: &str) -> Value {
        let script = format!(
            "const done = arguments[0]; (async () => {{ {body} }})().then(done, (error) => done({{ failed: String(error) }}));"
        );
        self.ask("/execute/async", json!({ "script": script, "args": [] })).await
    }

    /// Runs a file in the page, whatever its policy says of scripts.
    pub(crate) async fn load(&self, script: &Path) {
        let text = std::fs::read_to_string(script).unwrap_or_else(|e| panic!("{}: {e}", script.display()));
        self.devtools("Runtime.evaluate", json!({ "expression": text })).await;
    }

    /// Waits until the expression `what` is true in the page.
    pub(crate) async fn until(&self, what: &str) {
        wait_until(what, async || (self.run(&format!("return Boolean({what})")).await == true).then_some(())).await;
    }

    /// Waits until an element fits `selector` and holds `text`.
    pub(crate) async fn until_says(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.until(&format!(
            "[...document.querySelectorAll({selector})].some((one) => one.textContent.includes({text}))"
        ))
        .await;
    }

    /// Clicks on the first element that fits `selector` and holds `text`, as soon as there is one.
    pub(crate) async fn click(&self, selector: &str, text: &str) {
        self.until_says(selector, text).await;
        let found = format!(
            "return [...document.querySelectorAll({})].find((one) => one.textContent.includes({}))",
            json!(selector),
            json!(text)
        );
        // What is drawn anew just now is another element: then again.
        wait_until(&format!("a click on {selector} {text:?}"), async || {
            let script = format!(
                "{}; one.scrollIntoView({{ block: 'center' }}); one.click(); return true;",
                found.replacen("return", "const one =", 1)
            );
            (self.run(&script).await == true).then_some(())
        })
        .await;
    }

    /// Types into the first field that fits `selector`, which holds nothing else afterwards.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        self.until(&format!("document.querySelector({})", json!(selector))).await;
        self.run(&format!(
            "const field = document.querySelector({}); field.focus(); field.select?.();",
            json!(selector)
        ))
        .await;
        self.keys(&[text]).await;
    }

    /// Presses keys, one after the other.
    pub(crate) async fn keys(&self, texts: &[&str]) {
        let press = |c: char| {
            let key = c.to_string();
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        };
        let actions: Vec<Value> = texts.iter().flat_map(|text| text.chars()).flat_map(press).collect();
        self.ask("/actions", json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] })).await;
    }

    /// The text of what has the focus: its label for readers, else what stands in it.
    pub(crate) async fn focused(&self) -> String {
        let script =
            "const one = document.activeElement; return one.getAttribute('aria-label') || one.textContent || '';";
        self.run(script).await.as_str().unwrap_or_default().trim().to_owned()
    }

    /// What the browser complained of since this was asked last: errors of scripts, violations of the policy, answers
    /// that failed.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.ask("/se/log", json!({ "type": "browser" })).await;
        let entries = log.as_array().unwrap().iter();
        let loud = entries.filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        loud.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }
}
