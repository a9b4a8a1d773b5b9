//! Mail as it comes in: sources that send so much a day, by the hour.
//!
//! Volumes are exact, moments are not: the messages of an hour lie in equal stretches of it, each somewhere in its own,
//! and what an hour owes to a share that is no whole message is carried into the next. So a day has the recipients the
//! scenario says, and nothing of it is held before its hour comes.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

use super::internet::SiteId;
use super::scenario::{Quality, Traffic};
use crate::assignment::{Assigner, Incoming};
use crate::clock::Wall;
use crate::config::Config;
use crate::message::header::Headers;
use crate::message::{ForwardPath, Mailbox, PoolName};

const HOUR: Duration = Duration::from_secs(3600);

/// One stream of a tenant that sends.
pub struct Source {
    model: Traffic,
    /// Number of the tenant.
    pub tenant: u32,
    /// How good its mail is at this moment.
    pub quality: Quality,
    /// Times its usual volume.
    pub factor: f64,
    /// Reverse path of its mail.
    pub from: Mailbox,
    /// Sites with their shares added up.
    to: Vec<(f64, Vec<SiteId>)>,
    /// The pool of all its mail; `None` where the stream is split.
    pool: Option<PoolName>,
    /// What its client writes into each message.
    headers: String,
    hour: Wall,
    messages: u64,
    sent: u64,
    owed: f64,
}

impl Source {
    /// The source that `model` describes; `None` where the configuration has no such tenant or stream. `sites` gives the
    /// sites of a receiver's name.
    pub fn new(model: &Traffic, config: &Config, sites: impl Fn(&str) -> Vec<SiteId>) -> Option<Self> {
        let number = config.tenants.iter().position(|tenant| tenant.name == model.tenant)?;
        let tenant = &config.tenants[number];
        let pool = tenant.pools.get(&model.stream)?.clone();
        let is_split = tenant.split.get(&model.stream).is_some_and(|shares| !shares.is_empty());
        let mut end = 0.0;
        let to = model.to.iter().map(|(name, share)| {
            end += share;
            (end, sites(name))
        });
        let to: Vec<_> = to.filter(|(_, sites)| !sites.is_empty()).collect();
        let named = &config.assignment;
        let headers =
            format!("{}: {}\r\n{}: {}\r\n\r\n", named.tenant_header, model.tenant, named.stream_header, model.stream);
        (!to.is_empty()).then_some(Self {
            tenant: number as u32,
            quality: model.quality,
            factor: 1.0,
            from: format!("news@t{number}.senders.example").parse().ok()?,
            to,
            pool: (!is_split).then_some(pool),
            headers,
            hour: Wall::default(),
            messages: 0,
            sent: 0,
            owed: 0.0,
            model: model.clone(),
        })
    }

    /// What it was made from.
    pub fn model(&self) -> &Traffic {
        &self.model
    }

    /// An hour begins at `at`, which is hour `hour` (local) of day `day` of the scenario, a day of the week from 0
    /// (Monday). Returns when its first message comes.
    pub fn hour(&mut self, at: Wall, day: u32, weekday: u8, hour: usize, random: &mut SmallRng) -> Option<Wall> {
        self.hour = at;
        (self.messages, self.sent) = (0, 0);
        let rests = self.model.rest_days.contains(&weekday) || !self.model.days.contains(&day);
        if !rests {
            let whole: f64 = self.model.hours.iter().sum();
            let share = if whole > 0.0 { self.model.hours[hour.min(23)] / whole } else { 1.0 / 24.0 };
            let each = f64::from(self.recipients());
            self.owed += self.model.per_day as f64 * self.factor * share / each;
            // A hair more, so that shares which add up to a whole message are one.
            let whole_messages = (self.owed + 1e-6).floor().max(0.0);
            self.owed -= whole_messages;
            self.messages = whole_messages as u64;
        }
        self.next(random)
    }

    /// When the next message of the hour comes.
    pub fn next(&mut self, random: &mut SmallRng) -> Option<Wall> {
        if self.sent >= self.messages {
            return None;
        }
        let position = (self.sent as f64 + random.random::<f64>()) / self.messages as f64;
        self.sent += 1;
        Some(self.hour.plus(HOUR.mul_f64(position)))
    }

    /// Recipients of a message.
    pub fn recipients(&self) -> u32 {
        self.model.recipients_per_message.max(1)
    }

    /// Where the next message goes.
    pub fn site(&self, random: &mut SmallRng) -> SiteId {
        let last = self.to.last().map_or(1.0, |(end, _)| *end);
        let point = random.random::<f64>() * last;
        let sites = self.to.iter().find(|(end, _)| point < *end).or(self.to.last()).map_or(&[][..], |(_, s)| s);
        match sites {
            [] => SiteId(0),
            [one] => *one,
            several => several[random.random_range(0..several.len())],
        }
    }

    /// The pools of these recipients, as the program assigns them at the door.
    pub fn pools(&self, recipients: Vec<Mailbox>, assigner: &Assigner) -> Vec<(PoolName, Vec<Mailbox>)> {
        if let Some(pool) = &self.pool {
            return vec![(pool.clone(), recipients)];
        }
        let recipients: Vec<ForwardPath> = recipients.into_iter().map(ForwardPath::from).collect();
        let mail = Incoming {
            client: std::net::Ipv4Addr::LOCALHOST.into(),
            trusted: true,
            auth_user: None,
            reverse_path: Some(&self.from),
            recipients: &recipients,
            headers: Headers::of(self.headers.as_bytes()),
        };
        let groups = assigner.assign(&mail).map(|assigned| assigned.groups).unwrap_or_default();
        let addresses = |group: Vec<ForwardPath>| group.into_iter().map(|to| to.address).collect();
        groups.into_iter().map(|group| (group.pool, addresses(group.recipients))).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::config::{Pool, Tenant};

    fn source(per_day: u64, each: u32) -> Source {
        let model = Traffic {
            tenant: "acme".into(),
            stream: "default".into(),
            per_day,
            days: 0..10,
            rest_days: vec![6],
            hours: std::array::from_fn(|hour| if (8..20).contains(&hour) { 3.0 } else { 1.0 }),
            recipients_per_message: each,
            to: [("gmail".to_owned(), 0.75), ("other".to_owned(), 0.25)].into(),
            quality: Quality { invalid: 0.0, complaints: 0.0, traps: 0.0, spamminess: 0.0 },
        };
        let mut config = Config::bare("relay.example.net".parse().expect("a domain"));
        config.tenants.push(Tenant { pools: [("default".into(), "main".into())].into(), ..Tenant::new("acme") });
        config.pools.push(Pool::new("main", Vec::new()));
        let sites = |name: &str| if name == "gmail" { vec![SiteId(0)] } else { vec![SiteId(1), SiteId(2)] };
        Source::new(&model, &config, sites).expect("a source")
    }

    /// Messages of each hour of a day.
    fn day(source: &mut Source, day: u32, weekday: u8) -> Vec<u64> {
        let mut random = SmallRng::seed_from_u64(1);
        let hours = (0..24usize).map(|hour| {
            let start = Wall::from_millis(0).plus(HOUR * hour as u32);
            let mut next = source.hour(start, day, weekday, hour, &mut random);
            let (mut count, mut last) = (0, start);
            while let Some(at) = next {
                assert!(last <= at && at <= start.plus(HOUR), "in order and in its hour");
                (count, last) = (count + 1, at);
                next = source.next(&mut random);
            }
            count
        });
        hours.collect()
    }

    #[test]
    fn a_day_has_the_recipients_it_should_and_hours_their_share() {
        let mut source = source(12_345, 5);
        let hours = day(&mut source, 0, 0);
        assert_eq!(hours.iter().sum::<u64>(), 2_469);
        let (night, noon) = (hours[3] as f64, hours[12] as f64);
        assert!((noon / night - 3.0).abs() < 0.1, "{hours:?}");
        assert_eq!(day(&mut source, 1, 1).iter().sum::<u64>() + 2_469, 2 * 2_469);
    }

    #[test]
    fn rest_days_and_days_outside_the_range_are_silent_and_a_factor_multiplies() {
        let mut source = source(2_400, 1);
        assert_eq!(day(&mut source, 0, 6).iter().sum::<u64>(), 0);
        assert_eq!(day(&mut source, 10, 0).iter().sum::<u64>(), 0);
        source.factor = 2.5;
        assert_eq!(day(&mut source, 9, 5).iter().sum::<u64>(), 6_000);
    }

    #[test]
    fn receivers_get_their_shares_and_other_is_spread() {
        let source = source(1, 1);
        let mut random = SmallRng::seed_from_u64(3);
        let mut counts = [0u32; 3];
        (0..4_000).for_each(|_| counts[source.site(&mut random).index()] += 1);
        assert!((2_900..3_100).contains(&counts[0]) && (400..600).contains(&counts[1]), "{counts:?}");
    }
}
