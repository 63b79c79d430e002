//! When TCP keepalive of the upstream's socket begins, as the kernel tells it (`ss -o`).

use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::upstream::{Addr, Family};
use crate::harness::{Peer, Proxy, Upstream, until};

/// A connection through a proxy.
struct Held {
    proxy: Proxy,
    upstream: Addr,
    peers: [Peer; 2],
    /// Before the last byte was sent.
    last: Instant,
}

fn hold(keepalive: &str) -> Held {
    let upstream = Upstream::on(Family::V4);
    let proxy = Proxy::in_front_of(&upstream.addr).with(&[&format!("--set keepalive={keepalive}")]).start();
    let (mut client, mut server) = (proxy.connect(), upstream.accept());
    let last = Instant::now();
    client.send(1000);
    server.receive(1000);
    Held { proxy, upstream: upstream.addr.clone(), peers: [client, server], last }
}

impl Held {
    /// Time until the next probe. `None`: there will be none.
    fn probe_in(&self) -> Option<Duration> {
        let Addr::Ip(upstream) = self.upstream else { panic!("not TCP") };
        let shown = Command::new("ss").args(["-tnoH", "dst", &upstream.to_string()]).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert_eq!(shown.lines().count(), 1, "{shown}");
        let (timer, _) = shown.split_once("timer:(keepalive,")?.1.split_once(',')?;
        // `59sec`, `868ms`, and `4.864ms`, which are seconds.
        let seconds = match (timer.strip_suffix("sec"), timer.strip_suffix("ms")) {
            (Some(seconds), _) => seconds.parse(),
            (None, Some(time)) if time.contains('.') => time.parse(),
            (None, Some(time)) => time.parse().map(|millis: f64| millis / 1000.0),
            (None, None) => panic!("{timer}"),
        };
        Some(Duration::from_secs_f64(seconds.unwrap()))
    }

    fn end(self) {
        drop(self.peers);
        self.proxy.finish();
    }
}

/// Whether the next probe comes this long after the last byte. Counted from the call that sets it, it would be 5 s later.
fn comes_after(held: &Held, seconds: u64) -> bool {
    let (before, left, after) = (held.last.elapsed(), held.probe_in().unwrap(), held.last.elapsed());
    left + after >= Duration::from_secs(seconds - 1) && left + before <= Duration::from_secs(seconds + 3)
}

#[test]
fn a_short_keepalive_is_there_at_once_and_a_long_one_soon_and_both_count_from_the_last_byte() {
    let short = hold("19s");
    assert!(comes_after(&short, 19));
    let (none, long) = (hold("off"), hold("50s"));
    assert_eq!(long.probe_in(), None, "the connection is young: most end before a probe");
    until("the long one is set", || long.probe_in().is_some());
    assert!(comes_after(&long, 50));
    assert_eq!(none.probe_in(), None);
    for held in [short, none, long] {
        held.end();
    }
}
