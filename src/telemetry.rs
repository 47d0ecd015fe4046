//! Log lines: JSON as Cloud Logging wants it, joined to the request's trace, or lines for a person
//! at a terminal.

use std::fmt::Debug;
use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use tracing::field::Field;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{MakeWriter, format};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::Log;

tokio::task_local! {
    static TRACE: Option<String>;
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
        tracing_stackdriver::layer().with_writer(Traced(io::stdout)).with_filter(filter()).boxed()
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

/// Adds the trace to JSON lines: a field of that name would come out in another spelling.
struct Traced<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Traced<M> {
    type Writer = TracedWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        TracedWriter(self.0.make_writer())
    }
}

struct TracedWriter<W>(W);

impl<W: Write> Write for TracedWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let trace = TRACE.try_with(Clone::clone).ok().flatten();
        match (trace, line.strip_suffix(b"}\n")) {
            (Some(trace), Some(open)) => {
                let mut traced = open.to_vec();
                // The trace is a project's id and hex digits; nothing in it needs an escape.
                writeln!(traced, ",\"logging.googleapis.com/trace\":\"{trace}\"}}")?;
                self.0.write_all(&traced)?;
            }
            _ => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
