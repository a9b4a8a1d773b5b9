//! Bindings with an address of each family, as their operator sees them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use remuda::demo::sink::Sink;
use serde_json::Value;

use crate::support::{Relay, Settings, all_accepted, local, named, sink, text, wait_until};

/// `None` on a machine without IPv6.
async fn sink_v6() -> Option<Sink> {
    Sink::start(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0)).await.ok()
}

#[tokio::test]
async fn mail_leaves_by_the_family_of_the_host_and_every_view_says_which() {
    let (four, Some(six)) = (sink().await, sink_v6().await) else { return };
    let route =
        |domain: &str, to: SocketAddr| format!("[[destination_route]]\ndomain = \"{domain}\"\nhosts = [\"{to}\"]\n");
    let settings = Settings::new()
        .block(
            "[binding.a]\nbind_address = [\"127.0.0.11\", \"::1\"]\nehlo_hostname = \"a.test\"\nprefer = \"ipv6\"\n"
                .into(),
        )
        .pool("active = [\"a\"]")
        .block(route("four.test", four.addr()))
        .block(route("six.test", six.addr()));
    let relay = Relay::start_with(&settings, &["--log-format", "json"]).await;
    let to = ["user@four.test", "user@six.test"];
    all_accepted(&relay.load(2).recipients(move |n| vec![to[n as usize].to_owned()]).run().await);
    wait_until("both to arrive", async || (four.log().len() + six.log().len() == 2).then_some(())).await;
    relay.wait_until_empty().await;
    assert_eq!((four.log()[0].source, six.log()[0].source), (local(11), IpAddr::from(Ipv6Addr::LOCALHOST)));

    let log = relay.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut locals: Vec<String> =
        lines.filter(|line| line["target"] == "attempt").map(|line| text(&line, "/local").to_owned()).collect();
    locals.sort();
    assert_eq!(locals, ["127.0.0.11", "::1"]);

    let metrics = relay.metrics().await;
    for family in ["ipv4", "ipv6"] {
        let line = format!("remuda_attempts_by_family_total{{binding=\"a\",family=\"{family}\"}} 1");
        assert!(metrics.lines().any(|shown| shown == line), "{line} in {metrics}");
    }

    let shown: Value = serde_json::from_str(&relay.get("/api/v1/bindings").await).expect("JSON");
    let of = named(&shown, "/bindings", "a");
    for (key, expected) in [
        ("/bind_address", "127.0.0.11"),
        ("/second_bind_address", "::1"),
        ("/public_address", "127.0.0.11"),
        ("/second_public_address", "::1"),
        ("/prefer", "ipv6"),
    ] {
        assert_eq!(text(of, key), expected, "{key} of {of:#}");
    }
}
