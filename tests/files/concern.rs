//! O2: whom an edit concerns. The rule is written here a second time, over what was typed; random files and connections must
//! be judged alike by both.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use portway::config::{Concern, compile};
use portway::model::{ListenAddr, Protocol, Table, UpstreamAddr};
use proptest::prelude::*;

/// How a route listens on one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listens {
    Not,
    OneAddress,
    AllAddresses,
}

/// The keys of a route that the test changes. At least one port and one upstream are there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Typed {
    listen: [Listens; 2],
    upstream: [bool; 3],
    weight: u8,
    denies: bool,
    idle: u8,
    on_change: u8,
}

const PORTS: [u16; 2] = [7001, 7002];
const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

impl Typed {
    fn table(&self, protocol: &str) -> Table {
        let listen = self.listen.iter().zip(PORTS).filter_map(|(listens, port)| match listens {
            Listens::Not => None,
            Listens::OneAddress => Some(format!("\"127.0.0.1:{port}\"")),
            Listens::AllAddresses => Some(format!("\"0.0.0.0:{port}\"")),
        });
        let upstream = (0..3).filter(|at| self.upstream[*at]);
        let upstream = upstream
            .map(|at| format!("{{ address = \"10.0.0.{at}:80\", weight = {} }}", self.weight + 1))
            .collect::<Vec<_>>();
        let text = format!(
            "[[route]]\nname = \"r\"\nprotocol = \"{protocol}\"\nlisten = [{}]\nupstream = [{}]\ndeny = {}\n\
             idle_timeout = \"{}s\"\non_change = \"{}\"\n",
            listen.collect::<Vec<_>>().join(", "),
            upstream.join(", "),
            if self.denies { "[\"192.0.2.0/24\"]" } else { "\"none\"" },
            self.idle + 1,
            ["keep", "drain", "cut"][usize::from(self.on_change)],
        );
        compile("random.toml", text.as_bytes()).unwrap_or_else(|report| panic!("{report}\n{text}")).table
    }
}

fn typed() -> impl Strategy<Value = Typed> {
    let listens = prop_oneof![Just(Listens::Not), Just(Listens::OneAddress), Just(Listens::AllAddresses)];
    let listen = [listens.clone(), listens];
    // Few values, so that keys are often the same in both files.
    (listen, any::<[bool; 3]>(), 0..2_u8, any::<bool>(), 0..2_u8, 0..2_u8).prop_map(
        |(mut listen, mut upstream, weight, denies, idle, on_change)| {
            if listen == [Listens::Not; 2] {
                listen[0] = Listens::OneAddress;
            }
            if upstream == [false; 3] {
                upstream[0] = true;
            }
            Typed { listen, upstream, weight, denies, idle, on_change }
        },
    )
}

/// An open connection: at which port, through which kind of listener, and to which upstream. 3: to one of no file.
fn connection() -> impl Strategy<Value = (usize, Listens, Option<usize>)> {
    (
        0..2_usize,
        prop_oneof![Just(Listens::OneAddress), Just(Listens::AllAddresses)],
        prop::option::of(0..4_usize),
    )
}

/// The rule of the manual, over what was typed.
fn named(old: &Typed, new: &Typed, (port, _, upstream): (usize, Listens, Option<usize>)) -> bool {
    if (old.idle, old.on_change) != (new.idle, new.on_change) {
        return true;
    }
    let has = |typed: &Typed| typed.listen[port] != Listens::Not;
    let uses = |typed: &Typed| upstream.is_some_and(|at| at < 3 && typed.upstream[at]);
    (has(old) && !has(new)) || (uses(old) && !uses(new))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn o2_who_ends_is_who_the_rule_names(
        old in typed(),
        new in typed(),
        open in proptest::collection::vec(connection(), 1..8),
        protocol in prop_oneof![Just("tcp"), Just("udp"), Just("tcp+udp")],
    ) {
        let [before, after] = [&old, &new].map(|typed| typed.table(protocol));
        let (before, after) = (before.routes.get("r"), after.routes.get("r"));
        for part in before.unwrap().policy.protocol.parts() {
            let concern = Concern::between(before, after, part);
            prop_assert_eq!(Concern::between(before, before, part), Concern::Nobody);
            prop_assert_eq!(Concern::between(before, None, part), Concern::Everybody);
            for (port, listens, upstream) in open.iter().copied() {
                let ip = if listens == Listens::OneAddress { LOCAL } else { Ipv4Addr::UNSPECIFIED };
                let listener = ListenAddr::Ip(SocketAddr::from((ip, PORTS[port])));
                let to = upstream.map(|at| {
                    UpstreamAddr::Ip(SocketAddr::from((Ipv4Addr::new(10, 0, 0, at as u8), 80)))
                });
                let ends = concern.concerns(&listener, to.as_ref(), || Some(IpAddr::V4(LOCAL)));
                prop_assert_eq!(ends, named(&old, &new, (port, listens, upstream)), "{}", part);
            }
        }
    }
}

#[test]
fn o2_a_range_concerns_whose_port_leads_elsewhere() {
    let route = |listen: &str, upstream: &str| {
        let text = format!("[[route]]\nname = \"r\"\nlisten = \"{listen}\"\nupstream = \"{upstream}\"\n");
        compile("range.toml", text.as_bytes()).unwrap().table.routes["r"].clone()
    };
    let old = route("127.0.0.1:7000-7003", "10.0.0.1:8000-8003");
    let ends = |new, port: u16| {
        let concern = Concern::between(Some(&old), Some(&new), Protocol::Tcp);
        let listener = ListenAddr::Ip(SocketAddr::from((LOCAL, port)));
        let upstream = UpstreamAddr::Ip(SocketAddr::from(([10, 0, 0, 1], port + 1000)));
        concern.concerns(&listener, Some(&upstream), || Some(LOCAL.into()))
    };
    let longer = || route("127.0.0.1:6999-7003", "10.0.0.1:7999-8003");
    assert!((7000..7004).all(|port| !ends(longer(), port)), "each port leads where it led");
    let shifted = || route("127.0.0.1:7001-7003", "10.0.0.1:8000-8002");
    assert!((7000..7004).all(|port| ends(shifted(), port)), "each port leads elsewhere, or is gone");
}
