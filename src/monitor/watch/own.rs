//! What is known by subject, of the addresses of one binding: a binding may have two.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use crate::message::BindingName;
use crate::monitor::subject::Subject;

/// From the first to the last subject that an address of this binding's other family may be.
fn seconds(binding: &BindingName) -> RangeInclusive<Subject> {
    let second = |address: IpAddr| Subject::Second(binding.clone(), address);
    second(Ipv4Addr::UNSPECIFIED.into())..=second(Ipv6Addr::from(u128::MAX).into())
}

/// What is known of the addresses of a binding, the first before the second.
pub(super) fn own<'c, T>(
    of: &'c BTreeMap<Subject, T>,
    binding: &BindingName,
) -> impl Iterator<Item = (&'c Subject, &'c T)> {
    of.get_key_value(&Subject::Binding(binding.clone())).into_iter().chain(of.range(seconds(binding)))
}

/// The same, to be changed.
pub(super) fn own_mut<'c, T>(
    of: &'c mut BTreeMap<Subject, T>,
    binding: &BindingName,
) -> impl Iterator<Item = (&'c Subject, &'c mut T)> {
    let first = Subject::Binding(binding.clone());
    let all = of.range_mut(first..=seconds(binding).into_inner().1);
    let binding = binding.clone();
    all.filter(move |(subject, _)| subject.binding() == Some(&binding))
}
