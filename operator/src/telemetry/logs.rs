//! Logs: one line per event, JSON or text, to standard output.

use tracing_subscriber::{EnvFilter, filter::ParseError};

use crate::args::{LogFormat, Logs};

/// Starts logging for the process.
///
/// # Errors
/// The level is not a filter of tracing.
pub fn init(logs: &Logs) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&logs.level)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_target(true);
    match logs.format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).init(),
        LogFormat::Text => lines.with_ansi(false).init(),
    }
    Ok(())
}
