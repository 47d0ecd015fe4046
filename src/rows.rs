//! The rows of one table as newline-delimited JSON, which is the format of a load. Pure.

use bytes::Bytes;

/// The rows of a table, in order. Each row is a line of JSON.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    chunks: Vec<Bytes>,
    count: u64,
    bytes: usize,
}

impl Rows {
    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the text in chunks of whole lines, which are cheap to clone.
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// Returns each row with its line break.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().flat_map(|chunk| chunk.split_inclusive(|byte| *byte == b'\n'))
    }

    /// Returns the rows that `keeps` accepts, without copying their text.
    pub(crate) fn filter(&self, mut keeps: impl FnMut(&[u8]) -> bool) -> Self {
        let mut kept = Self::default();
        for chunk in &self.chunks {
            let mut end = 0;
            let lines = chunk.split_inclusive(|byte| *byte == b'\n');
            kept.append(
                chunk,
                lines.map(|line| {
                    end += line.len();
                    (end, keeps(line))
                }),
            );
        }
        kept
    }

    /// Appends rows of `text`, without copying it. `rows` has the end of each row in `text`, and whether to
    /// append the row.
    pub(crate) fn append(&mut self, text: &Bytes, rows: impl Iterator<Item = (usize, bool)>) {
        let (mut start, mut end, mut count) = (0, 0, 0);
        for (row_end, is_kept) in rows {
            if is_kept {
                count += 1;
            } else {
                self.push_chunk(text.slice(start..end), count);
                (start, count) = (row_end, 0);
            }
            end = row_end;
        }
        self.push_chunk(text.slice(start..end), count);
    }

    fn push_chunk(&mut self, chunk: Bytes, count: u64) {
        if count > 0 {
            self.bytes += chunk.len();
            self.count += count;
            self.chunks.push(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(chunks: &[&[&str]]) -> Rows {
        let mut rows = Rows::default();
        for lines in chunks {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            rows.push_chunk(Bytes::from(text), lines.len() as u64);
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
