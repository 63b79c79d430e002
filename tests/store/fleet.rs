//! The figures of a fleet: a table, and a picture of two rollouts.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portway::model::{Balance, UpstreamSpec};
use portway::state::{Member, Pool, Upstream, Walk};

use super::simulation::{World, every};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// 1 %, 10 %, 100 %, a minute each.
fn roll_out(world: &mut World, serial: u64) -> Duration {
    for stage in ["1%", "10%"] {
        world.publish(serial, stage);
        world.run(seconds(60));
    }
    world.publish(serial, "100%");
    let last = world.now();
    world.run(seconds(120));
    last
}

#[test]
fn ten_thousand_nodes_take_a_text_stage_by_stage_and_a_bad_one_stops_at_the_first() {
    let mut table = String::new();
    let mut row = |what: &str, figure: String| writeln!(table, "{what:<64} {figure}").unwrap();

    // Peace, and a good text.
    let mut world = World::new(true, every());
    world.run(seconds(600));
    let (mean, most) = world.requests(seconds(120), seconds(600));
    row("requests per second in peace: mean, most", format!("{mean:.0}, {most}"));
    assert!(mean <= 200.0 && most <= 1_000, "{mean} {most}");
    let begun = world.now();
    let last_stage = roll_out(&mut world, 2);
    let took = world.last(2) - last_stage;
    let (mean, most) = world.requests(begun, world.now());
    row("seconds to one text after the last stage, the last node", format!("{:.0}", took.as_secs_f64()));
    row("requests per second of a rollout: mean, most", format!("{mean:.0}, {most}"));
    assert_eq!(world.count(2), 10_000, "a node is stuck");
    assert!(took <= seconds(60), "{took:?}");
    let good = shares(&world, 2, begun);

    // A bad one, which the publisher does not carry on with; then a better one.
    let begun = world.now();
    world.bad = Some(3);
    world.publish(3, "1%");
    world.run(seconds(60));
    let undone = world.undone();
    row("nodes that took a bad text at 1 %, and undid it", undone.to_string());
    row("harm of a bad text, node-seconds", format!("{:.0}", world.harm.as_secs_f64()));
    assert!((70..=130).contains(&undone) && world.count(3) == 0, "{undone}");
    assert!(world.harm <= seconds(20 * u64::try_from(undone).unwrap() + 10), "{:?}", world.harm);
    let bad = shares(&world, 3, begun);
    roll_out(&mut world, 4);
    assert_eq!(world.count(4), 10_000, "a node is stuck");

    // Ten minutes without the store, in which there is a new text.
    world.set_up(false);
    world.run(seconds(300));
    world.publish(5, "100%");
    world.run(seconds(300));
    world.set_up(true);
    let back = world.now();
    world.run(seconds(180));
    let (_, most) = world.requests(back, world.now());
    row("requests in the worst second after an outage of 10 minutes", most.to_string());
    row("seconds to one text after the outage", format!("{:.0}", (world.last(5) - back).as_secs_f64()));
    assert_eq!(world.count(5), 10_000, "a node is stuck");
    assert!(most <= 1_000, "{most}");

    row("clients sent elsewhere while half the fleet is new: share", moved());
    println!("{table}");
    picture(&good, &bad);
}

/// What others do: a poll each 5 seconds, all nodes at once, and a person who sees it after an hour.
#[test]
fn without_stages_and_long_polls_the_same_costs_more() {
    let mut world = World::new(false, seconds(5));
    world.run(seconds(30));
    (world.bad, world.undoes) = (Some(2), false);
    world.publish(2, "100%");
    world.run(seconds(30));
    let (mean, most) = world.requests(seconds(10), seconds(30));
    assert_eq!(world.count(2), 10_000);
    let harm = 10_000.0 * 3_600.0;
    println!(
        "polled: {mean:.0} requests per second, {most} at most; harm of an hour: {harm:.1e} node-seconds"
    );
    assert!(mean > 1_500.0, "{mean}");
}

/// The share of nodes with a text, second by second.
fn shares(world: &World, serial: u64, begun: Duration) -> Vec<f64> {
    let until = usize::try_from((world.now() - begun).as_secs()).unwrap();
    let mut share = vec![0.0; until.min(240) + 1];
    for (at, text, change) in &world.running {
        if *text == serial && *at >= begun {
            let from = usize::try_from((*at - begun).as_secs()).unwrap();
            share.iter_mut().skip(from + 1).for_each(|share| *share += *change as f64 / 10_000.0);
        }
    }
    share
}

/// The share of clients that another upstream gets while half of the nodes have the new text: one of ten upstreams is
/// another. Clients stay with their node.
fn moved() -> String {
    let pool = |names: &[&str]| {
        let member = |name: &&str| {
            let spec: UpstreamSpec = format!("{name}:80").parse().unwrap();
            Member::plain(Arc::new(Upstream::new(spec.at(0))))
        };
        Pool::new(names.iter().map(member).collect(), Balance::SourceHash, Duration::ZERO)
    };
    let old = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let mut new = old;
    new[3] = "k";
    let (before, after) = (pool(&old), pool(&new));
    let now = Instant::now();
    let goes = |pool: &Pool, names: &[&'static str; 10], client: u32| {
        let mut walk = Walk::new(Some(Ipv4Addr::from(client).into()), 7);
        names[pool.next(&mut walk, now).unwrap().index]
    };
    let clients = 100_000_u32;
    let moved = (0..clients).filter(|client| {
        let has_new = client % 2 == 0;
        has_new && goes(&before, &old, *client) != goes(&after, &new, *client)
    });
    let (moved, changed) = (f64::from(u32::try_from(moved.count()).unwrap()) / f64::from(clients), 0.1);
    assert!(moved <= changed + 0.01, "{moved}");
    format!("{:.1} % of all, with 10 % of the upstreams changed", moved * 100.0)
}

/// Compares the picture with the one that is kept, or writes it anew with PORTWAY_BLESS.
fn picture(good: &[f64], bad: &[f64]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/fleet/rollout.svg");
    let line = |shares: &[f64]| {
        let points = shares
            .iter()
            .enumerate()
            .map(|(at, share)| format!("{:.1},{:.1}", 40.0 + at as f64 * 2.2, 180.0 - share * 160.0));
        points.collect::<Vec<_>>().join(" ")
    };
    let text = |x: u32, y: u32, text: &str| format!("<text x=\"{x}\" y=\"{y}\">{text}</text>\n");
    let style = "fill=\"none\" stroke-width=\"2\"";
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 600 220\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <path d=\"M40 20V180H580\" fill=\"none\" stroke=\"#888\"/>\n{}{}{}{}{}{}\
         <polyline {style} stroke=\"#2a7\" points=\"{}\"/>\n<polyline {style} stroke=\"#c33\" points=\"{}\"/>\n</svg>\n",
        text(4, 24, "100 %"),
        text(20, 184, "0"),
        text(40, 198, "1 %"),
        text(172, 198, "10 %"),
        text(304, 198, "100 %, a minute for each stage"),
        text(
            60,
            40,
            "share of 10,000 nodes with a good text (green), and with a bad one that each undoes (red)"
        ),
        line(good),
        line(bad),
    );
    if std::env::var_os("PORTWAY_BLESS").is_some() {
        std::fs::write(&path, &svg).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), svg, "{}", path.display());
}
