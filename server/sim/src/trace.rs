//! What happened, line by line. Costs nothing while nobody looks.

use std::fmt::Write;

/// Where the lines go.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// Kept for comparison or printing.
    text: Option<String>,
}

impl Trace {
    pub(crate) fn new(is_on: bool) -> Self {
        Self {
            text: is_on.then(String::new),
        }
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, now_us: u64, line: impl FnOnce() -> String) {
        if let Some(text) = &mut self.text {
            let (ms, us) = (now_us / 1000, now_us % 1000);
            writeln!(text, "{ms:>6}.{us:03} {}", line()).expect("a string takes all text");
        }
    }

    pub(crate) fn take(&mut self) -> String {
        self.text.take().unwrap_or_default()
    }
}
