//! Tables of replies and their templates; properties over anything a receiver may say.

use proptest::prelude::*;

use super::*;
use crate::outcome::classify::{Classifier, Context};
use crate::outcome::rules::RuleFile;
use crate::outcome::{Reply, Stage};

#[test]
fn what_varies_becomes_a_placeholder() {
    for (text, wanted) in [
        ("<ann@example.org>: Recipient address rejected", "<address>: Recipient address rejected"),
        ("user bounce-ann=example.org@lists.example.net is unknown", "user <address> is unknown"),
        ("'o'brien@example.org' unknown", "'<address>' unknown"),
        ("no \"ann lee\"@example.org here", "no <address> here"),
        ("no \"ann\\\"lee\".x@example.org here", "no <address> here"),
        ("ann @ example.org...User unknown", "<address>...User unknown"),
        ("Client host [192.0.2.25] rejected", "Client host [<ip>] rejected"),
        ("from 192.0.2.0/24, [IPv6:2001:db8::25]:25 and ::1", "from <ip>, [IPv6:<ip>]:<n> and <ip>"),
        ("25.2.0.192.dnsbl.example.org lists you", "<ip>.dnsbl.example.org lists you"),
        ("mx1.example.co.uk says no to relay.example", "<host> says no to <host>"),
        ("queued as 4XyZ1k2b9cz, 4B2A31F8E0, w8ABCDEF012345", "queued as <id>, <id>, <id>"),
        ("d2e1a72fcca58-6e1b2c3d4e5si1234567b3a.12 - gsmtp", "<id> - gsmtp"),
        ("1qXyZ0-0004Ab-Cd [ObJh6BtTNVyIUaHq7lpDnA.uk263]", "<id> [<id>]"),
        ("cookie dGhpcyBpcyAxMjM0NTY3OA== refused", "cookie <id> refused"),
        ("token QkfHZaWnPqLmXyRt refused", "token <id> refused"),
        ("Sun, 22 Nov 2026 08:05:12 +0000 (UTC) too early", "<time> too early"),
        ("2026-11-22T08:05:12.123Z, Nov 22 08:05:12, 8:05 PM, 22/11/2026", "<time>, <time>, <time>, <time>"),
        ("waited 3600s of 14400, 7 left", "waited <n>s of <n>, 7 left"),
        ("  a\t\t b \r\n c  ", "a b c"),
        (
            "see https://example.org/p/sender.html?ip=192.0.2.1&id=12ab34#x9f8e7d.",
            "see https://example.org/p/sender.html?ip=<ip>&id=<id>#<id>.",
        ),
        ("(https://example.org/q/192.0.2.1/4B2A31F8E0/550)", "(https://example.org/q/<ip>/<id>/550)"),
        ("https://example.org/x?mail=ann%40example.org&a=b", "https://example.org/x?mail=<address>&a=b"),
    ] {
        assert_eq!(template(text), wanted, "{text:?}");
    }
}

#[test]
fn what_a_rule_is_written_from_stays() {
    for text in [
        "550 5.7.606 Access denied, banned sending IP",
        "421 4.7.0 [TSS04] Messages temporarily deferred",
        "part of their network is on our block list (S3150).",
        "IB605, RP-001, SC-001, OFR_506, LPN007_401, BL000001, IPTS04, DYN:T1, AUP#I-1000, CXBL, HVU:B1",
        "access denied AS(1410) AS(201806281) AS1234",
        "sorry, no mailbox here by that name (#5.1.1)",
        "upstream said: 550 5.1.1 unknown, then error 554 and status 452",
        "blocked using zen.spamhaus.org; see www.spamhaus.org/query or visit abuse.example.net",
        "listed by bl.example.org, dnsbl-1.example.net and sbl-xbl.example.com",
        "https://support.example.com/mail/?p=UnsolicitedRateLimitError",
        "on blacklist zen.example.org, see https://community.example.com/docs/DOC-1369#550 and RFC 5321",
        "Benutzer unbekannt: Größe überschritten, 邮箱不存在",
        "8BITMIME and greylist1 and 3rd are words",
    ] {
        assert_eq!(template(text), text);
    }
}

#[test]
fn a_full_stop_without_its_space_makes_no_name() {
    assert_eq!(template("User unknown.Please contact e.g. us"), "User unknown.Please contact e.g. us");
}

#[test]
fn control_and_direction_marks_are_shown_as_one_sign() {
    let text = "no\u{1b}[2J\u{202e}\u{2066}way\u{9b}31m\u{0}\nattempt: disposition=delivered\u{2028}x";
    let seen = template(text);
    assert_eq!(seen, "no\u{fffd}[2J\u{fffd}way\u{fffd}<n>m\u{fffd} attempt: disposition=delivered\u{fffd}x");
    assert!(!seen.chars().any(is_invisible));
}

#[test]
fn replies_that_differ_only_in_particulars_are_one() {
    let say = |n: u32| {
        format!(
            "mx{n}.example.org: 550 <user{n}@d{n}.example>: from [192.0.2.{}] refused at {:02}:05:12, id 4X{n:04}zK{n:03}b, {} tries",
            n % 250,
            n % 24,
            n + 10
        )
    };
    let first = template(&say(1));
    assert!((2..300).all(|n| template(&say(n)) == first), "{first}");
}

#[test]
fn known_local_parts_and_hosts_go_wherever_they_stand() {
    let [ann, role, a]: [Mailbox; 3] =
        ["Ann.Lee+news@kunde.berlin", "\"o x\"@x.example", "a@x.example"].map(|text| text.parse().expect("an address"));
    let known = Particular { addresses: &[&ann, &role, &a], hosts: &["kunde.berlin", "192.0.2.1"] };
    let text =
        "ann.lee is not a user of KUNDE.berlin (ann.LEE+news), <ann.lee> joann.lee o x mx1.kunde.berlin 192.0.2.1";
    assert_eq!(
        sample(text, &known),
        "<address> is not a user of KUNDE.berlin (<address>), <address> joann.lee <address> mx1.kunde.berlin 192.0.2.1"
    );
    let seen = template_of(text, &known);
    assert_eq!(seen, "<address> is not a user of <host> (<address>), <address> joann.lee <address> <host> <ip>");
}

#[test]
fn a_local_part_called_like_a_placeholder_breaks_none() {
    let odd: Mailbox = "address@x.example".parse().expect("an address");
    let known = Particular { addresses: &[&odd], hosts: &[] };
    assert_eq!(sample("address <address> <b@c> id", &known), "<address> <address> <address> id");
}

#[test]
fn long_texts_are_cut_between_words_and_say_so() {
    let long = "word ".repeat(400);
    assert!(sample(&long, &Particular::default()).chars().count() <= READ + 1);
    let seen = template(&long);
    assert!(seen.chars().count() <= LONGEST && seen.ends_with("word…"), "{seen}");
    assert_eq!(template(&"ü".repeat(5000)).chars().count(), LONGEST);
    assert!(!pattern(&seen).ends_with('$'));
}

#[test]
fn patterns_are_what_rule_files_take() {
    assert_eq!(pattern(""), "^$");
    assert_eq!(pattern("<address>: no (#5.1.1)"), r"^\S+: no \(\#5\.1\.1\)$");
    assert_eq!(pattern("für <n> s\u{fffd}"), r"^f\xC3\xBCr [0-9]+ s\S+$");
}

/// Whether the patterns of the templates of `texts` hold for them in the classifier: as they came, and as they are kept.
fn fit(texts: &[String]) -> Result<(), String> {
    let rule = |(n, text): (usize, &String)| {
        let quoted = toml::Value::String(pattern(&template(text)));
        format!(
            "[[rule]]\nid = \"own.{n}\"\npattern = {quoted}\ncode = \"550\"\ncause = \"unknown\"\nscope = \"unknown\"\n"
        )
    };
    let rules: String = texts.iter().enumerate().map(rule).collect();
    let classifier = Classifier::with_rules(&[RuleFile { name: "own", text: &rules }]).map_err(|e| format!("{e:?}"))?;
    for text in texts {
        for text in [text.clone(), sample(text, &Particular::default())] {
            let reply = Reply { code: 550, enhanced: None, text };
            let outcome = classifier.reply(&reply, Context { stage: Stage::Rcpt, provider: None, own: &[] });
            if !outcome.rule.starts_with("own.") {
                return Err(format!(
                    "{:?} by {} and not {}",
                    reply.text,
                    outcome.rule,
                    pattern(&template(&reply.text))
                ));
            }
        }
    }
    Ok(())
}

#[test]
fn the_classifier_finds_the_patterns() {
    let texts = [
        "",
        "no",
        "<ann@example.org>: to=ann@example.org. refused, 'o'brien@example.org' too",
        "unknown ann@example.org...User mx1.example.org 4XyZ1k2b9cz at Sun, 22 Nov 2026 08:05:12 +0000 (UTC)",
        "größer als 邮箱 \u{fffd} [192.0.2.1]:25 5.7.606 'quoted' \\ .*+?()[]{}|^$ #&-~",
        "see https://example.org/q?ip=192.0.2.1&mail=ann%40example.org",
        &"long text with 1234 and words ".repeat(60),
    ];
    fit(&texts.map(str::to_owned)).expect("all fit");
}

/// As the reply parser hands it on: one line, no control characters.
fn cleaned(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
    clean.collect::<String>().trim().to_owned()
}

const PIECES: &str = "( |[0-9]{1,5}|[a-zA-Z]{1,6}|[A-Z]{1,4}[0-9]{1,5}|[-_.+:/@<>\"'()\\[\\]#=,%?&\u{fffd}]|<n>|<id>|<address>\
    |5\\.7\\.[0-9]{1,4}|1\\.2\\.3\\.4|::1|%40|https?://|[a-z]{1,3}\\.com|Nov|[0-9]{2}:[0-9]{2}|\u{e9}){0,40}";

proptest! {
    #[test]
    fn any_octets_give_a_short_visible_line(raw in proptest::collection::vec(any::<u8>(), 0..1500)) {
        let seen = template(&String::from_utf8_lossy(&raw));
        prop_assert!(seen.chars().count() <= LONGEST);
        prop_assert!(!seen.chars().any(is_invisible) && !seen.contains('@'), "{}", seen);
    }

    #[test]
    fn a_template_is_its_own_template(text in PIECES) {
        let seen = template(&text);
        prop_assert_eq!(template(&seen), seen);
    }

    #[test]
    fn anything_is_its_own_template_the_second_time(text in "\\PC{0,400}") {
        let seen = template(&text);
        prop_assert_eq!(template(&seen), seen);
    }

    #[test]
    fn no_local_part_is_left(
        before in "([a-y ]{0,9}[ <(\\[,;:=]){0,2}",
        local in "([a-y0-9!#$%&'*+/=?^_`{|}~-]{0,4}zqx[a-y0-9!#$%&'*+/=?^_`{|}~.-]{0,9}|\"[a-y @,<>(;]{0,5}zqx[a-y ]{0,5}\")",
        domain in "[a-y]{1,9}(\\.[a-y]{2,5}){0,2}",
        after in "([>),;:. '\"][a-y ]{0,9}){0,2}",
    ) {
        let text = format!("{before}{local}@{domain}{after}");
        prop_assert!(!template(&text).contains("zqx"), "{} → {}", text, template(&text));
        prop_assert!(!sample(&text, &Particular::default()).contains("zqx"));
    }

    #[test]
    fn the_pattern_of_any_text_fits_what_is_kept_of_it(text in PIECES) {
        let text = sample(&text, &Particular::default());
        // Text that writes a placeholder of its own is taken at its word.
        prop_assume!(!["<n>", "<time>"].iter().any(|name| text.contains(name)));
        let pattern = pattern(&template(&text));
        let fits = regex::bytes::RegexBuilder::new(&pattern).case_insensitive(true).unicode(false).build();
        prop_assert!(fits.expect("compiles").is_match(text.as_bytes()), "{} for {}", pattern, text);
    }
}

proptest! {
    // One load of all shipped rules takes longer than the rest.
    #![proptest_config(ProptestConfig::with_cases(1))]

    #[test]
    fn the_classifier_finds_the_pattern_of_any_text(texts in proptest::collection::vec(PIECES, 100)) {
        // A person's way to write an address, and quoted ones with spaces, are more than one word to the rules.
        let odd = ["@ ", " @", "\"", "%40", "<n>"];
        let texts = texts.iter().map(|text| cleaned(text)).filter(|text| !odd.iter().any(|odd| text.contains(odd)));
        let texts: Vec<String> = texts.collect();
        prop_assert!(!texts.is_empty());
        let fits = fit(&texts);
        prop_assert!(fits.is_ok(), "{:?}", fits);
    }
}
