//! Every figure of the prediction that is not in the configuration, with its reason. Times are in hours, features in the
//! units of [`super::features`].
//!
//! The configuration says what is a matter of taste: how long an opinion lasts, how far ahead it looks, how often weights
//! move and how little is still something. What stands here are properties of mail that an operator could only guess at.

use super::features::Feature;

/// Variance of a route's own part of the log odds in the long run: how far bindings differ at one provider before
/// anything is known. 1 puts two thirds of them between 88 % and 98 % where 95 % is usual, which is about what a fleet
/// without trouble shows; an address in trouble is found by what it is told, not by this.
pub(super) const ROUTE_VARIANCE: f64 = 1.0;

/// A route's own part returns to this part of the mean of the others'. Only the sum with the provider's level is seen, so
/// that both could wander off together in opposite directions; half of the way keeps the own parts around 0 and changes
/// nothing about who stands where.
pub(super) const REST: f64 = 0.5;

/// The same of a provider's part, common to all bindings: wide, since a provider that is down takes everybody along.
pub(super) const LEVEL_VARIANCE: f64 = 4.0;
/// Log odds expected of a provider never written to: 90 %.
pub(super) const LEVEL_PRIOR: f64 = 2.2;
/// In so many hours an old opinion of a provider counts half.
pub(super) const LEVEL_HALF_LIFE: f64 = 12.0;

/// Log odds beyond which nothing is believed (0.09 % and 99.91 %): mail is never surer than that, and a route that was
/// perfect for a week must still be able to fall within minutes.
pub(super) const SUREST: f64 = 7.0;

/// How alike the recipients of one attempt fare: they share connection, message and moment. By the design effect of a
/// cluster sample, n of them are worth n / (1 + (n − 1) × this): never more than five.
pub(super) const ALIKE: f64 = 0.2;

/// The share of acceptance a route keeps, to this power, is the share of its weight it keeps: 90 % of what the others
/// get accepted leaves 73 % of the mail. Below 2 a decline is followed later than it costs; above 4 the noise of equal
/// bindings moves mail.
pub(super) const STEEPNESS: f64 = 3.0;

/// The benefit of the doubt: a route is taken to be so many standard deviations better than its mean at least, and luck may
/// make it better still. Where bindings are equal this is what keeps their shares equal, since the noise of the estimates
/// moves none of them; where one is bad its evidence is soon narrower than the fault.
pub(super) const DOUBT: f64 = 1.0;
/// The same of blame, which is rarer and dearer: half of it, or one blaming refusal would never move anything.
pub(super) const DOUBT_BLAME: f64 = 0.5;

/// Recipients refused for the address's sake that a provider is credited with before anything is known there, in
/// [`BLAME_WEIGHT`] recipients: one in ten thousand.
pub(super) const BLAME_PRIOR: f64 = 0.1;
/// See [`BLAME_PRIOR`].
pub(super) const BLAME_WEIGHT: f64 = 1_000.0;
/// Recipients that fared like those of the others, added to a route's own count of blame: after one blaming refusal an
/// untried route is expected to hear another one in 200, which with a horizon of 100 costs it two fifths of its mail;
/// one in a thousand costs a tenth.
pub(super) const BLAME_SHRINK: f64 = 200.0;

/// Half-life of "now" in hours, for deferrals: a quarter of an hour is about one round of retries.
pub(super) const NOW_HALF_LIFE: f64 = 0.25;
/// … and for recipients an hour.
pub(super) const HOUR_HALF_LIFE: f64 = 1.0;
/// Half-life of "usual": half a day, so that it neither follows an afternoon nor remembers last week.
pub(super) const USUAL_HALF_LIFE: f64 = 12.0;
/// Recipients that "now" is diluted with, of the usual kind.
pub(super) const NOW_SHRINK: f64 = 20.0;
/// Part of the way that the short and the long mean of latency go at each attempt.
pub(super) const LATENCY_NOW: f64 = 0.05;
/// See [`LATENCY_NOW`].
pub(super) const LATENCY_USUAL: f64 = 0.005;
/// Attempts before latency says anything.
pub(super) const LATENCY_MIN: u16 = 100;
/// Recipients an hour that no receiver looks at: jumps are measured above them.
pub(super) const JUMP_FLOOR: f64 = 50.0;
/// No feature counts for more than so many units.
pub(super) const FEATURE_MAX: f64 = 3.0;
/// What was complained about counts half after so many hours without news.
pub(super) const COMPLAINT_HALF_LIFE: f64 = 48.0;

/// What a feature is expected to do before anything is learnt.
pub(super) struct Prior {
    /// Shift of the log odds of acceptance for each unit.
    pub(super) shift: f64,
    /// Added to the chance that a recipient's refusal blames the address, for each unit.
    pub(super) hazard: f64,
}

/// Priors by feature. Shifts are small: what lowers the acceptance shows in the acceptance within minutes. Hazards are
/// what the features are for, since a block comes at once and cannot be seen in mail that still goes. With a horizon of
/// 100, 0.01 leaves e⁻¹ = 37 % of the weight.
pub(super) const fn prior(feature: Feature) -> Prior {
    match feature {
        // Ten points more deferrals than usual: the classic forerunner of a block.
        Feature::Deferrals => Prior { shift: -0.3, hazard: 0.002 },
        // Each doubling: tarpits come before refusals, but so do large messages and slow nights.
        Feature::Latency => Prior { shift: -0.1, hazard: 0.0005 },
        // At the share where automation would suspend; providers act on it within a day.
        Feature::Complaints => Prior { shift: -0.1, hazard: 0.005 },
        // At the weight where automation would suspend; half of that still leaves 61 % of the mail.
        Feature::Listings => Prior { shift: -0.1, hazard: 0.01 },
        // Each doubling beyond the first of what is usual.
        Feature::Jump => Prior { shift: -0.1, hazard: 0.002 },
    }
}

/// Variance of a shift before anything is learnt: about as uncertain as it is large.
pub(super) const SHIFT_VARIANCE: f64 = 0.04;
/// A shift never becomes steeper than this per unit, nor positive: no listing speaks for an address.
pub(super) const SHIFT_LEAST: f64 = -1.5;
/// Recipients that a hazard's prior is worth: about a day of one address in use, so that one day of good luck with a
/// listing does not teach the whole fleet to ignore listings.
pub(super) const HAZARD_WEIGHT: f64 = 20_000.0;
/// A hazard never becomes larger than so many times its prior.
pub(super) const HAZARD_MOST: f64 = 5.0;
/// In so many hours what was learnt of features counts half.
pub(super) const LESSON_HALF_LIFE: f64 = 72.0;

/// Parts of a weight, in thousandths; the last is `least`, and none is below it. Each is two thirds to a half of the one
/// before: finer steps would re-weight orders for noise, coarser ones swing.
pub(super) const STEPS: [u16; 8] = [super::FULL, 800, 600, 450, 300, 200, 100, 0];
/// How far the wish must have come towards the next step before it is taken.
pub(super) const FAR_ENOUGH: f64 = 0.75;
/// Up one step at most every so many redraws: what was bent away comes back over hours, as after a probation.
pub(super) const UP_AFTER: u32 = 6;
/// After a rise that was taken back before the next, the wait doubles, so often at most: eight times half an hour.
pub(super) const PATIENCE_MAX: u8 = 3;
/// Where the expected worth has fallen below this part of that at the last draw, the next draw does not wait.
pub(super) const SURPRISE: f64 = 0.7;

/// Others may get this much more mail at once because weights are bent, and this much more again each hour …
pub(in crate::scheduler) const GROWTH: f64 = 1.25;
/// … up to this: at least half of a tier's weight stays, however bad its bindings look.
pub(in crate::scheduler) const LIFT_MAX: f64 = 2.0;

/// Least time between two facts of a route, in milliseconds.
pub(super) const WRITE_EVERY: i64 = 60_000;
/// After so many half-lives less than a thousandth of an opinion is left, and its fact is removed …
pub(super) const FADED_AFTER: f64 = 10.0;
/// … but not within four days (in hours): what is usual on a route, and its provider's level, last longer.
pub(super) const FADED_AT_LEAST: f64 = 96.0;
/// Log odds by which an opinion has changed enough to be written.
pub(super) const WRITE_SHIFT: f64 = 1.0;

/// Part of the weight that a feature has to cost before it is named to people.
pub(super) const LOUD: f64 = 0.02;
