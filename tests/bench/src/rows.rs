//! The rows of the table: what is done, what is measured in it, and what is to be reached.

/// One row: work, and the lines that it gives in the table.
pub struct Row {
    /// As `--rows` names it.
    pub name: &'static str,
    /// As the table names it.
    pub title: String,
    /// What is done.
    pub work: Work,
    /// What of it is shown, in this order.
    pub metrics: &'static [Metric],
}

/// What a row does. Counts are per run.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Bytes through some connections.
    Bulk { connections: u64, bytes: u64, up: bool },
    /// Bytes down through some connections, of which the proxy ends TLS.
    TlsBulk { connections: u64, bytes: u64 },
    /// Messages there and back; `rate` per second, or 0: as they come back; `flow`: beside one bulk stream.
    Ping { connections: u64, size: u64, requests: u64, rate: u64, flow: bool },
    /// Connections opened and closed; `reset`: the client ends with RST instead of FIN.
    Churn { connections: u64, extra: Extra, reset: bool },
    /// Connections held: memory, idle CPU over `idle_ms`, and the cost of `requests` beside them.
    Hold { connections: u64, idle_ms: u64, requests: u64 },
    /// Connections held of which the proxy does more: memory alone.
    HoldMore { connections: u64, extra: Extra },
    /// Datagrams there and back, or one way; `rate` per second, or 0: as they come back.
    Datagrams { clients: u64, size: u64, requests: u64, rate: u64, one_way: bool },
}

/// What a proxy does for a connection beside passing it on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    #[default]
    None,
    /// It looks the client up among 10,000 networks.
    Allow,
    /// It sends a PROXY header.
    Header,
    /// It leads by the server name of a ClientHello.
    Names,
    /// It ends TLS.
    Tls,
    /// The same, of clients that resume their sessions.
    Resumed,
}

impl Work {
    /// What its proxy does beside passing on.
    pub fn extra(self) -> Extra {
        match self {
            Work::Churn { extra, .. } | Work::HoldMore { extra, .. } => extra,
            Work::TlsBulk { .. } => Extra::Tls,
            _ => Extra::None,
        }
    }
}

/// Something measured.
pub struct Metric {
    /// Its name in the results.
    pub key: &'static str,
    /// What and in which unit.
    pub label: &'static str,
    /// Digits after the point.
    pub digits: usize,
    /// Whether more is better.
    pub more: bool,
    /// What is to be reached.
    pub goal: Goal,
    /// What is to be reached beside programs by name.
    pub beside: &'static [Beside],
}

/// At most so much of what one program uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beside {
    /// Its column.
    pub name: &'static str,
    /// At most this, relative to it.
    pub ratio: f64,
}

/// What is to be reached; `None`: shown only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// At most this, relative to the best peer.
    pub ratio: Option<f64>,
    /// At most this, as it is.
    pub absolute: Option<f64>,
}

const NONE: Goal = Goal { ratio: None, absolute: None };

const fn less(key: &'static str, label: &'static str, digits: usize) -> Metric {
    Metric { key, label, digits, more: false, goal: NONE, beside: &[] }
}

const fn more(key: &'static str, label: &'static str, digits: usize) -> Metric {
    Metric { key, label, digits, more: true, goal: NONE, beside: &[] }
}

impl Metric {
    const fn ratio(mut self, ratio: f64) -> Self {
        self.goal.ratio = Some(ratio);
        self
    }

    const fn beside(mut self, beside: &'static [Beside]) -> Self {
        self.beside = beside;
        self
    }

    const fn absolute(mut self, absolute: f64) -> Self {
        self.goal.absolute = Some(absolute);
        self
    }
}

const BULK: &[Metric] = &[
    less("cpu_s_per_gib", "CPU s per GiB", 3).ratio(0.7),
    more("mib_per_s", "MiB/s", 0),
    less("pss_mib", "memory (Pss) after, MiB", 1),
];
const TLS_BULK: &[Metric] = &[
    less("cpu_s_per_gib", "CPU s per GiB", 3).ratio(1.0),
    more("mib_per_s", "MiB/s", 0),
    less("pss_mib", "memory (Pss) after, MiB", 1),
];
const PING: &[Metric] = &[
    less("cpu_us", "CPU µs per request", 2).ratio(0.95),
    more("per_s", "requests/s", 0),
    less("p50_us", "p50 µs", 1),
    less("p99_us", "p99 µs", 1),
    less("p999_us", "p99.9 µs", 1),
];
const PING_16K: &[Metric] = &[
    less("cpu_us", "CPU µs per request", 2),
    more("per_s", "requests/s", 0),
    less("p50_us", "p50 µs", 1),
    less("p99_us", "p99 µs", 1),
    less("p999_us", "p99.9 µs", 1),
];
/// nginx alone does not pass half-closes on, which saves it calls.
const CHURN_BESIDE: &[Beside] = &[
    Beside { name: "floor", ratio: 1.06 },
    Beside { name: "nginx", ratio: 1.02 },
    Beside { name: "nginx-half-close", ratio: 0.97 },
];
const CHURN: &[Metric] = &[
    less("cpu_us", "CPU µs per connection", 1).beside(CHURN_BESIDE),
    more("per_s", "connections/s", 0),
    less("p50_us", "p50 µs to the byte back", 1),
    less("p99_us", "p99 µs to the byte back", 1),
];
const CHURN_MORE: &[Metric] = &[
    less("cpu_us", "CPU µs per connection", 1).ratio(1.05),
    more("per_s", "connections/s", 0),
    less("p50_us", "p50 µs to the byte back", 1),
    less("p99_us", "p99 µs to the byte back", 1),
];
const PACED: &[Metric] = &[
    less("p99_us", "p99 µs", 1).ratio(1.0),
    less("load_late_p99_us", "of it the load's own, p99 µs", 1),
    less("p50_us", "p50 µs", 1),
    less("p999_us", "p99.9 µs", 1),
    less("cpu_us", "CPU µs per request", 2),
];
const HOLD: &[Metric] = &[
    less("kib_per_connection", "user memory per connection, KiB", 2).ratio(1.0).absolute(2.3),
    // Shown with two digits: below half of the last one it is nothing.
    less("idle_cpu_ms", "CPU while idle, ms", 2).absolute(0.005),
    less("held_ratio", "CPU per request, held ÷ none", 3).absolute(1.1),
    less("pss_mib", "memory (Pss) while held, MiB", 1),
];
const HOLD_MORE: &[Metric] = &[
    less("kib_per_connection", "user memory per connection, KiB", 2).ratio(1.0),
    less("pss_mib", "memory (Pss) while held, MiB", 1),
];
const MIXED: &[Metric] = &[
    less("p99_us", "p99 µs of the pings", 1).ratio(1.0),
    less("load_late_p99_us", "of it the load's own, p99 µs", 1),
    less("p50_us", "p50 µs of the pings", 1),
    less("p999_us", "p99.9 µs of the pings", 1),
    more("flow_mib_per_s", "MiB/s of the bulk stream", 0),
    less("cpu_percent", "CPU, % of one core", 0),
];

const UDP: &[Metric] = &[
    less("cpu_us", "CPU µs per datagram", 2).ratio(0.85),
    less("lost", "datagrams lost", 0).absolute(0.0),
    more("per_s", "datagrams/s", 0),
    less("p50_us", "p50 µs there and back", 1),
    less("p99_us", "p99 µs there and back", 1),
];
const UDP_STREAM: &[Metric] = &[
    less("cpu_us", "CPU µs per datagram", 2).ratio(0.65),
    less("lost", "datagrams lost", 0).absolute(0.0),
    more("per_s", "datagrams/s", 0),
];

impl Row {
    /// Whether it is about UDP, which only some of the peers forward.
    pub fn is_udp(&self) -> bool {
        matches!(self.work, Work::Datagrams { .. })
    }

    /// Whether its messages come at a given rate, and are timed.
    pub fn is_paced(&self) -> bool {
        matches!(self.work, Work::Ping { rate: 1.., .. })
    }

    /// Whether forced splicing is compared too: where bulk moves.
    pub fn is_bulk(&self) -> bool {
        matches!(self.work, Work::Bulk { .. } | Work::Ping { flow: true, .. })
    }
}

fn udp((name, title): (&'static str, &str), (clients, rate): (u64, u64), requests: u64) -> Row {
    let work = Work::Datagrams { clients, size: 200, requests, rate, one_way: false };
    Row { name, title: title.to_owned(), work, metrics: UDP }
}

fn churn_row((name, title): (&'static str, &str), connections: u64, reset: bool) -> Row {
    let work = Work::Churn { connections, extra: Extra::None, reset };
    Row { name, title: title.to_owned(), work, metrics: CHURN }
}

fn extra((name, title): (&'static str, &str), connections: u64, extra: Extra) -> Row {
    Row {
        name,
        title: title.to_owned(),
        work: Work::Churn { connections, extra, reset: false },
        metrics: CHURN_MORE,
    }
}

fn hold_more((name, title): (&'static str, &str), connections: u64, extra: Extra) -> Row {
    let title = format!("{connections} conn. {title}");
    Row { name, title, work: Work::HoldMore { connections, extra }, metrics: HOLD_MORE }
}

fn tls_bulk(bytes: u64) -> Row {
    Row {
        name: "tls-bulk",
        title: "TLS 1.3 ended: bulk down, 4 conn.".to_owned(),
        work: Work::TlsBulk { connections: 4, bytes },
        metrics: TLS_BULK,
    }
}

fn udp_stream(requests: u64) -> Row {
    let work = Work::Datagrams { clients: 1, size: 1_400, requests, rate: 50_000, one_way: true };
    Row {
        name: "udp-stream",
        title: "UDP, 1,400 B one way at 50,000/s".to_owned(),
        work,
        metrics: UDP_STREAM,
    }
}

/// All rows, with the full work or, for daily use, less of it.
pub fn all(short: bool) -> Vec<Row> {
    let pick = |full: u64, less: u64| if short { less } else { full };
    let bulk = |name, connections: u64, up| Row {
        name,
        title: format!("bulk {}, {connections} conn.", if up { "up" } else { "down" }),
        work: Work::Bulk { connections, bytes: pick(2048, 384) << 20, up },
        metrics: BULK,
    };
    let ping = |name, title: &str, connections, size, requests| Row {
        name,
        title: title.to_owned(),
        work: Work::Ping { connections, size, requests, rate: 0, flow: false },
        metrics: if size == 64 { PING } else { PING_16K },
    };
    let (churn, held, idle_ms) = (pick(10_000, 3_000), pick(8_000, 2_000), pick(5_000, 1_000));
    let paced = pick(60_000, 15_000);
    let mixed = pick(20_000, 6_000);
    vec![
        bulk("bulk-down", 4, false),
        bulk("bulk-down-1", 1, false),
        bulk("bulk-up", 4, true),
        bulk("bulk-up-1", 1, true),
        ping("ping", "64 B ping-pong, 32 conn.", 32, 64, pick(100_000, 30_000)),
        ping("ping-1", "64 B ping-pong, 1 conn.", 1, 64, pick(20_000, 8_000)),
        ping("ping-16k", "16 KiB ping-pong, 32 conn.", 32, 16 * 1024, pick(40_000, 10_000)),
        churn_row(("churn", "churn: open, 1 B each way, close"), churn, false),
        churn_row(("churn-reset", "churn: open, 1 B each way, RST"), churn, true),
        extra(("churn-allow", "churn, 10,000 networks in allow"), churn, Extra::Allow),
        extra(("churn-header", "churn, PROXY v2 sent (nginx: v1)"), churn, Extra::Header),
        extra(("churn-names", "churn, led by SNI: 517 B up"), churn, Extra::Names),
        extra(("tls-full", "TLS 1.3 ended: full handshake, 1 B each way"), churn, Extra::Tls),
        extra(("tls-resumed", "TLS 1.3 ended: resumed, 1 B each way"), churn, Extra::Resumed),
        tls_bulk(pick(1024, 256) << 20),
        Row {
            name: "paced",
            title: "64 B at 20,000/s, 32 conn.".to_owned(),
            work: Work::Ping { connections: 32, size: 64, requests: paced, rate: 20_000, flow: false },
            metrics: PACED,
        },
        Row {
            name: "hold",
            title: format!("{held} conn. held, idle {} s", idle_ms / 1000),
            work: Work::Hold { connections: held, idle_ms, requests: pick(50_000, 15_000) },
            metrics: HOLD,
        },
        hold_more(("hold-tls", "held, TLS 1.3 ended"), held / 2, Extra::Tls),
        hold_more(("hold-header", "held, PROXY header sent"), held, Extra::Header),
        hold_more(("hold-names", "held, led by SNI"), held, Extra::Names),
        udp(("udp", "UDP, 200 B there and back, 32 clients"), (32, 0), pick(100_000, 40_000)),
        udp(("udp-1000", "UDP, 200 B at 40,000/s there and back, 1,000 clients"), (1_000, 40_000), paced),
        udp_stream(pick(200_000, 60_000)),
        Row {
            name: "mixed",
            title: "64 B at 5,000/s, 500 conn., beside 1 bulk stream".to_owned(),
            work: Work::Ping { connections: 500, size: 64, requests: mixed, rate: 5_000, flow: true },
            metrics: MIXED,
        },
    ]
}
