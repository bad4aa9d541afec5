//! Prints the CustomResourceDefinition as YAML. `--chart`: as the chart's template, which helm keeps when it uninstalls.
//! `--codes`: the page of conditions and codes instead.

use std::{
    io::{self, Write},
    process::ExitCode,
};

const USAGE: &str = "usage: apocryph-crd [--chart | --codes]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => apocryph_crd::yaml(),
        ["--chart"] => apocryph_crd::chart(),
        ["--codes"] => Ok(apocryph_crd::codes()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let written = text
        .map_err(io::Error::other)
        .and_then(|text| io::stdout().lock().write_all(text.as_bytes()));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("apocryph-crd: {error}");
            ExitCode::FAILURE
        }
    }
}
