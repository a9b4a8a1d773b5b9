//! Feeds for tests.

use crate::config::{Config, Feed};

/// A configuration with the bindings `a` and `b` at 192.0.2.11 and .12, the provider `microsoft` and these further lines.
pub(super) fn config(more: &str) -> Config {
    let text = format!(
        "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/nonexistent\"\n[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
         [binding.a]\nbind_address = \"127.0.0.11\"\npublic_address = \"192.0.2.11\"\n\
         [binding.b]\nbind_address = \"127.0.0.12\"\npublic_address = \"192.0.2.12\"\n\
         [pool.p]\nactive = [\"a\", \"b\"]\n[tenant.t]\npools = {{ default = \"p\" }}\nmatch = {{ sender_domain = [\"t.example\"] }}\n\
         [provider.microsoft]\nmx = [\"*.mx.example\"]\n{more}"
    );
    Config::from_toml(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// `[feed.f]` with these lines.
pub(super) fn feed(lines: &str) -> Feed {
    config(&format!("[feed.f]\n{lines}")).feeds.remove(0)
}
