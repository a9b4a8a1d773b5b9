//! The task with an [`Apply`] that does as told, a spool in memory that can be broken, and a clock turned by hand.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::live::Work;
use crate::message::TenantName;
use crate::orders::{Act, NewOrder, OrderId, PREFIX};
use crate::store::Spool;
use crate::store::committer::CommitThread;
use crate::store::memory::MemorySpool;

const START: Wall = Wall::from_millis(1_795_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);

const FILE: &str = "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
    [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
    [binding.m1]\nbind_address = \"192.0.2.1\"\n\
    [binding.m2]\nbind_address = \"192.0.2.2\"\n\
    [pool.main]\nactive = [\"m1\", \"m2\"]\n\
    [tenant.acme]\nmatch = { sender_domain = [\"acme.example\"] }\npools = { default = \"main\" }\n";

/// What was applied and told, as its test sees it.
#[derive(Default)]
struct Seen {
    applied: Mutex<Vec<Arc<Config>>>,
    /// Whether for a file that was read anew.
    files: Mutex<Vec<bool>>,
    refuses: AtomicBool,
    events: Mutex<Vec<String>>,
    reloads: Mutex<Vec<bool>>,
    /// Bindings with something on the wire.
    busy: Mutex<BTreeSet<String>>,
}

struct Hands(Arc<Seen>);

impl Apply for Hands {
    fn check<'a>(&'a mut self, _change: &'a Change) -> Work<'a, Result<Vec<String>, String>> {
        Box::pin(async { Ok(vec!["beware".to_owned()]) })
    }

    fn apply<'a>(&'a mut self, change: &'a Change) -> Work<'a, Result<Vec<String>, String>> {
        Box::pin(async {
            if self.0.refuses.load(Ordering::SeqCst) {
                return Err("no port".to_owned());
            }
            self.0.applied.lock().push(Arc::clone(&change.config));
            self.0.files.lock().push(change.is_file);
            Ok(vec!["beware".to_owned()])
        })
    }
}

impl Around for Seen {
    fn event(&self, fields: Vec<(&'static str, String)>, _at: Wall) {
        let of = |name: &str| fields.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text.as_str());
        self.events.lock().push(format!("{} {} {}", of("what"), of("order"), of("by")).trim_end().to_owned());
    }

    fn reloaded(&self, succeeded: bool, _at: Wall) {
        self.reloads.lock().push(succeeded);
    }

    fn is_off_the_wire(&self, binding: &BindingName) -> bool {
        !self.busy.lock().contains(binding.as_str())
    }
}

struct Rig {
    task: Task,
    seen: Arc<Seen>,
    spool: Arc<MemorySpool>,
    clock: ManualClock,
    _thread: CommitThread,
    directory: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let (spool, clock) = (Arc::new(MemorySpool::new()), ManualClock::at(START));
        let (parts, seen, thread, directory) = parts(&spool, Arc::new(clock.clone()));
        let shown = Arc::new(RwLock::new(Arc::new(parts.orders.clone())));
        let file = Arc::new(RwLock::new(Arc::clone(&parts.file)));
        Self { task: Task { parts, shown, file, rests: false }, seen, spool, clock, _thread: thread, directory }
    }

    async fn give(&mut self, act: Act) -> Result<Outcome, Refused> {
        self.task.change(vec![Step::Give(new(act, None))], false).await
    }

    fn write_file(&self, text: &str) {
        std::fs::write(self.directory.path().join("remuda.toml"), text).expect("can be written");
    }

    /// Acts in force, and those a restart would know.
    fn orders(&self) -> (Vec<String>, Vec<String>) {
        let words = |orders: &Orders| orders.all().iter().map(|order| order.act.to_string()).collect();
        let (on_disk, bad) = Orders::recall(&self.spool.facts(PREFIX).expect("can be read"));
        assert!(bad.is_empty());
        assert_eq!(**self.task.shown.read(), self.task.parts.orders);
        (words(&self.task.parts.orders), words(&on_disk))
    }

    fn held(&self) -> bool {
        self.task.parts.in_force.tenants[0].hold
    }
}

fn parts(spool: &Arc<MemorySpool>, clock: Arc<dyn Clock>) -> (Parts, Arc<Seen>, CommitThread, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("remuda.toml");
    std::fs::write(&path, FILE).expect("can be written");
    let (committer, thread) = Committer::start(Arc::clone(spool) as Arc<dyn Spool>, |_| {}).expect("a thread");
    let seen = Arc::<Seen>::default();
    let file = Arc::new(Config::load(&path).expect("the configuration is good").config);
    let facts = spool.facts(PREFIX).expect("can be read");
    let recalled = recall(&facts, &file, clock.now().wall);
    let parts = Parts {
        path: Some(path),
        in_force: Arc::new(recalled.config),
        file,
        orders: recalled.orders,
        on_disk: recalled.on_disk,
        ended: recalled.ended,
        clock,
        committer,
        apply: Box::new(Hands(Arc::clone(&seen))),
        around: Arc::clone(&seen) as Arc<dyn Around>,
    };
    (parts, seen, thread, directory)
}

fn new(act: Act, until: Option<Wall>) -> NewOrder {
    NewOrder { act, reason: "test".into(), actor: "ann".into(), until }
}

fn hold() -> Act {
    Act::HoldTenant { tenant: TenantName::new("acme") }
}

fn drain(name: &str) -> Act {
    Act::Drain { binding: name.into() }
}

fn remove(name: &str) -> Act {
    Act::Remove { binding: name.into(), draining: true }
}

#[tokio::test]
async fn what_is_ordered_is_in_force_and_on_disk_when_it_is_answered() {
    let mut rig = Rig::new();
    let outcome = rig.give(hold()).await.expect("done");
    assert_eq!(
        (outcome.orders[0].id, outcome.is_dry, outcome.warnings),
        (OrderId(1), false, vec!["beware".to_owned()])
    );
    let words = vec!["hold the mail of acme".to_owned()];
    assert_eq!((rig.held(), rig.orders()), (true, (words.clone(), words)));
    assert!(rig.seen.applied.lock()[0].tenants[0].hold);
    rig.task.change(vec![Step::Cancel(OrderId(1))], false).await.expect("done");
    assert_eq!((rig.held(), rig.orders()), (false, (Vec::new(), Vec::new())));
    assert!(matches!(rig.task.change(vec![Step::Cancel(OrderId(1))], false).await, Err(Refused::Unknown(1))));
}

#[tokio::test]
async fn a_question_changes_nothing_and_takes_no_number() {
    let mut rig = Rig::new();
    let outcome = rig.task.change(vec![Step::Give(new(hold(), None))], true).await.expect("done");
    assert!(outcome.is_dry && rig.seen.applied.lock().is_empty() && rig.seen.events.lock().is_empty());
    assert_eq!((rig.held(), rig.orders()), (false, (Vec::new(), Vec::new())));
    assert_eq!(rig.give(hold()).await.expect("done").orders[0].id, OrderId(1));
}

#[tokio::test]
async fn all_steps_are_taken_or_none() {
    let mut rig = Rig::new();
    let steps =
        vec![Step::Give(new(hold(), None)), Step::Give(new(drain("m1"), None)), Step::Give(new(drain("m2"), None))];
    let refused = rig.task.change(steps, false).await.expect_err("nothing would be left");
    assert!(matches!(&refused, Refused::Order(why) if why.contains("last binding that pool main has")), "{refused}");
    let unknown = rig.give(drain("m11")).await.expect_err("unknown");
    assert!(unknown.to_string().contains("no binding \"m11\""), "{unknown}");
    assert_eq!((rig.held(), rig.orders()), (false, (Vec::new(), Vec::new())));
    assert!(rig.seen.applied.lock().is_empty());
}

#[tokio::test]
async fn what_cannot_be_applied_is_not_in_force() {
    let mut rig = Rig::new();
    rig.seen.refuses.store(true, Ordering::SeqCst);
    assert!(matches!(rig.give(hold()).await, Err(Refused::Apply(why)) if why == "no port"));
    assert_eq!((rig.held(), rig.orders()), (false, (Vec::new(), Vec::new())));
}

#[tokio::test]
async fn where_the_disk_refuses_the_configuration_goes_back() {
    let mut rig = Rig::new();
    rig.spool.set_broken(Some("gone"));
    let refused = rig.give(hold()).await.expect_err("not on disk");
    assert!(refused.to_string().contains("could not be written to disk"), "{refused}");
    assert_eq!((rig.held(), rig.orders()), (false, (Vec::new(), Vec::new())));
    let applied: Vec<bool> = rig.seen.applied.lock().iter().map(|config| config.tenants[0].hold).collect();
    assert_eq!(applied, [true, false]);
    rig.spool.set_broken(None);
    assert_eq!(rig.give(hold()).await.expect("done").orders[0].id, OrderId(1));
}

#[tokio::test]
async fn an_order_ends_by_itself_and_is_told_of() {
    let mut rig = Rig::new();
    let step = Step::Give(new(hold(), Some(START.plus(MINUTE))));
    rig.task.change(vec![step], false).await.expect("done");
    assert_eq!(rig.task.pause(), SLEEP_MAX);
    rig.clock.advance(MINUTE - Duration::from_millis(5));
    assert_eq!(rig.task.pause(), Duration::from_millis(5));
    rig.task.tick().await;
    assert!(rig.held(), "not yet");
    rig.clock.advance(Duration::from_millis(5));
    rig.seen.refuses.store(true, Ordering::SeqCst);
    rig.task.tick().await;
    rig.task.tick().await;
    assert_eq!((rig.held(), rig.task.pause()), (true, AGAIN), "tried again, and not all the time");
    rig.seen.refuses.store(false, Ordering::SeqCst);
    rig.task.tick().await;
    assert_eq!((rig.held(), rig.orders()), (false, (Vec::new(), Vec::new())));
    let events = rig.seen.events.lock().clone();
    assert_eq!(events.iter().filter(|event| event.as_str() == "refused  time").count(), 1, "{events:?}");
    assert_eq!(events.last().map(String::as_str), Some("order_ended 1"), "{events:?}");
}

/// m1 is all that `main` has in the file; m2 stands by.
fn one_of_two() -> String {
    FILE.replace("active = [\"m1\", \"m2\"]", "active = [\"m1\"]")
}

fn carriers(rig: &Rig) -> Vec<String> {
    let members = rig.task.parts.in_force.pools[0].tiers.iter().flatten();
    members.filter(|member| member.weight > 0).map(|member| member.binding.to_string()).collect()
}

#[tokio::test]
async fn a_binding_told_to_go_does_not_come_back_when_another_order_ends() {
    for act in [drain("m1"), remove("m1")] {
        let mut rig = Rig::new();
        rig.write_file(&one_of_two());
        rig.task.reload(false).await.expect("good");
        let place = Act::MoveTier { pool: "main".into(), binding: "m2".into(), tier: 0, weight: None };
        let step = Step::Give(new(place, Some(START.plus(MINUTE))));
        rig.task.change(vec![step], false).await.expect("done");
        rig.give(act).await.expect("done");
        rig.task.tick().await;
        assert_eq!(carriers(&rig), ["m2"]);
        rig.clock.advance(MINUTE);
        for _ in 0..3 {
            rig.task.tick().await;
            assert_eq!((carriers(&rig), rig.orders().0.len()), (vec!["m2".to_owned()], 2));
        }
        let told = || rig.seen.events.lock().iter().filter(|event| event.starts_with("order_put_off 1")).count();
        assert_eq!(told(), 1, "and not at every look");
        assert_eq!(rig.task.pause(), SLEEP_MAX);
        rig.clock.advance(crate::orders::PUT_OFF);
        rig.task.tick().await;
        assert_eq!((carriers(&rig), told()), (vec!["m2".to_owned()], 2));
        rig.task.change(vec![Step::Cancel(OrderId(2))], false).await.expect("done");
        rig.clock.advance(crate::orders::PUT_OFF);
        rig.task.tick().await;
        assert_eq!((carriers(&rig), rig.orders().0.len()), (vec!["m1".to_owned()], 0));
    }
}

#[tokio::test]
async fn a_binding_told_to_go_stays_out_where_another_file_leaves_its_pool_nothing_else() {
    for act in [drain("m1"), remove("m1")] {
        let mut rig = Rig::new();
        rig.give(act).await.expect("done");
        let facts = rig.spool.facts(PREFIX).expect("can be read");
        let file = Config::from_toml(&one_of_two()).expect("good");
        let back = recall(&facts, &file, START);
        assert_eq!((back.ended.len(), back.orders.all().len()), (0, 1));
        assert!(back.config.pools[0].tiers.iter().flatten().all(|member| member.weight == 0));
        // And whatever else is ordered then is not refused for it.
        rig.task.parts.orders = back.orders;
        rig.task.parts.file = Arc::new(file);
        rig.give(hold()).await.expect("done");
        assert_eq!(carriers(&rig), [""; 0]);
        let place = Act::MoveTier { pool: "main".into(), binding: "m2".into(), tier: 0, weight: None };
        rig.give(place).await.expect("done");
        assert_eq!(carriers(&rig), ["m2"]);
    }
}

#[tokio::test]
async fn an_order_that_ends_while_the_disk_refuses_is_applied_once_and_written_later() {
    let mut rig = Rig::new();
    let step = Step::Give(new(hold(), Some(START.plus(MINUTE))));
    rig.task.change(vec![step], false).await.expect("done");
    rig.spool.set_broken(Some("gone"));
    rig.clock.advance(MINUTE);
    for _ in 0..3 {
        rig.task.tick().await;
        assert_eq!((rig.held(), rig.task.pause()), (false, AGAIN));
    }
    assert_eq!(rig.seen.applied.lock().len(), 2, "given and ended");
    rig.spool.set_broken(None);
    assert_eq!(rig.orders().1, ["hold the mail of acme"]);
    rig.task.tick().await;
    assert_eq!((rig.orders().1, rig.task.pause()), (Vec::new(), SLEEP_MAX));
    assert_eq!(rig.seen.applied.lock().len(), 2);
    let events = rig.seen.events.lock().clone();
    assert_eq!(events.iter().filter(|event| event.as_str() == "order_ended 1").count(), 1, "{events:?}");
}

#[tokio::test]
async fn only_a_file_that_was_read_anew_has_other_files_read() {
    let mut rig = Rig::new();
    let step = Step::Give(new(hold(), Some(START.plus(MINUTE))));
    rig.task.change(vec![step], false).await.expect("done");
    rig.clock.advance(MINUTE);
    rig.task.tick().await;
    rig.task.reload(false).await.expect("good");
    assert_eq!(*rig.seen.files.lock(), [false, false, true]);
}

#[tokio::test]
async fn a_drain_does_not_stop_a_removal_under_way() {
    let mut rig = Rig::new();
    rig.seen.busy.lock().insert("m1".into());
    rig.give(remove("m1")).await.expect("done");
    let refused = rig.give(drain("m1")).await.expect_err("it is going");
    assert!(refused.to_string().contains("is being removed by order 1"), "{refused}");
    assert_eq!(rig.orders().0, ["remove m1 (draining first)"]);
}

#[tokio::test]
async fn a_binding_goes_when_nothing_of_it_is_on_the_wire() {
    let mut rig = Rig::new();
    rig.seen.busy.lock().insert("m1".into());
    rig.give(remove("m1")).await.expect("done");
    rig.task.tick().await;
    let weights =
        |rig: &Rig| -> Vec<u32> { rig.task.parts.in_force.pools[0].tiers[0].iter().map(|m| m.weight).collect() };
    assert_eq!((weights(&rig), rig.task.parts.in_force.bindings.len()), (vec![0, 1], 2));
    assert_eq!(rig.task.pause(), LOOK);
    rig.seen.busy.lock().clear();
    rig.task.tick().await;
    assert_eq!((weights(&rig), rig.task.parts.in_force.bindings.len()), (vec![1], 1));
    let words = vec!["remove m1".to_owned()];
    assert_eq!((rig.orders(), rig.task.pause()), ((words.clone(), words), SLEEP_MAX));
    rig.task.change(vec![Step::Cancel(OrderId(1))], false).await.expect("done");
    assert_eq!((weights(&rig), rig.task.parts.in_force.bindings.len()), (vec![1, 1], 2));
}

#[tokio::test]
async fn what_the_file_says_needs_no_order() {
    let mut rig = Rig::new();
    rig.give(Act::SetCap { binding: "m1".into(), cap: Some(5) }).await.expect("done");
    let outcome = rig.give(Act::SetCap { binding: "m1".into(), cap: None }).await.expect("done");
    assert!(outcome.orders.is_empty());
    assert_eq!(rig.orders(), (Vec::new(), Vec::new()), "the one that said otherwise is gone");
}

#[tokio::test]
async fn a_reload_ends_the_orders_it_makes_needless() {
    let mut rig = Rig::new();
    rig.give(hold()).await.expect("done");
    rig.give(Act::SetCap { binding: "m2".into(), cap: Some(7) }).await.expect("done");
    let asked = rig.task.reload(true).await.expect("good");
    assert!(asked.is_dry && rig.seen.reloads.lock().is_empty());
    rig.write_file(&format!("{FILE}hold = true\n"));
    let outcome = rig.task.reload(false).await.expect("good");
    assert!(outcome.warnings[0].contains("order 1 (hold the mail of acme) ends: the file has it now"), "{outcome:?}");
    let words = vec!["daily cap of m2: 7".to_owned()];
    assert_eq!((rig.held(), rig.orders()), (true, (words.clone(), words)));
    assert_eq!(rig.task.parts.in_force.bindings[1].limits.daily_cap, Some(7), "orders outlive a reload");
    assert_eq!(*rig.seen.reloads.lock(), [true]);
}

#[tokio::test]
async fn a_bad_file_leaves_the_old_one_in_force() {
    let mut rig = Rig::new();
    rig.write_file("[server]\nhostnam = \"x\"\n[pool.main]\nactive = [\"m9\"]\n");
    let Err(Refused::File(mistakes)) = rig.task.reload(false).await else { panic!("a bad file was taken") };
    assert!(mistakes.len() > 2 && mistakes.iter().all(|mistake| !mistake.contains('\n')), "{mistakes:?}");
    assert_eq!((rig.seen.applied.lock().len(), rig.task.parts.file.bindings.len()), (0, 2));
    assert_eq!(*rig.seen.reloads.lock(), [false]);
    let events = rig.seen.events.lock().clone();
    assert_eq!((events.last().map(String::as_str), events.len()), (Some("refused  reload"), mistakes.len() + 1));
}

#[tokio::test]
async fn a_file_that_leaves_a_drained_pool_empty_is_refused_with_the_order_in_its_way() {
    let mut rig = Rig::new();
    rig.give(drain("m1")).await.expect("done");
    rig.write_file(&FILE.replace("active = [\"m1\", \"m2\"]", "active = [\"m1\"]"));
    let refused = rig.task.reload(false).await.expect_err("nothing would be left");
    assert!(refused.to_string().starts_with("order 1 (drain m1) stands in the way"), "{refused}");
    assert_eq!(rig.orders().0, ["drain m1"]);
}

#[tokio::test]
async fn a_restart_knows_the_orders_and_tells_of_those_that_have_ended() {
    let mut rig = Rig::new();
    rig.give(drain("m1")).await.expect("done");
    let step = Step::Give(new(hold(), Some(START.plus(MINUTE))));
    rig.task.change(vec![step], false).await.expect("done");
    let spool = Arc::clone(&rig.spool);
    let clock = ManualClock::at(START.plus(2 * MINUTE));
    let (parts, seen, _thread, _directory) = parts(&spool, Arc::new(clock));
    assert_eq!(parts.in_force.pools[0].tiers[0][0].weight, 0);
    let (_stop, stopped) = watch::channel(false);
    let live = start(parts, stopped);
    // Answered after what a start has to do.
    live.change(Vec::new(), true).await.expect("done");
    assert_eq!(live.orders().all().iter().map(|order| order.id).collect::<Vec<_>>(), [OrderId(1)]);
    assert_eq!(*seen.events.lock(), ["order_ended 2"]);
    let keys: Vec<String> = spool.facts(PREFIX).expect("can be read").into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["order/1", "order/last"]);
}

#[tokio::test]
async fn the_timer_takes_out_what_is_due_without_being_asked() {
    let spool = Arc::new(MemorySpool::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let (parts, seen, _thread, _directory) = parts(&spool, Arc::clone(&clock));
    let (stop, stopped) = watch::channel(false);
    let live = start(parts, stopped);
    let until = clock.now().wall.plus(Duration::from_millis(50));
    live.change(vec![Step::Give(new(hold(), Some(until)))], false).await.expect("done");
    let deadline = clock.now().wall.plus(MINUTE);
    while !live.orders().all().is_empty() {
        assert!(clock.now().wall < deadline, "still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(clock.now().wall >= until);
    assert_eq!(seen.applied.lock().iter().map(|config| config.tenants[0].hold).collect::<Vec<_>>(), [true, false]);
    stop.send_replace(true);
    let deadline = clock.now().wall.plus(MINUTE);
    while !matches!(live.change(Vec::new(), true).await, Err(Refused::Stopping)) {
        assert!(clock.now().wall < deadline, "still answers");
    }
}

#[test]
fn what_is_due_is_a_matter_of_orders_wire_and_moment() {
    let mut orders = Orders::default();
    orders.give(new(hold(), Some(START.plus(MINUTE))), START).expect("not too many");
    orders.give(new(remove("m1"), None), START).expect("not too many");
    assert!(due(&orders, |_| false, START).is_none());
    let (after, ended) = due(&orders, |_| true, START).expect("m1 is off the wire");
    assert!(ended.is_empty() && after.going().next().is_none() && after.all().len() == 2);
    let (after, ended) = due(&orders, |_| false, START.plus(MINUTE)).expect("time is over");
    assert_eq!((ended.len(), after.all().len(), after.going().count()), (1, 1, 1));
}
