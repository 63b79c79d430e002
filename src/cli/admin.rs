//! Talks to the admin endpoint of a running proxy: finds it, asks it, and says why there is no answer.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header, http};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::runtime::Builder;

use super::config_file::DEFAULT;
use crate::admin::HttpIo;

use crate::admin::api::Problem;
use crate::config;
use crate::files;
use crate::model::{AdminSettings, ListenAddr, Secret, Token};
use crate::net::{itself, within};
use crate::server::tokens::ReadToken;

/// How long a connect to one address may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take, where nothing has to be tried or waited for.
const QUICK: Duration = Duration::from_secs(10);
/// How long an answer may take that a shell waits for, after Tab.
const HASTY: Duration = Duration::from_secs(1);
/// How long an answer may take that waits for the disk, for names or for upstreams, and for others of its kind.
const LONG: Duration = Duration::from_secs(300);

/// Which proxy is meant.
#[derive(Clone, Debug, clap::Args)]
pub struct Proxy {
    /// The admin endpoint of the running proxy: "unix:/path" or "127.0.0.1:9180". Without it: the [admin] of the file.
    #[arg(long, value_name = "ADDR", env = "PORTWAY_ADMIN")]
    admin: Option<String>,
    /// The file whose [admin] is used, as for `portway run`.
    #[arg(short, long, value_name = "FILE", env = "PORTWAY_CONFIG", default_value = DEFAULT)]
    config: PathBuf,
    /// The token of [admin]. Without it: the one in the file.
    #[arg(long, value_name = "TOKEN", env = "PORTWAY_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// A client of the admin endpoint of a running proxy. Each request is a connection of its own.
#[derive(Clone, Debug)]
pub struct Admin {
    at: At,
    token: Option<Secret>,
    /// How long an answer may take.
    patience: Duration,
}

#[derive(Clone, Debug)]
enum At {
    Tcp(String),
    Unix(PathBuf),
}

/// Why a request has failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It is not known where the proxy answers; and what to do about it.
    #[error("{0}")]
    Nobody(String, &'static str),
    /// Nobody answers there.
    #[error("no running Portway answers at {0}: {1}")]
    Silent(String, #[source] io::Error),
    /// It takes connections, and does not answer in time.
    #[error("{0} has not answered within {secs} seconds", secs = .1.as_secs())]
    Late(String, Duration),
    /// It answers with an error: the HTTP status, and the problem.
    #[error("{}", .1.error)]
    Refused(u16, Problem),
    /// No request can be made of the token or of the address.
    #[error("the token or the address has a character that HTTP cannot carry, such as the end of a line")]
    Unsendable,
    /// It answers, but not as Portway does.
    #[error("{0} answers, but not as Portway does: {1}")]
    Strange(String, String),
}

impl Failure {
    /// What a person can do about it. `None`: nothing is known.
    pub fn help(&self) -> Option<&str> {
        match self {
            Failure::Refused(_, problem) => Some(&problem.help),
            Failure::Nobody(_, help) => Some(help),
            Failure::Silent(_, error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some("it belongs to another user: ask as that user, or as root (sudo portway ...)")
            }
            Failure::Silent(..) => Some("is it running, with this [admin] in its file?"),
            Failure::Late(..) => Some(
                "it may be paused or overloaded: look at its log and its processor time. What was asked for may still be done",
            ),
            Failure::Unsendable => Some("give it without that character: --token, $PORTWAY_TOKEN, --admin"),
            Failure::Strange(..) => None,
        }
    }

    /// Shows it on standard error. Exit code 1; 2 if the command line is wrong.
    pub fn exit(&self) -> ExitCode {
        let help = self.help().map(|help| format!("  help: {help}\n")).unwrap_or_default();
        // If standard error is gone, the exit code is all that can be said.
        drop(write!(io::stderr().lock(), "error: {self}\n{help}"));
        match self {
            Failure::Nobody(..) | Failure::Unsendable | Failure::Refused(400 | 404, _) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

impl Proxy {
    /// Finds the proxy: by `--admin`, by `$PORTWAY_ADMIN`, or else by the file that `run` would use.
    pub fn find(&self) -> Result<Admin, Failure> {
        let token = self.token.clone().map(Secret::new);
        match &self.admin {
            Some(text) => {
                // Its token may still be in the file.
                let of_file = || known(&of_file(&self.config).ok()?.token?, &self.config);
                Ok(Admin::new(At::from(text.as_str()), token.or_else(of_file)))
            }
            None => {
                let AdminSettings { listen, token: of_file, read_token, access: _ } = of_file(&self.config)?;
                let at = match listen {
                    ListenAddr::Unix(path) => At::Unix(path),
                    ListenAddr::Ip(mut addr) => {
                        if addr.ip().is_unspecified() {
                            let local = if addr.is_ipv4() { "127.0.0.1" } else { "::1" };
                            addr.set_ip(local.parse().unwrap_or(addr.ip()));
                        }
                        At::Tcp(addr.to_string())
                    }
                    ListenAddr::Any(port) => At::Tcp(format!("127.0.0.1:{port}")),
                };
                let known = |token: Option<Token>| known(&token?, &self.config);
                Ok(Admin::new(at, token.or_else(|| known(of_file)).or_else(|| known(read_token))))
            }
        }
    }
}

/// A token that a file has or names. `None`: this user cannot read it; where one is needed, the answer says so.
fn known(token: &Token, file: &Path) -> Option<Secret> {
    match token {
        Token::Here(secret) => Some(secret.clone()),
        Token::Elsewhere(source) => {
            let folder = file.parent().unwrap_or(Path::new(""));
            ReadToken::read(source, folder).ok().map(ReadToken::secret)
        }
    }
}

/// The `[admin]` of a file.
fn of_file(path: &Path) -> Result<AdminSettings, Failure> {
    let name = path.display();
    let nobody = |why: &dyn fmt::Display, help| {
        Failure::Nobody(format!("{name} does not say whom to ask: {why}"), help)
    };
    let reading = files::read(path).map_err(|fault| match std::fs::File::open(path).map_err(|error| error.kind()) {
        Err(io::ErrorKind::PermissionDenied) => nobody(
            &"this user may not read it",
            "ask as the user that runs Portway, or as root (sudo portway ...), or give the address: --admin ADDR",
        ),
        _ => nobody(&fault.message, "give the file of the running proxy: --config FILE, or its address: --admin ADDR"),
    })?;
    let table = match config::compile(&name.to_string(), &reading.bytes) {
        Ok(compiled) => compiled.table.admin,
        // What runs is an earlier text: its endpoint is most likely the same.
        Err(report) => {
            config::admin_of(&reading.bytes).ok_or_else(|| nobody(&report.headline(), NO_ADMIN))?.into()
        }
    };
    table.ok_or_else(|| nobody(&"it has no [admin]", NO_ADMIN))
}

const NO_ADMIN: &str =
    "write [admin] into the file, with listen = \"127.0.0.1:9180\", or give its address: --admin ADDR";

impl From<&str> for At {
    fn from(text: &str) -> At {
        match text.strip_prefix("unix:") {
            Some(path) => At::Unix(path.into()),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => At::Tcp(format!("127.0.0.1:{text}")),
            None => At::Tcp(text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/').to_owned()),
        }
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Tcp(addr) => f.write_str(addr),
            At::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Admin {
    fn new(at: At, token: Option<Secret>) -> Admin {
        Admin { at, token, patience: QUICK }
    }

    /// For calls that try or wait for something: plans and reloads. Waits longer for an answer.
    #[must_use]
    pub fn patient(mut self) -> Admin {
        self.patience = LONG;
        self
    }

    /// For a person who waits at a prompt: gives up soon.
    #[must_use]
    pub fn hasty(mut self) -> Admin {
        self.patience = HASTY;
        self
    }

    /// Gets a value, such as `/v1/status`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.value(&self.exchange(Method::GET, path, b"")?)
    }

    /// Posts a body in JSON, and waits for the outcome.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        // None of these values fails to serialize.
        let body = serde_json::to_vec(body).unwrap_or_default();
        self.post_bytes(path, &body)
    }

    /// Posts a body that is not JSON, and waits for the outcome.
    pub fn post_bytes<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T, Failure> {
        self.value(&self.exchange(Method::POST, path, body)?)
    }

    /// Makes a request. Returns the body of a successful answer.
    pub fn exchange(&self, method: Method, path: &str, body: &[u8]) -> Result<Vec<u8>, Failure> {
        let silent = |error| Failure::Silent(self.to_string(), error);
        let strange = |why: String| Failure::Strange(self.to_string(), why);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(silent)?;
        let request = self.request(method, path, body).map_err(|_| Failure::Unsendable)?;
        // Where strangers take every place of the endpoint, a connection may end before its turn. A question can be asked
        // again; whether an order was carried out is not known.
        let asked = async {
            let mut more = if request.method() == Method::GET { 2 } else { 0 };
            loop {
                match self.once(request.clone()).await {
                    Err(Failure::Silent(_, error)) if more > 0 && error.kind() == io::ErrorKind::Other => {
                        more -= 1
                    }
                    answer => return answer,
                }
            }
        };
        let late = || Err(Failure::Late(self.to_string(), self.patience));
        let answer =
            runtime.block_on(async { within(self.patience, asked).await.unwrap_or_else(|_| late()) });
        // A look-up in the system's resolver cannot be cancelled.
        runtime.shutdown_background();
        let (status, body) = answer?;
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice(&body) {
            Ok(problem) => Err(Failure::Refused(status.as_u16(), problem)),
            Err(_) => Err(strange(format!("HTTP status {}", status.as_u16()))),
        }
    }

    /// Makes a connection for one request.
    async fn once(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Vec<u8>), Failure> {
        let silent = |error| Failure::Silent(self.to_string(), error);
        match &self.at {
            At::Unix(path) => self.ask(UnixStream::connect(path).await.map_err(silent)?, request).await,
            At::Tcp(addr) => self.ask(connect(addr).await.map_err(silent)?, request).await,
        }
    }

    fn request(&self, method: Method, path: &str, body: &[u8]) -> http::Result<Request<Full<Bytes>>> {
        let host = match &self.at {
            At::Tcp(addr) => addr,
            At::Unix(_) => "localhost",
        };
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::HOST, host).header(header::CONNECTION, "close");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        request.body(Full::new(Bytes::copy_from_slice(body)))
    }

    /// Sends one request over a connected stream. Returns the status and the body of its answer.
    async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        // If nothing came, nobody is there; what came and is not HTTP is strange.
        let failed = |error: hyper::Error| match error.is_parse() || error.is_incomplete_message() {
            true if error.is_parse() => Failure::Strange(self.to_string(), "this is no HTTP".to_owned()),
            _ => Failure::Silent(self.to_string(), io::Error::other(with_cause(&error))),
        };
        let (mut sender, connection) = http1::handshake(HttpIo::new(stream)).await.map_err(failed)?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(failed)?;
            let (status, body) = (answer.status(), answer.into_body());
            let cut_off = |_| Failure::Strange(self.to_string(), "the answer was cut off".to_owned());
            Ok((status, body.collect().await.map_err(cut_off)?.to_bytes().into()))
        };
        let mut answer = pin!(answer);
        tokio::select! {
            answer = &mut answer => return answer,
            // `answer` learns of the end of the connection as well.
            _ = connection => {}
        }
        answer.await
    }

    fn value<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(body).map_err(|error| Failure::Strange(self.to_string(), error.to_string()))
    }
}

/// hyper's own words leave out what the system said.
fn with_cause(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

/// Connects to the first address that accepts.
async fn connect(addr: &str) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for addr in lookup_host(addr).await? {
        let connected = within(CONNECT, TcpStream::connect(addr)).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match connected.and_then(|stream| itself::with_another(stream, addr)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
