//! Configuration files for scenarios: loopback only, nothing asked of the world, short waits.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

/// A configuration in the making. Tables keep their keys unique, so that a scenario can replace a default.
#[derive(Clone)]
pub(crate) struct Settings {
    tables: BTreeMap<String, BTreeMap<String, String>>,
    /// In order: the order of bindings, pools and routes means something.
    blocks: Vec<String>,
}

impl Settings {
    /// One trusted listener and the status page on ports the system chooses, one tenant `acme` for everybody on
    /// loopback with the pool `main`, name servers that nobody listens at, no checks of reverse DNS and
    /// of resolvers. Bindings, the pool and where mail goes are the scenario's.
    pub(crate) fn new() -> Self {
        let mut settings = Self { tables: BTreeMap::new(), blocks: Vec::new() }
            .set("server", "hostname", "\"relay.test\"")
            .set("server", "shutdown_grace", "\"5s\"")
            .set("server", "seed", "7")
            .set("admin", "address", "\"127.0.0.1:0\"")
            .set("log", "filter", "\"info\"")
            .set("dns", "servers", "[\"127.0.0.1:9\"]")
            .set("dns", "timeout", "\"200ms\"")
            .set("monitor", "fcrdns", "false")
            .set("monitor", "self_check", "false")
            .set("monitor", "spf", "\"off\"")
            .set("queue", "retry_first", "\"300ms\"")
            .set("queue", "retry_max", "\"2s\"")
            .set("tenant.acme", "match", "{ client = [\"127.0.0.0/8\"] }")
            .set("tenant.acme", "pools", "{ default = \"main\" }");
        settings.blocks.push("[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n".into());
        settings
    }

    /// Sets `key` of `[table]` to `value`, which is TOML.
    pub(crate) fn set(mut self, table: &str, key: &str, value: &str) -> Self {
        self.tables.entry(table.into()).or_default().insert(key.into(), value.into());
        self
    }

    /// Drops a whole table.
    pub(crate) fn without(mut self, table: &str) -> Self {
        self.tables.remove(table);
        self
    }

    /// `[binding.NAME]` at 127.0.0.`last`, saying `NAME.test`, with further lines.
    pub(crate) fn binding(self, name: &str, last: u8, more: &str) -> Self {
        self.binding_at(name, &format!("127.0.0.{last}"), more)
    }

    /// `[binding.NAME]` at `address`.
    pub(crate) fn binding_at(self, name: &str, address: &str, more: &str) -> Self {
        self.block(format!("[binding.{name}]\nbind_address = \"{address}\"\nehlo_hostname = \"{name}.test\"\n{more}\n"))
    }

    /// `[pool.main]` with these lines, such as `active = ["a"]`.
    pub(crate) fn pool(self, lines: &str) -> Self {
        self.block(format!("[pool.main]\n{lines}\n"))
    }

    /// Sends everything to `sink`.
    pub(crate) fn to(self, sink: SocketAddr) -> Self {
        self.block(format!("[[destination_route]]\ndomain = \"*\"\nhosts = [\"{sink}\"]\n"))
    }

    /// Sends `domain` to `sink` and counts it under the provider `name`.
    pub(crate) fn provider(self, name: &str, domain: &str, sink: SocketAddr) -> Self {
        self.block(format!("[provider.{name}]\nmx = [\"*.{domain}\"]\n")).block(format!(
            "[[destination_route]]\ndomain = \"{domain}\"\nhosts = [\"{sink}\"]\nprovider = \"{name}\"\n"
        ))
    }

    /// Anything else, as it is.
    pub(crate) fn block(mut self, toml: String) -> Self {
        self.blocks.push(toml);
        self
    }

    /// The file, with the state below `state_dir`.
    pub(crate) fn text(&self, state_dir: &Path) -> String {
        let settings = self.clone().set("server", "state_dir", &format!("{:?}", state_dir.display().to_string()));
        let mut text = String::new();
        for (table, keys) in &settings.tables {
            let _ = writeln!(text, "[{table}]");
            for (key, value) in keys {
                let _ = writeln!(text, "{key} = {value}");
            }
            text.push('\n');
        }
        text += &settings.blocks.join("\n");
        // A scenario with a slip of the pen should say so itself, not by a relay that does not start.
        toml::from_str::<toml::Table>(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        text
    }
}
