//! Whose allowance an account is, and the text that names it on disk.
//!
//! `binding/mta1`, `route/mta1/gmail`, `tenant/acme`, `tenant-route/acme/gmail`. Names may contain a slash, so that
//! `route/a/b/c` would have two readings: where the *first* of two names has a slash, a colon stands between them (no
//! name contains one). All other keys are as they always were, and so are their facts. A count that was written under
//! the ambiguous text is taken over under the new one once ([`Owner::former_key`]).

use std::fmt;

use crate::message::{BindingName, ProviderName, TenantName};

/// Whose allowance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The binding's.
    Binding(BindingName),
    /// The binding's towards a provider.
    Route(BindingName, ProviderName),
    /// The tenant's.
    Tenant(TenantName),
    /// The tenant's towards a provider.
    TenantRoute(TenantName, ProviderName),
}

impl Owner {
    /// The text under which a count may have been written that is now written under another.
    pub(super) fn former_key(&self) -> Option<String> {
        let (kind, first, second) = match self {
            Self::Route(binding, provider) => ("route", binding.as_str(), provider.as_str()),
            Self::TenantRoute(tenant, provider) => ("tenant-route", tenant.as_str(), provider.as_str()),
            Self::Binding(_) | Self::Tenant(_) => return None,
        };
        first.contains('/').then(|| format!("{kind}/{first}/{second}"))
    }
}

fn pair(f: &mut fmt::Formatter<'_>, kind: &str, first: &str, second: &str) -> fmt::Result {
    let between = if first.contains('/') { ':' } else { '/' };
    write!(f, "{kind}/{first}{between}{second}")
}

impl fmt::Display for Owner {
    /// The key text of facts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binding(binding) => write!(f, "binding/{binding}"),
            Self::Tenant(tenant) => write!(f, "tenant/{tenant}"),
            Self::Route(binding, provider) => pair(f, "route", binding.as_str(), provider.as_str()),
            Self::TenantRoute(tenant, provider) => pair(f, "tenant-route", tenant.as_str(), provider.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn keys_without_a_slash_in_the_first_name_are_as_they_always_were() {
        for (owner, key, former) in [
            (Owner::Binding("mta1".into()), "binding/mta1", None),
            (Owner::Binding("a/b".into()), "binding/a/b", None),
            (Owner::Tenant("acme".into()), "tenant/acme", None),
            (Owner::Route("mta1".into(), "gmail".into()), "route/mta1/gmail", None),
            (Owner::Route("a".into(), "b/c".into()), "route/a/b/c", None),
            (Owner::Route("a/b".into(), "c".into()), "route/a/b:c", Some("route/a/b/c")),
            (Owner::TenantRoute("acme".into(), "gmail".into()), "tenant-route/acme/gmail", None),
            (Owner::TenantRoute("a/b".into(), "c/d".into()), "tenant-route/a/b:c/d", Some("tenant-route/a/b/c/d")),
        ] {
            assert_eq!((owner.to_string().as_str(), owner.former_key().as_deref()), (key, former));
        }
    }

    proptest! {
        #[test]
        fn no_two_owners_share_a_key(names in prop::collection::vec(("[ab/-]{1,4}", "[ab/-]{1,4}", 0u8..4), 2..40)) {
            let mut known: HashMap<String, Owner> = HashMap::new();
            for (first, second, kind) in names {
                let owner = match kind {
                    0 => Owner::Binding(first.as_str().into()),
                    1 => Owner::Tenant(first.as_str().into()),
                    2 => Owner::Route(first.as_str().into(), second.as_str().into()),
                    _ => Owner::TenantRoute(first.as_str().into(), second.as_str().into()),
                };
                let other = known.entry(owner.to_string()).or_insert_with(|| owner.clone());
                prop_assert_eq!(other, &owner);
            }
        }
    }
}
