//! Lines of the log in which strangers could drown everything else.
//!
//! Whoever can open a connection brings lines about. So no place of the code
//! writes more than a few lines a second in the long run, whoever causes them;
//! the next line of that place says how many were left out.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes lines as `F` does, but no flood of them. The levels debug and trace
/// are not limited: they are asked for to see everything.
pub struct LimitedLines<F> {
    format: F,
    is_json: bool,
    /// Of each place in the code that has written a line.
    places: Mutex<HashMap<Identifier, Place>>,
}

/// One place in the code that writes lines.
#[derive(Default)]
struct Place {
    /// When all lines so far would have been written at the pace of the long
    /// run. Absent before the first line.
    paid_until: Option<Instant>,
    /// Lines since the last one that was written.
    left_out: u64,
}

impl<F> LimitedLines<F> {
    /// Lines of text.
    pub fn text(format: F) -> Self {
        Self::new(format, false)
    }

    /// Lines that are JSON objects.
    pub fn json(format: F) -> Self {
        Self::new(format, true)
    }

    fn new(format: F, is_json: bool) -> Self {
        Self {
            format,
            is_json,
            places: Mutex::default(),
        }
    }
}

impl Place {
    /// May a line be written? If so, with the number of lines that were left
    /// out before it.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        let paid_until = self.paid_until.map_or(now, |until| until.max(now));
        if paid_until.duration_since(now) > LINES_AT_ONCE * LINE_INTERVAL - LINE_INTERVAL {
            self.left_out += 1;
            return None;
        }
        self.paid_until = Some(paid_until + LINE_INTERVAL);
        Some(mem::take(&mut self.left_out))
    }
}

impl<S, N, F> FormatEvent<S, N> for LimitedLines<F>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO {
            return self.format.format_event(context, writer, event);
        }
        let mut places = self.places.lock();
        let place = places.entry(metadata.callsite()).or_default();
        let Some(left_out) = place.pass(Instant::now()) else {
            return Ok(());
        };
        drop(places);
        if left_out == 0 {
            return self.format.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.format
            .format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end();
        match line.strip_suffix('}') {
            Some(object) if self.is_json => {
                writeln!(writer, "{object},\"left_out\":{left_out}}}")
            }
            _ => writeln!(writer, "{line} left_out={left_out}"),
        }
    }
}

/// A place may write so many lines at once,
const LINES_AT_ONCE: u32 = 100;
/// and one more each time that so long has passed.
const LINE_INTERVAL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use tracing_subscriber::fmt;

    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_and_a_number() {
        let mut place = Place::default();
        let start = Instant::now();
        let mut pass = |ms, lines| {
            let now = start + Duration::from_millis(ms);
            let passed = (0..lines).filter_map(|_| place.pass(now));
            passed.collect::<Vec<_>>()
        };
        assert_eq!(pass(0, 1000), [0; 100]);
        assert_eq!(pass(199, 1000), [0; 0]);
        assert_eq!(pass(1000, 1000), [1900, 0, 0, 0, 0]);
        // After a while of rest all is as in the beginning.
        let later = pass(30_000, 1000);
        assert_eq!((later[0], later.len()), (995, 100));
    }

    /// Where lines go in a test.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn take(&self) -> Vec<String> {
            let bytes = mem::take(&mut *self.0.lock());
            let text = String::from_utf8(bytes).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }

    fn flood() {
        let write = |n: u32| tracing::info!(n, "knocked at the door");
        (0..1000).for_each(write);
        std::thread::sleep(LINE_INTERVAL);
        write(1000);
        tracing::warn!("something else");
        (0..1000).for_each(|n| tracing::debug!(n, "asked for"));
    }

    #[test]
    fn each_place_has_its_own_lines_and_says_what_it_left_out() {
        let lines = Lines::default();
        let to = lines.clone();
        let subscriber = fmt::Subscriber::builder()
            .with_max_level(Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || to.clone())
            .map_event_format(LimitedLines::text)
            .finish();
        tracing::subscriber::with_default(subscriber, flood);
        let lines = lines.take();
        // A slow machine may have had time for one more.
        let knocks: Vec<_> = lines.iter().filter(|it| it.contains("knocked")).collect();
        assert!((101..110).contains(&knocks.len()), "{}", knocks.len());
        let left_out = |line: &str| line.rsplit_once(" left_out=")?.1.parse::<usize>().ok();
        let sum: usize = knocks.iter().filter_map(|it| left_out(it)).sum();
        assert_eq!(sum + knocks.len(), 1001);
        let others = |what: &str| lines.iter().filter(|it| it.contains(what)).count();
        assert_eq!((others("something else"), others("asked for")), (1, 1000));
    }

    #[test]
    fn a_line_of_json_stays_an_object() {
        let lines = Lines::default();
        let to = lines.clone();
        let subscriber = fmt::Subscriber::builder()
            .json()
            .with_writer(move || to.clone())
            .map_event_format(LimitedLines::json)
            .finish();
        tracing::subscriber::with_default(subscriber, flood);
        let lines = lines.take();
        let objects = lines
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let sum: u64 = objects.filter_map(|it| it["left_out"].as_u64()).sum();
        let knocks = lines.iter().filter(|it| it.contains("knocked")).count();
        assert_eq!(sum + knocks as u64, 1001);
    }
}
