//! The figures as a table of Markdown, and the machine that they were found on.

use std::fmt::Write;
use std::fs;

use crate::Options;
use crate::measure::Figures;

/// A row: what, the figure's name and its unit, and how many times better it must be at least.
type Row = (&'static str, fn(&Figures) -> f64, &'static str, f64);

const ROWS: [Row; 8] = [
    ("start to listening", |f| f.listening, "ms", 40.0),
    ("start to first message answered", |f| f.first, "ms", 20.0),
    ("time a message, no latency (mean of three tables)", |f| f.message, "ms", 8.0),
    ("processor a message", |f| f.processor, "ms", 10.0),
    ("messages a second, eight at once", |f| f.rate, "/s", 12.0),
    ("resident memory after 60 messages", |f| f.resident, "MB", 8.0),
    ("time a message, latency below, warm", |f| f.waiting, "ms", 2.7),
    ("most memory for the large show", |f| f.large, "MB", 4.0),
];

/// What the service measured, beside the peer where there is one.
pub fn table(medians: &[Figures], options: &Options) -> String {
    let mut text = format!(
        "Median of {} rounds, a show of {} episodes, {} in the large one, {} ms a call in the row \
         with latency.\n\n",
        options.rounds, options.episodes, options.large, options.latency_ms
    );
    text.push_str("| what | spotify-bq | peer | ratio | at least |\n|---|---|---|---|---|\n");
    for (what, figure, unit, least) in ROWS {
        let ours = figure(&medians[0]);
        let theirs = medians.get(1).map(figure);
        let ratio = theirs.map(|theirs| if unit == "/s" { ours / theirs } else { theirs / ours });
        let _ = writeln!(
            text,
            "| {what} | {} {unit} | {} | {} | {least} |",
            three(ours),
            theirs.map_or("-".to_owned(), |theirs| format!("{} {unit}", three(theirs))),
            ratio.map_or("-".to_owned(), |ratio| format!(
                "{}{}",
                three(ratio),
                if ratio < least { " (less than it must be)" } else { "" }
            )),
        );
    }
    // Podcasts: one round of calls and the upload; the other two: the first page, the rest, the upload.
    let limit = options.latency_ms as f64 * (2.0 + 3.0 + 3.0) / 3.0;
    let _ = writeln!(
        text,
        "\nWith latency no client can be faster than {} ms a message (warm); the service takes {} \
         times that (1.2 at most).",
        three(limit),
        three(medians[0].waiting / limit)
    );
    text
}

/// Three digits that count.
pub fn three(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Processor, cores and how busy they are.
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |model| model.trim_start_matches(['\t', ':', ' ']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, {model}; {}", load_average())
}

/// How many processes wanted a processor in the last minute.
pub fn load_average() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load average {}", load.split(' ').next().unwrap_or("unknown"))
}
