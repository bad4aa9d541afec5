//! Logs on standard output, as JSON for machines or as text for people.

use std::{backtrace::Backtrace, fmt, io::IsTerminal, panic, str::FromStr};

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

/// Libraries that log at a stranger's command: their lines would be as many as he likes. A filter that names them more
/// closely (`libp2p_swarm::connection=debug`) or equally (`yamux=info`) still wins.
const QUIET: &str = "libp2p=warn,libp2p_core=warn,libp2p_dns=warn,libp2p_identify=warn,libp2p_noise=warn,libp2p_ping=warn,\
                     libp2p_quic=warn,libp2p_swarm=warn,libp2p_tcp=warn,libp2p_tls=warn,libp2p_yamux=error,\
                     multistream_select=warn,netlink_proto=warn,quinn=error,quinn_proto=error,quinn_udp=error,yamux=off,\
                     hyper=warn,hyper_util=warn,rustls=warn,tower=warn";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Json,
    Text,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        match text {
            "json" => Ok(Format::Json),
            "text" => Ok(Format::Text),
            other => Err(format!("{other:?} is not a log format: json or text")),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Json => "json",
            Format::Text => "text",
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the log filter {filter:?} is not one: {source}; an example is info,apocryph_provider=debug")]
    Filter {
        filter: String,
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("logs are set up already: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts logging, once per process. `filter` is what `RUST_LOG` takes elsewhere: a level, or levels by module.
pub fn init(format: Format, filter: &str) -> Result<(), Error> {
    let filter = parse(filter)?;
    let base = tracing_subscriber::registry().with(filter);
    match format {
        Format::Json => {
            base.with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_span_list(false),
            )
            .try_init()?;
        }
        Format::Text => {
            base.with(tracing_subscriber::fmt::layer().with_ansi(std::io::stdout().is_terminal()))
                .try_init()?;
        }
    }
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn parse(filter: &str) -> Result<EnvFilter, Error> {
    let parse = |text: &str| {
        EnvFilter::builder().parse(text).map_err(|source| Error::Filter {
            filter: filter.to_owned(),
            source,
        })
    };
    // Alone first, so that an error is about what the admin wrote.
    parse(filter)?;
    parse(&format!("{QUIET},{filter}"))
}

/// A panic is a line like any other, with the span it happened in: the request id is there.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("(no message)");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    tracing::error!(panic = message, location, %backtrace, "panic");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_of_the_admin_wins_over_the_quiet_ones() {
        let filter = parse("debug,yamux=info").unwrap().to_string();
        assert!(
            filter.contains("yamux=info") && !filter.contains("yamux=off"),
            "{filter}"
        );
        assert!(filter.contains("libp2p_swarm=warn"), "{filter}");
    }

    #[test]
    fn an_error_in_the_filter_names_it() {
        let error = parse("info,apocryph_provider=loud").unwrap_err().to_string();
        assert!(
            error.contains("apocryph_provider=loud") && !error.contains("multistream"),
            "{error}"
        );
        assert_eq!(
            "xml".parse::<Format>().unwrap_err(),
            "\"xml\" is not a log format: json or text"
        );
    }
}
