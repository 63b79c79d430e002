//! A store that a file comes from, on a command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Report;
use crate::files;
use crate::model::{Fault, Part, StoreUrl, units};
use crate::net::store::StoreAccess;
use crate::net::tls::{PairText, TlsConfig, Unfit, agent_tls, agent_tls_of_nobody};
use crate::server::pull::PullPlan;
use crate::state::pull::PullSettings;
use crate::wire::minisign::PublicKey;

/// Tells this machine from others (machine-id(5)).
const MACHINE_ID: &str = "/etc/machine-id";

/// How to pull from a store.
#[derive(Clone, Debug, clap::Args)]
pub struct HowToPull {
    /// The public key of minisign whose signature each text must have: at URL.minisig, with a trusted comment
    /// `serial=N stage=P%`. Without it nobody but the store says what runs.
    #[arg(long, value_name = "FILE", requires = "from")]
    key: Option<PathBuf>,
    /// The name of this node, which decides at which stage it takes a text. Default: /etc/machine-id.
    #[arg(long, value_name = "NAME", requires = "from")]
    node: Option<String>,
    /// Time between two looks at a store without a long poll; what many nodes would do at once is spread over it.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = interval, requires = "from")]
    every: Duration,
    /// Trust the authorities of this file (PEM), not those of the system.
    #[arg(long, value_name = "FILE", requires = "from")]
    ca: Option<PathBuf>,
    /// Show this certificate (PEM) to the store.
    #[arg(long, value_name = "FILE", requires = "client_key", requires = "from")]
    client_cert: Option<PathBuf>,
    /// The key of that certificate.
    #[arg(long, value_name = "FILE", requires = "client_cert", requires = "from")]
    client_key: Option<PathBuf>,
    /// Send the token of this file with each request (Authorization: Bearer). It is read each time.
    #[arg(long, value_name = "FILE", requires = "from")]
    token_file: Option<PathBuf>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = units::duration(text, Duration::from_millis(100));
    let interval = interval.map_err(|fault| format!("{}; {}", fault.message, fault.help))?;
    match interval <= Duration::from_secs(3600) {
        true => Ok(interval),
        false => Err("at most 1h".to_owned()),
    }
}

impl HowToPull {
    /// What the puller of a file has to know. Reads the files that are named.
    pub fn plan(&self, url: &str, file: &Path) -> Result<PullPlan, Report> {
        let of_url = |fault| Report::about_file("--from", fault);
        let url: StoreUrl = url.parse().map_err(of_url)?;
        if self.key.is_none() && !url.is_private() {
            return Err(of_url(Fault::new(
                format!("whoever is between here and `{url}` could change the routes"),
                "use https:// or etcds://, or name the key of the publisher with --key",
            )));
        }
        if self.token_file.is_some() && matches!(url, StoreUrl::Etcd(_)) {
            return Err(of_url(Fault::new(
                "etcd's gateway takes no bearer token",
                "use --client-cert and --client-key, and let etcd ask for certificates",
            )));
        }
        let key = self.key.as_deref().map(public_key).transpose()?;
        let signed = key.is_some();
        let node = self.node(signed)?;
        let settings = PullSettings { key, node, every: self.every, seed: fastrand::u64(..) };
        let token = self.token_file.clone();
        let tls = self.tls(url.is_tls())?;
        let arguments = self.arguments(&url);
        let access = StoreAccess { url, tls, token, signed, largest: files::LARGEST };
        Ok(PullPlan { access, file: file.to_owned(), settings, arguments })
    }

    /// The options that say the same to another process.
    fn arguments(&self, url: &StoreUrl) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--from".into(), url.to_string().into()];
        arguments.extend(["--every".into(), units::show(self.every).into()]);
        let node = self.node.as_ref().map(OsString::from);
        let path = |path: &Option<PathBuf>| path.clone().map(PathBuf::into_os_string);
        for (option, value) in [
            ("--node", node),
            ("--key", path(&self.key)),
            ("--ca", path(&self.ca)),
            ("--client-cert", path(&self.client_cert)),
            ("--client-key", path(&self.client_key)),
            ("--token-file", path(&self.token_file)),
        ] {
            arguments.extend(value.into_iter().flat_map(|value| [option.into(), value]));
        }
        arguments
    }

    /// Without stages the name does not matter.
    fn node(&self, signed: bool) -> Result<String, Report> {
        if let Some(node) = self.node.as_ref().filter(|node| !node.trim().is_empty()) {
            return Ok(node.clone());
        }
        let id = std::fs::read_to_string(MACHINE_ID).unwrap_or_default().trim().to_owned();
        match id.is_empty() && signed {
            true => Err(Report::about_file(
                "--node",
                Fault::new(
                    format!("{MACHINE_ID} does not tell this node from others"),
                    "name it: --node edge-1",
                ),
            )),
            false => Ok(id),
        }
    }

    /// `needed`: without TLS a system need not trust anybody.
    fn tls(&self, needed: bool) -> Result<TlsConfig, Report> {
        let read = |path: &Option<PathBuf>| path.as_deref().map(read).transpose();
        let (ca, cert, key) = (read(&self.ca)?, read(&self.client_cert)?, read(&self.client_key)?);
        let pair = cert.as_deref().zip(key.as_deref()).map(|(cert, key)| PairText { cert, key });
        match agent_tls(pair, ca.as_deref()) {
            Ok(tls) => Ok(tls),
            Err(Unfit { part: None, .. }) if !needed => Ok(agent_tls_of_nobody()),
            Err(unfit) => Err(self.tls_fault(unfit)),
        }
    }

    fn tls_fault(&self, unfit: Unfit) -> Report {
        let Unfit { part, line, fault, .. } = unfit;
        let path = match part {
            Some(Part::Certificate) => &self.client_cert,
            Some(Part::Key) => &self.client_key,
            Some(_) => &self.ca,
            None => {
                let help =
                    "install one (Debian: apt-get install ca-certificates), or name your own with --ca";
                return Report::about_file("--ca", Fault::new(fault.message, help));
            }
        };
        let line = line.map_or_else(String::new, |line| format!(":{line}"));
        let name = path.as_ref().map_or_else(String::new, |path| path.display().to_string());
        Report::about_file(&(name + &line), fault)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Report> {
    let content =
        files::read(path).map_err(|fault| Report::about_file(&path.display().to_string(), fault))?;
    Ok(content.bytes)
}

fn public_key(path: &Path) -> Result<PublicKey, Report> {
    let bytes = read(path)?;
    PublicKey::read(&String::from_utf8_lossy(&bytes)).map_err(|error| {
        let help = "give the .pub file that minisign -G has made";
        Report::about_file(&path.display().to_string(), Fault::new(error.to_string(), help))
    })
}
