//! Prints the manifest's JSON Schema: what `make generate` writes to deploy/manifest.schema.json.

use std::{
    io::{self, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    match writeln!(io::stdout().lock(), "{:#}", apocryph_proto::schema::manifest()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("apocryph-manifest-schema: {error}");
            ExitCode::FAILURE
        }
    }
}
