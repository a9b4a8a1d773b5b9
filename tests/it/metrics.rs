//! `/metrics` is what Prometheus wants, and says what happened.

use crate::support::{Relay, Settings, all_accepted, sink, wait_for_messages};

async fn after_some_traffic() -> String {
    let sink = sink().await;
    sink.unknown_user("user3");
    let settings = Settings::new()
        .binding("a", 11, "daily_cap = 1000")
        .binding("b", 12, "")
        .pool("active = [\"a\", \"b\"]")
        .to(sink.addr());
    let relay = Relay::start(&settings).await;
    all_accepted(&relay.load(10).run().await);
    // Nine and the DSN for the tenth.
    wait_for_messages(&sink, 10).await;
    relay.wait_until_empty().await;
    relay.metrics().await
}

#[tokio::test]
async fn every_metric_has_our_prefix_and_no_label_names_a_recipient() {
    let metrics = after_some_traffic().await;
    let samples: Vec<&str> = metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(samples.len() > 10, "{metrics}");
    for sample in samples {
        assert!(sample.starts_with("remuda_"), "{sample}");
        assert!(!sample.contains('@') && !sample.contains("user3"), "{sample}");
        let value = sample.rsplit(' ').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "{sample}");
    }
}

mod peers {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    #[ignore = "needs promtool from the package prometheus; tests/run installs it"]
    async fn promtool_accepts_the_metrics() {
        let metrics = after_some_traffic().await;
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool");
        promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}
