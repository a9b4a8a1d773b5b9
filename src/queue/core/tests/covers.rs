//! Mail and the SPF records of its senders; how fast it stops from a binding that is listed.

use super::*;
use crate::message::ZoneName;
use crate::reputation::evidence::Listing;

const TWO: &str = "[pool.main]\nactive = [\"m1\", \"m2\"]\n";

fn rig(more: &str) -> Rig {
    Rig::new(&format!("{}{}{TWO}{more}", binding(1, ""), binding(2, "")))
}

fn from(rig: &Rig, tenant: &str, sender: &str) -> Entry {
    let mut entry = rig.entry(tenant, "main", "x.example");
    entry.reverse_path = (!sender.is_empty()).then(|| sender.parse().expect("a mailbox"));
    entry
}

fn covered(rig: &mut Rig, domain: &str, allowed: &[&str], barred: &[&str]) {
    let names = |all: &[&str]| all.iter().map(|name| BindingName::new(*name)).collect::<Vec<_>>();
    rig.core.covered(&domain.parse().expect("a domain"), &names(allowed), &names(barred));
}

fn by(started: &[Start]) -> Vec<&str> {
    let mut names: Vec<&str> = started.iter().map(|start| start.binding.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Everything that can go now, of eight messages each.
fn sent(rig: &mut Rig, tenant: &str, sender: &str) -> Vec<String> {
    for _ in 0..8 {
        let entry = from(rig, tenant, sender);
        rig.take_in(entry);
    }
    let started = rig.attempts();
    assert_eq!(started.len(), 8, "{sender}");
    let names = by(&started).into_iter().map(str::to_owned).collect();
    started.into_iter().for_each(|start| rig.deliver(start));
    names
}

#[test]
fn a_domains_mail_keeps_to_its_cover_and_nobody_elses_does() {
    let mut rig = rig("");
    covered(&mut rig, "acme.example", &["m1"], &["m2"]);
    assert_eq!(sent(&mut rig, "acme", "u@acme.example"), ["m1"]);
    for (tenant, sender) in [("acme", "u@other.example"), ("acme", ""), ("bolt", "u@bolt.example")] {
        // What the others took from m1 is evened out first.
        let mut names = sent(&mut rig, tenant, sender);
        names.extend(sent(&mut rig, tenant, sender));
        names.extend(sent(&mut rig, tenant, sender));
        assert!(names.contains(&"m2".to_owned()), "{sender:?}: {names:?}");
    }
}

#[test]
fn a_tenant_that_only_wants_reports_and_one_that_sends_as_another_domain_are_asked_for_themselves() {
    let feedback = "[feedback]\naddresses = [\"fbl@relay.example.net\"]\n";
    let corp = |more: &str| {
        format!(
            "{feedback}[tenant.corp]\nmatch = {{ sender_domain = [\"corp.example\"] }}\n\
             pools = {{ default = \"main\" }}\n{more}\n"
        )
    };
    let mut reports = rig(&corp("spf = \"report\""));
    covered(&mut reports, "corp.example", &["m1"], &["m2"]);
    assert_eq!(sent(&mut reports, "corp", "u@corp.example"), ["m1", "m2"]);
    let mut rewritten = rig(&corp("return_path_domain = \"b.corp.example\""));
    covered(&mut rewritten, "corp.example", &["m1"], &["m2"]);
    assert_eq!(sent(&mut rewritten, "corp", "u@corp.example"), ["m1", "m2"]);
    covered(&mut rewritten, "b.corp.example", &["m2"], &["m1"]);
    assert_eq!(sent(&mut rewritten, "corp", "u@corp.example"), ["m2"]);
}

#[test]
fn mail_that_waits_for_the_covered_binding_goes_when_its_record_covers_another() {
    let mut rig = rig("");
    covered(&mut rig, "acme.example", &["m1"], &["m2"]);
    rig.bindable("m1", false);
    let ids: Vec<EntryId> = (0..3)
        .map(|n| {
            let mut entry = from(&rig, "acme", "u@acme.example");
            if n == 0 {
                // Its own exclusion sets it aside, the others wait in the lane.
                entry.state.excluded = vec![("m1".into(), rig.now.wall.plus(60 * MINUTE))];
            }
            rig.take_in(entry)
        })
        .collect();
    assert!(rig.attempts().is_empty());
    assert_eq!((rig.reason(ids[0]), rig.reason(ids[1])), ("suspended", "suspended"));
    let plain = from(&rig, "acme", "u@plain.example");
    rig.take_in(plain);
    let started = rig.attempts();
    assert_eq!((started.len(), by(&started)), (1, vec!["m2"]), "other mail does not wait behind it");
    started.into_iter().for_each(|start| rig.deliver(start));

    covered(&mut rig, "acme.example", &["m1", "m2"], &[]);
    let started = rig.attempts();
    assert_eq!((started.len(), by(&started)), (3, vec!["m2"]));
}

#[test]
fn an_entry_set_aside_for_its_exclusion_is_woken_when_the_record_changes() {
    let mut rig = rig("");
    covered(&mut rig, "acme.example", &["m1"], &["m2"]);
    let mut entry = from(&rig, "acme", "u@acme.example");
    entry.state.excluded = vec![("m1".into(), rig.now.wall.plus(60 * MINUTE))];
    let id = rig.take_in(entry);
    assert!(rig.attempts().is_empty());
    assert_eq!(rig.reason(id), "spf_not_covered");
    covered(&mut rig, "acme.example", &["m2"], &["m1"]);
    let started = rig.attempts();
    assert_eq!((started.len(), by(&started)), (1, vec!["m2"]));
}

fn listed(rig: &mut Rig, name: &str, first: i64, clean: Option<i64>) {
    let at = |seconds: i64| Wall::from_millis(START.as_millis() + seconds * 1_000);
    let listing = Listing { zone: ZoneName::new("z"), weight: 4.0, certain: true, codes: "127.0.0.2".into() };
    let evidence = Evidence::Listings {
        binding: name.into(),
        listed: vec![listing],
        first_seen: Some(at(first)),
        last_clean: clean.map(at),
    };
    rig.core.observe(&evidence, rig.now);
}

#[test]
fn the_time_from_a_listing_to_the_last_message_counts_what_is_on_the_wire() {
    let mut rig = rig("");
    covered(&mut rig, "acme.example", &["m1"], &["m2"]);
    for _ in 0..2 {
        let entry = from(&rig, "acme", "u@acme.example");
        rig.take_in(entry);
    }
    let mut started = rig.attempts();
    rig.pass(Duration::from_secs(30));
    listed(&mut rig, "m1", 10, Some(4));
    assert!(rig.core.take_reactions().is_empty(), "two attempts are on the wire");
    for seconds in [5, 7] {
        rig.pass(Duration::from_secs(seconds));
        let start = started.pop().expect("two");
        let mut entry = rig.entries[&start.entry].clone();
        rig.core.concluded(&start.lease, &mut entry, &[], None, 0.5, rig.now);
        rig.deliver(start);
    }
    let reaction = rig.core.take_reactions();
    assert_eq!(reaction.len(), 1);
    assert_eq!(reaction[0].from_first_answer, Duration::from_secs(32));
    assert_eq!(reaction[0].from_last_clean, Some(Duration::from_secs(38)));
    // Told again while it is out: nothing more is measured.
    listed(&mut rig, "m1", 50, None);
    assert!(rig.core.take_reactions().is_empty());
}

#[test]
fn a_listed_binding_that_carried_nothing_since_reacted_in_no_time() {
    let mut rig = rig("");
    rig.pass(Duration::from_secs(30));
    let evidence = Evidence::Listings {
        binding: "m1".into(),
        listed: vec![Listing { zone: ZoneName::new("z"), weight: 4.0, certain: true, codes: "127.0.0.2".into() }],
        first_seen: Some(START),
        last_clean: None,
    };
    let observed = rig.core.observe(&evidence, rig.now);
    assert_eq!(observed.reactions.len(), 1);
    assert_eq!(observed.reactions[0].from_first_answer, Duration::ZERO);
    assert_eq!(observed.reactions[0].from_last_clean, None);
}
