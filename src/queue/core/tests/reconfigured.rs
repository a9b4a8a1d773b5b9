//! Another configuration while mail waits and flies.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;
use crate::message::PoolName;

const HEAD: &str = "[window]\nadaptive = false\n[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
    [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n";

/// A configuration in which everything may be there or not.
#[derive(Clone, Debug)]
struct Shape {
    /// Caps of m1 to m4; `None` where it is not there, 0 for none.
    bindings: [Option<u64>; 4],
    side: bool,
    bolt: bool,
    weight: u32,
    provider: bool,
    priority: u8,
    region: bool,
    max: usize,
}

impl Shape {
    fn full() -> Self {
        Self {
            bindings: [Some(0); 4],
            side: true,
            bolt: true,
            weight: 1,
            provider: false,
            priority: 5,
            region: false,
            max: 100,
        }
    }

    fn config(&self) -> Config {
        let mut text = format!("{HEAD}[queue]\nmax_attempts_in_flight = {}\n", self.max);
        let there: Vec<usize> = (0..4).filter(|&n| self.bindings[n].is_some()).collect();
        for &n in &there {
            let cap = self.bindings[n].filter(|cap| *cap > 0).map(|cap| format!("daily_cap = {cap}"));
            let region = if self.region { "region = \"eu\"\n" } else { "" };
            text += &binding(n as u8 + 1, &format!("{region}{}", cap.unwrap_or_default()));
        }
        let names: Vec<String> = there.iter().map(|n| format!("\"m{}\"", n + 1)).collect();
        text += &format!("[pool.main]\nactive = [{}]\n", names.join(", "));
        if self.side {
            text += &format!("[pool.side]\nactive = [{}]\n", names[names.len() - 1]);
        }
        for (name, is_there) in [("acme", true), ("bolt", self.bolt)] {
            if is_there {
                text += &format!(
                    "[tenant.{name}]\nmatch = {{ sender_domain = [\"{name}.example\"] }}\npools = {{ default = \"main\" }}\n\
                     weight = {}\npriority = {{ default = {} }}\n",
                    self.weight, self.priority
                );
            }
        }
        if self.provider {
            text += "[provider.big]\nmx = [\"*.big.example\"]\n";
        }
        Config::from_toml(&text).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"))
    }
}

/// A rig whose configuration changes.
struct Live {
    rig: Rig,
    config: Config,
    done: BTreeSet<EntryId>,
    flying: Vec<Start>,
    /// Accepted today, by binding.
    accepted: BTreeMap<String, u64>,
}

impl Live {
    fn new(shape: &Shape) -> Self {
        let mut rig = Rig::new(&binding(1, ""));
        let config = shape.config();
        rig.core = Core::new(&config, &[], &[], 7, rig.now).0;
        Self { rig, config, done: BTreeSet::new(), flying: Vec::new(), accepted: BTreeMap::new() }
    }

    fn turn(&mut self, shape: &Shape) {
        let config = shape.config();
        self.rig.core.reconfigure(&self.config, &config, self.rig.now);
        self.config = config;
        for id in self.rig.core.wanted_back(None).map_or(Vec::new(), |wanted| wanted.ids) {
            let entry = self.rig.entries[&id].clone();
            assert!(self.rig.core.bring_back(&entry, self.rig.now), "it was said to be wanted");
        }
        assert!(self.rig.core.wanted_back(None).is_none_or(|wanted| wanted.ids.is_empty()));
    }

    fn send(&mut self, tenant: &str, pool: &str, domain: &str) -> EntryId {
        let mut entry = self.rig.entry(tenant, pool, domain);
        entry.expires = self.rig.now.wall.plus(10_000 * MINUTE);
        entry.reverse_path = Some(format!("x@{tenant}.example").parse().expect("a mailbox"));
        self.rig.core.enqueue(&entry, self.rig.now);
        self.rig.entries.insert(entry.id, entry.clone());
        entry.id
    }

    fn start(&mut self) {
        while let Some(start) = self.rig.attempt() {
            let name = start.binding.name.to_string();
            let configured = self.config.bindings.iter().find(|binding| binding.name == start.binding.name);
            let configured = configured.unwrap_or_else(|| panic!("{name} is not in force"));
            let entry = &self.rig.entries[&start.entry];
            let pool = self.config.pools.iter().find(|pool| pool.name == entry.pool).expect("its pool is in force");
            assert!(pool.tiers.iter().flatten().any(|member| member.binding == start.binding.name), "{name}");
            assert!(self.config.tenants.iter().any(|tenant| tenant.name == entry.tenant));
            assert!(self.flying.iter().all(|other| other.entry != start.entry) && !self.done.contains(&start.entry));
            self.flying.push(start);
            let flying = self.flying.iter().filter(|start| start.binding.name.as_str() == name).count() as u64;
            let used = self.accepted.get(&name).copied().unwrap_or(0) + flying;
            assert!(configured.limits.daily_cap.is_none_or(|cap| used <= cap), "{name}: {used}");
        }
        assert_eq!(self.rig.core.in_flight(), self.flying.len());
    }

    fn end(&mut self, at: usize, is_accepted: bool) {
        if self.flying.is_empty() {
            return;
        }
        let start = self.flying.swap_remove(at % self.flying.len());
        if is_accepted {
            *self.accepted.entry(start.binding.name.to_string()).or_default() += 1;
            self.done.insert(start.entry);
            self.rig.deliver(start);
        } else {
            let until = self.rig.now.wall.plus(MINUTE);
            self.rig.put_back(start, |entry| entry.state.next_at = until);
        }
    }

    fn check(&self) {
        let core = &self.rig.core;
        let waiting: BTreeSet<EntryId> = core.index().iter().map(|(id, _)| id).collect();
        let stranded: BTreeSet<EntryId> = self.rig.entries.keys().copied().filter(|id| core.is_stranded(*id)).collect();
        let mut counts = HashMap::<_, (u64, u64)>::new();
        for (_, waiting) in core.index().iter() {
            let count = counts.entry((waiting.pool, waiting.tenant)).or_default();
            *count = (count.0 + 1, count.1 + u64::from(waiting.recipients));
        }
        assert_eq!(core.index().by_owner().collect::<HashMap<_, _>>(), counts, "counted as they come and go");
        assert_eq!(core.stranded_len(), (stranded.len(), stranded.len() as u64));
        for id in self.rig.entries.keys() {
            let places = [waiting.contains(id), stranded.contains(id), self.done.contains(id)];
            assert_eq!(places.iter().filter(|is| **is).count(), 1, "{id}: {places:?}");
        }
    }
}

#[test]
fn mail_of_a_pool_or_tenant_that_is_gone_is_stranded_and_comes_back_with_it() {
    let mut live = Live::new(&Shape::full());
    let [side, bolt, main] =
        [("acme", "side"), ("bolt", "main"), ("acme", "main")].map(|(t, p)| live.send(t, p, "a.example"));
    let less = Shape { side: false, bolt: false, ..Shape::full() };
    let would: Vec<_> = live.rig.core.would_strand(&less.config()).into_iter().collect();
    let names = |pool: &str, tenant: &str| (PoolName::new(pool), tenant.into());
    assert_eq!(would, [(names("main", "bolt"), (1, 1)), (names("side", "acme"), (1, 1))]);
    live.turn(&less);
    assert_eq!((live.rig.core.index().depth().0, live.rig.core.stranded_len().1), (1, 2));
    live.start();
    assert_eq!(live.flying.iter().map(|start| start.entry).collect::<Vec<_>>(), [main]);
    assert!(!live.rig.core.enqueue(&live.rig.entries[&bolt].clone(), live.rig.now), "still stranded, and once");
    assert_eq!(live.rig.core.stranded_len().0, 2);
    live.check();
    live.turn(&Shape { side: false, ..Shape::full() });
    assert_eq!(live.rig.core.stranded_len().0, 1);
    live.turn(&Shape::full());
    live.start();
    let left: BTreeSet<_> = live.flying.iter().map(|start| start.entry).collect();
    assert_eq!(left, [side, bolt, main].into());
}

#[test]
fn mail_of_a_tenant_that_is_gone_is_stranded_by_and_by_and_none_of_it_leaves_meanwhile() {
    let mut live = Live::new(&Shape::full());
    // The first of bolt's ends before anybody has come to it.
    let mut ending = live.rig.entry("bolt", "main", "b.example");
    ending.expires = live.rig.now.wall.plus(MINUTE);
    live.rig.core.enqueue(&ending, live.rig.now);
    live.rig.entries.insert(ending.id, ending.clone());
    for _ in 0..9_999 {
        live.send("bolt", "main", "a.example");
    }
    let own = live.send("acme", "main", "a.example");
    let less = Shape { bolt: false, ..Shape::full() };
    let would: Vec<_> = live.rig.core.would_strand(&less.config()).into_values().collect();
    assert_eq!(would, [(10_000, 10_000)]);
    let config = less.config();
    live.rig.core.reconfigure(&live.config, &config, live.rig.now);
    live.config = config;
    let stranded = live.rig.core.stranded_len().0;
    assert!(0 < stranded && stranded < 5_000, "{stranded}");
    assert!(live.rig.core.next_wakeup().is_some_and(|at| at < live.rig.now.wall), "there is more to do");
    live.rig.pass(2 * MINUTE);
    // Fails should bolt's mail leave, or be ended.
    live.start();
    assert_eq!(live.flying.iter().map(|start| start.entry).collect::<Vec<_>>(), [own]);
    while live.rig.core.stranded_len().0 < 10_000 {
        assert!(live.rig.core.next_wakeup().is_some_and(|at| at < live.rig.now.wall), "there is more to do");
        assert!(live.rig.attempt().is_none());
    }
    assert!(live.rig.core.is_stranded(ending.id), "not ended: its tenant may come back");
    assert!(live.rig.core.would_strand(&less.config()).is_empty());
    live.check();
}

#[test]
fn what_flies_when_its_pool_goes_ends_and_what_is_left_of_it_is_stranded() {
    let mut live = Live::new(&Shape::full());
    let [one, two] = ["a.example", "b.example"].map(|domain| live.send("acme", "side", domain));
    live.start();
    live.turn(&Shape { side: false, ..Shape::full() });
    assert_eq!(live.rig.core.stranded_len().0, 0, "they fly");
    live.end(0, true);
    live.end(0, false);
    assert_eq!((live.done.len(), live.rig.core.stranded_len().0, live.rig.core.index().depth().0), (1, 1, 0));
    live.turn(&Shape::full());
    live.rig.pass(2 * MINUTE);
    live.start();
    live.end(0, true);
    assert_eq!(live.done, [one, two].into());
}

#[test]
fn a_binding_that_comes_takes_what_waited_for_another_and_one_that_goes_takes_nothing() {
    let only = |n: usize, cap: u64| {
        let mut bindings = [None; 4];
        bindings[n] = Some(cap);
        Shape { bindings, ..Shape::full() }
    };
    let mut live = Live::new(&only(0, 2));
    let ids: Vec<_> = (0..5).map(|_| live.send("acme", "main", "a.example")).collect();
    live.start();
    assert_eq!((live.flying.len(), live.rig.reason(ids[4])), (2, "cap"));
    live.turn(&Shape { bindings: [Some(2), Some(0), None, None], ..Shape::full() });
    live.start();
    assert_eq!(live.flying.len(), 5, "at once, without waiting for the next day");
    (0..5).for_each(|_| live.end(0, true));
    live.turn(&only(1, 0));
    live.turn(&only(0, 2));
    live.send("acme", "main", "a.example");
    live.start();
    assert_eq!(live.flying.len(), 0, "what it carried before it went away still counts");
    live.turn(&only(0, 3));
    live.start();
    assert_eq!(live.flying.len(), 1, "a higher cap holds at once");
}

#[test]
fn a_health_goes_on_where_a_binding_comes_back() {
    let both = Shape { bindings: [Some(0), Some(0), None, None], ..Shape::full() };
    let without = Shape { bindings: [None, Some(0), None, None], ..Shape::full() };
    let mut live = Live::new(&both);
    live.rig.bindable("m1", false);
    live.turn(&without);
    live.turn(&both);
    let id = live.send("acme", "main", "a.example");
    live.start();
    assert_eq!(live.flying[0].binding.name.as_str(), "m2");
    let verdicts = live.rig.core.explain(id, live.rig.now).expect("known");
    assert!(verdicts.iter().any(|(name, verdict)| name.as_str() == "m1" && verdict.as_str() == "suspended"));
    live.turn(&without);
    // Nobody tells of a binding that is not there; back again it is looked at anew.
    live.turn(&both);
    live.rig.bindable("m1", true);
    let health = live.rig.core.reputation().health(&Subject::Binding("m1".into())).clone();
    let id = live.send("acme", "main", "b.example");
    live.start();
    let verdicts = live.rig.core.explain(id, live.rig.now).expect("known");
    let of_m1 = verdicts.iter().find(|(name, _)| name.as_str() == "m1").map(|(_, verdict)| verdict.as_str());
    assert_ne!(of_m1, Some("suspended"), "{health:?}");
}

#[test]
fn where_mail_goes_is_asked_anew_when_that_may_have_changed_and_only_then() {
    let mut live = Live::new(&Shape { bindings: [Some(1), None, None, None], ..Shape::full() });
    let ids: Vec<_> = (0..4).map(|_| live.send("acme", "main", "a.example")).collect();
    live.start();
    let resolved = live.rig.resolved;
    live.turn(&Shape { bindings: [Some(2), None, None, None], ..Shape::full() });
    live.start();
    assert_eq!((live.flying.len(), live.rig.resolved), (2, resolved));
    live.rig.dns = false;
    live.turn(&Shape { bindings: [Some(4), None, None, None], provider: true, ..Shape::full() });
    assert!(live.rig.attempt().is_none(), "the old way is not believed any more");
    assert!(live.rig.asked.iter().any(|action| matches!(action, Action::Resolve(_))), "{:?}", live.rig.asked);
    let plan = MxPlan { provider: Some("big".into()), ..MxPlan::pinned_to(DestinationName::new("big")) };
    live.rig.core.resolved(&"a.example".parse().expect("a domain"), Ok(Arc::new(plan)), live.rig.now);
    live.start();
    let to: Vec<_> = live.flying.iter().map(|start| start.plan.destination.to_string()).collect();
    assert_eq!(to, ["site:a.example", "site:a.example", "big", "big"]);
    assert_eq!(ids.len(), live.flying.len());
}

#[test]
fn priorities_hold_for_what_waits_already() {
    let shape = Shape { bindings: [Some(0), None, None, None], max: 1, ..Shape::full() };
    let mut live = Live::new(&shape);
    let mut other = live.rig.entry("acme", "main", "a.example");
    other.reverse_path = Some("x@acme.example".parse().expect("a mailbox"));
    other.stream = "bulk".into();
    live.rig.core.enqueue(&other, live.rig.now);
    let bulk = other.id;
    live.rig.entries.insert(bulk, other);
    let urgent = live.send("acme", "main", "a.example");
    live.turn(&Shape { priority: 9, ..shape });
    live.start();
    assert_eq!(live.flying[0].entry, urgent);
    live.end(0, true);
    live.start();
    assert_eq!(live.flying[0].entry, bulk);
    live.end(0, true);
    live.start();
    assert!(live.flying.is_empty());
    live.check();
}

#[derive(Clone, Debug)]
enum Step {
    Turn(Shape),
    Send(bool, bool, u8),
    Start,
    End(usize, bool),
    Pass(u64),
}

fn shapes() -> impl Strategy<Value = Shape> {
    let cap = || prop_oneof![3 => Just(None), 2 => Just(Some(0)), 3 => (1u64..12).prop_map(Some)];
    let bindings = [cap(), cap(), cap(), cap()];
    let rest = (any::<bool>(), any::<bool>(), 1u32..4, any::<bool>(), 0u8..10, any::<bool>(), 1usize..20);
    (bindings, rest).prop_map(|(mut bindings, (side, bolt, weight, provider, priority, region, max))| {
        if bindings.iter().all(Option::is_none) {
            bindings[0] = Some(3);
        }
        Shape { bindings, side, bolt, weight, provider, priority, region, max }
    })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => shapes().prop_map(Step::Turn),
        6 => (any::<bool>(), any::<bool>(), 0u8..4).prop_map(|(tenant, pool, domain)| Step::Send(tenant, pool, domain)),
        4 => Just(Step::Start),
        5 => (any::<usize>(), any::<bool>()).prop_map(|(at, is_accepted)| Step::End(at, is_accepted)),
        1 => (1u64..60).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever changes between whatever happens: nothing is lost or there twice, no cap in force is exceeded, nothing leaves over a
    /// binding that is not in force or for a pool or tenant that is not, and in the end everything leaves.
    #[test]
    fn nothing_is_lost_over_any_changes(first in shapes(), steps in prop::collection::vec(steps(), 1..80)) {
        let mut live = Live::new(&first);
        for step in steps {
            match step {
                Step::Turn(shape) => live.turn(&shape),
                Step::Send(tenant, pool, domain) => {
                    let tenant = if tenant { "acme" } else { "bolt" };
                    let pool = if pool { "main" } else { "side" };
                    live.send(tenant, pool, ["a.example", "b.example", "mx.big.example", "d.example"][usize::from(domain)]);
                }
                Step::Start => live.start(),
                Step::End(at, is_accepted) => live.end(at, is_accepted),
                Step::Pass(seconds) => live.rig.pass(Duration::from_secs(seconds)),
            }
            live.check();
        }
        live.turn(&Shape::full());
        for _ in 0..200 {
            live.start();
            while !live.flying.is_empty() {
                live.end(0, true);
            }
            live.rig.pass(MINUTE);
            if live.done.len() == live.rig.entries.len() {
                break;
            }
        }
        live.check();
        prop_assert_eq!(live.done.len(), live.rig.entries.len(), "everything leaves");
        prop_assert_eq!((live.rig.core.index().depth(), live.rig.core.in_flight()), ((0, 0), 0));
    }
}
