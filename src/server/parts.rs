//! Reads the files of certificates, keys and authorities, and builds acceptors and connectors from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files::{self, FileState, look};
use crate::model::{Credentials, Fault, Part};
use crate::net::tls::{PairText, TlsAcceptor, TlsConnector, Unfit, system_roots};

/// A certificate, key or authority file that was read.
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

/// A fault, and the file that has it. `None`: it is not the fault of one file.
#[derive(Debug)]
pub(super) struct PartFault {
    pub part: Option<Part>,
    pub fault: Fault,
}

impl PartFile {
    /// Reads a file that the routes' file names. May block.
    pub fn read(part: Part, written: &Path, folder: &Path) -> Result<Self, PartFault> {
        let path = folder.join(written);
        let state = look(&path);
        match files::read(&path) {
            Ok(content) => Ok(PartFile { part, path, text: content.bytes.into(), state }),
            Err(fault) => Err(PartFault { part: Some(part), fault }),
        }
    }
}

/// The name of a file in a message: `the key /etc/portway/key.pem`.
pub(super) fn called(part: Part, path: &Path) -> String {
    let what = match part {
        Part::Certificate => "the certificate",
        Part::Key => "the key",
        Part::Authority => "the authorities",
    };
    format!("{what} {}", path.display())
}

/// Builds an acceptor or a connector from the files. The fault says which file is wrong, if it is one. May block.
pub(super) fn make(credentials: &Credentials, files: &[PartFile]) -> Result<Made, PartFault> {
    let text = |part: Part| files.iter().find(|file| file.part == part).map(|file| &*file.text);
    let pair = text(Part::Certificate).zip(text(Part::Key)).map(|(cert, key)| PairText { cert, key });
    let authority = text(Part::Authority);
    let made = match credentials {
        Credentials::Clients(tls) => {
            TlsAcceptor::new(pair.unwrap_or_default(), authority, &tls.alpn).map(Made::Clients)
        }
        Credentials::Upstream(_) => TlsConnector::new(pair, authority, system_roots).map(Made::Upstream),
    };
    made.map_err(|unfit| match unfit {
        Unfit::Certificate(fault) => PartFault { part: Some(Part::Certificate), fault },
        Unfit::Key(fault) => PartFault { part: Some(Part::Key), fault },
        Unfit::Authority(fault) => PartFault { part: Some(Part::Authority), fault },
        Unfit::System(fault) => PartFault { part: None, fault },
    })
}
