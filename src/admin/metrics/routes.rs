//! The metrics of routes and of their upstreams.

use super::super::api::{Route, RouteState, Upstream};
use super::super::render;
use super::super::snapshot::Snapshot;
use super::text::{Kind, Page};
use crate::model::Outcome;

pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    let mut routes = render::routes::routes(snapshot).routes;
    // They have no counters, and may have the name of one that has.
    routes.retain(|route| route.state != RouteState::Disabled || route.by_hand.is_some());
    connections(page, &routes);
    turned_away(page, &routes);
    times(page, snapshot);
    let mut upstreams = render::upstreams::upstreams(snapshot, None).upstreams;
    // Of a route that a person has taken out nothing is known, and nobody is to be woken for it.
    upstreams.retain(|upstream| snapshot.view.routes.iter().any(|view| view.route.name == upstream.route));
    of_upstreams(page, &upstreams);
    by_hand(page, &routes, &upstreams);
}

/// What a person has done, and may have forgotten.
fn by_hand(page: &mut Page, routes: &[Route], upstreams: &[Upstream]) {
    page.family(
        "portway_by_hand",
        Kind::Gauge,
        "1: a person has drained or disabled the route or the upstream, or given it another weight.",
    );
    let of_routes = routes.iter().flat_map(|route| route.by_hand.iter().map(|deed| (&route.name, "", deed)));
    let of_upstreams = upstreams.iter().flat_map(|upstream| {
        upstream.by_hand.iter().map(|deed| (&upstream.route, upstream.upstream.as_str(), deed))
    });
    for (route, upstream, deed) in of_routes.chain(of_upstreams) {
        page.sample(&[("route", route), ("upstream", upstream), ("act", &deed.act)], 1);
    }
}

fn connections(page: &mut Page, routes: &[Route]) {
    page.family("portway_route_up", Kind::Gauge, "1: the route listens, and has an available upstream.");
    for route in routes
        .iter()
        .filter(|route| matches!(route.state, RouteState::Up | RouteState::Degraded | RouteState::Down))
    {
        let up = matches!(route.state, RouteState::Up | RouteState::Degraded);
        page.sample(&[("route", &route.name), ("protocol", &route.protocol)], u8::from(up));
    }
    page.family("portway_route_connections", Kind::Gauge, "Open connections, or UDP sessions.");
    for route in routes {
        page.sample(&[("route", &route.name)], route.traffic.open);
    }
    page.family(
        "portway_route_retired_connections",
        Kind::Gauge,
        "Open connections that an edit has left on an earlier version of the route.",
    );
    for route in routes {
        page.sample(&[("route", &route.name)], route.retired);
    }
    page.family(
        "portway_route_connections_opened",
        Kind::Counter,
        "Connections, or UDP sessions, that were opened.",
    );
    for route in routes {
        page.sample(&[("route", &route.name)], route.traffic.opened);
    }
    page.family(
        "portway_route_bytes",
        Kind::Counter,
        "Bytes that were sent to upstreams (up) and to clients (down), those of open connections included.",
    );
    for route in routes {
        page.sample(&[("route", &route.name), ("direction", "up")], route.traffic.bytes_up);
        page.sample(&[("route", &route.name), ("direction", "down")], route.traffic.bytes_down);
    }
    page.family(
        "portway_route_connections_closed",
        Kind::Counter,
        "Closed connections, by outcome and by who caused it, as in the access log.",
    );
    for route in routes {
        for (label, count) in &route.outcomes {
            let outcome = Outcome::ALL.iter().find(|outcome| outcome.label() == label);
            let blame = outcome.map_or("", |outcome| outcome.blame().label());
            page.sample(&[("route", &route.name), ("outcome", label), ("blame", blame)], count);
        }
    }
}

fn turned_away(page: &mut Page, routes: &[Route]) {
    page.family(
        "portway_route_turned_away",
        Kind::Counter,
        "Clients rejected before anything was read from them, by the key of the file that rejects them.",
    );
    for route in routes {
        for (by, clients) in &route.turned_away {
            page.sample(&[("route", &route.name), ("by", by)], clients);
        }
    }
    page.family(
        "portway_route_datagrams_dropped",
        Kind::Counter,
        "UDP datagrams that could not be passed on.",
    );
    for route in routes {
        for (reason, datagrams) in &route.dropped {
            page.sample(&[("route", &route.name), ("reason", reason)], datagrams);
        }
    }
}

fn times(page: &mut Page, snapshot: &Snapshot) {
    let metered = || {
        let routes = snapshot.every_route();
        routes.filter_map(|view| Some((view.route.name.as_str(), view.state.metered()?)))
    };
    page.family(
        "portway_route_connect_seconds",
        Kind::Histogram,
        "From the first attempt to a connected upstream.",
    );
    for (route, meter) in metered() {
        page.histogram(&[("route", route)], &meter.connect.read());
    }
    page.family("portway_route_duration_seconds", Kind::Histogram, "From accept to the end of a connection.");
    for (route, meter) in metered() {
        page.histogram(&[("route", route)], &meter.duration.read());
    }
}

fn of_upstreams(page: &mut Page, upstreams: &[Upstream]) {
    fn labels(upstream: &Upstream) -> [(&str, &str); 2] {
        [("route", upstream.route.as_str()), ("upstream", upstream.upstream.as_str())]
    }
    let mut family = |name, kind, help: &str, value: fn(&Upstream) -> u64| {
        page.family(name, kind, help);
        for upstream in upstreams {
            page.sample(&labels(upstream), value(upstream));
        }
    };
    family("portway_upstream_up", Kind::Gauge, "1: an address of the upstream is available.", |upstream| {
        u64::from(upstream.addresses_up > 0)
    });
    family("portway_upstream_addresses", Kind::Gauge, "Addresses of the upstream.", |upstream| {
        upstream.addresses.len() as u64 + upstream.more_addresses
    });
    family("portway_upstream_addresses_up", Kind::Gauge, "Addresses that are available.", |upstream| {
        upstream.addresses_up
    });
    family("portway_upstream_connections", Kind::Gauge, "Open connections of the route to it.", |upstream| {
        upstream.traffic.open
    });
    family(
        "portway_upstream_connections_opened",
        Kind::Counter,
        "Connections of the route to it that were opened.",
        |upstream| upstream.traffic.opened,
    );
    family(
        "portway_upstream_connect_failures",
        Kind::Counter,
        "Failed connection attempts of the route to the upstream.",
        |upstream| upstream.failed,
    );
    page.family(
        "portway_upstream_bytes",
        Kind::Counter,
        "Bytes that the route has sent to it (up) and from it (down).",
    );
    for upstream in upstreams {
        let [route, to] = labels(upstream);
        page.sample(&[route, to, ("direction", "up")], upstream.traffic.bytes_up);
        page.sample(&[route, to, ("direction", "down")], upstream.traffic.bytes_down);
    }
}
