//! Everybody out there: receivers with their domains and hosts, and what is on the wire to them.
//!
//! Each `[receiver.NAME]` of a scenario is a *site* with one domain, reached as the provider of that name where the
//! configuration has one. `other` stands for many small receivers: it becomes [`OTHERS`] sites that know nothing of each
//! other, as in the world, where nobody else's limits are shared. One more site takes the reports that go back to senders.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use rand::Rng;
use rand::rngs::SmallRng;

use super::receiver::{Attempted, Complaints, Receiver, Said};
use super::replies::{LineId, Replies};
use super::scenario::{Quality, ReceiverModel, Scenario};
use crate::clock::Wall;
use crate::config::Config;
use crate::delivery::plan::{MxPlan, Planned};
use crate::message::{DestinationName, Domain, Mailbox, ProviderName};
use crate::outcome::Stage;

/// Sites that `other` stands for.
pub const OTHERS: usize = 8;

/// Mailboxes of a domain. Few, so that they stay at hand.
const MAILBOXES: u32 = 500;
/// The same where streams are split by address: shares of recipients need many.
const MAILBOXES_FOR_SPLITS: u32 = 40_000;

/// Number of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteId(pub u16);

impl SiteId {
    /// As an index into a vector.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Says what it likes: a receiver whose behaviour a test has written down.
pub type Script = Box<dyn FnMut(&Attempted, &mut SmallRng, Wall) -> Said + Send>;

enum Judge {
    Model(Box<Receiver>),
    Script(Script),
    /// Takes everything.
    Sender,
}

/// A receiver and the way to it.
pub struct Site {
    /// Its name in tables: the receiver's of the scenario, `other`, or `senders`.
    pub name: String,
    /// What it counts as in tables.
    pub group: u16,
    /// Its domain.
    pub domain: Domain,
    /// What a look-up of its domain gives.
    pub planned: Planned,
    judge: Judge,
    /// Connections by binding.
    connections: Vec<u32>,
    mailboxes: Vec<Mailbox>,
}

impl Site {
    fn new(name: &str, group: u16, domain: &str, judge: Judge, config: &Config) -> Option<Self> {
        let provider = config.providers.iter().find(|provider| provider.name.as_str() == name);
        let destination = match provider {
            Some(provider) => DestinationName::new(provider.name.as_str()),
            None => DestinationName::new(format!("site:mx.{domain}")),
        };
        let plan = MxPlan { provider: provider.map(|p| p.name.clone()), ..MxPlan::pinned_to(destination) };
        Some(Self {
            name: name.to_owned(),
            group,
            domain: domain.parse().ok()?,
            planned: Ok(Arc::new(plan)),
            judge,
            connections: vec![0; config.bindings.len()],
            mailboxes: Vec::new(),
        })
    }

    /// The provider it is, where it is one.
    pub fn provider(&self) -> Option<&ProviderName> {
        self.planned.as_ref().ok().and_then(|plan| plan.provider.as_ref())
    }

    /// What it will say, nobody knows before.
    pub fn is_scripted(&self) -> bool {
        matches!(self.judge, Judge::Script(_))
    }

    /// Whether it refuses this recipient whatever address brings the mail, as far as that is known.
    pub fn refuses_anyway(&self, recipient: u64, quality: &Quality) -> bool {
        matches!(&self.judge, Judge::Model(receiver) if receiver.refuses_anyway(recipient, quality))
    }

    /// Whether it blocks this address for what that, or its network, did; not because the scenario says so.
    pub fn has_blocked(&self, address: IpAddr, now: Wall) -> bool {
        matches!(&self.judge, Judge::Model(receiver) if receiver.blocked_until(address, now).is_some())
    }

    /// Whether it defers or blocks mail of this address for what it thinks of it.
    pub fn doubts(&self, address: IpAddr, now: Wall) -> bool {
        matches!(&self.judge, Judge::Model(receiver) if receiver.doubts(address, now))
    }

    /// Mailbox number `number` of its domain.
    fn mailbox(&mut self, number: u32) -> Option<Mailbox> {
        while self.mailboxes.len() <= number as usize {
            let next = format!("u{}@{}", self.mailboxes.len(), self.domain);
            self.mailboxes.push(next.parse().ok()?);
        }
        self.mailboxes.get(number as usize).cloned()
    }
}

/// The number of a mailbox made by [`Internet::mailboxes`].
pub fn number_of(mailbox: &Mailbox) -> u32 {
    let digits = mailbox.local_part().bytes().skip(1).take_while(u8::is_ascii_digit);
    digits.fold(0u32, |number, digit| number.wrapping_mul(10).wrapping_add(u32::from(digit - b'0')))
}

/// An attempt as it leaves.
#[derive(Clone, Copy, Debug)]
pub struct Leaving {
    /// Where to.
    pub site: SiteId,
    /// Number of the binding.
    pub binding: u32,
    /// Addresses the receiver sees and we know.
    pub own: [IpAddr; 2],
}

/// Everybody.
pub struct Internet {
    sites: Vec<Site>,
    by_domain: HashMap<Domain, SiteId>,
    groups: Vec<String>,
    senders: SiteId,
    /// Mailboxes of a domain.
    population: u32,
    replies: Replies,
}

impl Internet {
    /// The receivers of a scenario, and the senders' own.
    pub fn new(config: &Config, scenario: &Scenario, replies: Replies) -> Self {
        let is_split = config.tenants.iter().any(|tenant| !tenant.split.is_empty());
        let mut this = Self {
            sites: Vec::new(),
            by_domain: HashMap::new(),
            groups: Vec::new(),
            senders: SiteId(0),
            population: if is_split { MAILBOXES_FOR_SPLITS } else { MAILBOXES },
            replies,
        };
        for (name, model) in &scenario.receivers {
            let group = this.group(name);
            let judge = || judge(model, config);
            if name == "other" {
                for n in 1..=OTHERS {
                    this.add(Site::new(name, group, &format!("other{n}.example"), judge(), config));
                }
            } else {
                this.add(Site::new(name, group, &format!("{}.example", domain_label(name)), judge(), config));
            }
        }
        let group = this.group("senders");
        this.senders = SiteId(this.sites.len() as u16);
        this.add(Site::new("senders", group, "senders.example", Judge::Sender, config));
        this
    }

    fn group(&mut self, name: &str) -> u16 {
        self.groups.push(name.to_owned());
        (self.groups.len() - 1) as u16
    }

    fn add(&mut self, site: Option<Site>) {
        if let Some(site) = site {
            self.by_domain.insert(site.domain.clone(), SiteId(self.sites.len() as u16));
            self.sites.push(site);
        }
    }

    /// A receiver that does what is written down for it; `name` becomes `NAME.example`. One that exists is replaced.
    pub fn script(&mut self, name: &str, script: Script, config: &Config) -> Option<SiteId> {
        let domain = format!("{}.example", domain_label(name));
        if let Some(id) = self.by_name(name).first().copied() {
            self.sites[id.index()].judge = Judge::Script(script);
            return Some(id);
        }
        let group = self.group(name);
        self.add(Site::new(name, group, &domain, Judge::Script(script), config));
        Some(SiteId((self.sites.len() - 1) as u16))
    }

    /// Changes what a look-up of the site's domain gives from now on.
    pub fn set_planned(&mut self, site: SiteId, planned: Planned) {
        self.sites[site.index()].planned = planned;
    }

    /// The sites that go by this name: one, or those of `other`.
    pub fn by_name(&self, name: &str) -> Vec<SiteId> {
        let ids = (0..self.sites.len()).filter(|&n| self.sites[n].name == name);
        ids.map(|n| SiteId(n as u16)).collect()
    }

    /// The site of the senders themselves, where our reports go.
    pub fn senders(&self) -> SiteId {
        self.senders
    }

    /// A site.
    pub fn site(&self, id: SiteId) -> &Site {
        &self.sites[id.index()]
    }

    /// All sites.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// The site that the program calls by this name.
    pub fn site_to(&self, destination: &DestinationName) -> Option<&Site> {
        self.sites.iter().find(|site| site.planned.as_ref().is_ok_and(|plan| plan.destination == *destination))
    }

    /// Names that sites count under in tables.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// What a look-up of `domain` gives; `None` for a domain nobody has.
    pub fn resolve(&self, domain: &Domain) -> Option<Planned> {
        self.by_domain.get(domain).map(|site| self.site(*site).planned.clone())
    }

    /// So many mailboxes of a site, one after the other, beginning anywhere: the number of the first, and they.
    pub fn mailboxes(&mut self, site: SiteId, count: u32, random: &mut SmallRng) -> (u32, Vec<Mailbox>) {
        let count = count.clamp(1, self.population);
        let first = random.random_range(0..self.population / count) * count;
        let site = &mut self.sites[site.index()];
        (first, (first..first + count).filter_map(|number| site.mailbox(number)).collect())
    }

    /// A connection of a binding to a site begins. Returns how many it has there, this one included.
    pub fn connect(&mut self, leaving: Leaving) -> u32 {
        let count = &mut self.sites[leaving.site.index()].connections[leaving.binding as usize];
        *count += 1;
        *count
    }

    /// It ends.
    pub fn disconnect(&mut self, site: SiteId, binding: u32) {
        let count = &mut self.sites[site.index()].connections[binding as usize];
        *count = count.saturating_sub(1);
    }

    /// All connections end: the program was killed.
    pub fn disconnect_all(&mut self) {
        self.sites.iter_mut().for_each(|site| site.connections.fill(0));
    }

    /// Asks the receiver about one recipient: the number of what it said, how long it took, whether it was a trap.
    pub fn answer(
        &mut self,
        leaving: Leaving,
        attempted: &Attempted,
        random: &mut SmallRng,
        now: Wall,
    ) -> (LineId, std::time::Duration, bool) {
        let site = &mut self.sites[leaving.site.index()];
        let said = match &mut site.judge {
            Judge::Model(receiver) => receiver.answer(attempted, random, now),
            Judge::Script(script) => script(attempted, random, now),
            Judge::Sender => accepted(),
        };
        let Some(text) = said.reply else { return (self.replies.silence(), said.took, false) };
        let provider = site.planned.as_ref().ok().and_then(|plan| plan.provider.as_ref());
        let heard = super::replies::Said { stage: said.stage, provider, site: leaving.site.0, own: leaving.own };
        (self.replies.id(text, heard), said.took, said.is_trap)
    }

    /// What was said.
    pub fn replies(&self) -> &Replies {
        &self.replies
    }

    /// The modelled receivers of these sites.
    pub fn models(&mut self, name: &str) -> impl Iterator<Item = &mut Receiver> {
        self.sites.iter_mut().filter(move |site| site.name == name).filter_map(|site| match &mut site.judge {
            Judge::Model(receiver) => Some(&mut **receiver),
            _ => None,
        })
    }

    /// Complaints that receivers tell of, with the site they come from.
    pub fn complaints(&mut self, now: Wall) -> Vec<(SiteId, Complaints)> {
        let mut all = Vec::new();
        for (n, site) in self.sites.iter_mut().enumerate() {
            if let Judge::Model(receiver) = &mut site.judge {
                all.extend(receiver.complained(now).into_iter().map(|told| (SiteId(n as u16), told)));
            }
        }
        all
    }
}

fn judge(model: &ReceiverModel, config: &Config) -> Judge {
    Judge::Model(Box::new(Receiver::new(model.clone(), &model.knows.addresses(config))))
}

/// "Taken", after the usual time.
pub fn accepted() -> Said {
    said("250 2.0.0 ok")
}

/// These words at the usual stage, after the usual time: for scripted receivers.
pub fn said(text: impl Into<std::borrow::Cow<'static, str>>) -> Said {
    let text = text.into();
    let stage = if text.starts_with('2') { Stage::EndOfData } else { Stage::Rcpt };
    Said { reply: Some(text), stage, took: std::time::Duration::from_millis(100), is_trap: false }
}

/// A receiver's name as a label of a domain name.
fn domain_label(name: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let label: String = name.chars().take(60).map(fit).collect();
    label.trim_matches('-').to_owned()
}
