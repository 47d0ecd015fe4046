//! Log lines: JSON as Cloud Logging wants it, joined to the request's trace, or lines for a person
//! at a terminal.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::fmt::MakeWriter;
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

/// Starts logging to standard output; to be called once.
pub fn init(log: &Log) {
    let filter = || EnvFilter::new(&log.filter);
    let layer = if log.json {
        tracing_stackdriver::layer().with_writer(Traced(io::stdout)).with_filter(filter()).boxed()
    } else {
        tracing_subscriber::fmt::layer()
            .with_target(false)
            .with_ansi(io::stdout().is_terminal())
            .with_filter(filter())
            .boxed()
    };
    // Fails only where a subscriber is set already, which then is the one that is wanted.
    let _ = tracing_subscriber::registry().with(layer).try_init();
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
