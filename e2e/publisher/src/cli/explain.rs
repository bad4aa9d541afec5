//! `apocryph explain`: what an outcome code means and what to do about it. The codes and their words are those of
//! `apocryph_proto::outcome`; beside them stand the client's own words ([`OWN_CODES`]).

use apocryph_proto::outcome::{Class, Code};
use serde_json::{Value, json};

use super::{human, output::Output};
use crate::{
    error::Error,
    exit::Exit,
    own_codes::OWN_CODES,
    reply::{Outcome, printable},
};

struct Entry {
    code: &'static str,
    meaning: &'static str,
    /// Empty: nothing is to be done.
    remedy: &'static str,
    /// None: no command fails with it.
    exit: Option<Exit>,
}

/// One code, in either spelling, or all of them.
pub fn explain(code: Option<&str>, output: &mut Output) -> Result<Exit, Error> {
    let Some(code) = code else {
        for entry in entries() {
            output.tell(&[format!("{:<22} {}", entry.code, entry.meaning)], &value(&entry));
        }
        return Ok(Exit::Ok);
    };
    // kubectl shows CamelCase.
    let word = match Code::parse(code) {
        Some(code) => code.as_str(),
        None => code,
    };
    let entry = entries().find(|entry| entry.code == word).ok_or_else(|| {
        Error::usage(
            format!("{} is no outcome code of this version", printable(code)),
            "`apocryph explain` lists them all; a newer provider may have more, and says what they mean itself.",
        )
    })?;
    let mut lines = vec![human::line("code", entry.code), human::line("means", entry.meaning)];
    if !entry.remedy.is_empty() {
        lines.push(human::line("to do", entry.remedy));
    }
    if let Some(exit) = entry.exit {
        lines.push(human::line("exit", format!("{}: {}", exit.status(), exit.meaning())));
    }
    output.tell(&lines, &value(&entry));
    Ok(Exit::Ok)
}

fn value(entry: &Entry) -> Value {
    json!({
        "event": "code",
        "code": entry.code,
        "message": entry.meaning,
        "remedy": entry.remedy,
        "exitCode": entry.exit.map(Exit::status),
    })
}

fn entries() -> impl Iterator<Item = Entry> {
    let of_providers = Code::ALL.iter().map(|&code| Entry {
        code: code.as_str(),
        meaning: code.meaning(),
        remedy: code.remedy(),
        exit: exit(code),
    });
    let own = OWN_CODES.iter().map(|own| Entry {
        code: own.code,
        meaning: own.meaning,
        remedy: own.remedy,
        exit: Some(own.exit),
    });
    of_providers.chain(own)
}

fn exit(code: Code) -> Option<Exit> {
    match code.class() {
        Class::Progress => None,
        // The refusal `ended` is about a life of before; the others say how one ended while it was watched.
        Class::Ended if code == Code::DeletedByPublisher => Some(Exit::Ok),
        Class::Ended if code != Code::Ended => Some(Exit::Ended),
        _ => Some(Exit::of(&Outcome::from(code))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_there_once_with_what_to_do() {
        let codes: Vec<_> = entries().map(|entry| entry.code).collect();
        let distinct: BTreeSet<_> = codes.iter().copied().collect();
        assert_eq!(distinct.len(), codes.len());
        for code in Code::ALL {
            assert!(distinct.contains(code.as_str()), "{code}");
        }
        for entry in entries().filter(|entry| entry.exit.is_some()) {
            assert!(!entry.remedy.is_empty(), "{} fails and says not what to do", entry.code);
        }
    }
}
