//! `[feed.NAME]`. No message here repeats an address with its query: there may be a key in it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Context;
use super::context::{is_header_name, place_of, section};
use crate::clock::Wall;
use crate::config::defaults::{
    FEED_BLAST_RADIUS, FEED_BUDGET, FEED_BYTES, FEED_HALF_LIFE, FEED_HEADER, FEED_INTERVAL, FEED_LIST, FEED_MAX_AGE,
    FEED_TIMEOUT, POSTMASTER_SCOPE, POSTMASTER_URL, SNDS_TOKEN_URL, SNDS_URL, WQS_URL, feed_metrics,
};
use crate::config::mistake::Place;
use crate::config::read::{Field, Named, Size};
use crate::config::{Feed, FeedAuth, FeedKind, FeedMetric, FeedRows, FeedScope, Reputation, raw};
use crate::message::{BindingName, Domain, ProviderName};

/// By which reports come late at most, as a rule.
const REPORT_DELAY: Duration = Duration::from_secs(2 * 86_400);
/// Metrics a feed has at most: each is a label.
const MOST_METRICS: usize = 50;

impl Context<'_> {
    pub(super) fn feeds(&mut self, file: &raw::File, reputation: &Reputation) -> Vec<Feed> {
        let named = self.named(&file.feed);
        named.into_iter().filter_map(|(entry, raw)| self.feed(entry, raw, reputation)).collect()
    }

    fn feed(&mut self, entry: &Named<raw::Feed>, raw: &raw::Feed, reputation: &Reputation) -> Option<Feed> {
        let hint = "write kind = \"snds\", \"snds_csv\", \"postmaster\", \"wqs\", \"json\" or \"csv\"";
        let kind = raw.kind.required(&entry.place, "kind", hint, &mut self.out).map(|at| at.value);
        for field in [&raw.interval, &raw.timeout, &raw.half_life, &raw.max_age] {
            self.not_instant(field);
        }
        self.at_least_one(&raw.daily_budget);
        self.within(&raw.blast_radius, 0.0, 1.0);
        if let Some(at) = raw.max_bytes.given().filter(|at| at.value.0 < 1024) {
            self.out.mistake(&at.place, "below 1 KiB: no report fits", "leave it out for 16 MiB");
        }
        if let Some(at) = raw.provider.given() {
            self.providers.refer(&at.value, &at.place, &mut self.out);
        }
        let allow_plain = raw.allow_plain.or(false);
        let kind = kind?;
        self.strays(raw, kind);
        self.feed_provider(entry, raw, kind);
        self.feed_times(raw, kind);
        let url = self.feed_url(entry, raw, kind, allow_plain);
        let auth = self.feed_auth(entry, raw, kind, allow_plain);
        let carried_by = self.carried_by(raw);
        let rows = self.feed_rows(entry, raw, kind);
        let metrics = self.feed_metrics(entry, raw, kind, reputation);
        let midnight = |date: jiff::civil::Date| date.to_zoned(jiff::tz::TimeZone::UTC).ok();
        let expires = raw.credential_expires.value().and_then(|day| midnight(day.0));
        let lists = raw.lists.values();
        let lists = if lists.is_empty() { vec![FEED_LIST.to_owned()] } else { lists };
        if let Some(at) =
            raw.daily_budget.given().filter(|at| (1..2 * lists.len() as u64).contains(&u64::from(at.value)))
        {
            let what = "too small to ask for one address: a list is asked for its test address first";
            let hint = format!("write at least {}, or leave it out for {FEED_BUDGET}", 2 * lists.len());
            self.out.mistake(&at.place, what, hint);
        }
        Some(Feed {
            name: entry.name.clone(),
            kind,
            url: url?,
            interval: raw.interval.or(FEED_INTERVAL),
            timeout: raw.timeout.or(FEED_TIMEOUT),
            max_bytes: raw.max_bytes.or(Size(FEED_BYTES)).0,
            half_life: raw.half_life.or(FEED_HALF_LIFE),
            max_age: raw.max_age.or(FEED_MAX_AGE),
            provider: raw.provider.value().map(|name| ProviderName::new(name.as_str())),
            blast_radius: raw.blast_radius.or(FEED_BLAST_RADIUS),
            networks: raw.networks.values(),
            domains: raw.domains.values(),
            carried_by,
            lists,
            daily_budget: raw.daily_budget.or(FEED_BUDGET),
            auth,
            credential_expires: expires.map(|day| Wall::from(day.timestamp())),
            rows,
            metrics,
        })
    }

    /// Who speaks for one receiver only must not throttle what goes to the others.
    fn feed_provider(&mut self, entry: &Named<raw::Feed>, raw: &raw::Feed, kind: FeedKind) {
        let (who, name) = match kind {
            FeedKind::Snds | FeedKind::SndsCsv => ("Microsoft", "microsoft"),
            FeedKind::Postmaster => ("Google", "gmail"),
            FeedKind::Wqs | FeedKind::Json | FeedKind::Csv => return,
        };
        if raw.provider.is_missing() {
            let what = format!("missing: what {who} says would throttle towards everybody");
            let hint = format!("write the [provider] of its MX hosts, such as provider = \"{name}\"");
            self.out.mistake(&entry.place.key("provider"), what, hint);
        }
    }

    /// What is forgotten before the next report comes is mostly unknown.
    fn feed_times(&mut self, raw: &raw::Feed, kind: FeedKind) {
        let (late, words) = match kind {
            FeedKind::Snds | FeedKind::SndsCsv | FeedKind::Postmaster => {
                (REPORT_DELAY, "interval and the two days that reports come late")
            }
            FeedKind::Wqs | FeedKind::Json | FeedKind::Csv => (Duration::ZERO, "interval"),
        };
        let (max_age, interval) = (raw.max_age.or(FEED_MAX_AGE), raw.interval.or(FEED_INTERVAL));
        let place = place_of(&raw.max_age).or(place_of(&raw.interval));
        if let Some(place) = place.filter(|_| max_age < interval.saturating_add(late)) {
            let what = format!("shorter than {words}: most of the time nothing is known");
            self.out.warning(place, what, "make max_age longer, or interval shorter");
        }
    }

    /// Keys that the kind does not know: they would do nothing.
    fn strays(&mut self, raw: &raw::Feed, kind: FeedKind) {
        use FeedKind::{Csv, Json, Postmaster, Snds, SndsCsv, Wqs};
        let given: [(Option<&Place>, &str, &[FeedKind]); 14] = [
            (place_of(&raw.networks), "networks", &[Snds, SndsCsv, Wqs]),
            (place_of(&raw.domains), "domains", &[Postmaster]),
            (place_of(&raw.carried_by), "carried_by", &[Postmaster, Json, Csv]),
            (place_of(&raw.lists), "lists", &[Wqs]),
            (place_of(&raw.daily_budget), "daily_budget", &[Wqs]),
            (place_of(&raw.secret_file), "secret_file", &[SndsCsv, Wqs, Json, Csv]),
            (place_of(&raw.auth_header), "auth_header", &[Json, Csv]),
            (place_of(&raw.token_file), "token_file", &[Snds]),
            (place_of(&raw.credentials_file), "credentials_file", &[Postmaster]),
            (place_of(&raw.client_id), "client_id", &[Snds]),
            (place_of(&raw.oauth_scope), "oauth_scope", &[Snds, Postmaster]),
            (place_of(&raw.token_url), "token_url", &[Snds, Postmaster]),
            (place_of(&raw.scope), "scope", &[Json, Csv]),
            (place_of(&raw.time), "time", &[Json, Csv]),
        ];
        let only_rows =
            [(place_of(&raw.rows), "rows", &[Json][..]), (place_of(&raw.metric_name), "metric_name", &[Json, Csv])];
        for (place, key, kinds) in given.into_iter().chain(only_rows) {
            let Some(place) = place.filter(|_| !kinds.contains(&kind)) else { continue };
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
            let what = format!("{key} means nothing to a feed of kind {}", kind.as_str());
            self.out.mistake(place, what, format!("leave it out; it is for {}", kinds.join(", ")));
        }
    }

    fn feed_url(&mut self, entry: &Named<raw::Feed>, raw: &raw::Feed, kind: FeedKind, allow: bool) -> Option<String> {
        let customary = match kind {
            FeedKind::Snds => Some(SNDS_URL),
            FeedKind::Postmaster => Some(POSTMASTER_URL),
            FeedKind::Wqs => Some(WQS_URL),
            FeedKind::SndsCsv | FeedKind::Json | FeedKind::Csv => None,
        };
        if let (true, Some(url)) = (raw.url.is_missing(), customary) {
            return Some(url.to_owned());
        }
        let hint = "write the address at which the feed is fetched, such as \"https://feeds.example.org/reputation\"";
        let at = raw.url.required(&entry.place, "url", hint, &mut self.out)?;
        self.web_address(&at.value, &at.place, allow)?;
        if !matches!(kind, FeedKind::Json | FeedKind::Csv) && at.value.contains(['?', '#']) {
            let hint = "write the address without it; a key belongs in secret_file";
            self.out.mistake(&at.place, "this kind of feed appends its own paths: no query can stand here", hint);
        }
        Some(at.value.trim_end_matches('/').to_owned())
    }

    /// Refuses what is no address of the web, and plain HTTP beyond loopback. Never repeats it.
    fn web_address(&mut self, url: &str, place: &Place, allow_plain: bool) -> Option<()> {
        let Some((scheme, host)) = scheme_and_host(url) else {
            self.out.mistake(place, "this is no web address", "write it as \"https://feeds.example.org/reputation\"");
            return None;
        };
        if host.contains('@') {
            self.out.mistake(place, "user and password must not stand in an address", "write them into secret_file");
            return None;
        }
        let name = host.strip_prefix('[').map_or_else(
            || host.rsplit_once(':').map_or(host, |(name, _)| name),
            |rest| rest.split(']').next().unwrap_or(rest),
        );
        let is_loopback = name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) || name == "localhost";
        if scheme == "http" && !is_loopback && !allow_plain {
            let hint = "write https://, or allow_plain = true where you know the way there is safe";
            self.out.mistake(place, "plain HTTP shows the key to everybody on the way", hint);
            return None;
        }
        Some(())
    }

    fn feed_auth(&mut self, entry: &Named<raw::Feed>, raw: &raw::Feed, kind: FeedKind, allow_plain: bool) -> FeedAuth {
        let required: &[(&Field<String>, &str, &str)] = match kind {
            FeedKind::Snds => &[
                (&raw.token_file, "token_file", "write the file that holds the refresh token"),
                (&raw.client_id, "client_id", "write the OAuth client with which the refresh token was got"),
            ],
            FeedKind::SndsCsv => &[(&raw.secret_file, "secret_file", "write the file that holds the key of the link")],
            FeedKind::Postmaster => {
                &[(&raw.credentials_file, "credentials_file", "write the file with the credentials Google gave you")]
            }
            FeedKind::Wqs => &[(&raw.secret_file, "secret_file", "write the file that holds the DQS key")],
            FeedKind::Json | FeedKind::Csv => &[],
        };
        for (field, key, hint) in required {
            field.required(&entry.place, key, hint, &mut self.out);
        }
        if let Some(at) = raw.auth_header.given().filter(|at| !is_header_name(&at.value)) {
            self.out.mistake(&at.place, format!("{:?} is no name of a header", at.value), "");
        }
        if let (Some(at), true) = (raw.auth_header.given(), raw.secret_file.is_missing()) {
            let hint = "add secret_file with the value, or leave auth_header out";
            self.out.mistake(&at.place, "a header without a value", hint);
        }
        if let Some(at) = raw.token_url.given() {
            self.web_address(&at.value, &at.place, allow_plain);
        }
        let client_id = raw.client_id.or(String::new());
        let default_scope = match kind {
            FeedKind::Postmaster => POSTMASTER_SCOPE.to_owned(),
            _ => format!("{client_id}/.default offline_access"),
        };
        let customary = (kind == FeedKind::Snds).then(|| SNDS_TOKEN_URL.to_owned());
        FeedAuth {
            secret_file: self.beside(&raw.secret_file),
            header: raw.auth_header.or(FEED_HEADER.to_owned()),
            token_file: self.beside(&raw.token_file),
            credentials_file: self.beside(&raw.credentials_file),
            oauth_scope: raw.oauth_scope.or(default_scope),
            client_id,
            token_url: raw.token_url.value().cloned().or(customary),
            allow_plain,
        }
    }

    fn carried_by(&mut self, raw: &raw::Feed) -> BTreeMap<Domain, Vec<BindingName>> {
        let mut carried = BTreeMap::new();
        for entry in raw.carried_by.entries() {
            let Ok(domain) = entry.name.parse::<Domain>() else {
                self.out.mistake(&entry.place, format!("{:?} is no domain", entry.name), "write \"news.example.com\"");
                continue;
            };
            let Some(names) = &entry.value else { continue };
            for at in &names.items {
                self.bindings.refer(&at.value, &at.place, &mut self.out);
            }
            carried.insert(domain, names.items.iter().map(|at| BindingName::new(&at.value)).collect());
        }
        carried
    }

    fn feed_rows(&mut self, entry: &Named<raw::Feed>, raw: &raw::Feed, kind: FeedKind) -> Option<FeedRows> {
        let is_json = kind == FeedKind::Json;
        if !is_json && kind != FeedKind::Csv {
            return None;
        }
        let hint = "write scope = { address = \"/ip\" }, or range, domain, tenant or binding";
        let scope = raw.scope.required(&entry.place, "scope", hint, &mut self.out);
        let table = section(&raw.scope);
        let all = [
            (FeedScope::Address, &table.address),
            (FeedScope::Range, &table.range),
            (FeedScope::Domain, &table.domain),
            (FeedScope::Tenant, &table.tenant),
            (FeedScope::Binding, &table.binding),
        ];
        let given: Vec<_> = all.iter().filter_map(|(scope, field)| field.given().map(|at| (*scope, at))).collect();
        if let (Some(at), true) = (scope, given.len() != 1 && all.iter().all(|(_, field)| !field.is_bad())) {
            self.out.mistake(&at.place, format!("names {} kinds of subject instead of one", given.len()), hint);
        }
        let pointers = [&raw.rows, &raw.metric_name, &raw.time];
        let pointers = pointers.into_iter().filter_map(Field::given).chain(given.iter().map(|(_, at)| *at));
        for at in pointers.filter(|at| is_json && !is_pointer(&at.value)) {
            self.no_pointer(&at.value, &at.place);
        }
        let (scope, at) = given.first().copied()?;
        Some(FeedRows {
            rows: raw.rows.or(String::new()),
            scope,
            scope_at: at.value.clone(),
            metric_name: raw.metric_name.value().cloned(),
            time: raw.time.value().cloned(),
        })
    }

    fn no_pointer(&mut self, text: &str, place: &Place) {
        let hint = "write \"/name\", or \"/outer/inner\"; empty is the document itself";
        self.out.mistake(place, format!("{text:?} is no JSON pointer"), hint);
    }

    fn feed_metrics(
        &mut self,
        entry: &Named<raw::Feed>,
        raw: &raw::Feed,
        kind: FeedKind,
        reputation: &Reputation,
    ) -> BTreeMap<String, FeedMetric> {
        let mut metrics: BTreeMap<String, FeedMetric> = feed_metrics(kind, reputation).into_iter().collect();
        let is_generic = matches!(kind, FeedKind::Json | FeedKind::Csv);
        if is_generic && raw.metric.entries().is_empty() && !raw.metric.is_bad() {
            let place = entry.place.key("metric");
            let hint = format!("add [feed.{}.metric.NAME] with value = \"…\" and throttle_above = …", entry.name);
            self.out.mistake(&place, "no metric: nothing would be kept", hint);
        }
        if raw.metric.entries().len() > MOST_METRICS {
            let place = raw.metric.place(&entry.place, "metric");
            self.out.mistake(&place, format!("more than {MOST_METRICS} metrics"), "each is a time series per binding");
        }
        for (own, raw) in self.named(&raw.metric) {
            if !is_generic && !metrics.contains_key(&own.name) {
                let known: Vec<&str> = metrics.keys().map(String::as_str).collect();
                let what = format!("a feed of kind {} has no metric {:?}", kind.as_str(), own.name);
                self.out.mistake(&own.place, what, format!("known: {}", known.join(", ")));
                continue;
            }
            if is_generic {
                let hint = "write where its value stands: a JSON pointer such as \"/score\", or the name of a column";
                let value = raw.value.required(&own.place, "value", hint, &mut self.out);
                if let Some(at) = value.filter(|at| kind == FeedKind::Json && !is_pointer(&at.value)) {
                    self.no_pointer(&at.value, &at.place);
                }
            } else if let Some(at) = raw.value.given() {
                self.out.mistake(&at.place, "where this value stands is known", "leave it out");
            }
            self.not_above(
                (raw.warn_above.or(f64::MIN), place_of(&raw.warn_above)),
                (raw.throttle_above.or(f64::MAX), place_of(&raw.throttle_above)),
                "warn_above is above throttle_above",
            );
            self.not_above(
                (raw.throttle_below.or(f64::MIN), place_of(&raw.throttle_below)),
                (raw.warn_below.or(f64::MAX), place_of(&raw.warn_below)),
                "throttle_below is above warn_below",
            );
            let usual = metrics.entry(own.name.clone()).or_default();
            let set = |field: &Field<f64>, limit: &mut Option<f64>| *limit = field.value().copied().or(*limit);
            set(&raw.warn_above, &mut usual.warn_above);
            set(&raw.warn_below, &mut usual.warn_below);
            set(&raw.throttle_above, &mut usual.throttle_above);
            set(&raw.throttle_below, &mut usual.throttle_below);
            usual.value = raw.value.value().cloned();
        }
        metrics
    }
}

fn is_pointer(text: &str) -> bool {
    text.is_empty() || text.starts_with('/')
}

/// Scheme and authority of a web address.
fn scheme_and_host(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let fine = !host.is_empty() && url.chars().all(|c| !c.is_whitespace() && !c.is_control());
    (fine && (scheme == "https" || scheme == "http")).then_some((scheme, host))
}
