//! Mistakes of rule files, and what an operator's file does to the shipped rules.

use super::*;
use crate::outcome::{Classifier, Context, Outcome};

/// In place of the shipped rules, which take a second to compile without optimisation.
const SHIPPED: &str = r#"
[[rule]]
id = "greylisted"
pattern = "greylist"
cause = "greylisted"
scope = "destination"

[[rule]]
id = "any"
code = ["4", "5"]
cause = "unknown"
scope = "unknown"
"#;

fn files(own: &[RuleFile<'_>]) -> Result<Classifier, Vec<RuleError>> {
    Classifier::layered(own, &[RuleFile { name: "shipped.toml", text: SHIPPED }])
}

fn with(text: &str) -> Result<Classifier, Vec<RuleError>> {
    files(&[RuleFile { name: "own.toml", text }])
}

fn errors(text: &str) -> Vec<String> {
    with(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn judged(classifier: &Classifier, stage: Stage, line: &str) -> Outcome {
    let reply = crate::outcome::classify_cli::parse_line(line.as_bytes()).expect("a reply");
    classifier.reply(&reply, Context { stage, provider: None, own: &[] })
}

/// A rule that is good but for `keys`.
fn rule(keys: &str) -> String {
    format!("[[rule]]\nid = \"own.x\"\ncause = \"unknown\"\nscope = \"unknown\"\n{keys}\n")
}

#[test]
fn every_mistake_is_said_with_its_line_and_rule() {
    let bound = |scope: &str, keys: &str| {
        rule(&format!("code = '5'\n{keys}")).replace("\"unknown\"\ncode", &format!("\"{scope}\"\ncode"))
    };
    for (text, said) in [
        (rule("pattern = '('"), "own.toml:5:11: rule \"own.x\": pattern: no regular expression: unclosed group"),
        (
            rule("pattern = 'a'\nnot = '['"),
            "own.toml:6:7: rule \"own.x\": not: no regular expression: unclosed character class",
        ),
        (rule("pattern = ''"), "an empty pattern matches every text"),
        (rule(""), "own.toml:1:1: rule \"own.x\": a rule needs a condition"),
        (rule("code = '6'"), "own.toml:5:8: rule \"own.x\": code: \"6\" is no reply code"),
        (rule("enhanced = ['5.7.1', '5.7']"), "own.toml:5:22: rule \"own.x\": enhanced: \"5.7\" is no enhanced code"),
        (rule("enhanced = '5.7.9-1'"), "is no enhanced code"),
        (
            rule("code = '5'\naction = 'back_of'\nfor = '1h'"),
            "action: \"back_of\" is not known here; did you mean \"back_off\"?",
        ),
        (rule("code = '5'\naction = 'explode'"), "write one of \"none\", \"back_off\""),
        (
            rule("code = '5'\naction = 'back_off'"),
            "own.toml:6:10: rule \"own.x\": action: back_off needs a length of time",
        ),
        (rule("code = '5'\nfor = '2h'"), "for: a length without an action"),
        (rule("code = '5'\nretry_after = '2 parsecs'"), "retry_after: \"2 parsecs\" is no duration"),
        (rule("code = '5'\nretry_after = '0s'"), "retry_after: a length of zero"),
        (
            rule("code = '5'\nstages = ['rcpt', 'rctp']"),
            "own.toml:6:19: rule \"own.x\": stages[1]: \"rctp\" is not known here; did you mean \"rcpt\"?",
        ),
        (rule("code = '5'\ncolour = 'red'"), "own.toml:6:1: rule \"own.x\": colour: unknown key"),
        (rule("code = '5'\npatern = 'red'"), "unknown key; did you mean \"pattern\"?"),
        (
            rule("code = '5'").replace("cause = \"unknown\"", "cause = \"spam_blok_ip\""),
            "cause: \"spam_blok_ip\" is not known here; did you mean \"spam_block_ip\"?",
        ),
        (rule("code = '5'").replace("scope = \"unknown\"\n", ""), "rule \"own.x\": scope: missing"),
        (rule("code = '5'").replace("id = \"own.x\"\n", ""), "own.toml:1:1: id: missing"),
        (rule("code = '5'").replace("own.x", "Own X"), "an id is made of a-z"),
        (rule("code = '5'").replace("own.x", "failure.reset"), "names what is decided without a rule"),
        (rule("code = '5'\ncounts_against_ip = true"), "counts_against_ip: needs scope binding or range, not unknown"),
        (
            bound("recipient", "action = 'suspend_route'\nfor = '1h'"),
            "action: suspend_route needs scope binding or range, not recipient",
        ),
        (bound("range", "action = 'fix_binding'\nfor = '1h'"), "action: fix_binding needs scope binding, not range"),
        (
            bound("binding", "action = 'hold_tenant'\nfor = '1h'"),
            "action: hold_tenant needs scope tenant or sender_domain, not binding",
        ),
        (
            bound("binding", "action = 'hold_content'\nfor = '1h'"),
            "hold_content needs scope other than binding and range",
        ),
        (
            bound("message", "action = 'hold_content'\nfor = '1h'\nnext_binding = 'other'"),
            "next_binding: hold_content moves nothing",
        ),
        (bound("binding", "counts_against_ip = true\ndisposition = 'bounce'"), "never bounces"),
        (bound("recipient", "disposition = 'defer'\nhard = true"), "hard: what is deferred says nothing final"),
        (
            rule("code = '5'") + &rule("code = '4'"),
            "own.toml:6:1: rule \"own.x\": id: the rule at own.toml:1 has this id too",
        ),
        ("rules = 1".to_owned(), "own.toml:1:1: rules: unknown key; did you mean \"rule\"?"),
        ("[rule]\nid = 'x'".to_owned(), "write it as [[rule]]"),
        ("nonsense".to_owned(), "own.toml:1:"),
        (
            rule("code = '5'\ndisabled = true").replace("own.x", "greylisted"),
            "a rule that is switched off says nothing else",
        ),
        (
            "[[rule]]\nid = 'greylsted'\ndisabled = true".to_owned(),
            "no shipped rule has this id, so there is nothing to switch off; did you mean \"greylisted\"?",
        ),
        (rule("code = []"), "code: an empty list; leave the key out to hold for any"),
        (rule("code = '5'\nproviders = []"), "providers: an empty list"),
        (
            "[[rule]]\nid = 'greylisted'\ndisabled = true\nhard = true".to_owned(),
            "a rule that is switched off says nothing else",
        ),
        (rule("code = '5'\nsamples = ['no']"), "samples[0]: \"no\" is no reply"),
        (
            rule("code = '5'\nsamples = ['550 a', '450 a']"),
            "own.toml:6:21: rule \"own.x\": samples[1]: the rule does not match its own sample",
        ),
    ] {
        let all = errors(&text);
        assert!(all.iter().any(|error| error.contains(said)), "no {said:?} in {all:#?} for\n{text}");
        assert!(all.iter().all(|error| error.starts_with("own.toml:")), "{all:#?}");
    }
}

#[test]
fn all_mistakes_of_all_files_come_at_once_in_their_order() {
    let first = rule("code = '6'\nretry_after = 'soon'") + &rule("pattern = '['").replace("own.x", "own.y");
    let second = rule("patern = 'a'").replace("own.x", "own.z");
    let own = [RuleFile { name: "a.toml", text: &first }, RuleFile { name: "b.toml", text: &second }];
    let errors = files(&own).expect_err("wrong");
    let places: Vec<_> =
        errors.iter().map(|error| (&*error.file, error.at.map_or(0, |at| at.0), error.rule.as_deref())).collect();
    assert_eq!(
        places,
        [
            ("a.toml", 5, Some("own.x")),
            ("a.toml", 6, Some("own.x")),
            ("a.toml", 11, Some("own.y")),
            ("b.toml", 1, Some("own.z")),
            ("b.toml", 5, Some("own.z")),
        ],
        "{errors:#?}"
    );
}

#[test]
fn all_mistakes_of_one_rule_come_at_once_its_samples_included() {
    let text = rule("pattern = 'acme'\naction = 'hold_tenant'\nsamples = ['550 acme', 'no', '550 other']");
    let own = RuleFile { name: "own.toml", text: &text };
    let errors: Vec<String> = files(&[own]).expect_err("wrong").iter().map(ToString::to_string).collect();
    for said in [
        "own.toml:6:10: rule \"own.x\": action: hold_tenant needs scope tenant or sender_domain, not unknown",
        "own.toml:6:10: rule \"own.x\": action: hold_tenant needs a length of time; add one, such as for = \"2h\"",
        "samples[1]: \"no\" is no reply",
        "samples[2]: the rule does not match its own sample",
    ] {
        assert_eq!(errors.iter().filter(|error| error.contains(said)).count(), 1, "{said} in {errors:#?}");
    }
    assert_eq!(errors.len(), 4, "{errors:#?}");
}

#[test]
fn a_rule_that_was_not_understood_is_in_nobodys_way() {
    let text = rule("code = '5'\npatern = 'acme'")
        + &rule("pattern = 'other'\nsamples = ['550 other']").replace("own.x", "own.y");
    let own = RuleFile { name: "own.toml", text: &text };
    assert_eq!(files(&[own]).expect_err("wrong").len(), 1, "only the key that was mistyped");
}

#[test]
fn a_sample_that_an_earlier_rule_catches_names_that_rule() {
    let text = rule("pattern = 'acme'")
        + &rule("pattern = 'acme says no'\nsamples = ['550 acme says no']").replace("own.x", "own.y");
    let errors = errors(&text);
    assert_eq!(
        errors,
        ["own.toml:11:12: rule \"own.y\": samples[0]: rule \"own.x\" at own.toml:1 is the first to match this"]
    );
}

#[test]
fn a_rule_with_the_id_of_a_shipped_one_stands_in_its_place() {
    let line = "450 4.2.0 Greylisted, please come back";
    let text = rule("pattern = 'greylisted'\nretry_after = '7m'").replace("own.x", "greylisted");
    let classifier = with(&text).expect("valid");
    let seen = judged(&classifier, Stage::Rcpt, line);
    assert_eq!(
        (&*seen.rule, seen.cause, seen.retry_after),
        ("greylisted", Some(Cause::Unknown), Some(Duration::from_secs(420)))
    );
    let text = rule("code = '471'\nretry_after = '7m'").replace("own.x", "any");
    let order: Vec<_> = with(&text).expect("valid").rules().map(|rule| (rule.id.clone(), rule.own)).collect();
    assert_eq!(order, [("greylisted".to_owned(), false), ("any".to_owned(), true)], "at its turn");
    assert_eq!(classifier.rules().filter(|rule| rule.id == "greylisted").count(), 1);
}

#[test]
fn what_a_new_rule_takes_from_shipped_ones_is_a_warning() {
    let shipped = SHIPPED.replace("scope = \"destination\"", "scope = \"destination\"\nsamples = ['450 Greylisted']");
    let with = |text: &str| {
        let own = [RuleFile { name: "own.toml", text }];
        Classifier::layered(&own, &[RuleFile { name: "shipped.toml", text: &shipped }]).expect("valid")
    };
    let warnings = with(&rule("pattern = 'list'")).warnings().to_vec();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].to_string().starts_with("own.toml:1:1: rule \"own.x\": it takes \"450 Greylisted\" from"),
        "{warnings:?}"
    );
    assert_eq!(with(&rule("pattern = 'acme'")).warnings(), []);
    assert_eq!(with(&rule("pattern = 'list'").replace("own.x", "greylisted")).warnings(), [], "replaced on purpose");
}

#[test]
fn an_own_rule_may_say_that_a_4xx_never_clears() {
    let text =
        rule("code = '450'\ndisposition = 'bounce'\nhard = true").replace("\"unknown\"\ncode", "\"recipient\"\ncode");
    let classifier = with(&text).expect("valid");
    let seen = judged(&classifier, Stage::Rcpt, "450 acme gone");
    assert_eq!((seen.disposition, seen.hard), (Disposition::Bounced, true));
    let early = judged(&classifier, Stage::Banner, "450 acme gone");
    assert_eq!((early.disposition, early.hard), (Disposition::Deferred, false), "nobody's address yet");
}

#[test]
fn a_shipped_rule_is_switched_off_by_its_id_alone() {
    let line = "450 4.2.0 Greylisted, please come back";
    let classifier = with("[[rule]]\nid = \"greylisted\"\ndisabled = true\n").expect("valid");
    assert_ne!(&*judged(&classifier, Stage::Rcpt, line).rule, "greylisted");
    assert_eq!(&*judged(&files(&[]).expect("valid"), Stage::Rcpt, line).rule, "greylisted");
    assert_eq!(classifier.rules().count() + 1, files(&[]).expect("valid").rules().count());
}

#[test]
fn own_rules_come_first_and_may_be_bound_to_a_provider() {
    let text = rule("providers = ['gmail']\npattern = 'user unknown'\nsamples = ['450 User unknown']");
    let classifier = with(&text).expect("valid");
    let gmail = crate::message::ProviderName::new("gmail");
    let reply = crate::outcome::classify_cli::parse_line(b"450 User unknown").expect("a reply");
    let seen = |provider| classifier.reply(&reply, Context { stage: Stage::Rcpt, provider, own: &[] });
    assert_eq!(&*seen(Some(&gmail)).rule, "own.x");
    assert_ne!(&*seen(None).rule, "own.x");
    assert_eq!(classifier.rules_of_unknown_providers(&["gmail"]), []);
    let unknown = classifier.rules_of_unknown_providers(&["gmial"]);
    assert!(
        unknown[0].to_string().starts_with("own.toml:1:1: rule \"own.x\": providers: no provider \"gmail\""),
        "{unknown:?}"
    );
}

#[test]
fn what_follows_from_each_action() {
    use crate::outcome::NextBinding::{Other, Prefer};
    let hour = Duration::from_secs(3600);
    for (scope, action, stage, line, disposition, next, wait, kept) in [
        ("message", "hold_content", Stage::Rcpt, "450 acme", Disposition::Deferred, Prefer, Some(hour), true),
        ("message", "hold_content", Stage::Rcpt, "550 acme", Disposition::Bounced, Prefer, None, true),
        ("message", "hold_content", Stage::Banner, "450 acme", Disposition::Deferred, Prefer, None, false),
        ("tenant", "hold_tenant", Stage::Rcpt, "450 acme", Disposition::Deferred, Prefer, None, true),
        ("tenant", "hold_tenant", Stage::Ehlo, "450 acme", Disposition::Deferred, Prefer, None, false),
        ("binding", "fix_binding", Stage::Ehlo, "550 acme", Disposition::Deferred, Other, None, true),
        ("binding", "fix_binding", Stage::Rcpt, "550 acme", Disposition::Deferred, Other, None, true),
    ] {
        let text = rule(&format!("pattern = 'acme'\naction = '{action}'\nfor = '1h'"))
            .replace("scope = \"unknown\"", &format!("scope = \"{scope}\""));
        let seen = judged(&with(&text).expect("valid"), stage, line);
        let said = format!("{action} {stage:?} {line}: {seen:?}");
        assert_eq!((seen.disposition, seen.next_binding, seen.retry_after), (disposition, next, wait), "{said}");
        assert_eq!(seen.action.length(), kept.then_some(hour), "{said}");
        assert!(!seen.counts_against_ip, "{said}");
    }
}

/// They are compiled when first tried, so that nobody waits for all of them; none may turn out to be broken then.
#[test]
fn every_shipped_pattern_compiles() {
    let shipped = gather(&[], &super::SHIPPED);
    assert_eq!(shipped.errors, []);
    for rule in &shipped.rules {
        for pattern in [&rule.pattern, &rule.not].into_iter().flatten() {
            assert_eq!(pattern.check(), Ok(()), "{}", rule.id);
        }
    }
}

/// Every key stands in the example once, and what is commented out there is good as well.
#[test]
fn the_example_for_operators_shows_every_key_and_loads() {
    let text = include_str!("../../../config/rules-local.toml");
    let own = |text: &str| {
        let classifier = Classifier::with_rules(&[RuleFile { name: "rules-local.toml", text }])
            .unwrap_or_else(|errors| panic!("{errors:#?}"));
        (classifier.rules().filter(|rule| rule.own).count(), classifier.rules().count())
    };
    let (rules, all) = own(text);
    assert!(rules >= 2, "{rules}");
    let opened: String = text.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n").collect();
    assert_eq!(own(&opened), (rules, all - 1), "the one that is switched off");
    for key in file::keys() {
        let shown = opened.lines().filter(|line| line.starts_with(&format!("{key} = "))).count();
        assert!(shown > 0, "{key} is not shown");
    }
}
