//! Crypto provider, parse, run - nothing else.

use std::process::ExitCode;

use apocryph_provider::{
    args::{Args, Command},
    drain, run,
    telemetry::logs,
};
use clap::Parser;

fn main() -> ExitCode {
    // Err: somebody has set one already, which nobody here does.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = Args::parse();
    let config = match args.load() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("apocryph-provider: {error}");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = logs::init(config.logs.format, &config.logs.level) {
        eprintln!("apocryph-provider: logs.level: {error}");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::FAILURE;
        }
    };
    let outcome = match &args.command {
        None => runtime
            .block_on(run::run(config))
            .map_err(|failure| failure.to_string()),
        Some(Command::Drain { order }) => runtime
            .block_on(drain::run(&config, order))
            .map_err(|error| error.to_string()),
    };
    // Nothing that is left has anything to say: who was deposed must not linger.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(error = %failure, "ending");
            ExitCode::FAILURE
        }
    }
}
