//! Good files and what they say, broken ones and what is said of them, the shipped examples, files nobody would write.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::raw::File;
use super::*;
use crate::config::read::Readable;

const ANNOTATED: &str = include_str!("../../../config/scenarios/annotated.toml");

/// An example with the configuration it runs on.
macro_rules! example {
    ($name:literal) => {
        (
            include_str!(concat!("../../../config/scenarios/", $name, ".toml")),
            include_str!(concat!("../../../config/scenarios/", $name, "-remuda.toml")),
        )
    };
}

/// All examples.
const EXAMPLES: [(&str, &str); 15] = [
    (ANNOTATED, include_str!("../../../config/scenarios/bad-list-remuda.toml")),
    example!("bad-address"),
    example!("bad-list"),
    example!("decline"),
    example!("failover"),
    example!("fleet"),
    example!("loud-list"),
    example!("migration"),
    example!("month"),
    example!("outage"),
    example!("range-block"),
    example!("rotten-list"),
    example!("unequal"),
    example!("warming"),
    example!("warmup"),
];

/// The smallest good scenario, on which the tests of mistakes build.
const SMALL: &str = "days = 3\n[[traffic]]\ntenant = \"a\"\nper_day = 10\nto = { other = 1 }\n";

const CONFIG: &str = r#"
    [server]
    hostname = "relay.example.net"
    state_dir = "/var/lib/remuda"
    [[listener]]
    address = "127.0.0.1:0"
    trust = ["127.0.0.0/8"]
    [binding.mta1]
    bind_address = "192.0.2.1"
    [binding.mta2]
    bind_address = "192.0.2.2"
    warmup = { ladder = "standard", started = 2026-11-02 }
    [binding.mta3]
    bind_address = "192.0.2.3"
    [pool.p]
    active = ["mta1", "mta2", "mta3"]
    [tenant.acme]
    pools = { default = "p", receipts = "p" }
    [provider.gmail]
    mx = ["*.google.com"]
    [monitor.zone.traps]
    zone = "traps.example.org"
"#;

fn shown(result: Result<impl Sized, Mistakes>) -> Vec<String> {
    let mistakes = result.err().map(|error| error.mistakes).unwrap_or_default();
    mistakes.iter().map(|mistake| mistake.to_string().replace("scenario.toml:", "")).collect()
}

#[test]
fn the_examples_fit_their_configurations() {
    for (scenario, config) in EXAMPLES {
        let title = scenario.lines().next().unwrap_or_default();
        let loaded = Config::from_toml(config).unwrap_or_else(|error| panic!("{title}\n{error}"));
        let read = Scenario::from_toml(scenario).unwrap_or_else(|error| panic!("{title}\n{error}"));
        read.check_against(&loaded).unwrap_or_else(|error| panic!("{title}\n{error}"));
        assert!(read.config.is_some() && !read.title.is_empty(), "{title}");
        for traffic in &read.traffic {
            assert!((traffic.to.values().sum::<f64>() - 1.0).abs() < 1e-9, "{title}");
            assert!((traffic.hours.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{title}");
        }
    }
}

/// The reference shows every key there is, none of them commented out.
#[test]
fn the_annotated_example_shows_every_key() {
    let scenario = Scenario::from_toml(ANNOTATED).unwrap_or_else(|error| panic!("{error}"));
    let mut known = Vec::new();
    File::keys("", &mut known);
    let plain = |path: &str| {
        let mut plain = String::new();
        let mut inside = false;
        for c in path.chars() {
            match c {
                '[' => (plain.push_str("[]"), inside = true).1,
                ']' => inside = false,
                c if !inside => plain.push(c),
                _ => {}
            }
        }
        let mut parts: Vec<&str> = plain.split('.').collect();
        for at in 1..parts.len() {
            let named = ["receiver", "list"].contains(&parts[0]) && at == 1;
            if named || ["to", "knows"].contains(&parts[at - 1]) {
                parts[at] = "NAME";
            }
        }
        parts.join(".")
    };
    let written: BTreeSet<String> = scenario.written.keys.keys().map(|path| plain(path)).collect();
    let missing: Vec<&String> = known.iter().filter(|key| !written.contains(*key)).collect();
    assert!(missing.is_empty(), "not shown: {missing:?}\nof {written:#?}");
}

/// What it says after "The values here are those of gmail" is true.
#[test]
fn the_annotated_example_shows_the_figures_of_its_preset() {
    let scenario = Scenario::from_toml(ANNOTATED).unwrap_or_else(|error| panic!("{error}"));
    let written = scenario.receivers["gmail"].clone();
    let preset = ReceiverModel::gmail();
    let ReceiverModel { greylist: _, asks: _, knows: _, .. } = &written;
    let same =
        ReceiverModel { greylist: preset.greylist, asks: preset.asks.clone(), knows: preset.knows.clone(), ..written };
    assert_eq!(format!("{same:?}"), format!("{preset:?}"));
    assert_eq!(scenario.lists[&ZoneName::new("traps")], ListModel::TYPICAL);
}

#[test]
fn what_is_not_written_has_its_default() {
    let scenario = Scenario::from_toml(SMALL).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((scenario.seed, scenario.days), (1, 3));
    assert_eq!(scenario.start.weekday(), jiff::civil::Weekday::Monday);
    let traffic = &scenario.traffic[0];
    assert_eq!((traffic.stream.as_str(), traffic.recipients_per_message, traffic.days.clone()), ("default", 1, 0..3));
    assert_eq!(traffic.quality, Quality::AVERAGE);
    assert_eq!(scenario.receivers[OTHER].voice, Voice::Plain, "a receiver that is only named");
}

#[test]
fn presets_are_taken_and_single_keys_laid_over_them() {
    let text = format!(
        "{SMALL}[receiver.gmail]\nblock_for = \"2h\"\n[receiver.tiny]\npreset = \"yahoo\"\nmax_connections = false\n\
         greylist = {{ share = 0.5 }}\nasks = [\"z\"]\n"
    );
    let scenario = Scenario::from_toml(&text).unwrap_or_else(|error| panic!("{error}"));
    let gmail = &scenario.receivers["gmail"];
    assert_eq!((gmail.voice, gmail.block_for), (Voice::Gmail, Duration::from_secs(7200)));
    let tiny = &scenario.receivers["tiny"];
    assert_eq!((tiny.voice, tiny.max_connections, tiny.feedback_loop), (Voice::Yahoo, None, true));
    assert_eq!(tiny.greylist, Some((0.5, Duration::from_secs(300))));
    assert_eq!(scenario.lists[&ZoneName::new("z")], ListModel::TYPICAL, "a list that is only named");
}

#[test]
fn events_are_read() {
    let text = format!(
        "{SMALL}[[event]]\nat = \"1d 10:00\"\nfor = \"6h\"\nblock = {{ receiver = \"gmail\", bindings = [\"m1\", \"m2\"] }}\n\
         [[event]]\nat = \"2d\"\nquality = {{ tenant = \"a\", preset = \"bad\", traps = 0.5 }}\n\
         [[event]]\nat = \"2h\"\ncrash = true\n"
    );
    let scenario = Scenario::from_toml(&text).unwrap_or_else(|error| panic!("{error}"));
    let hour = 3600;
    let [block, quality, crash] = &scenario.events[..] else { panic!("{:?}", scenario.events) };
    assert_eq!((block.at.as_secs(), block.lasts), (34 * hour, Some(Duration::from_secs(6 * hour))));
    let bindings = ["m1", "m2"].map(BindingName::new).to_vec();
    assert_eq!(block.what, Happening::Block { receiver: "gmail".into(), bindings });
    let bad = Quality { traps: 0.5, ..Quality::BAD };
    assert_eq!(quality.what, Happening::Quality { tenant: "a".into(), quality: bad });
    assert_eq!((crash.at.as_secs(), &crash.what), (2 * hour, &Happening::Crash));
}

#[test]
fn names_go_sour_lists_die_and_receivers_go_in_many_ways() {
    let text = format!(
        "{SMALL}[[event]]\nat = \"1d\"\nsour = {{ binding = \"m1\", reputation = 0.25 }}\n\
         [[event]]\nat = \"1d\"\ndecline = {{ binding = \"m1\", receiver = \"gmail\", per_day = 0.2 }}\n\
         [[event]]\nat = \"1d\"\nrange = {{ receiver = \"yahoo\", bindings = [\"m1\"] }}\n\
         [[event]]\nat = \"1d\"\noutage = \"other\"\n\
         [[event]]\nat = \"1d\"\noutage = {{ receiver = \"other\", how = \"unknown_users\" }}\n\
         [[event]]\nat = \"1d\"\ndies = {{ list = \"z\" }}\n\
         [[event]]\nat = \"1d\"\ndies = {{ list = \"y\", how = \"refusing\", receivers_believe = true }}\n\
         [truth]\nbindings = [\"m1\"]\nat_risk = [\"m2\"]\nfrom = \"1d\"\n"
    );
    let scenario = Scenario::from_toml(&text).unwrap_or_else(|error| panic!("{error}"));
    let what: Vec<Happening> = scenario.events.iter().map(|event| event.what.clone()).collect();
    let dies = |zone: &str, how, receivers_believe| Happening::Dies { zone: zone.into(), how, receivers_believe };
    let gone = |how| Happening::Outage { receiver: OTHER.into(), how };
    let expected = [
        Happening::Sour { binding: "m1".into(), receivers: Vec::new(), reputation: 0.25 },
        Happening::Decline { binding: "m1".into(), receiver: "gmail".into(), per_day: 0.2 },
        Happening::Range { receiver: "yahoo".into(), bindings: vec!["m1".into()] },
        gone(Outage::Down),
        gone(Outage::UnknownUsers),
        dies("z", Death::Loud, false),
        dies("y", Death::Refusing, true),
    ];
    assert_eq!(what, expected);
    assert!(scenario.receivers.contains_key("gmail") && scenario.receivers.contains_key("yahoo"), "named only there");
    assert_eq!(scenario.lists.len(), 2);
    let truth = Truth {
        bindings: vec!["m1".into()],
        at_risk: vec!["m2".into()],
        from: Duration::from_secs(86_400),
        ..Truth::default()
    };
    assert_eq!(scenario.truth, Some(truth));
}

/// The page on the models is read as a table of keys and presets: what it says is what the program does.
#[test]
fn the_page_on_the_models_tells_the_figures_of_the_presets() {
    const PAGE: &str = include_str!("../../../docs/simulation.md");
    let rows: Vec<Vec<&str>> = PAGE
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    for (column, preset) in ReceiverModel::PRESETS.iter().enumerate() {
        let keys = rows.iter().map(|row| format!("{} = {}\n", row[0].trim_matches('`'), row[column + 1]));
        // Keys that were forgotten would come from here and show.
        let base = if *preset == "lenient" { "gmail" } else { "lenient" };
        let text = format!("{SMALL}[receiver.gmail]\npreset = {base:?}\n{}", keys.collect::<String>());
        let told = Scenario::from_toml(&text).unwrap_or_else(|error| panic!("{error}"));
        let model = ReceiverModel::preset(preset).expect("a preset");
        assert_eq!(format!("{:?}", told.receivers["gmail"]), format!("{model:?}"), "{preset}");
    }
}

#[test]
fn every_mistake_is_named_with_line_path_and_hint() {
    for (more, mistake) in [
        ("[receiver.gmail]\ngrwoth = 2\n", "7:1: receiver.gmail.grwoth: unknown key; did you mean \"growth\"?"),
        ("[receiver.gmail]\ngrowth = 0.5\n", "7:10: receiver.gmail.growth: 0.5 is out of range; from 1 to 1000"),
        (
            "[receiver.gmail]\npreset = \"gmial\"\n",
            "7:10: receiver.gmail.preset: no preset \"gmial\"; did you mean \"gmail\"?",
        ),
        (
            "[receiver.gmail]\nblock_below = 0.9\n",
            "7:15: receiver.gmail.block_below: blocks below 0.9, but defers only below 0.5; block_below must not be above \
             defer_below",
        ),
        (
            "[receiver.gmail]\nmax_connections = 0\n",
            "7:19: receiver.gmail.max_connections: takes no connection at all; write false for no limit",
        ),
        (
            "[receiver.gmail]\nknows = \"all\"\n",
            "7:9: receiver.gmail.knows: expected a number or a table, found a text; write recipients a day, or { BINDING = 15_000, \"*\" = 3_000 }",
        ),
        (
            "[list.z]\ncode = \"10.0.0.1\"\n",
            "7:8: list.z.code: 10.0.0.1 is no return code; write one such as \"127.0.0.2\"",
        ),
        ("[list.z]\ntrap_hits = 0\n", "7:13: list.z.trap_hits: 0 is out of range; from 1 to 10000"),
        (
            "[[event]]\nat = \"noon\"\ncrash = true\n",
            "7:6: event[0].at: \"noon\" is no moment; write the day from 0 and the time, such as \"3d 10:00\", or a duration \
             such as \"3d10h\"",
        ),
        ("[[event]]\nat = \"3d 00:00\"\ncrash = true\n", "7:6: event[0].at: the scenario lasts 3 days"),
        (
            "[[event]]\nat = \"1d\"\n",
            "6:1: event[0]: an event is one thing that happens; write one of block, range, sour, decline, outage, \
             listing, dies, suspend, quality, volume, crash",
        ),
        (
            "[[event]]\nat = \"1d\"\ncrash = true\nfor = \"1h\"\n",
            "9:7: event[0].for: a crash takes no time; leave it out",
        ),
        (
            "[[event]]\nat = \"1d\"\nblock = { receiver = \"gmail\" }\n",
            "8:9: event[0].block.bindings: missing; write bindings = [\"mta1\"]",
        ),
        (
            "[[event]]\nat = \"1d\"\nvolume = { tenant = \"b\", factor = 2 }\n",
            "8:21: event[0].volume.tenant: tenant \"b\" has no traffic here; known: a",
        ),
        ("[[event]]\nat = \"1d\"\nrange = { bindings = [\"m1\"] }\n", "8:9: event[0].range.receiver: missing"),
        (
            "[[event]]\nat = \"1d\"\nsour = { binding = \"m1\" }\n",
            "8:8: event[0].sour.reputation: missing; no higher than this, such as 0.1",
        ),
        (
            "[[event]]\nat = \"1d\"\nsour = { binding = \"m1\", receivers = [], reputation = 0.1 }\n",
            "8:38: event[0].sour.receivers: no receivers; leave it out for all",
        ),
        (
            "[[event]]\nat = \"1d\"\nsour = { binding = \"m1\", reputation = 10 }\n",
            "8:39: event[0].sour.reputation: 10 is out of range; from 0 to 1",
        ),
        (
            "[[event]]\nat = \"1d\"\ndecline = { binding = \"m1\", receiver = \"other\" }\n",
            "8:11: event[0].decline.per_day: missing; how much reputation a day costs, such as 0.25",
        ),
        (
            "[[event]]\nat = \"1d\"\noutage = { receiver = \"other\", how = \"slient\" }\n",
            "8:38: event[0].outage.how: \"slient\" is not known here; did you mean \"silent\"?",
        ),
        (
            "[[event]]\nat = \"1d\"\noutage = 3\n",
            "8:10: event[0].outage: expected a receiver or a table, found a whole number; write outage = \"gmail\" or \
             { receiver = \"gmail\", how = \"silent\" }",
        ),
        (
            "[[event]]\nat = \"1d\"\ndies = { list = \"z\", how = \"silent\", receivers_believe = true }\n",
            "8:58: event[0].dies.receivers_believe: there is no answer to believe; only loud, parked and refusing lists \
             give one",
        ),
        (
            "[truth]\nfrom = \"2d\"\nuntil = \"1d\"\n",
            "8:9: truth.until: it would be over before it begins; leave it out where it does not end",
        ),
        ("[truth]\nfrom = \"9d\"\n", "7:8: truth.from: the scenario lasts 3 days"),
        (
            "[truth]\nbindings = [\"m1\", \"m2\"]\nat_risk = [\"m2\"]\n",
            "8:12: truth.at_risk[0]: it is among the bindings that are bad; leave it out here",
        ),
        (
            "[truth]\nreceivers = [\"other\"]\n",
            "7:13: truth.receivers: no bindings are named that are bad there; write bindings = [\"mta1\"]",
        ),
        (
            "[[traffic]]\ntenant = \"a\"\nper_day = 1\nto = { gmail = 0.4, other = 0.5 }\n",
            "9:6: traffic[1].to: the shares add up to 0.900, not 1; write { gmail = 0.4, other = 0.6 }",
        ),
        ("[[traffic]]\ntenant = \"a\"\nto = { other = 1 }\n", "6:1: traffic[1].per_day: missing; recipients a day"),
        (
            "[[traffic]]\ntenant = \"a\"\nper_day = 1\nto = { other = 1 }\ndays = \"3-\"\n",
            "10:8: traffic[1].days: the scenario ends before day 3; its last day is 2",
        ),
        (
            "[[traffic]]\ntenant = \"a\"\nper_day = 1\nto = { other = 1 }\nrest_days = [\"sunday\"]\n",
            "10:14: traffic[1].rest_days[0]: \"sunday\" is not known here; write one of \"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"",
        ),
        (
            "[[traffic]]\ntenant = \"a\"\nper_day = 1\nto = { other = 1 }\nhours = \"offcie\"\n",
            "10:9: traffic[1].hours: \"offcie\" are no hours; write \"even\", \"office\", \"burst\", or 24 numbers: the share \
             of each hour of the day",
        ),
        (
            "[[traffic]]\ntenant = \"a\"\nper_day = 1\nto = { other = 1 }\nquality = { invalid = 0.9, traps = 0.2 }\n",
            "10:36: traffic[1].quality.traps: invalid and traps together are more than all",
        ),
    ] {
        assert_eq!(shown(Scenario::from_toml(&format!("{SMALL}{more}"))), [mistake], "{more}");
    }
}

#[test]
fn all_mistakes_are_found_in_one_run() {
    let text = "seed = -1\nstart = 2026-13-01\n[[traffic]]\ntennant = \"a\"\nper_day = \"many\"\nto = { x = 2 }\n[recever.x]\n";
    let found = shown(Scenario::from_toml(text));
    for (number, part) in ["TOML", "seed", "days: missing", "tennant", "per_day", "to.x", "recever"].iter().enumerate()
    {
        let is_syntax = number == 0;
        assert_eq!(found.iter().any(|mistake| mistake.contains(part)), is_syntax, "{part}: {found:#?}");
    }
    let found = shown(Scenario::from_toml(&text.replace("2026-13-01", "\"2026-13-01\"")));
    for part in ["seed", "start", "days: missing", "tennant", "per_day", "to.x", "recever", "tenant: missing"] {
        assert!(found.iter().any(|mistake| mistake.contains(part)), "{part}: {found:#?}");
    }
}

#[test]
fn a_shift_moves_events_and_truth_alike_by_what_the_seed_says_and_once() {
    let text = format!(
        "shift = \"2h\"\n{SMALL}[[event]]\nat = \"1d\"\nfor = \"3h\"\noutage = \"other\"\n\
         [truth]\nfrom = \"1d\"\nuntil = \"1d 03:00\"\n"
    );
    let settled = |seed| {
        let mut scenario = Scenario::from_toml(&text).unwrap_or_else(|error| panic!("{error}"));
        scenario.seed = seed;
        scenario.settle();
        let once = scenario.events[0].at;
        scenario.settle();
        assert_eq!(scenario.events[0].at, once);
        let truth = scenario.truth.expect("it has one");
        assert_eq!((truth.from, truth.until), (once, Some(once + Duration::from_secs(3 * 3600))));
        assert_eq!(scenario.events[0].lasts, Some(Duration::from_secs(3 * 3600)));
        once
    };
    let moments: BTreeSet<Duration> = (1..=50).map(settled).collect();
    assert!(moments.len() > 45 && settled(7) == settled(7));
    let day = Duration::from_secs(86_400);
    assert!(moments.iter().all(|at| (day..day + Duration::from_secs(7_200)).contains(at)), "{moments:?}");
    let long = shown(Scenario::from_toml(&text.replace("2h", "2d")));
    assert_eq!(long, ["1:9: shift: longer than a day; what is meant to move by days is another scenario"]);
}

#[test]
fn an_empty_file_says_what_is_needed() {
    let found = shown(Scenario::from_toml(""));
    assert_eq!(
        found,
        [
            "1:1: days: missing; how many days it lasts, such as 30",
            "1:1: traffic: no traffic; add [[traffic]] with tenant, per_day and to",
        ]
    );
}

#[test]
fn names_that_the_configuration_does_not_have_are_told_by_line() {
    let config = Config::from_toml(CONFIG).unwrap_or_else(|error| panic!("{error}"));
    let text = r#"days = 3
[[traffic]]
tenant = "acmee"
per_day = 10
to = { gmial = 0.5, other = 0.5 }
[[traffic]]
tenant = "acme"
stream = "receipt"
per_day = 10
to = { gmail = 1 }
[receiver.gmail]
asks = ["trap"]
knows = { mat1 = 5 }
[list.tarps]
[[event]]
at = "1d"
block = { receiver = "yahoo", bindings = ["mta1", "mta4"] }
[[event]]
at = "1d"
listing = { list = "x", bindings = ["mta1"] }
[[event]]
at = "1d"
suspend = "mta"
[[event]]
at = "1d"
sour = { binding = "mta4", receivers = ["gmail", "yahoo"], reputation = 0.1 }
[[event]]
at = "1d"
decline = { binding = "mta9", receiver = "yahu", per_day = 0.1 }
[[event]]
at = "1d"
outage = { receiver = "hotmail" }
[[event]]
at = "1d"
range = { receiver = "other", bindings = ["nta1"] }
[[event]]
at = "1d"
dies = { list = "trops" }
[truth]
bindings = ["mta7"]
receivers = ["gmali"]
tenants = ["acne"]
at_risk = ["mta1", "mta8"]
"#;
    let scenario = Scenario::from_toml(text).unwrap_or_else(|error| panic!("{error}"));
    let found = shown(scenario.check_against(&config));
    assert_eq!(
        found,
        [
            "3:1: traffic[0].tenant: the configuration has no tenant \"acmee\"; did you mean \"acme\"?",
            "5:8: traffic[0].to.gmial: the configuration has no provider \"gmial\"; did you mean \"gmail\"?",
            "8:1: traffic[1].stream: tenant \"acme\" has no stream \"receipt\"; did you mean \"receipts\"?",
            "12:9: receiver.gmail.asks[0]: the configuration has no monitor zone \"trap\"; did you mean \"traps\"?",
            "13:11: receiver.gmail.knows.mat1: the configuration has no binding \"mat1\"; did you mean \"mta1\"?",
            "14:7: list.tarps: the configuration has no monitor zone \"tarps\"; did you mean \"traps\"?",
            "17:11: event[0].block.receiver: the configuration has no provider \"yahoo\"; known: gmail",
            "17:51: event[0].block.bindings[1]: the configuration has no binding \"mta4\"; did you mean \"mta1\"?",
            "20:13: event[1].listing.list: the configuration has no monitor zone \"x\"; known: traps",
            "23:1: event[2].suspend: the configuration has no binding \"mta\"; did you mean \"mta1\"?",
            "26:10: event[3].sour.binding: the configuration has no binding \"mta4\"; did you mean \"mta1\"?",
            "26:50: event[3].sour.receivers[1]: the configuration has no provider \"yahoo\"; known: gmail",
            "29:13: event[4].decline.binding: the configuration has no binding \"mta9\"; did you mean \"mta1\"?",
            "29:31: event[4].decline.receiver: the configuration has no provider \"yahu\"; known: gmail",
            "32:12: event[5].outage.receiver: the configuration has no provider \"hotmail\"; known: gmail",
            "35:43: event[6].range.bindings[0]: the configuration has no binding \"nta1\"; did you mean \"mta1\"?",
            "38:10: event[7].dies.list: the configuration has no monitor zone \"trops\"; did you mean \"traps\"?",
            "40:13: truth.bindings[0]: the configuration has no binding \"mta7\"; did you mean \"mta1\"?",
            "41:14: truth.receivers[0]: the configuration has no provider \"gmali\"; did you mean \"gmail\"?",
            "42:12: truth.tenants[0]: the configuration has no tenant \"acne\"; did you mean \"acme\"?",
            "43:20: truth.at_risk[1]: the configuration has no binding \"mta8\"; did you mean \"mta1\"?",
        ]
    );
}

#[test]
fn a_receiver_knows_the_warm_and_those_it_is_told_of() {
    let config = Config::from_toml(CONFIG).unwrap_or_else(|error| panic!("{error}"));
    let addresses = |knows: &str| {
        let text = format!("{SMALL}[receiver.gmail]\nknows = {knows}\n");
        let scenario = Scenario::from_toml(&text).unwrap_or_else(|error| panic!("{error}"));
        let known = scenario.receivers["gmail"].knows.addresses(&config);
        known.iter().map(|(address, volume)| format!("{address} {volume}")).collect::<Vec<_>>()
    };
    assert_eq!(addresses("500"), ["192.0.2.1 500", "192.0.2.3 500"], "not the one in warm-up");
    assert_eq!(addresses("{ mta2 = 7 }"), ["192.0.2.2 7"]);
    assert_eq!(addresses("{ \"*\" = 500, mta3 = 0 }"), ["192.0.2.1 500"]);
    assert_eq!(addresses("0"), [] as [&str; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_text_panics(text in "\\PC{0,80}|([a-z.\\[\\]{}=\", \n0-9]{0,120})") {
        let _ = Scenario::from_toml(&text);
    }

    /// The annotated example with a piece cut out and another put in somewhere.
    #[test]
    fn no_damaged_example_panics(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, "|0|-1|1e999|nan|\"\"|\\[\\]|\\{\\}|true|\"x:y\"|99999999999999999999"), 1..4)
    ) {
        let kept: Vec<&str> = ANNOTATED.lines().filter(|line| !line.starts_with('#')).collect();
        let mut text: Vec<char> = kept.join("\n").chars().collect();
        for (at, length, piece) in cuts {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, piece.chars());
        }
        read_and_check(&text.into_iter().collect::<String>());
    }

    /// One value replaced by one of another kind: the file stays TOML, so that every check runs.
    #[test]
    fn no_wrong_value_panics(at in any::<prop::sample::Index>(), piece in "0|-1|1e999|nan|-0.0|\"\"|\\[\\]|\\{\\}|true|false|\"x:y\"|\"9999999d 9:00\"|2026-11-01|9223372036854775807|\\[\\[1\\]\\]|\\{a=1\\}") {
        let mut lines: Vec<String> = ANNOTATED.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        let keys: Vec<usize> = (0..lines.len()).filter(|i| lines[*i].contains(" = ")).collect();
        let chosen = keys[at.index(keys.len())];
        let key = lines[chosen].split(" = ").next().unwrap_or_default().to_owned();
        lines[chosen] = format!("{key} = {piece}");
        read_and_check(&lines.join("\n"));
    }
}

/// Neither reading nor comparing panics, and every mistake has a place in the file.
fn read_and_check(text: &str) {
    let config = Config::from_toml(CONFIG).unwrap_or_else(|error| panic!("{error}"));
    let result = Scenario::from_toml(text).and_then(|scenario| scenario.check_against(&config));
    if let Err(error) = result {
        assert!(!error.mistakes.is_empty());
        assert!(error.mistakes.iter().all(|m| m.line >= 1 && m.column >= 1 && m.line <= text.lines().count() + 1));
    }
}
