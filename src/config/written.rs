//! What the operator wrote, key by key, so that two files can be compared in the words they are written in.
//!
//! Made from the tree of all files before anything of it is understood: a key that is added to the configuration is in
//! here by itself. Texts of keys that hold a secret ([`is_secret`]) are kept to be compared and are never given out.

use super::mistake::join;
use super::tree::{Node, Table, Value};

/// What is said of a secret that is there.
const HIDDEN: &str = "\"…\"";

/// Keys by which an entry of a list of tables is known, the first that it has.
const NAMED_BY: [&str; 3] = ["address", "domain", "name"];

/// The whole of it, in the order of the files.
#[derive(Clone, Default, PartialEq)]
pub struct Written(Vec<Entry>);

/// A key and what stands there.
#[derive(Clone, PartialEq)]
pub struct Entry {
    /// Its own name; of an entry of a list what it is known by, in brackets.
    pub name: String,
    /// Its path as the file would have it.
    pub path: String,
    /// What stands there.
    pub item: Item,
}

/// What stands at a key.
#[derive(Clone, PartialEq)]
pub enum Item {
    /// A value, as TOML.
    Value(String),
    /// Further keys.
    Table(Vec<Entry>),
}

/// As what it holds would give secrets away, only how many keys there are.
impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Written").field(&self.0.len()).finish()
    }
}

impl Written {
    /// Of a tree.
    pub(super) fn of(table: &Table) -> Self {
        Self(entries("", table))
    }

    /// The keys at the top.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }
}

impl Entry {
    /// Whether what stands there must not be shown.
    pub fn is_secret(&self) -> bool {
        is_secret(&self.name)
    }

    /// As it stands in the file, on one line; secrets are hidden.
    pub fn text(&self) -> String {
        match &self.item {
            _ if self.is_secret() => HIDDEN.to_owned(),
            Item::Value(text) => text.clone(),
            Item::Table(entries) if entries.is_empty() => "{}".to_owned(),
            Item::Table(entries) => {
                let parts: Vec<String> =
                    entries.iter().map(|entry| format!("{} = {}", join("", &entry.name), entry.text())).collect();
                format!("{{ {} }}", parts.join(", "))
            }
        }
    }

    /// The entries of a table; none of a value.
    pub fn below(&self) -> &[Self] {
        match &self.item {
            Item::Value(_) => &[],
            Item::Table(entries) => entries,
        }
    }
}

/// Keys whose values let somebody in, or may have such a thing inside. Those of files have only a path.
fn is_secret(key: &str) -> bool {
    const WORDS: [&str; 6] = ["url", "hash", "password", "secret", "token", "key"];
    WORDS.iter().any(|word| key == *word || key.ends_with(&format!("_{word}")))
}

fn entries(path: &str, table: &Table) -> Vec<Entry> {
    let entry = |entry: &super::tree::Entry| {
        let path = join(path, &entry.key);
        Entry { name: entry.key.clone(), item: item(&path, &entry.node), path }
    };
    table.0.iter().map(entry).collect()
}

fn item(path: &str, node: &Node) -> Item {
    match &node.value {
        Value::Table(table) => Item::Table(entries(path, table)),
        Value::List(list) if !list.is_empty() && list.iter().all(|node| matches!(node.value, Value::Table(_))) => {
            Item::Table(listed(path, list))
        }
        other => Item::Value(text(other)),
    }
}

/// A list of tables: each known by what tells it apart, so that one that is put in between moves no other.
fn listed(path: &str, list: &[Node]) -> Vec<Entry> {
    let mut out: Vec<Entry> = Vec::with_capacity(list.len());
    let mut met: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for (index, node) in list.iter().enumerate() {
        let Value::Table(table) = &node.value else { continue };
        let known_by = NAMED_BY.iter().find_map(|key| match &table.get(key)?.node.value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        });
        let known_by = known_by.unwrap_or_else(|| index.to_string());
        let times = met.entry(known_by.clone()).or_default();
        *times += 1;
        let name = if *times > 1 { format!("[{known_by}#{times}]") } else { format!("[{known_by}]") };
        let path = format!("{path}{name}");
        out.push(Entry { item: Item::Table(entries(&path, table)), name, path });
    }
    out
}

fn text(value: &Value) -> String {
    match value {
        // As a TOML basic string; what has no business in a line is written out.
        Value::Text(text) => toml::Value::String(text.clone()).to_string(),
        Value::Integer(Some(number)) => number.to_string(),
        Value::Integer(None) => "?".to_owned(),
        Value::Float(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Datetime(value) => value.to_string(),
        Value::List(list) => {
            let items: Vec<String> = list.iter().map(|node| text(&node.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(table) => {
            let parts = entries("", table);
            let parts: Vec<String> = parts.iter().map(|entry| format!("{} = {}", entry.name, entry.text())).collect();
            format!("{{ {} }}", parts.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const TEXT: &str = "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
        [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
        [[listener]]\naddress = \"127.0.0.1:0\"\n\
        [binding.m1]\nbind_address = \"192.0.2.1\"\n[pool.main]\nactive = [\"m1\"]\n\
        [tenant.acme]\nmatch = { client = [\"127.0.0.0/8\"] }\npools = { default = \"main\" }\n\
        [alerts.webhook.chat]\nurl = \"https://hooks.example.org/T0KEN\"\n";

    #[test]
    fn keys_keep_their_order_and_lists_of_tables_are_known_by_what_tells_them_apart() {
        let config = Config::from_toml(TEXT).expect("good");
        let top: Vec<&str> = config.origins.written().entries().iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(top, ["server", "listener", "binding", "pool", "tenant", "alerts"]);
        let listeners = config.origins.written().entries()[1].below();
        assert_eq!(listeners[0].path, "listener[127.0.0.1:0]");
        assert_eq!(listeners[1].path, "listener[127.0.0.1:0#2]");
        assert_eq!(listeners[0].below()[1].text(), "[\"127.0.0.0/8\"]");
    }

    #[test]
    fn secrets_are_never_given_out() {
        let config = Config::from_toml(TEXT).expect("good");
        let text: String = config.origins.written().entries().iter().map(|entry| entry.text()).collect();
        assert!(text.contains("url = \"…\"") && !text.contains("T0KEN"), "{text}");
        assert!(!format!("{config:?}").contains("T0KEN"));
    }
}
