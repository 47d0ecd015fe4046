//! Log lines: JSON as Cloud Logging wants it, joined to the request's trace and reported to Error
//! Reporting, or lines for a person at a terminal. A panic is such a line, too.

use std::cell::Cell;
use std::fmt::Debug;
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};

use anstream::{AutoStream, ColorChoice};
use serde_json::json;
use tracing::field::Field;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{MakeWriter, format};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, Log};

/// What makes Error Reporting take a line: without it, it looks for stack traces of other languages
/// (<https://cloud.google.com/error-reporting/docs/formatting-error-messages>).
const REPORTED: &str =
    "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent";

tokio::task_local! {
    static TRACE: Option<String>;
}

thread_local! {
    /// Where the panic happened that is being logged.
    static PANIC: Cell<Option<(String, u32)>> = const { Cell::new(None) };
    static IN_HOOK: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` so that its log lines name the trace. What it spawns is not joined.
pub(crate) async fn with_trace<F: Future>(trace: Option<String>, work: F) -> F::Output {
    TRACE.scope(trace, work).await
}

/// `work` with the trace of whoever calls this, for a task that is spawned.
pub(crate) fn traced<F: Future>(work: F) -> impl Future<Output = F::Output> {
    TRACE.scope(TRACE.try_with(Clone::clone).ok().flatten(), work)
}

/// Starts logging to standard output; to be called once.
pub fn init(log: &Log) {
    let filter = || EnvFilter::new(&log.filter);
    let layer = if log.json {
        let writer = Traced { writer: io::stdout, service: Config::service_name() };
        tracing_stackdriver::layer().with_writer(writer).with_filter(filter()).boxed()
    } else {
        tracing_subscriber::fmt::layer()
            .with_target(false)
            .with_timer(Clock)
            .fmt_fields(format::debug_fn(readable))
            .with_ansi(AutoStream::choice(&io::stdout()) != ColorChoice::Never)
            .with_filter(filter())
            .boxed()
    };
    // Fails only where a subscriber is set already, which then is the one that is wanted.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    panic::set_hook(Box::new(log_panic));
}

/// Logs a panic in one line, in place of the several that Rust writes to standard error.
fn log_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload_as_str().unwrap_or("a panic without words");
    let place = info.location().map(|at| (at.file().to_owned(), at.line()));
    let at = place.as_ref().map_or("?".to_owned(), |(file, line)| format!("{file}:{line}"));
    // RUST_LOG may leave errors out, and a panic of the logging itself would come back here.
    if !tracing::enabled!(Level::ERROR) || IN_HOOK.get() {
        eprintln!("spotify-bq: a panic at {at}: {payload}");
        return;
    }
    IN_HOOK.set(true);
    PANIC.set(place);
    tracing::error!(
        event = "panic",
        advice = "report it as a defect of spotify-bq; the message is delivered again",
        "a panic at {at}: {payload}"
    );
    PANIC.set(None);
    IN_HOOK.set(false);
}

/// Fields that the sentence before them has said already, or that only a machine asks for.
const UNSAID: [&str; 10] =
    ["event", "outcome", "table", "kind", "term", "rows", "messages", "pages", "job_id", "port"];

/// A field as a person reads it: the sentence, then what else is known and not nothing.
fn readable(writer: &mut format::Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    match field.name() {
        "message" => write!(writer, "{value:?}"),
        "advice" => write!(writer, " → {}", format!("{value:?}").trim_matches('"')),
        name if UNSAID.contains(&name) => Ok(()),
        name => {
            let value = format!("{value:?}");
            if value == "0" {
                Ok(())
            } else {
                write!(writer, " {name}={}", value.trim_matches('"'))
            }
        }
    }
}

/// The time of day in UTC; a terminal's lines are read on the day.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut format::Writer<'_>) -> std::fmt::Result {
        let (hour, minute, second, milli) = time::OffsetDateTime::now_utc().time().as_hms_milli();
        write!(writer, "{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// Adds to JSON lines what fields can't be: the trace, whose name would come out in another spelling,
/// and for errors the objects that Error Reporting wants.
struct Traced<M> {
    writer: M,
    service: String,
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Traced<M> {
    type Writer = TracedWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        TracedWriter { writer: self.writer.make_writer(), report: None }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        let report = (*meta.level() == Level::ERROR).then(|| report(meta, &self.service));
        TracedWriter { writer: self.writer.make_writer_for(meta), report }
    }
}

/// The fields of an error report, as they follow others in an object.
fn report(meta: &Metadata<'_>, service: &str) -> String {
    let (function, place) = match PANIC.take() {
        Some(place) => ("panic", Some(place)),
        None => (meta.target(), meta.file().map(str::to_owned).zip(meta.line())),
    };
    let (file, line) = place.unwrap_or_default();
    let location = json!({"filePath": file, "lineNumber": line, "functionName": function});
    let service = json!({"service": service, "version": env!("CARGO_PKG_VERSION")});
    let context = json!({ "reportLocation": location });
    format!(",\"@type\":\"{REPORTED}\",\"serviceContext\":{service},\"context\":{context}")
}

struct TracedWriter<W> {
    writer: W,
    report: Option<String>,
}

impl<W: Write> Write for TracedWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let trace = TRACE.try_with(Clone::clone).ok().flatten();
        match line.strip_suffix(b"}\n") {
            Some(open) if trace.is_some() || self.report.is_some() => {
                let mut whole = open.to_vec();
                whole.extend_from_slice(self.report.as_deref().unwrap_or_default().as_bytes());
                if let Some(trace) = trace {
                    // A project's id and hex digits: nothing in it needs an escape.
                    write!(whole, ",\"logging.googleapis.com/trace\":\"{trace}\"")?;
                }
                whole.extend_from_slice(b"}\n");
                self.writer.write_all(&whole)?;
            }
            _ => self.writer.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
