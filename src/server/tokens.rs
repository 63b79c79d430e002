//! The tokens of `[admin]`. Those in files and in the environment are read with the edit that names them; files are
//! followed as long as they are named, and a text that is no token is never put into force: the previous one stays.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::named_file::NamedFile;
use super::notices::{Logged, Notice, of_token};
use crate::config::{self, Compiled, Report};
use crate::files::{
    self, FileState, FollowedFile, Followers, Form, FsEventSource, How, Link, Reading, Refused, Seen, look,
};
use crate::model::{AdminSettings, Fault, Secret, Table, Token, TokenSource};
use crate::tasks::Scope;

/// The cell that requests load a token from.
type LiveToken = ArcSwap<Secret>;

/// The tokens of `[admin]` as they are now.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    token: Option<Arc<LiveToken>>,
    read_token: Option<Arc<LiveToken>>,
}

impl Tokens {
    /// Those of settings whose tokens stand in the file itself.
    pub fn of(settings: &AdminSettings) -> Tokens {
        Tokens::with(settings, &BTreeMap::new())
    }

    fn with(settings: &AdminSettings, elsewhere: &BTreeMap<TokenSource, Arc<LiveToken>>) -> Tokens {
        let live = |token: &Option<Token>| match token.as_ref()? {
            Token::Here(secret) => Some(Arc::new(LiveToken::from_pointee(secret.clone()))),
            Token::Elsewhere(source) => elsewhere.get(source).cloned(),
        };
        Tokens { token: live(&settings.token), read_token: live(&settings.read_token) }
    }

    /// Whether this is the token for reading and changing.
    pub fn may_change(&self, offered: &str) -> bool {
        self.token.as_ref().is_some_and(|token| token.load().is(offered))
    }

    /// Whether this is the token for reading.
    pub fn may_read(&self, offered: &str) -> bool {
        self.read_token.as_ref().is_some_and(|token| token.load().is(offered))
    }
}

/// A token that was read, not in force yet.
#[derive(Debug)]
pub struct ReadToken {
    source: TokenSource,
    secret: Secret,
    file: Option<TokenFile>,
}

#[derive(Debug)]
struct TokenFile {
    path: PathBuf,
    text: Arc<[u8]>,
    state: FileState,
    notices: Vec<Notice>,
}

impl ReadToken {
    /// Reads a token. The fault says where it stands, and quotes nothing of it. May block.
    pub fn read(source: &TokenSource, folder: &Path) -> Result<ReadToken, Fault> {
        let (secret, file) = match source {
            TokenSource::Env(name) => (of_env(name)?, None),
            TokenSource::File(written) => {
                let path = folder.join(written);
                let (secret, file) = TokenFile::read(&path).map_err(|fault| {
                    Fault::new(format!("the token in {}: {}", path.display(), fault.message), fault.help)
                })?;
                (secret, Some(file))
            }
        };
        Ok(ReadToken { source: source.clone(), secret, file })
    }

    /// The token itself.
    pub fn secret(self) -> Secret {
        self.secret
    }

    /// Warnings about a token that is usable all the same, each as one line.
    pub fn notices(&self) -> impl Iterator<Item = String> {
        self.file.iter().flat_map(|file| &file.notices).map(ToString::to_string)
    }
}

impl TokenFile {
    fn read(path: &Path) -> Result<(Secret, TokenFile), Fault> {
        let state = look(path);
        let text: Arc<[u8]> = files::read(path)?.bytes.into();
        let secret = config::token(&text)?;
        Ok((secret, TokenFile { path: path.to_owned(), text, state, notices: of_token(path) }))
    }
}

fn of_env(name: &str) -> Result<Secret, Fault> {
    let Some(value) = std::env::var_os(name) else {
        return Err(Fault::new(
            format!("Portway's environment has no variable `{name}`"),
            format!(
                "set it where Portway is started (systemd: EnvironmentFile=, Docker: --env {name}), or write a file: {{ file = \"...\" }}"
            ),
        ));
    };
    config::token(value.as_encoded_bytes()).map_err(|fault| {
        let message = fault.message.replace("the file", "the variable");
        Fault::new(format!("the token in ${name}: {message}"), fault.help)
    })
}

fn needed(table: &Table) -> BTreeSet<TokenSource> {
    table.admin.iter().flat_map(AdminSettings::token_sources).cloned().collect()
}

/// Reads the tokens that a file names. A variable is not looked for: the environment here is not that of the proxy. The
/// report shows the faults of unusable ones. May block.
pub fn read(compiled: &Compiled) -> Result<Vec<ReadToken>, Report> {
    let mut files = needed(&compiled.table);
    files.retain(|source| matches!(source, TokenSource::File(_)));
    read_all(compiled, files)
}

fn read_all(compiled: &Compiled, sources: BTreeSet<TokenSource>) -> Result<Vec<ReadToken>, Report> {
    let (mut tokens, mut faults) = (Vec::new(), Vec::new());
    for source in sources {
        match ReadToken::read(&source, compiled.folder()) {
            Ok(token) => tokens.push(token),
            Err(fault) => faults.push((written(source), fault)),
        }
    }
    if faults.is_empty() { Ok(tokens) } else { Err(compiled.file_faults(&faults)) }
}

/// What the text of the routes' file names.
fn written(source: TokenSource) -> PathBuf {
    match source {
        TokenSource::File(path) => path,
        TokenSource::Env(name) => name.into(),
    }
}

/// The tokens in force that do not stand in the routes' file, and the tasks that follow their files.
#[derive(Debug)]
pub(super) struct TokenFiles {
    pub followers: Followers<TokenSource, Option<NamedFile>>,
    live: BTreeMap<TokenSource, Arc<LiveToken>>,
    events: FsEventSource,
    logged: Logged,
}

impl TokenFiles {
    /// Starts without tokens. `news`: as [`Followers::new`] has it.
    pub fn new(events: FsEventSource, news: Arc<Notify>) -> Self {
        let followers = Followers::new("the tokens", news);
        TokenFiles { followers, live: BTreeMap::new(), events, logged: Logged::default() }
    }

    /// Reads the tokens that the file names and that are not in force yet. Changes nothing.
    pub async fn prepare(&self, compiled: &Compiled) -> Result<Vec<ReadToken>, Report> {
        self.followers.read_new(needed(&compiled.table), compiled, read_all).await
    }

    /// The files of tokens that a table names and that are not in force, as written. Reads none.
    pub fn missing(&self, table: &Table) -> Vec<PathBuf> {
        let missing = self.followers.missing(needed(table));
        missing.into_iter().filter(|source| matches!(source, TokenSource::File(_))).map(written).collect()
    }

    /// Puts tokens into force, and follows their files from now on.
    pub fn begin(&mut self, read: Vec<ReadToken>, owner: &Scope) {
        for ReadToken { source, secret, file } in read {
            let live = Arc::new(LiveToken::from_pointee(secret));
            self.live.insert(source.clone(), live.clone());
            let Some(TokenFile { path, text, state, notices }) = file else { continue };
            self.logged.log(std::iter::once(&*path), &notices);
            let in_force = InForce { path: path.clone(), live, notices };
            let (events, logged) = (self.events.clone(), self.logged.clone());
            self.followers.begin(source, owner, move |link| {
                let file = FollowedFile::new(&path, text.clone(), state, &events, in_force.clone());
                let mut file = file.of_form(Form::Secret);
                file.begin();
                follow(file, logged.clone(), link)
            });
        }
    }

    /// The tokens of these settings, as they are from now on.
    pub fn tokens(&self, settings: &AdminSettings) -> Tokens {
        Tokens::with(settings, &self.live)
    }

    /// Forgets the tokens that are not named any more.
    pub fn forget_unused(&mut self, table: &Table) {
        let needed = needed(table);
        self.live.retain(|source, _| needed.contains(source));
        self.followers.keep(&needed);
    }

    /// The files, as the tasks that follow them see them.
    pub fn shown(&self) -> impl Iterator<Item = NamedFile> {
        self.followers.shown().flatten()
    }
}

/// The token of a file, in force.
#[derive(Clone)]
struct InForce {
    path: PathBuf,
    live: Arc<LiveToken>,
    notices: Vec<Notice>,
}

async fn follow(mut file: FollowedFile<InForce>, logged: Logged, link: Arc<Link<Option<NamedFile>>>) {
    loop {
        show(&file, &link);
        tokio::select! {
            reading = file.next() => {
                let answers = reading.how == How::Asked;
                let news = take_in(&mut file, reading).await;
                show(&file, &link);
                if let Some(news) = news {
                    news.log(file.name());
                    if let News::Taken = news {
                        link.took(file.name());
                    }
                }
                if answers {
                    link.answer();
                }
            }
            () = link.asked() => {
                file.ask();
                continue;
            }
        }
        // Its mode may be another.
        let (of, logged) = (file.target.path.clone(), logged.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let notices = of_token(&of);
            logged.log(std::iter::once(&*of), &notices);
            notices
        });
        // Best effort: if this task panics there are no notices.
        file.target.notices = looked.await.unwrap_or_default();
    }
}

/// What others see of it.
fn show(file: &FollowedFile<InForce>, link: &Link<Option<NamedFile>>) {
    let (name, pending) = (file.name().to_owned(), file.pending().cloned());
    let notices = file.target.notices.clone();
    link.show(Some(NamedFile { name, pending, notices, ..NamedFile::default() }));
}

/// What there is to say of a token. It is said once others see it: who reads a line of the log looks there next.
enum News {
    Taken,
    Healed,
    Refused(Report),
}

impl News {
    fn log(&self, file: &str) {
        match self {
            News::Taken => info!(file, "token taken over"),
            News::Healed => info!(file, "token healed: the one in force is that of the file"),
            News::Refused(report) => warn!(
                headline = report.headline(),
                report = %report,
                "token refused: the one before stays in force, until the file is mended"
            ),
        }
    }
}

/// Takes in a reading of a token's file.
async fn take_in(file: &mut FollowedFile<InForce>, mut reading: Reading) -> Option<News> {
    let text = match file.see(&mut reading).await {
        Seen::Known => return None,
        Seen::Runs => return file.took(&reading, file.running().clone()).map(|_| News::Healed),
        Seen::Faulty(report) => return refuse(file, &reading, report),
        Seen::Text(text) => text,
    };
    match config::token(&text) {
        Err(fault) => {
            let report = Report::about_file(file.name(), fault);
            refuse(file, &reading, report)
        }
        Ok(secret) => {
            file.target.live.store(Arc::new(secret));
            // This clears the pending fault; the news report it.
            drop(file.took(&reading, text));
            Some(News::Taken)
        }
    }
}

fn refuse(file: &mut FollowedFile<InForce>, reading: &Reading, report: Report) -> Option<News> {
    let refused = file.refuse(reading, report.clone(), false);
    (refused == Refused::New).then_some(News::Refused(report))
}
