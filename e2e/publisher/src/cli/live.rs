//! One line at the bottom of a terminal that shows what is being waited for, and for how long.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, interval},
};

const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const PERIOD: Duration = Duration::from_millis(120);
/// Narrower than any terminal, so that the line never wraps.
const WIDTH: usize = 72;
const CLEAR: &[u8] = b"\r\x1b[2K";

/// Drawn on standard error while it lives.
pub struct Live {
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

struct Shared {
    text: String,
    since: Instant,
}

impl Live {
    /// Needs a tokio runtime.
    pub fn start() -> Live {
        let shared = Arc::new(Mutex::new(Shared {
            text: String::new(),
            since: Instant::now(),
        }));
        let task = tokio::spawn(draw(shared.clone()));
        Live { shared, task }
    }

    /// What is waited for from now on.
    pub fn say(&self, text: &str) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone_into(&mut shared.text);
        shared.since = Instant::now();
    }

    /// Takes the line away, lets `print` write, and draws again at the next tick.
    pub fn above<T>(&self, print: impl FnOnce() -> T) -> T {
        let _shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        clear();
        print()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
        let _shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        clear();
    }
}

/// A terminal that cannot be written to is no reason to fail.
fn clear() {
    let _ = io::stderr().write_all(CLEAR);
}

async fn draw(shared: Arc<Mutex<Shared>>) {
    let mut ticks = interval(PERIOD);
    for frame in FRAMES.iter().cycle() {
        ticks.tick().await;
        let shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if !shared.text.is_empty() {
            let mut stderr = io::stderr().lock();
            let _ = stderr.write_all(CLEAR);
            let _ = stderr.write_all(line(*frame, &shared.text, shared.since.elapsed()).as_bytes());
            let _ = stderr.flush();
        }
    }
}

fn line(frame: char, text: &str, waited: Duration) -> String {
    let time = format!(" {} s", waited.as_secs());
    let room = WIDTH.saturating_sub(2 + time.len());
    let text: String = text.chars().take(room).collect();
    format!("{frame} {text}{time}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_never_wraps() {
        let long = line('⠋', &"x".repeat(500), Duration::from_secs(100_000));
        assert_eq!(long.chars().count(), WIDTH);
        assert!(long.ends_with(" 100000 s"));
        assert_eq!(line('⠋', "pulling", Duration::from_secs(3)), "⠋ pulling 3 s");
    }
}
