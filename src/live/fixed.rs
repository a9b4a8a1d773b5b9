//! What cannot change while the program runs: it stays as it is until the next start, and the operator is told. Pure.
//!
//! The configuration in force keeps the old value, so that whoever asks what holds is told what holds.

use crate::config::Config;

/// Keys (and tables) that need a restart.
pub(super) const KEYS: [&str; 7] = [
    "server.state_dir",
    "server.day",
    "server.low_space_floor",
    "server.seed",
    "admin.address",
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
    if differs("admin.address", debug(&before.admin.address), debug(&wanted.admin.address)) {
        wanted.admin.address = before.admin.address;
    }
    if differs("log", debug(&before.log), debug(&wanted.log)) {
        wanted.log = before.log.clone();
    }
    let (old, new) = (before.classify.unmatched_kept, &mut wanted.classify.unmatched_kept);
    if differs("classify.unmatched_kept", debug(&old), debug(new)) {
        *new = old;
    }
    stays
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "[admin]\naddress = \"127.0.0.1:9999\"\n[log]\nfilter = \"debug\"\n[classify]\nunmatched_kept = 7\n",
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
    }
}
