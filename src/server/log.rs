//! Portway's own messages (to standard error) and the access log: set up once, changed by edits.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tracing::field::{Field, Visit};
use tracing::{Subscriber, error, warn};
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::model::{LogFormat, LogSettings, LogTarget};
use crate::proxy::record::AccessLog;
use crate::sink::{Event, Sink, Target};

/// How long the end of the process waits for a log that nobody reads.
const FLUSH: Duration = Duration::from_millis(500);

/// Every log of the process.
#[derive(Debug)]
pub(super) struct Logs {
    settings: LogSettings,
    look: Look,
    messages: Arc<Sink>,
    filter: reload::Handle<EnvFilter, Registry>,
    access: AccessLog,
    /// What the access log writes to. `None`: it is off.
    access_sink: Option<Arc<Sink>>,
    /// Lines that earlier access logs have lost.
    lost_before: u64,
}

impl Logs {
    /// Starts with the default settings. Fails only if no thread can be started.
    pub fn start() -> io::Result<Logs> {
        let look = Look::default();
        let messages = Arc::new(Sink::open(Target::Stderr, look.notices(None))?);
        let (filter, handle) = reload::Layer::new(EnvFilter::new(LogSettings::default().level));
        let colour =
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        let layer =
            fmt::layer().event_format(look.clone()).with_ansi(colour).with_writer(Lines(messages.clone()));
        // Fails if a subscriber is already set, as a test may.
        drop(tracing_subscriber::registry().with(filter).with(layer).try_init());
        std::panic::set_hook(Box::new(|panic| {
            // std's hook would write to standard error, and block if nobody reads it.
            let at = panic.location().map(ToString::to_string).unwrap_or_default();
            error!(at, why = panic.payload_as_str(), "a task panicked: a fault of Portway, please report it");
        }));
        let mut logs = Logs {
            settings: LogSettings { access: LogTarget::Off, ..LogSettings::default() },
            look,
            messages,
            filter: handle,
            access: AccessLog::default(),
            access_sink: None,
            lost_before: 0,
        };
        logs.apply(&LogSettings::default());
        Ok(logs)
    }

    /// The log that connections write their records to.
    pub fn access(&self) -> AccessLog {
        self.access.clone()
    }

    /// Applies an edit of `[log]`. What fails stays as it was, with a warning.
    pub fn apply(&mut self, settings: &LogSettings) {
        if settings.level != self.settings.level {
            match settings.level.parse::<EnvFilter>() {
                // Fails when the subscriber is gone, and then nobody logs.
                Ok(filter) => drop(self.filter.reload(filter)),
                Err(error) => {
                    warn!(level = settings.level, %error, "no level and no filter: `level` stays as it was")
                }
            }
        }
        self.look.set(settings.format);
        if settings.access != self.settings.access {
            match self.open(&settings.access) {
                Ok(sink) => {
                    let lost = self.lost() - self.messages.lost();
                    (self.access_sink, self.lost_before) = (sink, lost);
                }
                Err(error) => warn!(%error, "cannot start the access log: it stays as it was"),
            }
        }
        self.access.write_to(self.access_sink.clone().map(|sink| (sink, settings.format)));
        self.settings = settings.clone();
    }

    /// Reopens log files, after a rotation.
    pub fn reopen(&self) {
        if let Some(sink) = &self.access_sink {
            sink.reopen();
        }
    }

    /// Lines that all logs have lost since the start.
    pub fn lost(&self) -> u64 {
        let access = self.access_sink.as_ref().filter(|sink| !Arc::ptr_eq(sink, &self.messages));
        self.lost_before + self.messages.lost() + access.map_or(0, |sink| sink.lost())
    }

    /// Writes out what waits, within [`FLUSH`] for each log.
    pub fn finish(&self) {
        if let Some(sink) = &self.access_sink {
            sink.flush(FLUSH);
        }
        self.messages.flush(FLUSH);
    }

    fn open(&self, target: &LogTarget) -> io::Result<Option<Arc<Sink>>> {
        let (target, name) = match target {
            LogTarget::Off => return Ok(None),
            // One sink: lines of both logs stay whole.
            LogTarget::Stderr => return Ok(Some(self.messages.clone())),
            LogTarget::Stdout => (Target::Stdout, PathBuf::from("standard output")),
            LogTarget::File(path) => {
                // It begins in the working directory, which a service's messages do not show.
                let path = std::path::absolute(path)?;
                (Target::File(path.clone()), path)
            }
        };
        Ok(Some(Arc::new(Sink::open(target, self.look.notices(Some(&name)))?)))
    }
}

/// The format of Portway's own messages, shared by all clones.
#[derive(Clone, Debug, Default)]
struct Look {
    json: Arc<AtomicBool>,
}

impl Look {
    fn set(&self, format: LogFormat) {
        self.json.store(format == LogFormat::Json, Ordering::Relaxed);
    }

    fn is_json(&self) -> bool {
        self.json.load(Ordering::Relaxed)
    }

    /// Turns a sink's events into a line in the sink itself, and, for a log other than that of the messages (`name`),
    /// into a message as well.
    fn notices(&self, name: Option<&Path>) -> Box<dyn Fn(Event<'_>) -> Option<String> + Send> {
        let (look, name) = (self.clone(), name.map(Path::to_owned));
        Box::new(move |event| match (event, &name) {
            (Event::Failing(error), Some(name)) => {
                warn!(log = %name.display(), %error, "cannot write this log: trying again, and counting lost lines");
                None
            }
            (Event::Failing(_), None) => None,
            (Event::Lost(lines), _) => Some(look.lost(lines)),
            (Event::Told(lines), Some(name)) => {
                warn!(log = %name.display(), lines, "log lines were lost");
                None
            }
            (Event::Told(_), None) => None,
        })
    }

    fn lost(&self, lines: u64) -> String {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        if self.is_json() {
            format!(
                "{{\"timestamp\":\"{now}\",\"level\":\"WARN\",\"message\":\"log lines were lost\",\"lines\":{lines}}}\n"
            )
        } else {
            format!("{now} WARN log lines were lost lines={lines}\n")
        }
    }
}

impl<S, N> FormatEvent<S, N> for Look
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> std::fmt::Result {
        if self.is_json() {
            let json: Format<Json, Clock> = Format::default().json().flatten_event(true).with_timer(Clock);
            return json
                .with_target(false)
                .with_current_span(false)
                .with_span_list(false)
                .format_event(context, writer, event);
        }
        Clock.format_time(&mut writer)?;
        let level = event.metadata().level();
        if writer.has_ansi_escapes() {
            let colour = match *level {
                tracing::Level::ERROR => "1;31",
                tracing::Level::WARN => "33",
                tracing::Level::INFO => "32",
                _ => "2",
            };
            write!(writer, " \x1b[{colour}m{level}\x1b[0m ")?;
        } else {
            write!(writer, " {level} ")?;
        }
        if event.metadata().fields().field("report").is_some() {
            // A report has several lines and goes below the message unchanged. It says all that its headline says.
            let mut told = ReportEvent::default();
            event.record(&mut told);
            return writeln!(writer, "{}\n{}", told.message, told.report.trim_end());
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The message of an event that has a report, and the report.
#[derive(Default)]
struct ReportEvent {
    message: String,
    report: String,
}

impl Visit for ReportEvent {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "report" => self.report = format!("{value:?}"),
            _ => {}
        }
    }
}

/// RFC 3339, UTC, to the millisecond.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", humantime::format_rfc3339_millis(SystemTime::now()))
    }
}

/// A writer of whole lines: the layer hands over one event at a time.
struct Lines(Arc<Sink>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

struct Line<'a>(&'a Sink);

impl io::Write for Line<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write(event);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::read_to_string;

    use super::*;
    use crate::model::{DataPath, ListenAddr, Outcome, Peer, Route};
    use crate::proxy::record::Record;

    fn record(id: u64) -> Record {
        let route = Route {
            name: "app".into(),
            listen: vec![],
            upstream: vec![],
            selector: Default::default(),
            policy: Arc::default(),
        };
        Record {
            id,
            ended: SystemTime::UNIX_EPOCH,
            route: Arc::new(route),
            listener: Arc::new(ListenAddr::Any(80)),
            client: Peer::Unix(None),
            upstream: None,
            local: None,
            outcome: Outcome::ConnectFailed,
            detail: None,
            bytes: crate::state::Bytes::default(),
            datagrams: None,
            connect: None,
            duration: Duration::ZERO,
            path: DataPath::None,
        }
    }

    /// One test for all of it: the subscriber is global to the process.
    #[test]
    fn an_edit_changes_level_format_and_target() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let settings = |level: &str, format, access| LogSettings { level: level.into(), format, access };
        let mut logs = Logs::start().unwrap();
        let access = logs.access();
        assert!(tracing::enabled!(tracing::Level::INFO) && !tracing::enabled!(tracing::Level::DEBUG));

        logs.apply(&settings("debug", LogFormat::Text, LogTarget::File(one.clone())));
        assert!(tracing::enabled!(tracing::Level::DEBUG));
        access.write(&record(1));
        logs.apply(&settings("warn", LogFormat::Json, LogTarget::File(one.clone())));
        assert!(!tracing::enabled!(tracing::Level::INFO));
        access.write(&record(2));
        logs.finish();
        logs.apply(&settings("warn", LogFormat::Text, LogTarget::File(two.clone())));
        access.write(&record(3));
        logs.finish();
        logs.apply(&settings("warn", LogFormat::Text, LogTarget::Off));
        access.write(&record(4));

        let (one, two) = (read_to_string(one).unwrap(), read_to_string(two).unwrap());
        let starts: Vec<&str> = one.lines().map(|line| &line[..30]).collect();
        assert_eq!(starts, ["1970-01-01T00:00:00.000Z id=1 ", "{\"timestamp\":\"1970-01-01T00:00"]);
        assert!(two.starts_with("1970-01-01T00:00:00.000Z id=3 ") && two.lines().count() == 1, "{two}");

        // An invalid filter changes nothing.
        logs.apply(&settings("a=b=c", LogFormat::Text, LogTarget::Off));
        assert!(tracing::enabled!(tracing::Level::WARN) && !tracing::enabled!(tracing::Level::INFO));
    }
}
