//! Reads the files of certificates, keys, authorities and revocation lists, and builds acceptors and connectors from
//! them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files::{self, FileState, look};
use crate::model::{Credentials, Fault, Part};
use crate::net::tls::{ClientTrust, PairText, SystemRoots, TlsAcceptor, TlsConnector, Unfit};

/// A file of certificates, a key or revocation lists that was read.
#[derive(Clone, Debug)]
pub(super) struct PartFile {
    pub part: Part,
    pub path: PathBuf,
    pub text: Arc<[u8]>,
    /// What the file looked like before it was read.
    pub state: FileState,
}

/// The TLS setup of one side, towards clients or towards upstreams.
#[derive(Debug)]
pub(super) enum Made {
    Clients(TlsAcceptor),
    Upstream(TlsConnector),
}

/// A fault, and the file that has it.
#[derive(Debug)]
pub(super) struct PartFault {
    /// Its index among the files. `None`: it is not the fault of one file.
    pub file: Option<usize>,
    /// The line in it, from 1. `None`: the file as a whole.
    pub line: Option<usize>,
    pub fault: Fault,
}

impl PartFile {
    /// Reads a file that the routes' file names. May block.
    pub fn read(part: Part, written: &Path, folder: &Path) -> Result<Self, Fault> {
        let path = folder.join(written);
        let state = look(&path);
        files::read(&path).map(|content| PartFile { part, path, text: content.bytes.into(), state })
    }
}

/// The name of a file in a message: `the key /etc/portway/key.pem`.
pub(super) fn called(part: Part, path: &Path) -> String {
    let what = match part {
        Part::Certificate => "the certificate",
        Part::Key => "the key",
        Part::Authority => "the authorities",
        Part::Revocations => "the revocation list",
    };
    format!("{what} {}", path.display())
}

/// A place in a file, as editors and compilers write it: `/etc/portway/app.pem:12`.
pub(super) fn place(path: &Path, line: Option<usize>) -> PathBuf {
    line.map_or_else(|| path.to_owned(), |line| format!("{}:{line}", path.display()).into())
}

/// Builds an acceptor or a connector from the files. The fault says which file is wrong, if it is one. May block.
pub(super) fn make(
    credentials: &Credentials,
    files: &[PartFile],
    system: &SystemRoots,
) -> Result<Made, PartFault> {
    let texts = |part: Part| files.iter().filter(move |file| file.part == part).map(|file| &*file.text);
    let text = |part: Part| texts(part).next();
    let pair = text(Part::Certificate).zip(text(Part::Key)).map(|(cert, key)| PairText { cert, key });
    let authorities = text(Part::Authority);
    let made = match credentials {
        Credentials::Clients(tls) => {
            let revocations = texts(Part::Revocations).collect();
            let clients = authorities.map(|authorities| ClientTrust { authorities, revocations });
            TlsAcceptor::new(pair.unwrap_or_default(), clients, &tls.alpn).map(Made::Clients)
        }
        Credentials::Upstream(_) => TlsConnector::new(pair, authorities, system).map(Made::Upstream),
    };
    made.map_err(|Unfit { part, number, line, fault }| {
        let of_part = files.iter().enumerate().filter(|(_, file)| Some(file.part) == part);
        PartFault { file: of_part.map(|(index, _)| index).nth(number), line, fault }
    })
}
