//! The file of the routes on a command line: it may stand alone, or after `--config`.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::config::Report;
use crate::files;
use crate::model::Fault;

/// Where the file is if nobody says otherwise.
pub(super) const DEFAULT: &str = "/etc/portway/portway.toml";

/// Which file is meant.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigFile {
    /// The file of the routes. Without it: $PORTWAY_CONFIG, then /etc/portway/portway.toml.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The file of the routes, as above.
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    /// Its path. `-`: standard input.
    pub fn path(&self) -> PathBuf {
        let given = self.file.clone().or_else(|| self.config.clone());
        given
            .or_else(|| std::env::var_os("PORTWAY_CONFIG").map(PathBuf::from))
            .unwrap_or_else(|| DEFAULT.into())
    }
}

/// What a file is called in messages.
pub(super) fn name(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() }
}

pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Reads a file, or for `-` standard input, which is as large as a file may be.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Report> {
    let read = match is_stdin(path) {
        false => files::read(path).map(|content| content.bytes),
        true => read_stdin(),
    };
    read.map_err(|fault| Report::about_file(&name(path), fault))
}

fn read_stdin() -> Result<Vec<u8>, Fault> {
    let mut text = Vec::new();
    let read = std::io::stdin().lock().take(files::LARGEST + 1).read_to_end(&mut text);
    read.map_err(|error| Fault::new(format!("it cannot be read: {error}"), "give the path of a file"))?;
    if text.len() as u64 > files::LARGEST {
        return Err(Fault::new(
            "it is larger than 16 MiB",
            "is it the right one? Portway reads at most 16 MiB",
        ));
    }
    Ok(text)
}
