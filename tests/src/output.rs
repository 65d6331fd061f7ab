//! The output of a child process, read line by line by a thread of its own, waited for with a deadline.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How many lines of output an error message repeats.
const TAIL: usize = 40;

/// Lines that one or more streams of a child have written so far.
#[derive(Clone, Default)]
pub struct Output(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    lines: Vec<String>,
    streams: usize,
}

impl Output {
    /// Reads `stream` to its end in a thread; several streams may feed one `Output`.
    pub fn follow(&self, stream: impl Read + Send + 'static) {
        self.lock().streams += 1;
        let shared = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                shared.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
                shared.0.1.notify_all();
            }
            shared.lock().streams -= 1;
            shared.0.1.notify_all();
        });
    }

    /// Waits for a line at or after `from` that `wanted` accepts; gives its index and what `wanted` made of it.
    ///
    /// The error says why there is none (deadline, or the end of all streams) and repeats the last lines.
    pub fn wait<T>(
        &self,
        from: usize,
        limit: Duration,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> Result<(usize, T), String> {
        let deadline = Instant::now() + limit;
        let mut at = from;
        let mut state = self.lock();
        loop {
            while at < state.lines.len() {
                if let Some(found) = wanted(&state.lines[at]) {
                    return Ok((at, found));
                }
                at += 1;
            }
            let why = if state.streams == 0 { "the output ended" } else { "deadline passed" };
            let left = deadline.saturating_duration_since(Instant::now());
            if state.streams == 0 || left.is_zero() {
                return Err(format!("{why} after {limit:?} at most; last lines:\n{}", tail(&state.lines)));
            }
            state = self.0.1.wait_timeout(state, left).expect("no reader panicked").0;
        }
    }

    /// Waits until every stream has ended.
    pub fn wait_end(&self, limit: Duration) -> bool {
        let state = self.lock();
        let (state, _) =
            self.0.1.wait_timeout_while(state, limit, |s| s.streams > 0).expect("no reader panicked");
        state.streams == 0
    }

    /// How many lines there are by now.
    pub fn len(&self) -> usize {
        self.lock().lines.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything from line `from` on.
    pub fn text(&self, from: usize) -> String {
        self.lock().lines[from..].join("\n")
    }

    /// The last lines, for error messages.
    pub fn tail(&self) -> String {
        tail(&self.lock().lines)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.0.lock().expect("no reader panicked")
    }
}

fn tail(lines: &[String]) -> String {
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}
