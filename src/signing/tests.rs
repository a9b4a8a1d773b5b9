//! What is signed verifies, and what is changed does not.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};

use super::keygen::{Kind, Made, make};
use super::*;
use crate::config::{Config, Convert};
use crate::delivery::convert::{CannotConvert, seven_bit};
use crate::demo::zone::Zone;

const MESSAGE: &str = "Received: from x\r\nFrom: \"Ann\" <ann@acme.example>\r\nTo: b@sink.test\r\nSubject:  two\r\n\tlines\r\n\
                       Date: Wed, 18 Nov 2026 11:06:40 +0000\r\n\r\nHello \r\n\r\nthere  you\r\n\r\n\r\n";

fn config(directory: &Path, more: &str) -> Config {
    let key = |name: &str| format!("key = {:?}\n", directory.join(name).display().to_string());
    Config::from_toml(&format!(
        "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
         [binding.m1]\nbind_address = \"192.0.2.1\"\n[pool.main]\nactive = [\"m1\"]\n\
         [tenant.acme]\npools = {{ default = \"main\" }}\ndkim = [\"house\"]\n\
         [tenant.globex]\npools = {{ default = \"main\" }}\n\
         [dkim.rsa]\ndomain = \"acme.example\"\nselector = \"r\"\ntenants = [\"acme\"]\n{}{more}\
         [dkim.ed]\ndomain = \"acme.example\"\nselector = \"e\"\ntenants = [\"acme\"]\nexpire = \"14d\"\n{}\
         [dkim.house]\ndomain = \"esp.test\"\nselector = \"h\"\n{}",
        key("rsa.pem"),
        key("ed.pem"),
        key("house.pem"),
    ))
    .unwrap_or_else(|error| panic!("{error}"))
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("changed");
}

/// Keys in files, and their records in a zone.
async fn world() -> (tempfile::TempDir, Config, Keys, Zone) {
    let directory = tempfile::tempdir().expect("a directory");
    let zone = Zone::start("127.0.0.1:0".parse().expect("valid")).await.expect("a zone");
    for (file, kind, name) in [
        ("rsa.pem", Kind::Rsa(2048), "r._domainkey.acme.example"),
        ("ed.pem", Kind::Ed25519, "e._domainkey.acme.example"),
        ("house.pem", Kind::Ed25519, "h._domainkey.esp.test"),
    ] {
        let made = make(kind).expect("a key");
        write(&directory.path().join(file), &made.pem, 0o600);
        zone.txt(name, &made.record);
    }
    let config = config(directory.path(), "");
    let keys = Keys::load(&config).expect("keys");
    (directory, config, keys, zone)
}

fn authenticator(zone: &Zone) -> MessageAuthenticator {
    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = zone.addr().port();
        connection
    });
    let servers = vec![NameServerConfig::new(zone.addr().ip(), true, connections.to_vec())];
    let config = ResolverConfig::from_name_servers(servers);
    let builder = hickory_resolver::Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    MessageAuthenticator(crate::delivery::mx::built(builder).expect("a resolver"))
}

/// Results of all signatures, from the top.
async fn verified(zone: &Zone, message: &[u8]) -> Vec<bool> {
    let parsed = AuthenticatedMessage::parse(message).expect("a message");
    let results = authenticator(zone).verify_dkim(&parsed).await;
    results.iter().map(|output| *output.result() == DkimResult::Pass).collect()
}

#[tokio::test]
async fn every_signature_verifies_and_breaks_with_one_octet() {
    let (_directory, _config, keys, zone) = world().await;
    let acme = TenantName::new("acme");
    let message = Bytes::from_static(MESSAGE.as_bytes());
    let signed = keys.sign(&acme, &message);
    let names: Vec<&str> = signed.iter().map(|signed| signed.key.as_str()).collect();
    assert_eq!(names, ["rsa", "ed", "house"]);
    let whole = with(&signed, &message);
    assert!(whole.ends_with(MESSAGE.as_bytes()), "nothing else is touched");
    assert_eq!(verified(&zone, &whole).await, [true, true, true]);
    let text = String::from_utf8_lossy(&whole).into_owned();
    assert!(text.lines().take_while(|line| !line.is_empty()).all(|line| line.len() <= 78), "{text}");
    assert!(!text.contains("l=") && text.contains("a=rsa-sha256") && text.contains("a=ed25519-sha256"), "{text}");
    let unfolded = text.replace("\r\n\t", "").replace("\r\n ", "").replace(' ', "");
    assert!(unfolded.contains("h=Date:Subject:To:From:From;"), "{unfolded}");
    assert_eq!(text.matches("x=").count(), 1, "one of them expires");

    for (from, to) in [("Hello", "hello"), ("<ann@", "<bob@"), ("two", "three")] {
        assert_eq!(verified(&zone, text.replacen(from, to, 1).as_bytes()).await, [false, false, false], "{from}");
    }
    let added = text.replacen("To: b", "From: ceo@esp.test\r\nTo: b", 1);
    assert_eq!(verified(&zone, added.as_bytes()).await, [false, false, false], "a second From is noticed");
    let completed = text.replacen("To: b", "X-Added: 1\r\nReceived: from y\r\nTo: b", 1);
    assert_eq!(verified(&zone, completed.as_bytes()).await, [true, true, true], "trace fields come and go");
}

#[tokio::test]
async fn what_was_converted_is_signed_anew_and_others_signatures_stay() {
    let (_directory, _config, keys, zone) = world().await;
    let (acme, keys) = (TenantName::new("acme"), Arc::new(keys));
    let eight_bit = MESSAGE.replacen("Hello", "Grüße", 1);
    for (others, policy) in
        [("", Convert::Unsigned), ("DKIM-Signature: v=1; d=other.test; s=x;\r\n\tb=abc\r\n", Convert::Always)]
    {
        let first = Bytes::from(eight_bit.replacen("From:", &format!("{others}From:"), 1));
        let whole = with(&keys.sign(&acme, &first), &first);
        let again = Anew::new(Arc::clone(&keys), acme.clone());
        let converted = seven_bit(&whole, policy, Some(&again)).expect("converted");
        assert!(converted.is_ascii());
        assert_eq!(verified(&zone, &converted).await, [true, true, true], "a fourth cannot be read");
        let text = String::from_utf8_lossy(&converted).into_owned();
        assert_eq!(text.matches(FIELD).count(), if others.is_empty() { 3 } else { 4 }, "{text}");
    }
}

#[tokio::test]
async fn mail_whose_key_was_retired_while_it_waited_is_converted_and_not_bounced() {
    let (_directory, config, keys, zone) = world().await;
    let (acme, globex) = (TenantName::new("acme"), TenantName::new("globex"));
    let eight_bit = Bytes::from(MESSAGE.replacen("Hello", "Grüße", 1));
    let waiting = with(&keys.sign(&acme, &eight_bit), &eight_bit);
    let signing = Signing::new(keys, Arc::new(crate::clock::SystemClock::default()));
    let signatures = |converted: &[u8]| String::from_utf8_lossy(converted).matches(FIELD).count();
    // The key of one domain is left, then none.
    for (left, held) in [(&["rsa"][..], vec![true]), (&[], vec![])] {
        let mut after = config.clone();
        after.dkim.retain(|key| left.contains(&key.name.as_str()));
        after.tenants.iter_mut().for_each(|tenant| tenant.dkim.clear());
        signing.replace(Keys::load(&after).expect("keys"));
        let converted = seven_bit(&waiting, Convert::Unsigned, Some(&*signing.anew(&acme))).expect("converted");
        assert!(converted.is_ascii() && signatures(&converted) == held.len());
        assert_eq!(verified(&zone, &converted).await, held);
    }
    // Another tenant's mail that acme signed before it came here keeps that signature.
    signing.replace(Keys::load(&config).expect("keys"));
    let passed_on = [b"Received: by us\r\n", &waiting[..]].concat();
    let refused = seven_bit(&passed_on, Convert::Unsigned, Some(&*signing.anew(&globex)));
    assert_eq!(refused, Err(CannotConvert::Signed));
    let broken = seven_bit(&passed_on, Convert::Always, Some(&*signing.anew(&globex))).expect("converted");
    assert_eq!(signatures(&broken), 3);
}

#[tokio::test]
async fn another_tenant_gets_no_signature_of_that_domain() {
    let (_directory, _config, keys, _zone) = world().await;
    assert!(keys.sign(&TenantName::new("globex"), MESSAGE.as_bytes()).is_empty());
    let as_house = MESSAGE.replace("ann@acme.example", "ceo@esp.test");
    assert!(keys.sign(&TenantName::new("acme"), as_house.as_bytes()).is_empty());
    let unclear = MESSAGE.replacen("From:", "From: x@acme.example\r\nFrom:", 1);
    assert!(keys.sign(&TenantName::new("acme"), unclear.as_bytes()).is_empty());
}

#[tokio::test]
async fn odd_messages_are_signed_or_left_alone_without_a_fault() {
    let (_directory, _config, keys, zone) = world().await;
    let acme = TenantName::new("acme");
    let from = "From: ann@acme.example\r\n";
    for message in [
        format!("{from}\r\n"),
        from.to_owned(),
        format!("{from}\r\n\r\n\r\n"),
        format!("X: {}\r\n{from}\r\nä\u{fe0f}\r\n", "y".repeat(70_000)),
        format!("From x\r\n{from}no field\r\n\r\n.\r\n..\r\n"),
        format!("{from}Subject:\r\n\r\n \t \r\n"),
    ] {
        let message = Bytes::from(message);
        let signed = keys.sign(&acme, &message);
        assert_eq!(signed.len(), 3, "{message:?}");
        let results = verified(&zone, &with(&signed, &message)).await;
        assert_eq!(results, [true, true, true], "{:?}", &message[..message.len().min(100)]);
    }
    for message in ["", "\r\n", "\r\n\r\nFrom: ann@acme.example\r\n", "\0\r\n"] {
        assert!(keys.sign(&acme, message.as_bytes()).is_empty());
    }
}

#[tokio::test]
async fn files_that_others_could_read_or_that_hold_no_key_are_refused_with_the_remedy() {
    let (directory, config, keys, _zone) = world().await;
    let path = directory.path().join("rsa.pem");
    let pem = std::fs::read_to_string(&path).expect("there");
    let said = || Keys::load(&config).expect_err("refused");
    for mode in [0o644, 0o660, 0o604] {
        write(&path, &pem, mode);
        assert!(said().contains(&format!("its mode is {mode:04o}")) && said().contains("chmod 600"), "{}", said());
    }
    write(&path, &pem, 0o640);
    assert!(Keys::load(&config).is_ok());
    write(&path, "hunter2", 0o600);
    assert!(said().contains("no private key in PEM") && !said().contains("hunter"), "{}", said());
    write(&path, &pem.replace('A', "B"), 0o600);
    assert!(Keys::load(&config).is_err());
    std::fs::remove_file(&path).expect("removed");
    assert!(said().contains("dkim.rsa.key") && said().contains("cannot be read"), "{}", said());
    let shown = format!("{keys:?}");
    assert!(shown.contains("rsa") && shown.len() < 400, "{shown}");
}

#[test]
fn a_record_is_cut_into_strings_that_a_zone_takes() {
    let made = make(Kind::Rsa(2048)).expect("a key");
    let line = keygen::zone_line("s1", "acme.example", &made.record);
    let strings: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
    assert!(strings.len() == 2 && strings.iter().all(|string| string.len() <= 255), "{line}");
    assert_eq!(strings.concat(), made.record);
    assert!(line.starts_with("s1._domainkey.acme.example. IN TXT ( \""), "{line}");
    assert!(make(Kind::Rsa(1024)).is_err());
    let ed = make(Kind::Ed25519).expect("a key");
    for Made { pem, record } in [made, ed] {
        let pair = keys::read(pem.as_bytes()).expect("read back");
        assert_eq!(
            keygen::record(pair.kind(), &pair.published()),
            record,
            "the record of a file is that of its making"
        );
    }
}
