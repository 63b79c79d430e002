//! Where the access log goes: into no file that Portway reads, for its lines would stand in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::{Compiled, Report, ValueFault};
use crate::files::Identity;
use crate::model::addr::straight;
use crate::model::{AdminSettings, Credentials, Fault, LogTarget, TokenSource};

/// Fails if the access log is a file that the routes' file is, or names. May block.
pub(super) fn check(compiled: &Compiled) -> Result<(), Report> {
    let LogTarget::File(target) = &compiled.table.log.access else { return Ok(()) };
    let Some(what) = read_there(compiled, target) else { return Ok(()) };
    let message = format!("the access log would be written into {what}");
    let fault = Fault::new(message, "write another path: \"access.log\"");
    let value = target.to_string_lossy().into_owned();
    Err(compiled.value_faults(&[ValueFault { keys: &["access"], value, fault }]))
}

/// What Portway reads at this path.
fn read_there(compiled: &Compiled, target: &Path) -> Option<&'static str> {
    let (table, files, target) = (&compiled.table, compiled.files(), Target::of(target)?);
    let has = |paths: &BTreeSet<&Path>| paths.iter().any(|path| target.is(&compiled.folder().join(path)));
    if target.is(Path::new(files.main().name())) {
        return Some("this file itself");
    }
    if has(&files.included().keys().map(PathBuf::as_path).collect()) || target.is_included(compiled) {
        return Some("a file of `include`");
    }
    // Ten thousand routes may name one file.
    if has(&table.all_routes().flat_map(|route| route.policy.access.files()).map(PathBuf::as_path).collect())
    {
        return Some("a list of networks");
    }
    let credentials: BTreeSet<_> =
        table.all_routes().flat_map(|route| route.policy.tls.credentials()).collect();
    if has(&credentials.iter().flat_map(Credentials::files).map(|(_, path)| path.as_path()).collect()) {
        return Some("a certificate or a key");
    }
    let sources = table.admin.iter().flat_map(AdminSettings::token_sources);
    let tokens = sources.filter_map(|source| match source {
        TokenSource::File(path) => Some(path.as_path()),
        TokenSource::Env(_) => None,
    });
    has(&tokens.collect()).then_some("a token")
}

/// Where the access log goes.
struct Target {
    /// From the root, without `.` and `..`.
    path: PathBuf,
    /// `None`: no file is there yet.
    identity: Option<Identity>,
}

impl Target {
    fn of(path: &Path) -> Option<Target> {
        Some(Target { path: plain(path)?, identity: Identity::of(path).ok() })
    }

    /// Whether this path leads to the same file. Where one of them leads nowhere yet, its text tells.
    fn is(&self, path: &Path) -> bool {
        match (&self.identity, Identity::of(path)) {
            (Some(one), Ok(other)) => one.is_same_file(&other),
            _ => plain(path).is_some_and(|path| path == self.path),
        }
    }

    /// Whether `include` means it, even if no file is there yet.
    fn is_included(&self, compiled: &Compiled) -> bool {
        let (main, folder) = (compiled.files().main(), plain(compiled.folder()));
        let inside = folder.and_then(|folder| self.path.strip_prefix(folder).ok());
        main.includes(&self.path) || inside.is_some_and(|path| main.includes(path))
    }
}

/// The path from the root, without `.` and `..`.
fn plain(path: &Path) -> Option<PathBuf> {
    // The folder of a file without one is the working directory.
    std::env::current_dir().ok().map(|here| straight(&here.join(path)))
}
