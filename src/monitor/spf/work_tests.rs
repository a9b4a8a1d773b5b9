//! The task against a name server.

use std::sync::atomic::{AtomicBool, Ordering};

use super::outcome::State;
use super::work::PACE;
use super::*;
use crate::clock::SystemClock;
use crate::demo::zone::{Mood, Zone};
use tokio::sync::watch;

/// Bindings at 192.0.2.1 and following.
const BINDINGS: usize = 20;

struct Bench {
    zone: Zone,
    cover: Arc<Cover>,
    config: Config,
    is_believed: Arc<AtomicBool>,
    _stop: watch::Sender<bool>,
}

async fn bench(domains: &[&str], timeout: &str) -> Bench {
    let zone = Zone::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let bindings: String = (1..=BINDINGS)
        .map(|n| format!("[binding.m{n}]\nbind_address = \"192.0.2.{n}\"\nehlo_hostname = \"m{n}.example.net\"\n"))
        .collect();
    let names: Vec<String> = (1..=BINDINGS).map(|n| format!("\"m{n}\"")).collect();
    let senders: Vec<String> = domains.iter().map(|domain| format!("\"{domain}\"")).collect();
    let config = Config::from_toml(&format!(
        "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
         [monitor]\nservers = [\"{}\"]\ntimeout = \"{timeout}\"\nspf_interval = \"300ms\"\nconfirmations = 2\n\
         confirm_after = \"50ms\"\n{bindings}[pool.main]\nactive = [{}]\n\
         [tenant.acme]\nmatch = {{ sender_domain = [{}] }}\npools = {{ default = \"main\" }}\n",
        zone.addr(),
        names.join(", "),
        senders.join(", "),
    ))
    .expect("the configuration is good");
    let is_believed = Arc::new(AtomicBool::new(true));
    let believed = Arc::clone(&is_believed);
    let around = Around {
        sink: Arc::new(drop),
        waits: Arc::new(|_| true),
        is_believed: Arc::new(move || believed.load(Ordering::SeqCst)),
        is_tested: Arc::new(|| true),
    };
    let cover = Arc::new(Cover::new(&config, Arc::new(SystemClock::default()), around).unwrap());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(Arc::clone(&cover).run(stopped));
    Bench { zone, cover, config, is_believed, _stop: stop }
}

impl Bench {
    fn view(&self, domain: &str) -> RowView {
        self.cover.view(&domain.parse().unwrap()).unwrap()
    }

    fn count(&self, domain: &str, state: State) -> usize {
        self.view(domain).bindings.iter().filter(|cell| cell.state == state).count()
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..1_000 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not within 10 s: {what}");
    }
}

#[tokio::test]
async fn a_dead_domain_costs_one_question_and_holds_up_no_other() {
    let dead = ["a.dead.test", "b.dead.test", "c.dead.test"];
    let bench = bench(&[dead[0], dead[1], dead[2], "good.test"], "8s").await;
    bench.zone.mood("dead.test", Mood::Silent);
    bench.zone.txt("good.test", "v=spf1 ip4:192.0.2.1 -all");
    bench.until("the good one is proven", |b| b.count("good.test", State::NotCovered) == BINDINGS - 1).await;
    assert_eq!(bench.count("good.test", State::Covered), 1);
    assert!(dead.iter().all(|dead| bench.view(dead).asked.is_none()), "these still have no answer");
}

#[tokio::test]
async fn no_answer_for_some_bindings_is_none_for_the_rest_and_what_all_share_is_asked_once() {
    let bench = bench(&["dead.test", "half.test"], "200ms").await;
    bench.zone.mood("dead.test", Mood::Silent);
    bench.zone.txt("half.test", "v=spf1 exists:%{i}.silent.test -all");
    bench.zone.mood("silent.test", Mood::Silent);
    bench.until("both were asked", |b| ["dead.test", "half.test"].iter().all(|d| b.view(d).asked.is_some())).await;
    let view = bench.view("half.test");
    let reasons: Vec<String> = view.bindings.iter().map(|cell| cell.last.unwrap().1.unwrap().to_string()).collect();
    assert!(reasons[work::IN_FLIGHT - 1].contains("did not answer"), "{reasons:?}");
    assert!(reasons[work::IN_FLIGHT..].iter().all(|reason| reason.starts_with("not asked")), "{reasons:?}");
    let dead = bench.view("dead.test");
    assert!(dead.bindings.iter().all(|cell| cell.last == dead.bindings[0].last));
}

#[tokio::test]
async fn nothing_is_asked_or_proven_while_our_name_servers_are_not_believed() {
    let bench = bench(&["good.test"], "400ms").await;
    bench.zone.txt("good.test", "v=spf1 ip4:192.0.2.1 -all");
    bench.until("it is proven", |b| b.count("good.test", State::NotCovered) == BINDINGS - 1).await;
    bench.is_believed.store(false, Ordering::SeqCst);
    bench.zone.remove("good.test");
    let is_told = |b: &Bench| {
        let last = b.view("good.test").bindings[0].last;
        last.is_some_and(|(outcome, reason)| {
            outcome == Outcome::TempError && reason == Some(outcome::Reason::Distrusted)
        })
    };
    bench.until("the answer is none", is_told).await;
    let asked = bench.zone.queries();
    let looked = bench.view("good.test").asked;
    bench.until("it is its turn again", |b| b.view("good.test").asked > looked).await;
    assert_eq!(bench.zone.queries(), asked);
    assert_eq!(bench.count("good.test", State::NotCovered), BINDINGS - 1, "what was proven stands");
    bench.is_believed.store(true, Ordering::SeqCst);
    bench.until("it is asked again", |b| b.zone.queries() > asked).await;
}

#[tokio::test]
async fn a_domain_seen_in_mail_is_evaluated_at_once() {
    let bench = bench(&["good.test"], "400ms").await;
    bench.zone.txt("new.test", "v=spf1 ip4:192.0.2.1 -all");
    tokio::time::sleep(PACE).await;
    // A tenant with literal senders is watched as well: its mail may come from elsewhere by other rules.
    bench.cover.seen(&"acme".into(), &"new.test".parse().unwrap());
    bench.cover.seen(&"acme".into(), &"[192.0.2.1]".parse().unwrap());
    bench.until("it is known", |b| b.cover.view(&"new.test".parse().unwrap()).is_some_and(|v| v.asked.is_some())).await;
    assert_eq!(bench.cover.page(None, None, 9).1, 2, "address literals have no record");
}

#[tokio::test]
async fn a_change_that_is_none_here_leaves_what_is_under_way_alone() {
    let bench = bench(&["good.test"], "400ms").await;
    let mut config = bench.config.clone();
    let mut binding = (*config.bindings[0]).clone();
    binding.limits.daily_cap = Some(7);
    config.bindings[0] = binding.into();
    config.queue.retry_first = Duration::from_secs(7);
    let before = bench.cover.setup();
    let prepared = bench.cover.prepare(&config).unwrap();
    assert!(bench.cover.is_as(&prepared));
    bench.cover.reconfigure(prepared, &BTreeSet::new());
    assert!(Arc::ptr_eq(&before, &bench.cover.setup()), "evaluations under way count");
    config.monitor.spf_interval = Duration::from_secs(9);
    let prepared = bench.cover.prepare(&config).unwrap();
    assert!(!bench.cover.is_as(&prepared));
    bench.cover.reconfigure(prepared, &BTreeSet::new());
    assert!(!Arc::ptr_eq(&before, &bench.cover.setup()));
}
