//! From bytes as a kubelet sends them (`timestamps=true`: RFC 3339, a space, the line) to lines, without ever keeping more than
//! one line and one chunk.

use apocryph_proto::limits::LOG_LINE_MAX;
use k8s_openapi::jiff::Timestamp;

use crate::model::logs::LogLine;

/// Bytes of one message's lines: a slow reader has to take one within the write deadline.
const CHUNK_MAX: usize = 32 << 10;
/// What a line counts for beside its text: its time and its place in the list.
const LINE_COST: usize = 64;
/// A time with nanoseconds and an offset, and the space after it.
const TIME_MAX: usize = 36;

/// Lines that are sent together.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    lines: Vec<LogLine>,
    size: usize,
}

impl Chunk {
    pub fn is_full(&self) -> bool {
        self.size >= CHUNK_MAX
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn into_lines(self) -> Vec<LogLine> {
        self.lines
    }

    fn push(&mut self, line: LogLine) {
        self.size += line.text.len() + LINE_COST;
        self.lines.push(line);
    }
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The line that has begun, its time included.
    begun: Vec<u8>,
    /// More of it came than is kept.
    cut: bool,
}

impl Splitter {
    /// Reads whole lines into `chunk` until it is full; gives how many bytes were used up.
    pub fn take(&mut self, bytes: &[u8], cursor: &mut Cursor, chunk: &mut Chunk) -> usize {
        let mut used = 0;
        while used < bytes.len() && !chunk.is_full() {
            let rest = &bytes[used..];
            match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    self.append(&rest[..end]);
                    used += end + 1;
                    self.complete(cursor, chunk);
                }
                None => {
                    self.append(rest);
                    used = bytes.len();
                }
            }
        }
        used
    }

    /// The stream is over: what has begun is a line too.
    pub fn finish(&mut self, cursor: &mut Cursor, chunk: &mut Chunk) {
        if !self.begun.is_empty() {
            self.complete(cursor, chunk);
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = (TIME_MAX + LOG_LINE_MAX).saturating_sub(self.begun.len());
        self.cut |= bytes.len() > room;
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn complete(&mut self, cursor: &mut Cursor, chunk: &mut Chunk) {
        let (at, mut text) = split_time(&self.begun);
        let cut = self.cut || text.len() > LOG_LINE_MAX;
        text = &text[..text.len().min(LOG_LINE_MAX)];
        if cursor.is_news(at) {
            chunk.push(LogLine {
                at,
                text: text.to_vec(),
                cut,
            });
        }
        self.begun.clear();
        self.cut = false;
    }
}

/// Nanoseconds, 0 when the line begins with no time: what a kubelet itself has to say of a log has none.
fn split_time(line: &[u8]) -> (u64, &[u8]) {
    let time = || {
        let end = line.iter().take(TIME_MAX).position(|byte| *byte == b' ')?;
        let at: Timestamp = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
        Some((u64::try_from(at.as_nanosecond()).ok()?, &line[end + 1..]))
    };
    time().unwrap_or((0, line))
}

/// How far a container's log has been read, so that reading it again goes on there. A kubelet starts at a whole second; what was
/// told of it before is left out. Lines of the same nanosecond are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    at: u64,
    count: usize,
    /// What is left out, while it is read again.
    skip: Option<(u64, usize)>,
}

impl Cursor {
    /// Unix seconds of the last line; `None`: no line was told.
    pub fn second(&self) -> Option<i64> {
        (self.at > 0)
            .then(|| i64::try_from(self.at / 1_000_000_000).ok())
            .flatten()
    }

    /// From here on lines come again.
    pub fn again(&mut self) {
        self.skip = (self.at > 0).then_some((self.at, self.count));
    }

    fn is_news(&mut self, at: u64) -> bool {
        if at == 0 {
            return true;
        }
        match &mut self.skip {
            Some((told, _)) if at < *told => return false,
            Some((told, count)) if at == *told && *count > 0 => {
                *count -= 1;
                return false;
            }
            skip => *skip = None,
        }
        if at > self.at {
            (self.at, self.count) = (at, 1);
        } else if at == self.at {
            self.count += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_700_000_000;

    /// `second` after 2023-11-14T22:13:20Z.
    fn line(second: u64, text: &str) -> String {
        format!("{} {text}\n", Timestamp::from_second((SECOND + second) as i64).unwrap())
    }

    fn read(splitter: &mut Splitter, cursor: &mut Cursor, bytes: &[u8]) -> Vec<LogLine> {
        let (mut lines, mut used) = (Vec::new(), 0);
        while used < bytes.len() {
            let mut chunk = Chunk::default();
            used += splitter.take(&bytes[used..], cursor, &mut chunk);
            assert!(chunk.size < CHUNK_MAX + LOG_LINE_MAX + LINE_COST, "{}", chunk.size);
            lines.extend(chunk.into_lines());
        }
        lines
    }

    fn all(bytes: &[u8]) -> Vec<LogLine> {
        let (mut splitter, mut cursor, mut chunk) = (Splitter::default(), Cursor::default(), Chunk::default());
        let mut lines = read(&mut splitter, &mut cursor, bytes);
        splitter.finish(&mut cursor, &mut chunk);
        lines.extend(chunk.into_lines());
        lines
    }

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines
            .iter()
            .map(|line| std::str::from_utf8(&line.text).unwrap())
            .collect()
    }

    #[test]
    fn time_and_text_are_told_apart() {
        let lines = all(b"2023-11-14T23:13:20.000000007+01:00 with an offset\n\
            2023-11-14T22:13:21Z \n\
            unable to retrieve container logs\n\
            2023-11-14T22:13:22Z  two spaces, and no end");
        let told: Vec<_> = lines.iter().map(|line| line.at).collect();
        let nanos = |second: u64| (SECOND + second) * 1_000_000_000;
        assert_eq!(told, [nanos(0) + 7, nanos(1), 0, nanos(2)]);
        assert_eq!(
            texts(&lines),
            [
                "with an offset",
                "",
                "unable to retrieve container logs",
                " two spaces, and no end"
            ]
        );
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let longest = "x".repeat(LOG_LINE_MAX);
        let text = [
            line(1, &longest),
            line(2, &format!("{longest}y")),
            line(3, &"z".repeat(10 * LOG_LINE_MAX)),
            line(4, "short"),
        ]
        .concat();
        let lines = all(text.as_bytes());
        let told: Vec<_> = lines.iter().map(|line| (line.text.len(), line.cut)).collect();
        assert_eq!(
            told,
            [
                (LOG_LINE_MAX, false),
                (LOG_LINE_MAX, true),
                (LOG_LINE_MAX, true),
                (5, false)
            ]
        );
    }

    #[test]
    fn many_empty_lines_fill_a_chunk_too() {
        let (mut chunk, bytes) = (Chunk::default(), "\n".repeat(10_000));
        let used = Splitter::default().take(bytes.as_bytes(), &mut Cursor::default(), &mut chunk);
        assert_eq!(
            (used, chunk.lines.len()),
            (CHUNK_MAX / LINE_COST, CHUNK_MAX / LINE_COST)
        );
    }

    #[test]
    fn what_was_told_is_not_told_again_and_nothing_is_left_out() {
        let (mut splitter, mut cursor) = (Splitter::default(), Cursor::default());
        assert_eq!(cursor.second(), None);
        let first = [line(1, "a"), line(2, "b"), line(2, "c")].concat();
        assert_eq!(read(&mut splitter, &mut cursor, first.as_bytes()).len(), 3);
        assert_eq!(cursor.second(), Some((SECOND + 2) as i64));

        cursor.again();
        let again = [line(2, "b"), line(2, "c"), line(2, "d"), line(3, "e")].concat();
        assert_eq!(texts(&read(&mut splitter, &mut cursor, again.as_bytes())), ["d", "e"]);
        // A third time, with all of second 2 in the count.
        let mut earlier = Cursor {
            at: (SECOND + 2) * 1_000_000_000,
            count: 3,
            skip: None,
        };
        earlier.again();
        assert_eq!(texts(&read(&mut splitter, &mut earlier, again.as_bytes())), ["e"]);
    }

    #[test]
    fn a_log_that_begins_anew_later_is_told_whole() {
        let (mut splitter, mut cursor) = (Splitter::default(), Cursor::default());
        read(&mut splitter, &mut cursor, line(1, "first run").as_bytes());
        cursor.again();
        let next = [line(5, "second run"), line(4, "from the other pipe")].concat();
        assert_eq!(read(&mut splitter, &mut cursor, next.as_bytes()).len(), 2);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_bytes_come(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b' '), any::<u8>()], 0..2048),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let (mut splitter, mut cursor, mut chunk) = (Splitter::default(), Cursor::default(), Chunk::default());
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            ends.push(bytes.len());
            ends.sort_unstable();
            let (mut lines, mut from) = (Vec::new(), 0);
            for end in ends {
                lines.extend(read(&mut splitter, &mut cursor, &bytes[from..end]));
                from = end;
            }
            splitter.finish(&mut cursor, &mut chunk);
            lines.extend(chunk.into_lines());
            prop_assert_eq!(&lines, &all(&bytes));
            let newlines = bytes.iter().filter(|byte| **byte == b'\n').count();
            prop_assert!(lines.len() == newlines || lines.len() == newlines + 1);
        }
    }
}
