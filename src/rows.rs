//! The rows of one table, in BigQuery's newline-delimited JSON: what an upload sends. A container that
//! knows no service. Pure.

use bytes::Bytes;

/// The rows of one table, in order; each is a line of JSON.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    chunks: Vec<Bytes>,
    count: u64,
    bytes: usize,
}

impl Rows {
    /// How many rows.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The length of the text.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The text in pieces, each of whole lines; clones are cheap.
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// Each row, with its line break.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().flat_map(|chunk| chunk.split_inclusive(|byte| *byte == b'\n'))
    }

    /// Appends `count` rows: whole lines.
    pub(crate) fn push(&mut self, lines: Bytes, count: u64) {
        if count > 0 {
            self.bytes += lines.len();
            self.count += count;
            self.chunks.push(lines);
        }
    }

    /// The rows that `wanted` takes. Their text is shared, not copied.
    pub(crate) fn filter(&self, mut wanted: impl FnMut(&[u8]) -> bool) -> Self {
        let mut kept = Self::default();
        for chunk in &self.chunks {
            let (mut start, mut end, mut count) = (0, 0, 0);
            for line in chunk.split_inclusive(|byte| *byte == b'\n') {
                if wanted(line) {
                    count += 1;
                } else {
                    kept.push(chunk.slice(start..end), count);
                    (start, count) = (end + line.len(), 0);
                }
                end += line.len();
            }
            kept.push(chunk.slice(start..end), count);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(chunks: &[&[&str]]) -> Rows {
        let mut rows = Rows::default();
        for lines in chunks {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            rows.push(Bytes::from(text), lines.len() as u64);
        }
        rows
    }

    fn lines(rows: &Rows) -> Vec<&str> {
        rows.lines().map(|line| std::str::from_utf8(line).unwrap().trim_end()).collect()
    }

    #[test]
    fn filtered_rows_keep_their_order_and_are_counted() {
        let all = rows(&[&["a", "b", "c"], &["d"], &[], &["e", "f"]]);
        for wanted in ["", "a", "b", "c", "abc", "ac", "de", "abcdef", "bdf"] {
            let kept = all.filter(|line| wanted.contains(char::from(line[0])));
            assert_eq!(lines(&kept).concat(), wanted);
            assert_eq!((kept.count(), kept.bytes()), (wanted.len() as u64, 2 * wanted.len()));
        }
    }
}
