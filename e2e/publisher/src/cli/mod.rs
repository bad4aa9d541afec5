//! The command line: arguments in, lines of text or JSON out, an exit status by class of outcome.

mod args;
mod commands;
mod delegations;
mod explain;
mod human;
mod json;
mod live;
mod looks;
mod output;
mod pods;
mod providers;

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

pub use args::Args;

use crate::{error::Error, exit::Exit};
use output::Output;

/// Log lines of the client itself, on standard error; off unless asked for (`debug`, `apocryph_publisher=trace`).
const LOG_ENV: &str = "APOCRYPH_LOG";

/// Parses the process's arguments, runs the command, tells what became of it.
pub fn main() -> ExitCode {
    let args = Args::parse();
    if std::env::var_os(LOG_ENV).is_some() {
        let filter = EnvFilter::from_env(LOG_ENV);
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .init();
    }
    let mut output = Output::of_process(args.global.output);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => return finish(&mut output, Err(Error::Output(e))),
    };
    let outcome = runtime.block_on(async {
        let interrupted = interrupted();
        commands::run(args, &mut output, interrupted).await
    });
    finish(&mut output, outcome)
}

fn finish(output: &mut Output, outcome: Result<Exit, Error>) -> ExitCode {
    let exit = outcome.unwrap_or_else(|error| {
        output.error(&error);
        error.exit()
    });
    ExitCode::from(exit.status())
}

/// Ctrl-C or SIGTERM.
async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the signals end the process as they always do.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
