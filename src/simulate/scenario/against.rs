//! Whether a scenario fits a configuration: every name it uses has to exist there.

use super::{Event, Happening, OTHER, Scenario, Truth, Written};
use crate::config::mistake::{Findings, Place, join};
use crate::config::tree::SourceFile;
use crate::config::{Config, Mistakes};
use crate::message::{BindingName, ProviderName};

/// What is wrong with `scenario` beside `config`.
pub(super) fn check(scenario: &Scenario, config: &Config) -> Result<(), Mistakes> {
    let written = &scenario.written;
    let mut check = Check::new(written, config);
    for (index, traffic) in scenario.traffic.iter().enumerate() {
        let path = format!("traffic[{index}]");
        check.stream(traffic.tenant.as_str(), traffic.stream.as_str(), &path);
    }
    for (name, model) in &scenario.receivers {
        let path = join("receiver", name);
        // A receiver that has no table is first named by traffic, or else by an event.
        let traffic = (0..scenario.traffic.len()).map(|index| join(&format!("traffic[{index}].to"), name));
        let named = std::iter::once(path.clone()).chain(traffic).find(|path| written.keys.contains_key(path));
        if let Some(named) = named.filter(|_| name != OTHER) {
            check.name("provider", name, &named);
        }
        for (index, zone) in model.asks.iter().enumerate() {
            check.name("monitor zone", zone.as_str(), &format!("{path}.asks[{index}]"));
        }
        for binding in model.knows.bindings.keys() {
            check.name("binding", binding.as_str(), &join(&format!("{path}.knows"), binding.as_str()));
        }
    }
    for zone in scenario.lists.keys() {
        let path = join("list", zone.as_str());
        if written.keys.contains_key(&path) {
            check.name("monitor zone", zone.as_str(), &path);
        }
    }
    for (index, event) in scenario.events.iter().enumerate() {
        check.event(event, &format!("event[{index}]"));
    }
    if let Some(truth) = &scenario.truth {
        check.truth(truth);
    }
    check.verdict()
}

struct Check<'a> {
    written: &'a Written,
    config: &'a Config,
    providers: Vec<&'a str>,
    bindings: Vec<&'a str>,
    tenants: Vec<&'a str>,
    zones: Vec<&'a str>,
    out: Findings,
}

impl<'a> Check<'a> {
    fn new(written: &'a Written, config: &'a Config) -> Self {
        Self {
            written,
            config,
            providers: config.providers.iter().map(|provider| provider.name.as_str()).collect(),
            bindings: config.bindings.iter().map(|binding| binding.name.as_str()).collect(),
            tenants: config.tenants.iter().map(|tenant| tenant.name.as_str()).collect(),
            zones: config.monitor.zones.iter().map(|zone| zone.name.as_str()).collect(),
            out: Findings::default(),
        }
    }

    fn place(&self, path: &str) -> Place {
        Place { file: 0, offset: self.written.keys.get(path).copied().unwrap_or_default(), path: path.to_owned() }
    }

    /// Refuses a name of which there is none.
    fn name(&mut self, kind: &str, name: &str, path: &str) {
        let known = match kind {
            "provider" => &self.providers,
            "binding" => &self.bindings,
            "tenant" => &self.tenants,
            _ => &self.zones,
        };
        if known.contains(&name) {
            return;
        }
        let hint = match (kind, known.is_empty()) {
            ("provider", true) => format!("it has none; {OTHER:?} is for everybody"),
            (_, true) => "it has none".to_owned(),
            _ => self.out.suggest_name(name, known),
        };
        let place = self.place(path);
        self.out.mistake(&place, format!("the configuration has no {kind} {name:?}"), hint);
    }

    fn stream(&mut self, tenant: &str, stream: &str, path: &str) {
        self.name("tenant", tenant, &format!("{path}.tenant"));
        let Some(tenant) = self.config.tenants.iter().find(|known| known.name.as_str() == tenant) else { return };
        if tenant.pools.keys().any(|known| known.as_str() == stream) {
            return;
        }
        let known: Vec<&str> = tenant.pools.keys().map(|known| known.as_str()).collect();
        let hint = self.out.suggest_name(stream, &known);
        let place = self.place(&format!("{path}.stream"));
        self.out.mistake(&place, format!("tenant {:?} has no stream {stream:?}", tenant.name.as_str()), hint);
    }

    fn bindings(&mut self, bindings: &[BindingName], path: &str) {
        for (index, binding) in bindings.iter().enumerate() {
            self.name("binding", binding.as_str(), &format!("{path}.bindings[{index}]"));
        }
    }

    fn event(&mut self, event: &Event, path: &str) {
        match &event.what {
            Happening::Block { receiver, bindings } => {
                self.receiver(receiver.as_str(), &format!("{path}.block.receiver"));
                self.bindings(bindings, &format!("{path}.block"));
            }
            Happening::Range { receiver, bindings } => {
                self.receiver(receiver.as_str(), &format!("{path}.range.receiver"));
                self.bindings(bindings, &format!("{path}.range"));
            }
            Happening::Sour { binding, receivers, .. } => {
                self.name("binding", binding.as_str(), &format!("{path}.sour.binding"));
                self.receivers(receivers, &format!("{path}.sour"));
            }
            Happening::Decline { binding, receiver, .. } => {
                self.name("binding", binding.as_str(), &format!("{path}.decline.binding"));
                self.receiver(receiver.as_str(), &format!("{path}.decline.receiver"));
            }
            Happening::Outage { receiver, .. } => {
                let [plain, table] = [format!("{path}.outage"), format!("{path}.outage.receiver")];
                let is_table = self.written.keys.contains_key(&table);
                self.receiver(receiver.as_str(), if is_table { &table } else { &plain });
            }
            Happening::Dies { zone, .. } => self.name("monitor zone", zone.as_str(), &format!("{path}.dies.list")),
            Happening::Listing { zone, bindings } => {
                self.name("monitor zone", zone.as_str(), &format!("{path}.listing.list"));
                self.bindings(bindings, &format!("{path}.listing"));
            }
            Happening::Suspend { binding } => self.name("binding", binding.as_str(), &format!("{path}.suspend")),
            Happening::Quality { tenant, .. } => {
                self.name("tenant", tenant.as_str(), &format!("{path}.quality.tenant"))
            }
            Happening::Volume { tenant, .. } => self.name("tenant", tenant.as_str(), &format!("{path}.volume.tenant")),
            Happening::Crash => {}
        }
    }

    fn truth(&mut self, truth: &Truth) {
        self.bindings(&truth.bindings, "truth");
        self.receivers(&truth.receivers, "truth");
        for (index, binding) in truth.at_risk.iter().enumerate() {
            self.name("binding", binding.as_str(), &format!("truth.at_risk[{index}]"));
        }
        for (index, tenant) in truth.tenants.iter().enumerate() {
            self.name("tenant", tenant.as_str(), &format!("truth.tenants[{index}]"));
        }
    }

    fn receivers(&mut self, receivers: &[ProviderName], path: &str) {
        for (index, receiver) in receivers.iter().enumerate() {
            self.receiver(receiver.as_str(), &format!("{path}.receivers[{index}]"));
        }
    }

    fn receiver(&mut self, name: &str, path: &str) {
        if name != OTHER {
            self.name("provider", name, path);
        }
    }

    fn verdict(self) -> Result<(), Mistakes> {
        if self.out.is_clean() {
            return Ok(());
        }
        let files = [SourceFile { path: self.written.path.clone(), text: self.written.text.clone() }];
        let (mistakes, warnings) = self.out.locate(&files);
        Err(Mistakes { mistakes, warnings, named: Box::default() })
    }
}
