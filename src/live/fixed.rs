//! What cannot change while the program runs: it stays as it is until the next start, and the operator is told. Pure.
//!
//! The configuration in force keeps the old value, so that whoever asks what holds is told what holds.

use crate::config::{Admin, Anonymous, Config, Injection};

/// Keys (and tables) that need a restart.
pub(super) const KEYS: [&str; 8] = [
    "server.state_dir",
    "server.day",
    "server.low_space_floor",
    "server.seed",
    "admin.address",
    "injection.address",
    "log",
    "classify.unmatched_kept",
];

/// Gives `wanted` the values of `before` where they cannot change now. One warning for each that is wanted otherwise.
pub fn keep(before: &Config, wanted: &mut Config) -> Vec<String> {
    let mut stays = Vec::new();
    let mut differs = |key: &str, was: String, is: String| {
        let differs = was != is;
        if differs {
            stays.push(format!("{key} needs a restart; until then it stays as it was"));
        }
        differs
    };
    let debug = |value: &dyn std::fmt::Debug| format!("{value:?}");
    let (old, new) = (&before.server, &mut wanted.server);
    if differs("server.state_dir", debug(&old.state_dir), debug(&new.state_dir)) {
        if let Some(feedback) = &mut wanted.feedback
            && let Ok(below) = feedback.key_file.strip_prefix(&new.state_dir)
        {
            feedback.key_file = old.state_dir.join(below);
        }
        new.state_dir.clone_from(&old.state_dir);
    }
    if differs("server.day", debug(&old.day), debug(&new.day)) {
        new.day = old.day.clone();
    }
    if differs("server.low_space_floor", debug(&old.low_space_floor), debug(&new.low_space_floor)) {
        new.low_space_floor = old.low_space_floor;
    }
    if differs("server.seed", debug(&old.seed), debug(&new.seed)) {
        new.seed = old.seed;
    }
    keep_admin(&before.admin, &mut wanted.admin, &mut differs);
    keep_injection(&before.injection, &mut wanted.injection, &mut differs);
    if differs("log", debug(&before.log), debug(&wanted.log)) {
        wanted.log = before.log.clone();
    }
    let (old, new) = (before.classify.unmatched_kept, &mut wanted.classify.unmatched_kept);
    if differs("classify.unmatched_kept", debug(&old), debug(new)) {
        *new = old;
    }
    stays
}

/// The HTTP side stays where it is, by TLS or not. What guards it was written for the address in the new file: where that
/// is another one, what guards the old address goes on, so that nothing is open there that was not open before.
fn keep_admin(old: &Admin, new: &mut Admin, differs: &mut dyn FnMut(&str, String, String) -> bool) {
    let debug = |value: &dyn std::fmt::Debug| format!("{value:?}");
    let is_moved = differs("admin.address", debug(&old.address), debug(&new.address));
    new.address = old.address;
    let stays = is_moved || old.tls.is_some() != new.tls.is_some();
    if stays && differs("admin.tls", debug(&old.tls), debug(&new.tls)) {
        new.tls.clone_from(&old.tls);
    }
    if !is_moved {
        return;
    }
    if differs("admin.hosts", debug(&old.hosts), debug(&new.hosts)) {
        new.hosts.clone_from(&old.hosts);
    }
    // Less may be allowed at once, more may not.
    if old.anonymous == Anonymous::None {
        new.anonymous = Anonymous::None;
    }
    if new.tokens.is_empty() {
        new.tokens.clone_from(&old.tokens);
    }
}

/// Where mail comes in over HTTP stays where it is, by TLS or not, and has room for as many. Tokens change at once, and the
/// sizes of messages with the memory there is for them.
fn keep_injection(old: &Injection, new: &mut Injection, differs: &mut dyn FnMut(&str, String, String) -> bool) {
    let debug = |value: &dyn std::fmt::Debug| format!("{value:?}");
    let is_moved = differs("injection.address", debug(&old.address), debug(&new.address));
    new.address = old.address;
    let stays = is_moved || old.tls.is_some() != new.tls.is_some();
    if stays && differs("injection.tls", debug(&old.tls), debug(&new.tls)) {
        new.tls.clone_from(&old.tls);
    }
    let sizes = |it: &Injection| format!("{} {}", it.max_connections, it.max_connections_per_client);
    if differs("injection.max_connections, max_connections_per_client", sizes(old), sizes(new)) {
        new.max_connections = old.max_connections;
        new.max_connections_per_client = old.max_connections_per_client;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AdminTls;

    /// Address, TLS, what anybody may.
    type Guarded = (Option<std::net::SocketAddr>, Option<AdminTls>, Anonymous);

    fn admin(text: &str) -> Config {
        config("state_dir = \"/var/lib/remuda\"", &format!("[admin]\n{text}\n"))
    }

    fn guarded(admin: &Admin) -> Guarded {
        (admin.address, admin.tls.clone(), admin.anonymous)
    }

    const PUBLIC: &str = "address = \"192.0.2.1:8025\"\ntls = { certificate = \"/a.crt\", key = \"/a.key\" }\n\
         hosts = [\"status.example.org\"]\n[admin.token.ops]\nrole = \"admin\"\n\
         hash = \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"";

    #[test]
    fn a_public_address_that_stays_stays_guarded_whatever_the_file_says_of_another() {
        let before = admin(PUBLIC);
        for text in
            ["", "address = false", "address = \"127.0.0.1:9\"\nanonymous = \"read\"\nhosts = [\"x.example.org\"]"]
        {
            let mut wanted = admin(text);
            let warnings = keep(&before, &mut wanted);
            assert_eq!(guarded(&wanted.admin), guarded(&before.admin), "{text}");
            assert_eq!(
                (&wanted.admin.hosts, &wanted.admin.tokens),
                (&before.admin.hosts, &before.admin.tokens),
                "{text}"
            );
            assert_eq!(wanted.admin.anonymous, Anonymous::None);
            assert!(warnings[0].starts_with("admin.address needs a restart"), "{warnings:?}");
            assert!(warnings[1].starts_with("admin.tls needs a restart"), "{warnings:?}");
        }
        let mut other = admin(&PUBLIC.replace("token.ops", "token.new").replace("192.0.2.1", "192.0.2.2"));
        keep(&before, &mut other);
        assert_eq!(other.admin.tokens[0].name, "new", "whose token is taken away is let in no more");
        let mut tighter = admin("address = \"127.0.0.1:9\"\nanonymous = \"none\"");
        keep(&admin(""), &mut tighter);
        assert_eq!(tighter.admin.anonymous, Anonymous::None, "less is allowed at once");
    }

    #[test]
    fn tls_comes_and_goes_with_a_restart_and_its_files_at_once() {
        let tls = |name: &str| format!("tls = {{ certificate = \"/{name}.crt\", key = \"/{name}.key\" }}");
        for (was, is) in [("", tls("a").as_str()), (tls("a").as_str(), "")] {
            let (before, mut wanted) = (admin(was), admin(is));
            let warnings = keep(&before, &mut wanted);
            assert!(warnings.len() == 1 && warnings[0].starts_with("admin.tls needs a restart"), "{warnings:?}");
            assert_eq!(wanted.admin.tls, before.admin.tls);
        }
        let (before, mut wanted) = (admin(&tls("a")), admin(&tls("b")));
        assert_eq!(keep(&before, &mut wanted), [""; 0]);
        assert_eq!(wanted.admin.tls.expect("given").key.display().to_string(), "/b.key");
    }

    fn config(server: &str, more: &str) -> Config {
        Config::from_toml(&format!(
            "[server]\nhostname = \"relay.example.net\"\n{server}\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
             [binding.m1]\nbind_address = \"192.0.2.1\"\n[pool.main]\nactive = [\"m1\"]\n\
             [feedback]\naddresses = [\"fbl@relay.example.net\"]\n\
             [tenant.acme]\nmatch = {{ client = [\"127.0.0.0/8\"] }}\npools = {{ default = \"main\" }}\n{more}"
        ))
        .expect("good")
    }

    #[test]
    fn what_needs_a_restart_stays_and_is_named() {
        let before = config("state_dir = \"/var/lib/remuda\"", "");
        let wanted = "state_dir = \"/srv/remuda\"\nday = { timezone = \"Europe/Berlin\" }\nlow_space_floor = \"1MiB\"\nseed = 7\n\
                      shutdown_grace = \"9s\"";
        let mut wanted = config(
            wanted,
            "[admin]\naddress = \"127.0.0.1:9999\"\n[injection]\naddress = \"127.0.0.1:9998\"\n[log]\nfilter = \"debug\"\n[classify]\nunmatched_kept = 7\n",
        );
        let warnings = keep(&before, &mut wanted);
        let named: Vec<&str> = warnings.iter().filter_map(|warning| warning.split(' ').next()).collect();
        assert_eq!(named, KEYS);
        let in_force = |config: &Config| format!("{:?} {:?} {:?}", config.server.day, config.admin, config.log);
        assert_eq!(in_force(&wanted), in_force(&before));
        assert_eq!(wanted.server.state_dir, before.server.state_dir);
        let keys = |config: &Config| config.feedback.as_ref().map(|feedback| feedback.key_file.clone());
        assert_eq!(keys(&wanted), keys(&before), "the keys lie where they lay");
        assert_eq!(wanted.server.shutdown_grace.as_secs(), 9, "the rest changes");
        assert!(keep(&before, &mut before.clone()).is_empty());
        let mut larger = before.clone();
        (larger.injection.max_message_bytes, larger.injection.max_bytes_in_flight) = (1 << 30, 4 << 30);
        larger.injection.max_connections = 7;
        assert_eq!(keep(&before, &mut larger).len(), 1);
        let injection = &larger.injection;
        assert_eq!((injection.max_message_bytes, injection.max_bytes_in_flight), (1 << 30, 4 << 30), "both or none");
        assert_eq!(injection.max_connections, before.injection.max_connections);
    }
}
