//! Prometheus and Alertmanager as processes of a test, on ports the system chose, and questions to them.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{dashboards_dir, read};
use crate::support::{Relay, anywhere, wait_until};

/// Something from Debian that listens where the system wants and says where in its log.
pub(super) struct Daemon {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    pub(super) async fn start(program: &str, directory: &Path, config: &str, arguments: &[&str]) -> Self {
        let (file, log) = (directory.join(format!("{program}.yml")), directory.join(format!("{program}.log")));
        fs::write(&file, config).unwrap();
        let out = File::create(&log).unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}"));
        let mut daemon = Self { child, address: anywhere() };
        daemon.address = wait_until("it listens", async || {
            let said = fs::read_to_string(&log).unwrap();
            assert!(daemon.child.try_wait().unwrap().is_none(), "{program} left: {said}");
            let (_, address) = said.lines().find(|line| line.contains("\"Listening on\""))?.split_once("address=")?;
            address.split_whitespace().next()?.parse().ok()
        })
        .await;
        daemon
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Prometheus in `directory`, reading `relay` every second with these rules; `further` goes to its configuration.
pub(super) async fn prometheus(directory: &Path, relay: &Relay, further: &str) -> Daemon {
    // What the rules wait for in life is not waited for here.
    let rules = read(&dashboards_dir().join("alerts.yml"));
    let hasty = rules.lines().map(|line| {
        let indent = line.len() - line.trim_start().len();
        if line.trim_start().starts_with("for:") { format!("{}for: 0s", &line[..indent]) } else { line.to_owned() }
    });
    fs::write(directory.join("alerts.yml"), hasty.collect::<Vec<_>>().join("\n")).unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [alerts.yml]\n\
         scrape_configs:\n  - job_name: remuda\n    static_configs:\n      - targets: [\"{}\"]\n{further}",
        relay.admin()
    );
    let daemon = Daemon::start("prometheus", directory, &config, &["--storage.tsdb.path=data"]).await;
    wait_until("Prometheus is ready", async || {
        let answer = reqwest::get(daemon.url("/-/ready")).await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    wait_until("Prometheus reads the relay", async || {
        let up = ask(&daemon, "up{job=\"remuda\"}").await;
        (up.iter().any(|series| series["value"][1] == "1")).then_some(())
    })
    .await;
    daemon
}

async fn post(daemon: &Daemon, path: &str, form: &[(&str, &str)]) -> Value {
    let answer = reqwest::Client::new().post(daemon.url(path)).form(form).send().await.unwrap();
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(answer["status"], "success", "{form:?}: {answer:#}");
    answer["data"]["result"].clone()
}

/// What an expression gives now.
pub(super) async fn ask(daemon: &Daemon, expression: &str) -> Vec<Value> {
    post(daemon, "/api/v1/query", &[("query", expression)]).await.as_array().unwrap().clone()
}

/// What it gave at any second since `from`.
pub(super) async fn ask_range(daemon: &Daemon, expression: &str, from: jiff::Timestamp) -> Vec<Value> {
    let (from, to) = (from.as_second().to_string(), jiff::Timestamp::now().as_second().to_string());
    let form = [("query", expression), ("start", &from), ("end", &to), ("step", "1")];
    let result = post(daemon, "/api/v1/query_range", &form).await;
    let has_value = |series: &&Value| series["values"].as_array().unwrap().iter().any(|at| at[1] != "NaN");
    result.as_array().unwrap().iter().filter(has_value).cloned().collect()
}
