//! The service's log lines: those of the current thread, which are all lines of a test with tokio's
//! single-threaded runtime.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The fields of a line. Its text is `message`.
pub type Line = BTreeMap<String, String>;

pub struct Log {
    lines: Arc<Mutex<Vec<Line>>>,
    _guard: DefaultGuard,
}

impl Log {
    /// Starts to collect lines.
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// Starts to collect lines, and calls `watch` for each before it is collected.
    pub fn start_with(watch: impl Fn(&Line) + Send + Sync + 'static) -> Self {
        let lines: Arc<Mutex<Vec<Line>>> = Arc::default();
        LazyLock::force(&OTHER_SUBSCRIBERS);
        let layer = Collect { lines: Arc::clone(&lines), watch };
        let subscriber = tracing_subscriber::registry().with(layer);
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// Returns a subscriber for other threads that calls `watch` for each line.
    pub fn dispatch(watch: impl Fn(&Line) + Send + Sync + 'static) -> Dispatch {
        LazyLock::force(&OTHER_SUBSCRIBERS);
        let layer = Collect { lines: Arc::default(), watch };
        Dispatch::new(tracing_subscriber::registry().with(layer))
    }

    /// Returns the lines with this `event`.
    pub fn lines(&self, event: &str) -> Vec<Line> {
        let mut lines = self.lines.lock().unwrap().clone();
        lines.retain(|line| line.get("event").is_some_and(|is| is == event));
        lines
    }

    /// Returns the line with the outcome of a message's last delivery.
    pub fn outcome(&self, message_id: &str) -> Line {
        let lines = self.lines("message");
        let of_it = |line: &&Line| line.get("message_id").is_some_and(|id| id == message_id);
        lines.iter().rev().find(of_it).cloned().unwrap_or_else(|| panic!("{lines:#?}"))
    }
}

/// tracing caches whether a line is enabled. With a single subscriber, it would ask only the first thread's,
/// which may be that of another test. So there are always more.
static OTHER_SUBSCRIBERS: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Dispatch::new(tracing_subscriber::registry())));

struct Collect<W> {
    lines: Arc<Mutex<Vec<Line>>>,
    watch: W,
}

impl<S: Subscriber, W: Fn(&Line) + Send + Sync + 'static> Layer<S> for Collect<W> {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("spotify_bq")
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Line::new());
        event.record(&mut fields);
        fields.0.insert("level".to_owned(), event.metadata().level().to_string());
        (self.watch)(&fields.0);
        self.lines.lock().unwrap().push(fields.0);
    }
}

struct Fields(Line);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}
