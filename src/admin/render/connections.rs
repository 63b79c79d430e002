//! The open connections, page by page.

use std::time::Duration;

use super::super::api::{Connection, Connections, Filter, Problem, Sockets, Tcp};
use super::super::rights::Refusal;
use super::super::units::{count, moment, seconds};
use super::super::{names, query};
use crate::model::{DataPath, Network, Peer, UpstreamSpec, units};
use crate::net::{Socket, TcpView};
use crate::proxy::record::OpenConnection;
use crate::server::Handle;
use crate::server::handle::Stopping;
use crate::state::Bytes;

/// Connections on a page: by default, and at most.
const PAGE: (usize, usize) = (100, 1000);

/// A filter that was parsed.
pub(in super::super) struct Wanted {
    route: Option<String>,
    client: Option<Client>,
    upstream: Option<Upstream>,
    older: Option<Duration>,
}

/// An upstream as it was typed, and what it would be in a file.
struct Upstream {
    text: String,
    spec: Option<UpstreamSpec>,
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
        let upstream = filter.upstream.clone().map(|text| Upstream { spec: text.parse().ok(), text });
        Ok(Wanted {
            route: filter.route.clone(),
            client: client.transpose()?,
            upstream,
            older: older.transpose()?,
        })
    }

    pub fn is(&self, open: &OpenConnection) -> bool {
        if self.older.is_some_and(|older| open.age() < older) {
            return false;
        }
        if self.route.is_none() && self.client.is_none() && self.upstream.is_none() {
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
        let of_upstream = self.upstream.as_ref().is_none_or(|wanted| {
            known.upstream.as_ref().is_some_and(|to| {
                let written = wanted.spec.as_ref().is_some_and(|spec| spec.contains(&to.written));
                written || to.peer.to_string() == wanted.text
            })
        });
        of_client && of_upstream && self.route.as_ref().is_none_or(|route| known.owner.route.name == *route)
    }
}

/// The page that a query asks for.
pub(in super::super) async fn connections(
    handle: &Handle,
    query: &str,
) -> Result<Result<Connections, Refusal>, Stopping> {
    let asked = match asked(query) {
        Ok(asked) => asked,
        Err(wrong) => return Ok(Err(wrong)),
    };
    if let Err(unknown) = names::check(handle, &asked.filter).await? {
        return Ok(Err(unknown));
    }
    Ok(page(handle, &asked).map_err(Refusal::wrong))
}

/// Which connections a query asks for.
struct Asked {
    filter: Filter,
    after: u64,
    most: usize,
    tcp: bool,
}

fn asked(query: &str) -> Result<Asked, Refusal> {
    let (mut filter, mut after, mut most, mut tcp) = (Filter::default(), 0, PAGE.0, false);
    for (key, value) in query::read(query)? {
        match key.as_str() {
            "route" => filter.route = Some(value),
            "client" => filter.client = Some(value),
            "upstream" => filter.upstream = Some(value),
            "older" => filter.older = Some(value),
            "after" => after = value.parse().map_err(|_| query::broken())?,
            "limit" => most = value.parse().map_err(|_| query::broken())?,
            "tcp" => tcp = value != "false",
            _ => {
                let help = "the keys are route, client, upstream, older, after, limit and tcp";
                return Err(query::unknown(&key, help));
            }
        }
    }
    Ok(Asked { filter, after, most: most.clamp(1, PAGE.1), tcp })
}

fn page(handle: &Handle, asked: &Asked) -> Result<Connections, Problem> {
    let wanted = Wanted::of(&asked.filter)?;
    let (found, more) = handle.shared.open.page(asked.after, asked.most, |open| wanted.is(open));
    let next = found.last().filter(|_| more).map(|last| last.id);
    Ok(Connections {
        open: count(handle.shared.open.len()),
        connections: found.iter().map(|open| connection(open, asked.tcp)).collect(),
        next,
    })
}

fn connection(open: &OpenConnection, tcp: bool) -> Connection {
    let [client, upstream] = open.sockets();
    let look = |socket: Option<&Socket>| socket.and_then(TcpView::of);
    let views = [look(client.as_deref()), look(upstream.as_deref())];
    let local = open.local();
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
        local: local.map(|local| local.to_string()),
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
