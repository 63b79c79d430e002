//! Certificates, keys and authorities. Their files are read with the edit that names them, and followed as long as a
//! route needs them. Files that do not fit together are never put into force: the previous ones stay.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Notify;

use super::credentials_follower::{InForce, Live, follow};
use super::named_file::NamedFile;
use super::notices::{Logged, Notice, notices, paths};
use super::parts::{Made, PartFault, PartFile, called, make, place};
use crate::config::{Compiled, Report};
use crate::files::{Followers, FsEventSource};
use crate::model::{Credentials, Fault, Table, UpstreamTls};
use crate::net::tls::SystemRoots;
use crate::proxy::upstream::{LiveAcceptor, LiveConnector, TlsStore};
use crate::tasks::Scope;

/// Credentials that were read and fit together, not in force yet.
#[derive(Debug)]
pub struct ReadCredentials {
    credentials: Credentials,
    files: Vec<PartFile>,
    made: Made,
    notices: Vec<Notice>,
}

impl ReadCredentials {
    /// The connector to upstreams, if these are credentials towards them.
    pub(super) fn connector(self) -> Option<(Arc<UpstreamTls>, Arc<LiveConnector>)> {
        match (self.credentials, self.made) {
            (Credentials::Upstream(tls), Made::Upstream(connector)) => {
                Some((tls, Arc::new(LiveConnector::from_pointee(connector))))
            }
            _ => None,
        }
    }

    /// Warnings about credentials that are usable all the same, each as one line.
    pub fn notices(&self) -> impl Iterator<Item = String> {
        self.notices.iter().map(ToString::to_string)
    }
}

/// The credentials that the routes of a table need.
fn needed(table: &Table) -> BTreeSet<Credentials> {
    table.all_routes().flat_map(|route| route.policy.tls.credentials()).collect()
}

/// Reads the credentials that a file names. The report shows every one that is unusable. May block.
pub fn read(compiled: &Compiled) -> Result<Vec<ReadCredentials>, Report> {
    read_all(compiled, needed(&compiled.table))
}

/// The most bytes of certificates and keys that are read for one edit. One file may be named in a thousand ways.
const MOST_BYTES: usize = 16 << 20;

fn read_all(compiled: &Compiled, wanted: BTreeSet<Credentials>) -> Result<Vec<ReadCredentials>, Report> {
    let (mut read, mut faults, mut missing) = (Vec::new(), Vec::new(), BTreeSet::new());
    let (mut bytes, system) = (0, SystemRoots::default());
    for credentials in wanted {
        let written = credentials.files();
        // Several routes may name a file: it has its faults once.
        let mut note = |index: Option<usize>, line, fault: Fault| {
            let file = index.and_then(|index| written.get(index));
            let about =
                file.map(|(part, path)| called(*part, &place(&compiled.folder().join(path), line)) + ": ");
            let message = format!("{}{}", about.unwrap_or_default(), fault.message);
            let written = file.map(|(_, path)| PathBuf::clone(path)).unwrap_or_default();
            let noted = (written, Fault::new(message, fault.help));
            if !faults.contains(&noted) {
                faults.push(noted);
            }
        };
        let mut files = Vec::new();
        for (index, (part, path)) in written.iter().enumerate() {
            match PartFile::read(*part, path, compiled.folder()) {
                Ok(file) => files.push(file),
                Err(fault) if missing.insert(PathBuf::clone(path)) => note(Some(index), None, fault),
                Err(_) => {}
            }
        }
        if files.len() < written.len() {
            continue;
        }
        bytes += files.iter().map(|file| file.text.len()).sum::<usize>();
        if bytes > MOST_BYTES {
            let cure = "is each of them a certificate or a key, and needed?";
            let message = "with this one, the certificates and keys of the file have more than 16 MiB";
            note(Some(0), None, Fault::new(message, cure));
            break;
        }
        match make(&credentials, &files, &system) {
            Ok(made) => {
                let notices = notices(&files);
                read.push(ReadCredentials { credentials, files, made, notices });
            }
            Err(PartFault { file, line, fault }) => note(file, line, fault),
        }
    }
    if faults.is_empty() { Ok(read) } else { Err(compiled.file_faults(&faults)) }
}

/// The credentials in force, and the tasks that follow their files.
#[derive(Debug)]
pub(super) struct CredentialFiles {
    pub followers: Followers<Credentials, Vec<NamedFile>>,
    events: FsEventSource,
    logged: Logged,
}

impl CredentialFiles {
    /// Starts without credentials. `news`: as [`Followers::new`] has it.
    pub fn new(events: FsEventSource, news: Arc<Notify>) -> Self {
        let followers = Followers::new("the certificates", news);
        CredentialFiles { followers, events, logged: Logged::default() }
    }

    /// Reads the credentials that the file names and that are not in force yet. Changes nothing.
    pub async fn prepare(&self, compiled: &Compiled) -> Result<Vec<ReadCredentials>, Report> {
        self.followers.read_new(needed(&compiled.table), compiled, read_all).await
    }

    /// The files of credentials that a table names and that are not in force, as written. Reads none.
    pub fn missing(&self, table: &Table) -> Vec<PathBuf> {
        let missing = self.followers.missing(needed(table));
        missing.iter().flat_map(|of| of.files().into_iter().map(|(_, path)| path.clone())).collect()
    }

    /// Puts credentials into force, and follows their files from now on.
    pub fn begin(&mut self, read: Vec<ReadCredentials>, store: &mut TlsStore, owner: &Scope) {
        for ReadCredentials { credentials, files, made, notices } in read {
            self.logged.log(paths(&files), &notices);
            let live = match (&credentials, made) {
                (Credentials::Clients(tls), Made::Clients(acceptor)) => {
                    let live = Arc::new(LiveAcceptor::from_pointee(acceptor));
                    store.acceptors.insert(tls.clone(), live.clone());
                    Live::Clients(live)
                }
                (Credentials::Upstream(tls), Made::Upstream(connector)) => {
                    let live = Arc::new(LiveConnector::from_pointee(connector));
                    store.connectors.insert(tls.clone(), live.clone());
                    Live::Upstream(live)
                }
                // Not reached: `make` returns the kind that it was asked for.
                _ => continue,
            };
            let (events, logged) = (self.events.clone(), self.logged.clone());
            let in_force = InForce { credentials: credentials.clone(), files, live, notices };
            self.followers.begin(credentials, owner, move |link| {
                follow(in_force.clone(), events.clone(), logged.clone(), link)
            });
        }
    }

    /// Forgets the credentials that no route needs any more.
    pub fn forget_unused(&mut self, table: &Table, store: &mut TlsStore) {
        if self.followers.is_empty() {
            return;
        }
        let needed = needed(table);
        store.acceptors.retain(|tls, _| needed.contains(&Credentials::Clients(tls.clone())));
        store.connectors.retain(|tls, _| needed.contains(&Credentials::Upstream(tls.clone())));
        self.followers.keep(&needed);
    }

    /// The files, as the tasks that follow them see them.
    pub fn shown(&self) -> impl Iterator<Item = NamedFile> {
        self.followers.shown().flatten()
    }
}
