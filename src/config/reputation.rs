//! `[reputation]` and `[prediction]`: when evidence counts, for how long, and where each default comes from.
//!
//! What a default rests on is said at its key: a receiver's published limit, practice, or a simulation in the tests of the
//! module that uses it. [`super::check`] says what may be written.

use std::time::Duration;

/// `[reputation]`: when evidence takes a binding or a route out, and how it comes back.
#[derive(Clone, Debug)]
pub struct Reputation {
    /// Whether conclusions are acted on. Default [`Automation::Act`].
    pub automation: Automation,
    /// Span over which attempts and hard bounces are counted. Default 1 h: in an hour an address in use sends the hundreds of
    /// messages that a share of a few per cent takes to be told, and yesterday's list does not speak against today's. One that
    /// sends less loses nothing: an excursion that has begun is kept for longer.
    pub window: Duration,
    /// Attempts below which the fuse of hard bounces never trips: of an excursion, the stretch of mail since the cumulative
    /// sum was last at 0. Default 50: fewer tell nothing of a share of a few per cent (one of one is 100 %), and with a true
    /// 2 % fifty hold one bounce.
    pub min_attempts: u64,
    /// Hard bounces of an excursion below which it never trips; where they come in lumps, so many lumps. Default 5: on the
    /// first fifty attempts that is a tenth, and with the default height the sum asks for eight all the same; it matters to
    /// those who lower the height, and where bounces are lumped.
    pub min_events: u64,
    /// Share of hard bounces above which it trips, once the share lies above it for certain (`fuse_certainty`). Default 0.05:
    /// mailbox and mail service providers review a sender from 5 % on, and the sum of the two ratios below rises above it
    /// and falls below it.
    pub hard_bounce_ratio: f64,
    /// Share of hard bounces of an address that is well: p0 of the fuse's sequential test. Default 0.02, what providers ask
    /// senders to stay below.
    pub normal_bounce_ratio: f64,
    /// Share that is to be found fast: p1. Above `normal_bounce_ratio`. Default 0.1, where large sending services publish that
    /// they pause an account (Amazon SES: review from 5 %, pause from 10 %). With 0.02 a bounce adds
    /// ln(0.1/0.02) = 1.61 and any other answer takes ln(0.98/0.9) = 0.085, so the sum neither rises nor falls at 5.03 %.
    pub bad_bounce_ratio: f64,
    /// Evidence (in nats, natural log of the likelihood ratio) at which the sequential test says "bad". Default 12.
    ///
    /// Measured in seeded runs of independent bounces, together with `fuse_certainty` 0.99: falsely tripped within 10,000
    /// messages at a true 1 % no run, at 2 % 1 of 300, at 3 % one of 20; found at a true 6 % after 1,000 messages (median),
    /// at 8 % after 220, at 10 % after 130, at 20 % after 60. With 10 it would be 0.4 % at 2 %, 15 % at 3 %, and 112
    /// messages at 10 %; 12 leaves room for what is asked of every alarm before an address is blamed.
    /// With all that is asked, over four bindings, one to twenty tenants and real paces: 1 of 120 at 2 %, and 136 messages at 10 %.
    pub fuse_height: f64,
    /// Certainty (0.5 to below 1, one-sided; Clopper and Pearson) with which the share must lie above `hard_bounce_ratio`.
    /// Default 0.99: it holds back what the sum alone would trip at 3 % (14 % of runs of 20,000 messages) and costs nothing
    /// at 10 %. With 0.999 a true 10 % would be found after 173 messages.
    pub fuse_certainty: f64,
    /// Share of complaints that is expected before anything is known, in the order of what a well-kept list earns. Default
    /// 0.0005: half of the 0.1 % that Gmail's and Yahoo's pages for senders ask to stay below.
    pub complaint_prior: f64,
    /// Accepted recipients that this expectation is worth. Default 2,000, one expected complaint: so that no single person's
    /// button acts. Six complaints, whatever they are about, are then the fewest that do.
    pub complaint_prior_weight: f64,
    /// Share of complaints above which a route is throttled. Gmail's and Yahoo's pages for senders ask to stay below 0.1 %.
    /// In seeded simulations of 100,000 messages no route of 1,000 with 0.05 % was throttled and 2 with 0.08 %; 0.2 % were found
    /// after a median of 9,600 messages, 0.3 % after 3,900, 1 % after 700. Default 0.001.
    pub complaint_throttle: f64,
    /// Share of complaints above which it is suspended. The same pages name 0.3 % as what must never be reached. In the
    /// same simulations no route of 1,000 with 0.15 % was suspended; 0.5 % were found after 9,300 messages, 1 % after 2,000,
    /// 2 % after 800. Default 0.003.
    pub complaint_suspend: f64,
    /// Certainty (0.5 to below 1) with which the share must lie above a limit. It is asked at each complaint: with 0.95 many
    /// times as many routes that are well would be throttled. Default 0.99.
    pub complaint_certainty: f64,
    /// Days of sending that are looked at, at most 31. Complaints come for days; fewer days forget mail before it is
    /// complained about, more go on judging what has been mended. Default 7: each day of the week once.
    pub complaint_days: u32,
    /// Time in which what is known of a route's usual deferrals and latency counts half, and after which what it has drifted
    /// to is the usual. Default 6 h: slow enough that a rise within an hour stands out, fast enough that night, morning and
    /// evening have their own usual. A choice; the figures of `drift_limit` were measured with it.
    pub drift_half_life: Duration,
    /// Standard deviations of the moving average at which deferrals or latency of a route have drifted from the usual.
    /// In seeded simulations a rise of deferrals from 2 % to 20 % was found after a median of 100 messages, to 40 % after 25,
    /// latency twice as long after 94, three times after 59; a route with 2 % that does not drift alarmed never in ten months
    /// of 4,000 messages a day, one with 10 % in one of ten (with 4: in four). Default 5.
    pub drift_limit: f64,
    /// Replies that blame the IP, in `ip_block_window`, after which the route is suspended (rules may say "at once").
    /// Default 3: one may be about that one message, whatever it says, and a second one its copy; receivers count refused
    /// attempts themselves, so that waiting for many more costs what it is to spare. Texts that leave no doubt need no count.
    pub ip_block_count: u32,
    /// See there. Default 1 h: a message that is tried again at the pace RFC 5321 (4.5.4.1) advises, every half hour at
    /// most, does not make three within it by itself.
    pub ip_block_window: Duration,
    /// Replies that blame a tenant or its domain, about distinct messages and with none accepted between them, in
    /// `hold_window`, after which its mail is held at that destination. Three times as many where the receiver only wishes for
    /// less: whoever puts off every third message at random says so three times in a row about every forty messages, and nine
    /// times about every thirty thousand. Default 3, for the reason of `ip_block_count`.
    pub hold_count: u32,
    /// See there. Default 1 h: so that refusals of one campaign come together and those of different days do not.
    pub hold_window: Duration,
    /// How long mail waits that was refused for the address's sake over one binding after the other; doubles. Default 1 h, the
    /// first suspension (`suspend_first`) that an address would have had in its place.
    pub group_hold: Duration,
    /// Suspended routes of one binding, at distinct providers, that suspend the binding itself. Default 3: two may ask the same
    /// list or the same filter's vendor; three large ones that refuse by their own judgement seldom err together. A choice.
    pub providers_for_binding: usize,
    /// Shortest stay in a state that automation brought about, even where its cause is gone sooner. Default 15 min: one round
    /// of the monitor, about one of retries, so that what flaps between two looks moves no mail to and fro.
    pub dwell: Duration,
    /// First suspension. Default 1 h. In the field suspensions of 15 minutes to 4 hours are usual, nearly all at first sight;
    /// an hour is long enough for a receiver's own short blocks to end, and short enough for a mistake to cost little.
    pub suspend_first: Duration,
    /// Longest suspension; each repetition doubles. Default 24 h: mail is given up after days (RFC 5321, 4.5.4.1, advises four
    /// to five at least), so that a binding asks some times again before; what a day does not heal is for people to mend.
    pub suspend_max: Duration,
    /// Clean time after which the penalty starts again at `suspend_first`. Default 7 d, seven times the longest suspension,
    /// so that one that comes back each weekday is a repetition; and the days that complaints are counted (`complaint_days`).
    pub forgive_after: Duration,
    /// Recipients allowed in the first period of probation; doubles with each clean period. Default 20: with four periods
    /// (20, 40, 80, 160) 300 recipients in all are risked, a handful where the block still stands, since one refusal that
    /// blames the address ends a route's. A choice.
    pub probation_start: u32,
    /// Length of a period of probation. Default 15 min: about one round of retries, so that what was only put off shows in it.
    pub probation_period: Duration,
    /// Clean periods after which the binding is active again. Default 4: with the default period an hour, as long as the first
    /// suspension was.
    pub probation_periods: u32,
    /// Largest share of a pool's bindings that automation alone may have out, everywhere or at one destination. Default 0.5:
    /// the rest then carries twice its mail at most, and a jump beyond that is what makes receivers wary of addresses that
    /// were well ([`Prediction`] bends no more than that either). What takes out half of a pool is seldom half of its addresses.
    pub pool_guard: f64,
}

/// What becomes of what automation concludes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Automation {
    /// Bindings are throttled and suspended, mail is held.
    #[default]
    Act,
    /// Everything is judged and told, and nothing is done; only the operator's word and an address that cannot be bound
    /// move anything. Mail is not asked whose fault a refusal is, since what follows from that is a hold: refusals count
    /// against the binding.
    Watch,
}

/// `[prediction]`: the chance that the next mail on a route is accepted, as `spread = "reputation"` uses it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Time in which what was seen counts half: what is held against a route fades, and it is tried again. Default 4 h: the
    /// upper end of usual suspensions, so that an opinion outlasts a block, and the next day begins with next to nothing of
    /// it. It need not be short to follow a fall: the estimate follows as fast as its evidence allows.
    pub half_life: Duration,
    /// How many of the next recipients a prediction is about: it sets the price of blame. Default 100: one percent more
    /// refusals that blame the address then cost as much weight as 33 percent fewer accepted, the ratio of one such refusal
    /// (three in an hour suspend the route, and receivers count them) to one deferral (a delay).
    pub horizon: u32,
    /// Least time between two draws of a route's weight. Default 5 min: three draws in a round of retries (a quarter of an hour),
    /// which is what new evidence takes to come; what is worse than expected does not wait for it.
    pub redraw: Duration,
    /// Smallest part of its weight (above 0, to 1) that a route keeps however bad it looks, to go on measuring. Default 0.05:
    /// half of the last step above it, and of 1,000 recipients an hour fifty, from which a change is seen within the hour. Less
    /// would leave the way back to luck, more would be spent on refusals.
    pub least: f64,
}
