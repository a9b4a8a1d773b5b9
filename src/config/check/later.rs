//! Files of targets and feeds, for `remuda check`: they are read only when somebody is told or asked.

use std::path::PathBuf;

use super::{Holds, LaterFile};
use crate::config::{Alerts, Credentials, Feed, Origins, key_path};

type Named<'a> = (Vec<&'a str>, Option<&'a PathBuf>, Holds);

/// All of them, and where they are written.
pub(super) fn read_later(alerts: &Alerts, feeds: &[Feed], origins: &Origins) -> Vec<LaterFile> {
    let managers = alerts.alertmanagers.iter().flat_map(|manager| {
        let table = |key| vec!["alerts", "alertmanager", manager.name.as_str(), key];
        let (password, bearer) = match &manager.credentials {
            Credentials::None => (None, None),
            Credentials::Basic { password_file, .. } => (Some(password_file), None),
            Credentials::Bearer(file) => (None, Some(file)),
        };
        [
            (table("password_file"), password, Holds::Secret),
            (table("bearer_file"), bearer, Holds::Secret),
            (table("ca_file"), manager.ca_file.as_ref(), Holds::Authorities),
        ]
    });
    let hooks = alerts.webhooks.iter().flat_map(|hook| {
        let table = |key| vec!["alerts", "webhook", hook.name.as_str(), key];
        [
            (table("secret_file"), hook.secret_file.as_ref(), Holds::Secret),
            (table("bearer_file"), hook.bearer_file.as_ref(), Holds::Secret),
            (table("ca_file"), hook.ca_file.as_ref(), Holds::Authorities),
        ]
    });
    let feeds = feeds.iter().flat_map(|feed| {
        let table = |key| vec!["feed", feed.name.as_str(), key];
        [
            (table("secret_file"), feed.auth.secret_file.as_ref(), Holds::Secret),
            (table("token_file"), feed.auth.token_file.as_ref(), Holds::FirstToken),
            (table("credentials_file"), feed.auth.credentials_file.as_ref(), Holds::Secret),
        ]
    });
    let file = |(parts, file, holds): Named<'_>| {
        let key = key_path(parts);
        let at = origins.get(&key).cloned();
        Some(LaterFile { key, file: file?.clone(), holds, at })
    };
    managers.chain(hooks).chain(feeds).filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::{SourceFile, check};

    #[test]
    fn every_file_of_targets_and_feeds_is_named_with_its_place() {
        let text = "[alerts.alertmanager.far]\nurl = \"https://am.example.org\"\nuser = \"u\"\npassword_file = \"/p\"\n\
             ca_file = \"/ca\"\n[alerts.webhook.chat]\nurl = \"https://hooks.example.org/x\"\nsecret_file = \"/s\"\n\
             bearer_file = \"/b\"\n[feed.wqs]\nkind = \"wqs\"\nurl = \"https://wqs.example.org\"\nsecret_file = \"/w\"\n";
        let rest = "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
             [binding.m1]\nbind_address = \"127.0.0.11\"\nehlo_hostname = \"m1.example.net\"\n\
             [pool.main]\nactive = [\"m1\"]\n[tenant.t]\npools = { default = \"main\" }\n";
        let source = |more: &str| [SourceFile { path: "remuda.toml".into(), text: format!("{text}{rest}{more}") }];
        let expected = [
            "remuda.toml:4 alerts.alertmanager.far.password_file /p Secret",
            "remuda.toml:5 alerts.alertmanager.far.ca_file /ca Authorities",
            "remuda.toml:8 alerts.webhook.chat.secret_file /s Secret",
            "remuda.toml:9 alerts.webhook.chat.bearer_file /b Secret",
            "remuda.toml:13 feed.wqs.secret_file /w Secret",
        ];
        let good = check::check(&source("")).expect("a good file").named_files();
        let bad = check::check(&source("[queue]\nlifetime = 0\n")).expect_err("a bad file").named;
        for named in [good, *bad] {
            let line = |file: &super::LaterFile| {
                let at = file.at.as_ref().expect("written");
                format!("{at} {} {} {:?}", file.key, file.file.display(), file.holds)
            };
            assert_eq!(named.read_later.iter().map(line).collect::<Vec<_>>(), expected);
        }
    }
}
