//! The rows of one table, in BigQuery's newline-delimited JSON. Pure.

use std::collections::HashSet;

use bytes::Bytes;

/// The rows of one table, in order and unique: what an upload sends and a test reads.
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

    /// Takes over a page's rows, but for items that `seen` holds already. Ends after `most` items.
    /// Answers how many were seen before.
    pub(crate) fn append(
        &mut self,
        page: PageRows,
        seen: &mut HashSet<Box<str>>,
        most: usize,
    ) -> u64 {
        let mut doubles = 0;
        let mut start = 0;
        let mut end = 0;
        for (id, item_end) in page.items {
            if seen.len() >= most {
                break;
            }
            if seen.insert(id) {
                self.count += u64::from(item_end > end);
            } else {
                self.push(page.text.slice(start..end));
                start = item_end;
                doubles += 1;
            }
            end = item_end;
        }
        self.push(page.text.slice(start..end));
        doubles
    }

    /// The rows that `keep` chooses.
    pub(crate) fn only(&self, mut keep: impl FnMut(&[u8]) -> bool) -> Self {
        let mut kept = Self::default();
        for chunk in &self.chunks {
            let mut lines = Vec::new();
            for line in chunk.split_inclusive(|byte| *byte == b'\n').filter(|line| keep(line)) {
                lines.extend_from_slice(line);
                kept.count += 1;
            }
            kept.push(Bytes::from(lines.into_boxed_slice()));
        }
        kept
    }

    fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.bytes += chunk.len();
            self.chunks.push(chunk);
        }
    }
}

/// One page's items as rows.
#[derive(Debug, Default)]
pub(crate) struct PageRows {
    pub(crate) text: Bytes,
    /// The ids of the page's items in their order, and where the row of each ends in the text.
    pub(crate) items: Vec<(Box<str>, usize)>,
    /// Items that are null, or have no id.
    pub(crate) nulls: u64,
    /// Episodes whose release date is no date.
    pub(crate) undated: u64,
    /// Fields that are NULL because their value had the wrong type.
    pub(crate) malformed: u64,
}

impl PageRows {
    /// The ids of the page's items.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|(id, _)| &**id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rows: &Rows) -> String {
        rows.chunks().iter().map(|chunk| std::str::from_utf8(chunk).unwrap()).collect()
    }

    /// A page of rows that hold nothing but their id.
    fn page(ids: &[&str]) -> PageRows {
        let mut page = PageRows::default();
        let mut text = String::new();
        for id in ids {
            text.push_str(&format!("{id}\n"));
            page.items.push(((*id).into(), text.len()));
        }
        PageRows { text: text.into(), ..page }
    }

    #[test]
    fn doubles_are_dropped_wherever_they_stand_and_order_is_kept() {
        let mut rows = Rows::default();
        let mut seen = HashSet::new();
        assert_eq!(rows.append(page(&["a", "b", "a"]), &mut seen, 50), 1);
        assert_eq!(rows.append(page(&["b", "c", "d", "b", "e"]), &mut seen, 50), 2);
        assert_eq!(text(&rows), "a\nb\nc\nd\ne\n");
        assert_eq!((rows.count(), rows.bytes()), (5, text(&rows).len()));
    }

    #[test]
    fn no_more_than_are_wanted() {
        let mut rows = Rows::default();
        let mut seen = HashSet::new();
        rows.append(page(&["a", "b"]), &mut seen, 3);
        rows.append(page(&["a", "c", "d"]), &mut seen, 3);
        assert_eq!((text(&rows).as_str(), rows.count()), ("a\nb\nc\n", 3));
    }
}
