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
    listed(&mut rig, "m1", 0, None);
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
    assert_eq!((rig.reason(ids[0]), rig.reason(ids[1])), ("spf_not_covered", "spf_not_covered"), "m2 could carry it");
    let asked: Vec<_> = rig.core.asked().all().filter(|(_, verdict, _)| *verdict == "spf_not_covered").collect();
    assert!(!asked.is_empty());
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
    listed_by(rig, name, true, first, clean);
}

fn listed_by(rig: &mut Rig, name: &str, certain: bool, first: i64, clean: Option<i64>) {
    let at = |seconds: i64| Wall::from_millis(START.as_millis() + seconds * 1_000);
    let listing = Listing { zone: ZoneName::new("z"), weight: 4.0, certain, codes: "127.0.0.2".into() };
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
fn mail_goes_as_before_while_the_only_covered_binding_is_out_until_somebody_brings_it_back() {
    let mut rig = rig("");
    covered(&mut rig, "acme.example", &["m1"], &["m2"]);
    let mut entry = from(&rig, "acme", "u@acme.example");
    entry.state.excluded = vec![("m1".into(), rig.now.wall.plus(60 * MINUTE))];
    let waits = rig.take_in(entry);
    assert!(rig.attempts().is_empty());
    assert_eq!(rig.reason(waits), "spf_not_covered");

    let told = |observed: Observed| observed.notes.iter().map(Note::as_str).collect::<Vec<_>>();
    let lost = Evidence::Unbindable { binding: "m1".into(), detail: "no such address".into() };
    let observed = rig.core.observe(&lost, rig.now);
    assert_eq!(told(observed), ["spf_waived"]);
    let started = rig.attempts();
    assert_eq!((started.len(), by(&started)), (1, vec!["m2"]), "what waited for it is woken");
    started.into_iter().for_each(|start| rig.deliver(start));
    assert_eq!(sent(&mut rig, "acme", "u@acme.example"), ["m2"]);

    let observed = rig.core.observe(&Evidence::Bindable { binding: "m1".into() }, rig.now);
    assert_eq!(told(observed), ["spf_holds_again"]);
    assert_eq!(sent(&mut rig, "acme", "u@acme.example"), ["m1"]);
}

#[test]
fn spf_is_the_reason_where_another_could_carry_it_and_no_other_time() {
    let mut rig = Rig::new(&format!("{}{}{TWO}", binding(1, "daily_cap = 1"), binding(2, "daily_cap = 1")));
    covered(&mut rig, "acme.example", &["m1"], &["m2"]);
    let send = |rig: &mut Rig, sender: &str| {
        let entry = from(rig, "acme", sender);
        let id = rig.take_in(entry);
        rig.attempts().into_iter().for_each(|start| rig.deliver(start));
        id
    };
    send(&mut rig, "u@acme.example");
    let waits = send(&mut rig, "u@acme.example");
    assert_eq!(rig.reason(waits), "spf_not_covered", "m2 has its day before it");
    send(&mut rig, "u@plain.example");
    let waits = send(&mut rig, "u@plain.example");
    assert_eq!(rig.reason(waits), "cap");
    // In a lane of its own: what waits already is not asked again.
    covered(&mut rig, "acme.example", &["m2"], &["m1"]);
    let waits = send(&mut rig, "v@acme.example");
    assert_eq!(rig.reason(waits), "cap", "m1 has nothing left either");
}

/// Starts an attempt over m1.
fn on_the_wire(rig: &mut Rig) -> Start {
    let entry = from(rig, "acme", "u@acme.example");
    rig.take_in(entry);
    rig.attempts().pop().expect("an attempt")
}

fn ends(rig: &mut Rig, start: Start) {
    let mut entry = rig.entries[&start.entry].clone();
    rig.core.concluded(&start.lease, &mut entry, &[], None, 0.5, rig.now);
    rig.deliver(start);
}

fn watched() -> Rig {
    let mut rig = rig("");
    covered(&mut rig, "acme.example", &["m1"], &["m2"]);
    rig
}

#[test]
fn a_listed_binding_that_carried_nothing_since_is_not_measured() {
    let mut rig = watched();
    let start = on_the_wire(&mut rig);
    ends(&mut rig, start);
    rig.pass(Duration::from_secs(30));
    listed(&mut rig, "m1", 10, None);
    assert_eq!(rig.core.take_reactions(), []);
}

#[test]
fn a_listing_that_stopped_nothing_explains_nothing_later() {
    let mut rig = watched();
    rig.bindable("m2", false);
    rig.pass(Duration::from_secs(30));
    // The guard keeps the last binding of the pool.
    listed_by(&mut rig, "m1", false, 10, None);
    rig.pass(60 * MINUTE);
    let start = on_the_wire(&mut rig);
    ends(&mut rig, start);
    rig.core.observe(&Evidence::Bindable { binding: "m2".into() }, rig.now);
    rig.pass(MINUTE);
    let health = rig.core.reputation().health(&Subject::Binding("m1".into()));
    assert!(matches!(health, Health::Suspended { .. }), "now it can be spared: {health:?}");
    assert_eq!(rig.core.take_reactions(), []);
}

#[test]
fn another_reason_while_the_last_attempt_ends_does_not_lose_the_measurement() {
    let mut rig = watched();
    let start = on_the_wire(&mut rig);
    rig.pass(Duration::from_secs(30));
    listed(&mut rig, "m1", 10, None);
    let word = Evidence::OperatorSuspend { binding: "m1".into(), destination: None, reason: "seen".into(), span: None };
    assert_eq!(rig.core.observe(&word, rig.now).changes.len(), 1);
    rig.pass(Duration::from_secs(5));
    ends(&mut rig, start);
    let seconds: Vec<u64> = rig.core.take_reactions().iter().map(|known| known.from_first_answer.as_secs()).collect();
    assert_eq!(seconds, [25]);
}

/// Bindings m1 to m8 of which m1 and m2 are the pool, so that covers can differ and mean the same there, and what bounds
/// connections: those of a binding, or of a binding to one destination.
fn narrow(of_binding: bool) -> Rig {
    let (line, more) = match of_binding {
        true => ("max_outbound_connections = 1", ""),
        false => ("", "[delivery]\nmax_outbound_connections = 1\n"),
    };
    let bindings: String = (1..=8).map(|n| binding(n, line)).collect();
    Rig::new(&format!("{bindings}{TWO}{more}"))
}

/// A cover that allows m1 in the pool, like no other number's.
fn cover_of_its_own(rig: &mut Rig, domain: &str, number: usize) {
    let names = ["m3", "m4", "m5", "m6", "m7", "m8"];
    let allowed: Vec<&str> =
        std::iter::once("m1").chain((0..6).filter(|bit| number >> bit & 1 == 1).map(|bit| names[bit])).collect();
    covered(rig, domain, &allowed, &["m2"]);
}

/// Mail of acme from so many domains with a cover each, of bolt from one; all to one place. Weight 1 to 3.
fn crowded(rig: &mut Rig, covers: usize) {
    rig.core.pause();
    cover_of_its_own(rig, "bolt.example", 63);
    for n in 0..covers {
        cover_of_its_own(rig, &format!("d{n}.example"), n);
    }
    for n in 0..400 {
        let entry = from(rig, "acme", &format!("u@d{}.example", n % covers));
        rig.take_in(entry);
        let entry = from(rig, "bolt", "u@bolt.example");
        rig.take_in(entry);
    }
    rig.core.resume();
}

#[test]
fn a_tenant_with_many_covers_has_the_share_of_one() {
    for (of_binding, covers) in [(true, 1), (true, 40), (false, 1), (false, 40)] {
        let mut rig = narrow(of_binding);
        crowded(&mut rig, covers);
        let mut of_bolt = 0;
        for _ in 0..80 {
            let mut started = rig.attempts();
            assert_eq!((started.len(), by(&started)), (1, vec!["m1"]));
            let start = started.remove(0);
            of_bolt += usize::from(rig.entries[&start.entry].tenant.as_str() == "bolt");
            rig.deliver(start);
        }
        assert!((58..=62).contains(&of_bolt), "{of_bolt} of 80 with {covers} covers, of a binding: {of_binding}");
    }
}

#[test]
fn an_attempt_that_ends_lets_one_cover_look_and_not_all_of_them() {
    for of_binding in [true, false] {
        let mut rig = narrow(of_binding);
        crowded(&mut rig, 40);
        let mut started = rig.attempts();
        for _ in 0..20 {
            let looks = rig.core.looks;
            let start = started.pop().expect("one");
            rig.deliver(start);
            started = rig.attempts();
            assert_eq!(started.len(), 1);
            assert!(rig.core.looks - looks <= 3, "{}", rig.core.looks - looks);
        }
    }
}

#[test]
fn a_free_connection_is_offered_to_those_whose_sender_allows_the_binding() {
    for of_binding in [true, false] {
        let mut rig = narrow(of_binding);
        covered(&mut rig, "acme.example", &["m1"], &["m2"]);
        covered(&mut rig, "bolt.example", &["m2"], &["m1"]);
        for sender in ["u@acme.example", "u@bolt.example"].repeat(3) {
            let entry = from(&rig, sender[2..6].into(), sender);
            rig.take_in(entry);
        }
        let mut started = rig.attempts();
        assert_eq!(by(&started), ["m1", "m2"]);
        for name in ["m2", "m2", "m1", "m1"] {
            let at = started.iter().position(|start| start.binding.name.as_str() == name).expect("on the wire");
            rig.deliver(started.remove(at));
            let next = rig.attempts();
            assert_eq!(by(&next), [name], "of a binding: {of_binding}");
            started.extend(next);
        }
    }
}

#[test]
fn a_part_that_need_not_look_stands_in_its_line_again() {
    let bindings = binding(1, "") + &binding(2, "") + &binding(3, "max_outbound_connections = 1");
    let rest = "[pool.main]\nactive = [\"m1\", \"m2\", \"m3\"]\n[delivery]\nmax_outbound_connections = 1\n";
    let mut rig = Rig::new(&(bindings + rest));
    covered(&mut rig, "acme.example", &["m1"], &["m2", "m3"]);
    covered(&mut rig, "bolt.example", &["m1", "m3"], &["m2"]);
    covered(&mut rig, "three.example", &["m3"], &["m1", "m2"]);
    let send = |rig: &mut Rig, tenant: &str, sender: &str, to: &str| {
        let mut entry = rig.entry(tenant, "main", to);
        entry.reverse_path = Some(sender.parse().expect("a mailbox"));
        rig.take_in(entry);
        rig.attempts()
    };
    let mut three = send(&mut rig, "acme", "u@three.example", "y.example");
    let one = send(&mut rig, "acme", "u@acme.example", "x.example");
    assert_eq!((by(&three), by(&one)), (vec!["m3"], vec!["m1"]));
    // To x, m1 is in use; m3 is wherever the mail goes.
    assert_eq!(send(&mut rig, "acme", "v@acme.example", "x.example").len(), 0);
    assert_eq!(send(&mut rig, "bolt", "u@bolt.example", "x.example").len(), 0);
    for n in 0..4 {
        // A connection of m1 that is freed elsewhere helps neither of them.
        let mut elsewhere = send(&mut rig, "acme", "w@acme.example", &format!("z{n}.example"));
        rig.deliver(elsewhere.pop().expect("over m1"));
        assert_eq!(rig.attempts().len(), 0);
    }
    rig.deliver(three.pop().expect("on the wire"));
    let started = rig.attempts();
    assert_eq!((started.len(), by(&started)), (1, vec!["m3"]));
    drop(one);
}
