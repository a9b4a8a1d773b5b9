//! Mail that waits because its tenant is held at its destination.
//!
//! Asked before the scheduler, which therefore spends nothing on it: no pick, no rate, no reservation, no attempt. A hold
//! of the whole tenant blocks its turn in the lane; a hold of one sender domain sets the single entry aside, at no cost to
//! its tenant's turn, so that the tenant's other mail behind it goes on. Mail that waits when a hold begins is told when
//! its turn comes; mail that waits when a hold ends early is woken.
//!
//! However much is held, the core answers soon: one call of [`Core::next`] sets at most [`ASIDE_MAX`] entries aside and
//! wakes as many. What is set aside is known by its hold, so that none is searched for.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use smallvec::SmallVec;

use super::super::index::{Block, LaneId, Place, SenderId, Waiting};
use super::Core;
use crate::clock::{Now, Wall};
use crate::message::{Domain, EntryId, MessageId, StreamName};
use crate::reputation::holds::{Freed, Held, HoldKey, Mail};
use crate::scheduler::{BindingId, CoverId, DestinationId, TenantId, Verdict};

/// Entries that one call sets aside, and that one wakes.
pub(super) const ASIDE_MAX: usize = 1_000;

/// From so many entries of one cover on, and from twice as many as waited when that was last looked at, those that have
/// moved on are looked for.
const UNCOVERED_FEW: usize = 1_000;

/// How long a tenant's turn rests where more than that is to be set aside.
pub(super) const ASIDE_PAUSE: Duration = Duration::from_millis(10);

/// How often the turn of a tenant that the operator holds is looked at.
const KEPT_LOOK: Duration = Duration::from_secs(60);

type Numbered = (Option<(Domain, StreamName)>, u32, CoverId);

/// Sender domains with their streams by number, so that a waiting entry pays four octets for its own. Only those of
/// waiting mail have one: domains are the tenants' choice, and there may be a new one for every message.
#[derive(Debug, Default)]
pub(super) struct Senders {
    /// Domain and stream (unless the number is unused), how many wait, and which bindings the domain's SPF allows.
    names: Vec<Numbered>,
    ids: HashMap<Domain, SmallVec<[SenderId; 1]>>,
    unused: Vec<SenderId>,
}

impl Senders {
    /// One more entry of `stream` from `domain` waits.
    pub(super) fn enter(
        &mut self,
        domain: Option<Domain>,
        stream: &StreamName,
        cover: impl FnOnce(&Domain) -> CoverId,
    ) -> SenderId {
        let Some(domain) = domain else { return SenderId::NULL };
        let known = self.of(&domain).iter().copied().find(|&id| self.name(id).is_some_and(|(_, own)| own == stream));
        if let Some(id) = known {
            self.names[id.0 as usize].1 += 1;
            return id;
        }
        let cover = cover(&domain);
        let fresh = (Some((domain.clone(), stream.clone())), 1, cover);
        let id = match self.unused.pop() {
            Some(id) => {
                self.names[id.0 as usize] = fresh;
                id
            }
            None => {
                self.names.push(fresh);
                SenderId((self.names.len() - 1) as u32)
            }
        };
        self.ids.entry(domain).or_default().push(id);
        id
    }

    /// One entry less.
    pub(super) fn leave(&mut self, id: SenderId) {
        let Some((name, waiting, _)) = self.names.get_mut(id.0 as usize) else { return };
        *waiting = waiting.saturating_sub(1);
        if *waiting == 0
            && let Some((domain, _)) = name.take()
        {
            if let Some(ids) = self.ids.get_mut(&domain) {
                ids.retain(|known| *known != id);
                if ids.is_empty() {
                    self.ids.remove(&domain);
                }
            }
            self.unused.push(id);
        }
    }

    fn name(&self, id: SenderId) -> Option<&(Domain, StreamName)> {
        self.names.get(id.0 as usize)?.0.as_ref()
    }

    /// The stream of a number.
    pub(super) fn stream(&self, id: SenderId) -> Option<&StreamName> {
        self.name(id).map(|(_, stream)| stream)
    }

    /// The domain of a number.
    pub(super) fn domain(&self, id: SenderId) -> Option<&Domain> {
        self.name(id).map(|(domain, _)| domain)
    }

    /// Which bindings the SPF of a sender's domain allows.
    pub(super) fn cover(&self, id: SenderId) -> CoverId {
        self.names.get(id.0 as usize).map_or(CoverId::NONE, |(.., cover)| *cover)
    }

    /// Tells the cover of a domain.
    pub(super) fn set_cover(&mut self, domain: &Domain, cover: CoverId) {
        for id in self.ids.get(domain).into_iter().flatten() {
            self.names[id.0 as usize].2 = cover;
        }
    }

    /// Whether anything from a domain waits.
    pub(super) fn has(&self, domain: &Domain) -> bool {
        self.ids.contains_key(domain)
    }

    /// The numbers of a domain, one for each stream that waits.
    fn of(&self, domain: &Domain) -> &[SenderId] {
        self.ids.get(domain).map_or(&[], SmallVec::as_slice)
    }

    /// Domains with a number.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}

/// Whose mail from which domain and stream to where: a [`HoldKey`] by numbers.
type Key = (TenantId, SenderId, DestinationId);

/// Until when, why, and the binding that carries nothing until then.
type Rest = (Wall, &'static str, BindingId);

#[derive(Debug, Default)]
struct Uncovered {
    ids: BTreeSet<EntryId>,
    /// How many waited when those that had moved on were looked for last.
    waited: usize,
}

/// What waits beside the lanes because its sender domain is held.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Oldest first. Holds entries that have moved on since, which are passed over.
    ids: HashMap<Key, BTreeSet<EntryId>>,
    count: usize,
    /// Free to go back into their lanes.
    waking: VecDeque<EntryId>,
    /// How many more may be set aside in this call.
    room: usize,
    /// Set aside since other bindings may not carry its sender's mail, by cover. Holds entries that have moved on since.
    uncovered: HashMap<CoverId, Uncovered>,
    /// Groups that were stopped from moving and whose binding carries nothing now: until when, and why.
    resting: HashMap<Key, Rest>,
}

impl Aside {
    fn add(&mut self, key: Key, id: EntryId) {
        if self.ids.entry(key).or_default().insert(id) {
            self.count += 1;
        }
    }

    fn first(&mut self, key: Key) -> Option<EntryId> {
        let ids = self.ids.get_mut(&key)?;
        let first = ids.pop_first();
        self.count -= usize::from(first.is_some());
        if ids.is_empty() {
            self.ids.remove(&key);
        }
        first
    }

    fn wake_all(&mut self, key: Key) {
        let ids = self.ids.remove(&key).unwrap_or_default();
        self.count -= ids.len();
        self.waking.extend(ids);
    }

    fn retain(&mut self, waits: impl Fn(EntryId) -> bool) {
        self.ids.retain(|_, ids| {
            ids.retain(|id| waits(*id));
            !ids.is_empty()
        });
        self.count = self.ids.values().map(BTreeSet::len).sum();
    }

    /// An entry waits for its sender's SPF.
    pub(super) fn keep_for_cover(&mut self, cover: CoverId, id: EntryId, waits: impl Fn(EntryId) -> bool) {
        let Uncovered { ids, waited } = self.uncovered.entry(cover).or_default();
        if ids.len() >= UNCOVERED_FEW.max(2 * *waited) {
            ids.retain(|id| waits(*id));
            *waited = ids.len();
        }
        ids.insert(id);
    }

    /// A cover holds for a domain less: what waits for it looks again.
    pub(super) fn wake_for_cover(&mut self, cover: CoverId) {
        self.waking.extend(self.uncovered.remove(&cover).unwrap_or_default().ids);
    }

    /// The group rests. Those whose rest is over are forgotten as others come.
    pub(super) fn rest(&mut self, group: Key, rest: Rest, now: Wall) {
        if self.resting.len() == self.resting.capacity() {
            self.resting.retain(|_, (until, ..)| *until > now);
        }
        self.resting.insert(group, rest);
    }

    /// Until when the group rests where it is kept to `next`, and why.
    pub(super) fn rests(&self, group: Key, next: BindingId, now: Wall) -> Option<(Wall, &'static str)> {
        let (until, why, _) = *self.resting.get(&group).filter(|(until, _, of)| *until > now && *of == next)?;
        Some((until, why))
    }

    /// At once, while there is anything to wake.
    pub(super) fn next_wakeup(&self) -> Option<Wall> {
        (!self.waking.is_empty()).then(|| Wall::from_millis(0))
    }
}

impl Core {
    /// Whether this mail is held, and until when.
    pub(super) fn held(&self, waiting: &Waiting, destination: DestinationId, now: Now) -> Option<Held> {
        let mail = self.mail((waiting.tenant, waiting.sender, destination), waiting.message);
        self.reputation.holds().held(mail, now.wall)
    }

    /// A waiting message as holds know it.
    pub(super) fn mail(&self, (tenant, sender, destination): Key, message: MessageId) -> Mail<'_> {
        let sender = self.senders.name(sender);
        Mail {
            tenant: self.scheduler.tenant_name(tenant),
            stream: sender.map(|(_, stream)| stream),
            sender_domain: sender.map(|(domain, _)| domain),
            destination: self.scheduler.destination_name(destination),
            message,
        }
    }

    /// Whether the operator lets the tenant's mail wait.
    pub(super) fn is_held_by_operator(&self, tenant: TenantId) -> bool {
        self.tenants.get(tenant.index()).is_some_and(|plan| plan.is_held)
    }

    /// Lets a tenant's turn in the lane wait for the operator, who ends that by another configuration; it is looked at
    /// again all the same, as whoever changed the configuration may have told nobody.
    pub(super) fn keep_tenant(&mut self, lane: LaneId, tenant: TenantId, now: Now) {
        let block = Block { until: None, reason: Verdict::TenantHeldByOperator.as_str() };
        let wake = self.jittered(now.wall.plus(KEPT_LOOK), now);
        self.index.block_tenant(lane, tenant, block, wake);
    }

    /// What stands in the way of this mail whatever the bindings say.
    pub(super) fn held_verdict(&self, tenant: TenantId, held: Option<Held>) -> Option<Verdict> {
        if self.is_held_by_operator(tenant) {
            return Some(Verdict::TenantHeldByOperator);
        }
        held.map(|held| Verdict::TenantHeld { until: held.until })
    }

    /// Lets what is held wait: the tenant's turn in the lane, or this entry alone.
    pub(super) fn hold_back(&mut self, lane: LaneId, key: Key, id: EntryId, held: Held, now: Now) {
        let reason = reason();
        let tenant = key.0;
        if held.whole_tenant {
            let wake = self.jittered(held.until, now);
            return self.index.block_tenant(lane, tenant, Block { until: Some(held.until), reason }, wake);
        }
        if self.aside.room == 0 {
            let until = now.wall.plus(ASIDE_PAUSE);
            return self.index.block_tenant(lane, tenant, Block { until: Some(until), reason }, until);
        }
        self.aside.room -= 1;
        let wake = self.jittered(held.until, now);
        self.index.take_head(lane, tenant, id, Place::Resolving, 0);
        self.index.delay(id, wake, reason);
        self.index.again(lane);
        self.aside.add(key, id);
        if self.aside.count > 2 * self.index.depth().0 + ASIDE_MAX {
            let index = &self.index;
            self.aside.retain(|id| index.get(id).is_some_and(is_set_aside));
        }
    }

    /// An attempt for this mail begins; where a hold is being probed, it is the probe.
    pub(super) fn probes(&mut self, key: Key, message: MessageId, now: Now) {
        let sender = self.senders.name(key.1);
        let mail = Mail {
            tenant: self.scheduler.tenant_name(key.0),
            stream: sender.map(|(_, stream)| stream),
            sender_domain: sender.map(|(domain, _)| domain),
            destination: self.scheduler.destination_name(key.2),
            message,
        };
        self.reputation.begins(mail, now.wall);
    }

    /// Notes what is not held any more; [`Core::wake_some`] lets it go on.
    pub(super) fn wake_freed(&mut self, freed: Vec<Freed>, now: Now) {
        for freed in freed {
            let (Freed::All(key) | Freed::One(key)) = &freed;
            let Some((tenant, destination)) = self.numbers(key) else { continue };
            let Some(domain) = &key.sender_domain else {
                for n in 0..self.index.lanes_to(destination).len() {
                    let lane = self.index.lanes_to(destination)[n];
                    self.index.wake_tenant(lane, tenant);
                }
                continue;
            };
            let mut senders = SmallVec::<[SenderId; 2]>::from_slice(self.senders.of(domain));
            if let Some(stream) = &key.stream {
                senders.retain(|id| self.senders.name(*id).is_some_and(|(_, own)| own == stream));
            }
            let mut keys = senders.into_iter().map(|sender| (tenant, sender, destination));
            match freed {
                Freed::All(_) => keys.for_each(|key| self.aside.wake_all(key)),
                Freed::One(_) => drop(keys.find(|key| self.wake_one(*key, now))),
            }
        }
    }

    fn numbers(&self, key: &HoldKey) -> Option<(TenantId, DestinationId)> {
        Some((self.scheduler.tenant_id(&key.tenant)?, self.scheduler.destination_id(&key.destination)?))
    }

    /// Puts the first that is still set aside under `key` back into its lane. False where there is none.
    fn wake_one(&mut self, key: Key, now: Now) -> bool {
        while let Some(id) = self.aside.first(key) {
            if self.wake(id, now) {
                return true;
            }
        }
        false
    }

    /// Puts some of what was freed back into its lanes; a new call may set as much aside.
    pub(super) fn wake_some(&mut self, now: Now) {
        self.aside.room = ASIDE_MAX;
        for _ in 0..ASIDE_MAX {
            let Some(id) = self.aside.waking.pop_front() else { return };
            self.wake(id, now);
        }
    }

    /// Puts an entry back into its lane. False where it is not set aside any more.
    fn wake(&mut self, id: EntryId, now: Now) -> bool {
        let Some(domain) = self.index.get(id).filter(|w| is_set_aside(w)).map(|w| w.domain) else { return false };
        self.route(id, domain, now);
        true
    }
}

/// Whether an entry waits beside the lanes for its tenant's hold or its sender's SPF, and for nothing else.
pub(super) fn is_set_aside(waiting: &Waiting) -> bool {
    let is_ours = |reason| reason == self::reason() || reason == Verdict::SpfNotCovered.as_str();
    matches!(waiting.place, Place::Delayed { reason, .. } if is_ours(reason))
}

fn reason() -> &'static str {
    Verdict::TenantHeld { until: Default::default() }.as_str()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn looking_for_those_that_have_moved_on_costs_each_that_waits_a_look_or_two() {
        let (mut aside, looks) = (Aside::default(), Cell::new(0));
        for id in 0..50_000 {
            // One of four has moved on.
            aside.keep_for_cover(CoverId::NONE, EntryId(id), |id| {
                looks.set(looks.get() + 1);
                id.0 % 4 > 0
            });
        }
        assert!(looks.get() < 150_000, "{}", looks.get());
        let kept = aside.uncovered[&CoverId::NONE].ids.len();
        assert!((37_500..=50_000).contains(&kept), "all that wait are known by it: {kept}");
        aside.wake_for_cover(CoverId::NONE);
        assert_eq!(aside.waking.len(), kept);
    }
}
