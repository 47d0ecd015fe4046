//! Logging: JSON for Cloud Logging, with the request's trace and error reports, or text for a
//! terminal. A panic is logged in the same format.

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

/// The type that makes Error Reporting accept a line. Without it, the line needs a stack trace in a
/// known format (<https://cloud.google.com/error-reporting/docs/formatting-error-messages>).
const REPORTED_ERROR_TYPE: &str =
    "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent";

tokio::task_local! {
    static TRACE: Option<String>;
}

thread_local! {
    /// The location of the panic that is being logged.
    static PANIC_LOCATION: Cell<Option<(String, u32)>> = const { Cell::new(None) };
    static IN_HOOK: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` with `trace` in its log lines. Tasks that it spawns need [`traced`].
pub(crate) async fn with_trace<F: Future>(trace: Option<String>, work: F) -> F::Output {
    TRACE.scope(trace, work).await
}

/// Gives a task to be spawned the trace of the current one.
pub(crate) fn traced<F: Future>(work: F) -> impl Future<Output = F::Output> {
    TRACE.scope(TRACE.try_with(Clone::clone).ok().flatten(), work)
}

/// Starts logging to standard output. Call it once.
pub fn init(log: &Log) {
    let filter = || EnvFilter::new(&log.filter);
    let layer = if log.json {
        let writer = JsonWriter { writer: io::stdout, service: Config::service_name() };
        tracing_stackdriver::layer().with_writer(writer).with_filter(filter()).boxed()
    } else {
        tracing_subscriber::fmt::layer()
            .with_target(false)
            .with_timer(TimeOfDay)
            .fmt_fields(format::debug_fn(format_field))
            .with_ansi(AutoStream::choice(&io::stdout()) != ColorChoice::Never)
            .with_filter(filter())
            .boxed()
    };
    // Fails only if a subscriber is already set. Then that one is used.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    panic::set_hook(Box::new(log_panic));
}

/// Logs a panic as one line instead of the lines that Rust writes to standard error.
fn log_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload_as_str().unwrap_or("no message");
    let location = info.location().map(|at| (at.file().to_owned(), at.line()));
    let at = location.as_ref().map_or("?".to_owned(), |(file, line)| format!("{file}:{line}"));
    // RUST_LOG may filter out errors, and a panic in the logging code would call this again.
    if !tracing::enabled!(Level::ERROR) || IN_HOOK.get() {
        eprintln!("spotify-bq: panic at {at}: {payload}");
        return;
    }
    IN_HOOK.set(true);
    PANIC_LOCATION.set(location);
    tracing::error!(
        event = "panic",
        advice = "report this bug to the maintainers of spotify-bq; Pub/Sub redelivers the message",
        "panic at {at}: {payload}"
    );
    PANIC_LOCATION.set(None);
    IN_HOOK.set(false);
}

/// Fields that a terminal does not show: the message contains them, or only machines need them.
const HIDDEN_FIELDS: [&str; 10] =
    ["event", "outcome", "table", "kind", "term", "rows", "messages", "pages", "job_id", "port"];

/// Formats a field for a terminal. Counts of zero are left out.
fn format_field(
    writer: &mut format::Writer<'_>,
    field: &Field,
    value: &dyn Debug,
) -> std::fmt::Result {
    match field.name() {
        "message" => write!(writer, "{value:?}"),
        "advice" => write!(writer, " → {}", format!("{value:?}").trim_matches('"')),
        name if HIDDEN_FIELDS.contains(&name) => Ok(()),
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

/// Formats the time of day in UTC, without the date.
struct TimeOfDay;

impl FormatTime for TimeOfDay {
    fn format_time(&self, writer: &mut format::Writer<'_>) -> std::fmt::Result {
        let (hour, minute, second, milli) = time::OffsetDateTime::now_utc().time().as_hms_milli();
        write!(writer, "{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// Adds to JSON lines what can't be a tracing field: the trace, whose key would be converted to camel
/// case, and for errors the objects that Error Reporting needs.
struct JsonWriter<M> {
    writer: M,
    service: String,
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for JsonWriter<M> {
    type Writer = LineWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter { writer: self.writer.make_writer(), report: None }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        let report = (*meta.level() == Level::ERROR).then(|| error_report(meta, &self.service));
        LineWriter { writer: self.writer.make_writer_for(meta), report }
    }
}

/// Returns the fields of an error report, to append to the fields of a JSON object.
fn error_report(meta: &Metadata<'_>, service: &str) -> String {
    let (function, location) = match PANIC_LOCATION.take() {
        Some(location) => ("panic", Some(location)),
        None => (meta.target(), meta.file().map(str::to_owned).zip(meta.line())),
    };
    let (file, line) = location.unwrap_or_default();
    let location = json!({"filePath": file, "lineNumber": line, "functionName": function});
    let service = json!({"service": service, "version": env!("CARGO_PKG_VERSION")});
    let context = json!({ "reportLocation": location });
    format!(
        ",\"@type\":\"{REPORTED_ERROR_TYPE}\",\"serviceContext\":{service},\"context\":{context}"
    )
}

struct LineWriter<W> {
    writer: W,
    report: Option<String>,
}

impl<W: Write> Write for LineWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let trace = TRACE.try_with(Clone::clone).ok().flatten();
        match line.strip_suffix(b"}\n") {
            Some(fields) if trace.is_some() || self.report.is_some() => {
                let mut whole = fields.to_vec();
                whole.extend_from_slice(self.report.as_deref().unwrap_or_default().as_bytes());
                if let Some(trace) = trace {
                    // The trace is a project ID and hex digits, so it needs no escaping.
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
