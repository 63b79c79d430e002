//! The open connections, page by page.

use std::time::Duration;

use super::super::api::{Connection, Connections, Filter, Problem, Sockets, Tcp};
use super::super::query;
use super::super::units::{count, moment, seconds};
use crate::model::{DataPath, Network, Peer, units};
use crate::net::{Socket, TcpView};
use crate::proxy::record::OpenConnection;
use crate::server::Handle;
use crate::state::Bytes;

/// Connections on a page: by default, and at most.
const PAGE: (usize, usize) = (100, 1000);

/// A filter that was parsed.
pub(in super::super) struct Wanted {
    route: Option<String>,
    client: Option<Client>,
    older: Option<Duration>,
}

enum Client {
    Network(Network),
    /// An address with its port, or a Unix socket.
    Exact(String),
}

impl Wanted {
    pub fn of(filter: &Filter) -> Result<Wanted, Problem> {
        let client = filter.client.as_deref().map(|text| match text.parse() {
            Ok(network) => Ok(Client::Network(network)),
            Err(_) if text.parse::<std::net::SocketAddr>().is_ok() || text.starts_with("unix:") => {
                Ok(Client::Exact(text.to_owned()))
            }
            Err(_) => Err(Problem::new(
                format!("`{text}` is no client"),
                "write an address, a network (10.0.0.0/8), or an address with its port".to_owned(),
            )),
        });
        let older = filter.older.as_deref().map(|text| {
            units::duration(text, Duration::ZERO)
                .map_err(|error| Problem::new(error.to_string(), error.help.clone()))
        });
        Ok(Wanted { route: filter.route.clone(), client: client.transpose()?, older: older.transpose()? })
    }

    pub fn is(&self, open: &OpenConnection) -> bool {
        if self.older.is_some_and(|older| open.age() < older) {
            return false;
        }
        if self.route.is_none() && self.client.is_none() {
            return true;
        }
        let known = open.known();
        let of_client = match &self.client {
            None => true,
            Some(Client::Exact(client)) => known.client.to_string() == *client,
            Some(Client::Network(network)) => {
                matches!(&known.client, Peer::Ip(addr) if network.contains(addr.ip()))
            }
        };
        of_client && self.route.as_ref().is_none_or(|route| known.owner.route.name == *route)
    }
}

pub(in super::super) fn connections(handle: &Handle, query: &str) -> Result<Connections, Problem> {
    let (mut filter, mut after, mut most, mut tcp) = (Filter::default(), 0, PAGE.0, false);
    let broken = || Problem::new("the query is broken".to_owned(), "see /v1/openapi.json".to_owned());
    for (key, value) in query::pairs(query).ok_or_else(broken)? {
        match key.as_str() {
            "route" => filter.route = Some(value),
            "client" => filter.client = Some(value),
            "older" => filter.older = Some(value),
            "after" => after = value.parse().map_err(|_| broken())?,
            "limit" => most = value.parse().map_err(|_| broken())?,
            "tcp" => tcp = value != "false",
            _ => {
                let help = "the keys are route, client, older, after, limit and tcp";
                return Err(Problem::new(format!("`{key}` is not known here"), help));
            }
        }
    }
    let wanted = Wanted::of(&filter)?;
    let (found, more) = handle.shared.open.page(after, most.clamp(1, PAGE.1), |open| wanted.is(open));
    let next = found.last().filter(|_| more).map(|last| last.id);
    Ok(Connections {
        open: count(handle.shared.open.len()),
        connections: found.iter().map(|open| connection(open, tcp)).collect(),
        next,
    })
}

fn connection(open: &OpenConnection, tcp: bool) -> Connection {
    let [client, upstream] = open.sockets();
    let look = |socket: Option<&Socket>| socket.and_then(TcpView::of);
    let views = [look(client.as_deref()), look(upstream.as_deref())];
    let known = open.known();
    let Bytes { up: bytes_up, down: bytes_down } = open.traffic.bytes();
    let path = match (open.is_session(), &known.upstream) {
        (_, None) => DataPath::None,
        (true, _) => DataPath::Datagram,
        (false, _) => open.traffic.path(),
    };
    let age = open.age();
    let moved = views.iter().flatten().map(|view| view.idle).min();
    let idle = open.silence().or(moved).map(|idle| idle.min(age));
    let sockets = Sockets { client: views[0].map(shown), upstream: views[1].map(shown) };
    Connection {
        id: open.id,
        protocol: if open.is_session() { "udp" } else { "tcp" }.to_owned(),
        route: known.owner.route.name.clone(),
        generation: known.owner.generation,
        client: known.client.to_string(),
        listener: open.listener.to_string(),
        upstream: known.upstream.as_ref().map(|connected| connected.written.to_string()),
        peer: known.upstream.as_ref().map(|connected| connected.peer.to_string()),
        started: moment(open.started()),
        age: seconds(age),
        idle: idle.map(seconds),
        bytes_up,
        bytes_down,
        connect: known.connect().map(seconds),
        path: path.label().to_owned(),
        why: path.why().to_owned(),
        tcp: (tcp && (sockets.client.is_some() || sockets.upstream.is_some())).then_some(sockets),
    }
}

fn shown(view: TcpView) -> Tcp {
    Tcp {
        rtt: seconds(view.rtt),
        rtt_variation: seconds(view.rtt_variation),
        retransmits: view.retransmits.into(),
        unacknowledged: view.unacknowledged.into(),
        send_queue: view.send_queue,
        window: view.window.into(),
    }
}
