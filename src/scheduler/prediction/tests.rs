use super::toy::*;

const DAY: u64 = 24 * 60;

fn show(name: &str, out: &Outcome) {
    let parts: Vec<String> = out.parts.iter().step_by(3).map(|p| format!("{:.2}", p[0])).collect();
    println!(
        "{name:10} accepted {:.4} blamed {:5} moves {:?} parts0 {}",
        out.accepted as f64 / out.sent as f64,
        out.blamed,
        out.moves,
        parts.join(" ")
    );
}

type Chances<'a> = (&'a str, usize, f64, &'a dyn Fn(usize, u64, f64) -> Odds);

fn worlds() -> Vec<Chances<'static>> {
    vec![
        ("equal, 8 x 50/min", 8, 50.0, &|_, _, _| WELL),
        ("equal, 8 x 400/min", 8, 400.0, &|_, _, _| WELL),
        ("equal, 8 x 2/min", 8, 2.0, &|_, _, _| WELL),
        ("all deferred 30%", 8, 50.0, &|_, _, _| deferring(0.3)),
        ("all deferred 30%, 400/min", 8, 400.0, &|_, _, _| deferring(0.3)),
        ("outage 70% for 3 h", 8, 50.0, &|_, m, _| if (600..780).contains(&m) { deferring(0.7) } else { WELL }),
        ("one of 4 at 10%", 4, 100.0, &|b, _, _| if b == 0 { deferring(0.9) } else { WELL }),
        ("slow decline", 8, 50.0, &|b, m, _| {
            let worse = if b == 0 { (m as f64 / DAY as f64).min(1.0) } else { 0.0 };
            Odds { deferred: 0.02 + 0.6 * worse, blamed: 0.1 * worse * worse }
        }),
        ("slow decline, 5/min", 8, 5.0, &|b, m, _| {
            let worse = if b == 0 { (m as f64 / DAY as f64).min(1.0) } else { 0.0 };
            Odds { deferred: 0.02 + 0.6 * worse, blamed: 0.1 * worse * worse }
        }),
        ("block at noon", 8, 50.0, &|b, m, _| {
            if b == 0 && m > 720 { Odds { deferred: 0.1, blamed: 0.9 } } else { WELL }
        }),
        ("block 2 h", 8, 50.0, &|b, m, _| {
            if b == 0 && (600..720).contains(&m) { Odds { deferred: 0.1, blamed: 0.9 } } else { WELL }
        }),
        ("own load, 2", 2, 200.0, &|b, _, share| {
            if b == 0 { deferring((1.0 * (share - 0.1).max(0.0)).min(1.0)) } else { deferring(0.0) }
        }),
        ("own load steep, 4", 4, 200.0, &|b, _, share| {
            if b == 0 { deferring((10.0 * (share - 0.1).max(0.0)).min(1.0)) } else { deferring(0.0) }
        }),
        ("blame by load, 8", 8, 50.0, &|b, _, share| {
            if b == 0 { Odds { deferred: 0.02, blamed: (2.0 * (share - 0.06)).clamp(0.0, 1.0) } } else { WELL }
        }),
        ("1% blamed, one", 8, 50.0, &|b, _, _| if b == 0 { Odds { deferred: 0.03, blamed: 0.01 } } else { WELL }),
        ("0.5% blamed, all", 8, 50.0, &|_, _, _| Odds { deferred: 0.03, blamed: 0.005 }),
    ]
}

#[test]
#[ignore = "prints"]
fn compare() {
    for (name, n, mail, odds) in worlds() {
        println!("-- {name}");
        show("even", &run(&mut Even, n, mail, (0, DAY), 5, odds));
        show("former", &run(&mut former(n), n, mail, (0, DAY), 5, odds));
        let present = run(&mut Present::new(n, 7), n, mail, (0, DAY), 5, odds);
        show("present", &present);
        let totals: Vec<u64> = (0..n).map(|b| present.hours.iter().map(|h| h[b]).sum()).collect();
        println!("           {totals:?}");
    }
}

#[test]
#[ignore = "prints"]
fn inside() {
    for (name, deferred) in [("30%", 0.3), ("2%", 0.02)] {
        let mut present = Present::new(8, 7);
        for hour in 0..24 {
            run(&mut present, 8, 400.0, (hour * 60, hour * 60 + 60), 5 + hour, |_, _, _| deferring(deferred));
            let p = &present.bench.scheduler.predictions;
            let worst = (0..8).min_by(|&a, &b| present.part(a).total_cmp(&present.part(b))).unwrap();
            let route = p.routes[worst * 2 + 1].as_deref().unwrap();
            println!(
                "{name} {hour} shifts {:?} own {:.3} var {:.4} level {:.3} var {:.4} part {}",
                p.lessons.shifts.map(|(m, v)| format!("{m:.2}/{v:.4}")),
                route.own.mean,
                route.own.variance,
                p.columns[1].level.mean,
                p.columns[1].level.variance,
                present.part(worst)
            );
            println!("    {:?}", present.predicted(worst));
        }
    }
}
