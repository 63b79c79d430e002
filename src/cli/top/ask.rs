//! Asks the proxy, on a thread of its own.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::admin::{Admin, Failure};
use super::deeds::{Deed, Of, Steer};
use super::table::count;
use crate::admin::api::{
    Connection, Connections, Disable, Drain, Draining, Enable, Kill, Killed, Routes, Status, Steered,
    Upstreams, Weight,
};

/// What the proxy reports about itself at one moment.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub status: Status,
    pub routes: Routes,
    pub upstreams: Upstreams,
    /// Fetched only while they are shown.
    pub connections: Option<Connections>,
}

/// The most connections that are shown, and the most that come in one answer.
const SHOWN: (usize, usize) = (5_000, 1_000);

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Order {
    Look { connections: bool },
    Do(Deed),
}

/// The outcome of an [`Order`].
#[derive(Debug)]
pub(super) enum Answer {
    Look(Box<Result<View, String>>),
    Done(String),
}

/// A handle to the thread. The thread ends with this value, or with the process if the proxy holds it up.
#[derive(Debug)]
pub(super) struct Asker {
    orders: Sender<Order>,
    answers: Receiver<Answer>,
    waiting: usize,
}

impl Asker {
    pub(super) fn start(proxy: Admin) -> io::Result<Asker> {
        let (orders, taken) = channel();
        let (given, answers) = channel();
        let work = move || {
            // Until the handle is dropped.
            for order in taken {
                let answer = match order {
                    Order::Look { connections } => Answer::Look(Box::new(
                        look(&proxy, connections).map_err(|failure| failure.to_string()),
                    )),
                    Order::Do(Deed::Kill(ids)) => Answer::Done(kill(&proxy, ids)),
                    Order::Do(Deed::Steer(how, of)) => Answer::Done(steer(&proxy, how, of)),
                };
                if given.send(answer).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("ask".into()).spawn(work)?;
        Ok(Asker { orders, answers, waiting: 0 })
    }

    pub(super) fn order(&mut self, order: Order) {
        if self.orders.send(order).is_ok() {
            self.waiting += 1;
        }
    }

    pub(super) fn answer(&mut self) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        self.waiting -= 1;
        Some(answer)
    }

    /// Whether an answer is outstanding.
    pub(super) fn waits(&self) -> bool {
        self.waiting > 0
    }
}

/// Asks for everything that is shown.
pub(super) fn look(proxy: &Admin, connections: bool) -> Result<View, Failure> {
    Ok(View {
        status: proxy.get("/v1/status")?,
        routes: proxy.get("/v1/routes")?,
        upstreams: proxy.get("/v1/upstreams")?,
        connections: if connections { Some(open(proxy)?) } else { None },
    })
}

/// The oldest connections, page by page.
fn open(proxy: &Admin) -> Result<Connections, Failure> {
    let mut found: Vec<Connection> = Vec::new();
    let mut after = 0;
    loop {
        let page: Connections = proxy.get(&format!("/v1/connections?limit={}&after={after}", SHOWN.1))?;
        found.extend(page.connections);
        match page.next {
            Some(next) if found.len() < SHOWN.0 => after = next,
            next => return Ok(Connections { open: page.open, connections: found, next }),
        }
    }
}

fn kill(proxy: &Admin, ids: Vec<u64>) -> String {
    match proxy.post::<Killed>("/v1/kill", &Kill { ids, filter: None }) {
        Ok(Killed { killed, unknown }) if unknown.is_empty() => {
            format!("{} reset", count(killed, "connection"))
        }
        Ok(Killed { killed, unknown }) => {
            format!("{} reset, {} had gone already", count(killed, "connection"), unknown.len())
        }
        Err(failure) => not_done("not reset", &failure),
    }
}

/// Steers a route or an upstream. The last upstream of a route is left alone: that takes `--force`, and so a command.
fn steer(proxy: &Admin, how: Steer, Of { route, upstream }: Of) -> String {
    let what = upstream.clone().unwrap_or_else(|| route.clone());
    let done = match (how, upstream) {
        (Steer::Drain, upstream) => {
            let drain = Drain { route: Some(route), upstream, ..Drain::default() };
            let done: Result<Draining, Failure> = proxy.post("/v1/drain", &drain);
            done.map(|done| format!("{what} drains; {}", count(done.open, "open connection")))
        }
        (Steer::Disable, upstream) => {
            let disable = Disable { route, upstream, ..Disable::default() };
            let done: Result<Steered, Failure> = proxy.post("/v1/disable", &disable);
            done.map(|done| format!("{what} is disabled; {} reset", count(done.open, "connection")))
        }
        (Steer::Enable, upstream) => {
            let done: Result<Steered, Failure> = proxy.post("/v1/enable", &Enable { route, upstream });
            done.map(|_| format!("{what} follows the file"))
        }
        (Steer::Weight(weight), upstream) => {
            let upstream = upstream.unwrap_or_default();
            let body = Weight { route, upstream, weight, ..Weight::default() };
            let done: Result<Steered, Failure> = proxy.post("/v1/weight", &body);
            done.map(|_| format!("{what} has the weight {weight}"))
        }
    };
    done.unwrap_or_else(|failure| not_done("not done", &failure))
}

fn not_done(what: &str, failure: &Failure) -> String {
    match failure.help() {
        Some(help) => format!("{what}: {failure}; {help}"),
        None => format!("{what}: {failure}"),
    }
}
