use super::*;
use crate::program::{Kind, Variant};
use crate::rows;

fn program(name: &str, kind: Kind) -> Program {
    Program { name: name.to_owned(), kind, version: format!("{name} 1.0") }
}

/// Two builds of ours, two peers and a direct connection, in one row whose first line is CPU per request.
fn results(cpu: [&[f64]; 4]) -> Results {
    let programs = vec![
        program("portway", Kind::Portway(Variant::default())),
        program("new", Kind::Portway(Variant::default())),
        program("haproxy", Kind::Haproxy { bin: "haproxy".into(), splice: false }),
        program("nginx", Kind::Nginx { bin: "nginx".into(), half_close: false }),
        program("direct", Kind::Direct),
    ];
    let mut values = BTreeMap::new();
    for (at, rounds) in cpu.iter().enumerate() {
        let rounds = rounds.iter().map(|us| Values::from([("cpu_us", *us), ("per_s", 1e6 / us)])).collect();
        values.insert((0, at), rounds);
    }
    values.insert((0, 4), vec![Values::from([("per_s", 1e6)])]);
    let rows = rows::all(true).into_iter().filter(|row| row.name == "ping").collect();
    let missing = vec![Missing { name: "realm".to_owned(), why: "realm is not installed".to_owned() }];
    Results { rows, programs, missing, values }
}

#[test]
fn a_line_has_medians_ratios_to_the_best_peer_and_the_goal() {
    let text =
        results([&[10.0, 9.0, 11.0], &[12.0, 12.0, 13.0], &[20.0, 10.0, 15.0], &[12.0, 12.5, 11.5]]).text();
    let line = text.lines().find(|line| line.contains("CPU µs per request")).unwrap();
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    assert_eq!(
        cells[1..],
        [
            "64 B ping-pong, 32 conn.",
            "CPU µs per request",
            "10.00 (9.00–11.00)",
            "12.00 (12.00–13.00)",
            "15.00 (10.00–20.00)",
            "12.00 (11.50–12.50)",
            "–",
            "missing",
            "0.83 nginx, reached",
            "1.00 nginx, MISSED",
            "≤ 0.95 ×",
            "",
        ]
    );
    assert!(text.contains("MISSING: realm: realm is not installed"), "{text}");
    assert!(text.contains("nginx: nginx 1.0"), "{text}");
}

#[test]
fn where_more_is_better_the_best_peer_has_the_most() {
    let text = results([&[10.0], &[10.0], &[20.0], &[12.5]]).text();
    let line = text.lines().find(|line| line.contains("requests/s")).unwrap();
    assert!(line.contains("1.25 nginx"), "{line}");
}

#[test]
fn every_line_is_as_wide_as_the_header() {
    let text = results([&[10.0], &[10.0], &[20.0], &[12.5]]).text();
    let widths: Vec<usize> =
        text.lines().filter(|line| line.starts_with('|')).map(|line| line.chars().count()).collect();
    assert!(widths.len() > 3);
    assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
}

#[test]
fn the_json_has_every_round() {
    let json = results([&[10.0, 9.0, 11.0], &[12.0], &[20.0], &[12.0]]).json();
    let own = &json["lines"][0]["programs"]["portway"];
    assert_eq!(own["rounds"], json!([10.0, 9.0, 11.0]));
    assert_eq!(own["median"], 10.0);
    assert_eq!(own["goal_met"], true);
    assert_eq!(json["lines"][0]["best_peer"], "nginx");
    assert_eq!(json["lines"][0]["programs"]["nginx"]["goal_met"], Value::Null);
    assert_eq!(json["missing"][0]["name"], "realm");
}

#[test]
fn goals_are_judged() {
    let best = Best { name: "nginx".to_owned(), median: 4.0 };
    let both = Goal { ratio: Some(1.0), absolute: Some(2.5) };
    let met = |goal, median, best: Option<&Best>| judge(goal, median, best).met;
    assert_eq!(met(both, 2.0, Some(&best)), Some(true));
    assert_eq!(met(both, 3.0, Some(&best)), Some(false));
    assert_eq!(met(Goal { absolute: None, ..both }, 4.0, Some(&best)), Some(true));
    assert_eq!(met(Goal { absolute: None, ..both }, 4.1, Some(&best)), Some(false));
    assert_eq!(met(both, 2.0, None), None);
    assert_eq!(met(both, 3.0, None), Some(false));
    assert_eq!(met(Goal { ratio: None, absolute: Some(0.005) }, 0.0, None), Some(true));
    assert_eq!(met(Goal { ratio: None, absolute: None }, 1.0, Some(&best)), None);
    assert_eq!(judge(both, 1.0, Some(&Best { median: 0.0, ..best })).ratio, None);
}

#[test]
fn goals_are_shown() {
    let text = |ratio, absolute, digits| goal_text(Goal { ratio, absolute }, digits);
    assert_eq!(text(Some(0.7), None, 3), "≤ 0.70 ×");
    assert_eq!(text(Some(1.0), Some(2.5), 2), "≤ 2.5, ≤ 1.00 ×");
    assert_eq!(text(None, Some(0.005), 2), "0");
    assert_eq!(text(None, None, 2), "");
}

#[test]
fn a_goal_may_name_who_it_is_beside() {
    let mut results = results([&[10.0], &[12.5], &[20.0], &[10.0]]);
    results.rows = rows::all(true).into_iter().filter(|row| row.name == "churn").collect();
    let text = results.text();
    let line = text.lines().find(|line| line.contains("CPU µs per connection")).unwrap();
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    // Who is not there is left out.
    assert_eq!(cells[9..11], ["1.00 nginx, 1.00 nginx reached", "1.25 nginx, 1.25 nginx MISSED"]);
    assert_eq!(cells[11], "≤ 1.06 × floor, ≤ 1.02 × nginx, ≤ 0.97 × nginx-half-close");
}

#[test]
fn rounds_decide_where_their_middle_halves_are_apart() {
    let decided = |ours: &[f64], nginx: &[f64]| results([ours, &[5.0], &[50.0], nginx]).is_decided(0);
    assert!(decided(&[1.0, 2.0, 3.0, 90.0], &[10.0, 11.0, 12.0, 13.0]));
    assert!(decided(&[10.0, 11.0, 12.0, 13.0], &[7.0, 8.0, 9.0, 1.0]));
    assert!(!decided(&[10.0, 11.0, 12.0, 13.0], &[10.5, 11.5, 12.5, 13.5]));
}
