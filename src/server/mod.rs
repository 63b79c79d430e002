//! Floor 5: which listeners exist now.
//!
//! Starts them, carries edits out ([`Server::apply`]) and ends them ([`Server::drain`]). The only floor that changes
//! what runs; it does so in one task, one edit after the other: [`run`] is the life of the process, `watch` notices an
//! edit, [`edit`] tells its story, `apply` carries it out.

mod apply;
pub mod credentials;
mod datagrams;
mod drain;
pub mod edit;
mod endpoint;
pub mod file;
mod followed;
pub mod handle;
mod limits;
pub mod lists;
mod log;
pub mod run;
mod signals;
mod systemd;
pub mod trial;
mod view;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch as channel;

use crate::model::{ListenAddr, Route, Table};
use crate::net::Inherited;
use crate::proxy::{Clientele, Door, Front, Shared, Upstreams};
use crate::tasks::Scope;
use credentials::CredentialFiles;
use datagrams::Datagrams;
use handle::AdminDoor;
pub use handle::Handle;
use lists::ListFiles;
use watch::Events;

/// What runs now.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    inherited: Inherited,
    /// What the listeners do, as a table.
    table: Table,
    doors: BTreeMap<ListenAddr, OpenDoor>,
    /// The same of UDP.
    datagrams: Datagrams,
    /// What is known of the upstreams: it outlives edits.
    upstreams: Arc<Upstreams>,
    /// What is known of the clients: it outlives edits.
    clientele: Clientele,
    /// The lists of networks that stand in files of their own.
    lists: ListFiles,
    /// The certificates that stand in files of their own.
    credentials: CredentialFiles,
    /// The connections of each route, as its present text serves them.
    serving: BTreeMap<String, Scope>,
    /// Connections of texts that an edit has replaced.
    retired: Vec<Retired>,
    /// Above every scope.
    root: Scope,
    generation: u64,
    /// When it last changed.
    since: SystemTime,
    /// The admin endpoint of the file.
    admin: channel::Sender<Option<Arc<AdminDoor>>>,
}

/// A listener that accepts.
#[derive(Debug)]
struct OpenDoor {
    door: Arc<Door>,
    front: Arc<Front>,
}

/// Connections of a route's text that is no more.
#[derive(Debug)]
struct Retired {
    route: Arc<Route>,
    connections: Scope,
}

impl Server {
    /// A server without listeners. It uses `inherited` sockets where their address fits, and binds the rest.
    fn new(shared: Arc<Shared>, inherited: Inherited, events: Events) -> Self {
        let root = Scope::new();
        Server {
            shared,
            inherited,
            table: Table::default(),
            doors: BTreeMap::new(),
            datagrams: Datagrams::default(),
            upstreams: Upstreams::new(root.child()),
            clientele: Clientele::default(),
            lists: ListFiles::new(events.clone()),
            credentials: CredentialFiles::new(events),
            serving: BTreeMap::new(),
            retired: Vec::new(),
            root,
            generation: 0,
            since: SystemTime::now(),
            admin: channel::Sender::new(None),
        }
    }

    /// How many times what runs has changed.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What runs, as a table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Inherited sockets that no listener uses, as a person should read them.
    pub fn unused_inherited(&self) -> Vec<String> {
        let unused = self.inherited.unused(self.doors.keys()).map(ToString::to_string);
        unused
            .chain(self.inherited.unused_datagrams(self.datagrams.addrs()).map(ToString::to_string))
            .collect()
    }

    /// Reads every list of networks and every certificate again, whatever their files look like.
    pub fn ask_files(&self) {
        self.lists.ask();
        self.credentials.ask();
    }

    /// Says of each route how many clients it has turned away.
    pub fn sum_up(&self) {
        self.clientele.gates().for_each(|gate| gate.sum_up());
    }

    /// How many listeners are open.
    pub fn listeners(&self) -> usize {
        self.doors.len() + self.datagrams.len()
    }
}
