//! `apocryph`: a publisher's command.

use std::process::ExitCode;

fn main() -> ExitCode {
    apocryph_publisher::cli::main()
}
