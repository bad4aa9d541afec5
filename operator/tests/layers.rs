//! Imports run one way (DESIGN 2): reads every source file and fails on a path that a layer must not name.
//!
//! Paths are read from the tokens, not by text search: comments and strings do not count, `use` groups are spread out,
//! renamed crates are followed. A macro's body counts like other code.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

/// Files under `folder` (or that very file) must not name paths that begin with any of `forbidden`.
struct Rule {
    folder: &'static str,
    forbidden: &'static [&'static str],
    /// Exact paths that are allowed all the same.
    except: &'static [&'static str],
    because: &'static str,
}

/// Whatever reads or writes the cluster.
const CLUSTER: &[&str] = &[
    "kube",
    "k8s_openapi",
    "apocryph_crd",
    "crate::pods",
    "crate::watches",
    "crate::capacity",
];
/// Whatever speaks to publishers.
const WIRE: &[&str] = &[
    "libp2p",
    "prost",
    "apocryph_proto::v0",
    "crate::net",
    "crate::protocols",
];

const RULES: &[Rule] = &[
    Rule {
        folder: "protocols",
        forbidden: CLUSTER,
        except: &[],
        because: "a protocol never touches the cluster",
    },
    Rule {
        folder: "protocols",
        forbidden: &[
            "libp2p::Swarm",
            "libp2p::SwarmBuilder",
            "libp2p::swarm",
            "crate::net::swarm",
            "crate::net::behaviour",
        ],
        except: &[],
        because: "a protocol reads and writes one stream",
    },
    Rule {
        folder: "admission",
        forbidden: CLUSTER,
        except: &[],
        because: "admission asks services, never the API",
    },
    Rule {
        folder: "admission",
        forbidden: WIRE,
        except: &[],
        because: "admission knows no wire",
    },
    Rule {
        folder: "pods",
        forbidden: WIRE,
        except: &[],
        because: "the controller never touches a stream",
    },
    Rule {
        folder: "capacity",
        forbidden: WIRE,
        except: &[],
        because: "capacity knows no wire",
    },
    Rule {
        folder: "model",
        forbidden: &[
            "libp2p",
            "kube",
            "k8s_openapi",
            "apocryph_crd",
            "prost",
            "apocryph_proto::v0",
        ],
        except: &[],
        because: "plain types",
    },
    Rule {
        folder: "model",
        forbidden: &[
            "crate::net",
            "crate::protocols",
            "crate::pods",
            "crate::capacity",
            "crate::pricing",
            "crate::billing",
            "crate::attestation",
            "crate::admission",
        ],
        // What a service takes and gives.
        except: &["crate::admission::Admitted", "crate::pricing::Tables"],
        because: "everybody imports the model, it imports nobody",
    },
    Rule {
        folder: "net",
        forbidden: CLUSTER,
        except: &[],
        because: "net moves bytes",
    },
    Rule {
        folder: "pods/objects",
        forbidden: &[
            "kube::Client",
            "kube::client",
            "kube::Api",
            "kube::api::Api",
            "kube::runtime",
            "std::time::SystemTime",
            "std::time::Instant",
            "tokio",
            "k8s_openapi::jiff",
        ],
        except: &[],
        because: "builders are pure: no client, no clock",
    },
    Rule {
        folder: "billing",
        forbidden: &[
            "libp2p",
            "kube",
            "k8s_openapi",
            "crate::net",
            "crate::protocols",
            "crate::pods",
        ],
        except: &[],
        because: "payments are asked by admission alone",
    },
    Rule {
        folder: "attestation",
        forbidden: &[
            "libp2p",
            "kube",
            "k8s_openapi",
            "crate::net",
            "crate::protocols",
            "crate::pods",
        ],
        except: &[],
        because: "evidence speaks for this process, facts come in as values",
    },
];

#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: String,
    path: String,
    because: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: names {} ({})", self.file, self.path, self.because)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Into,
    Sign(char),
}

/// Words, `::` and other signs; comments, strings and characters left out.
fn tokens(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let at = |index: usize| text.get(index).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut found, mut index) = (Vec::new(), 0);
    while index < text.len() {
        let c = at(index);
        if c == '/' && at(index + 1) == '/' {
            while index < text.len() && at(index) != '\n' {
                index += 1;
            }
        } else if c == '/' && at(index + 1) == '*' {
            let mut depth = 0;
            loop {
                match (at(index), at(index + 1)) {
                    ('/', '*') => (depth, index) = (depth + 1, index + 2),
                    ('*', '/') => (depth, index) = (depth - 1, index + 2),
                    _ => index += 1,
                }
                if depth == 0 || index >= text.len() {
                    break;
                }
            }
        } else if c == '"' {
            index = after_string(&text, index);
        } else if c == '\'' {
            // A character ('x', '\n', '\u{…}') or a lifetime.
            if at(index + 1) == '\\' {
                index += 3;
                while index < text.len() && at(index) != '\'' {
                    index += 1;
                }
                index += 1;
            } else if at(index + 2) == '\'' {
                index += 3;
            } else {
                index += 1;
            }
        } else if is_word(c) {
            let start = index;
            while is_word(at(index)) {
                index += 1;
            }
            let word: String = text[start..index].iter().collect();
            let raw = matches!(word.as_str(), "r" | "br" | "cr") && matches!(at(index), '#' | '"');
            let hashes = (index..).take_while(|&place| at(place) == '#').count();
            if raw && at(index + hashes) == '"' {
                index += hashes + 1;
                let end = |place: usize| at(place) == '"' && (1..=hashes).all(|more| at(place + more) == '#');
                while index < text.len() && !end(index) {
                    index += 1;
                }
                index += hashes + 1;
            } else if matches!(word.as_str(), "b" | "c") && at(index) == '"' {
                index = after_string(&text, index);
            } else if word == "r" && hashes == 1 {
                // A raw identifier: the word after it is the name.
                index += 1;
            } else {
                found.push(Token::Word(word));
            }
        } else if c == ':' && at(index + 1) == ':' {
            found.push(Token::Into);
            index += 2;
        } else {
            if !c.is_whitespace() {
                found.push(Token::Sign(c));
            }
            index += 1;
        }
    }
    found
}

/// `index`: of the opening quote.
fn after_string(text: &[char], mut index: usize) -> usize {
    index += 1;
    while index < text.len() && text[index] != '"' {
        index += if text[index] == '\\' { 2 } else { 1 };
    }
    index + 1
}

/// Every path that a file names, as written from `crate`, with `self` and `super` resolved from the file's own module.
fn paths(module: &[String], source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let (mut found, mut renamed) = (Vec::new(), BTreeMap::new());
    let mut index = 0;
    while index < tokens.len() {
        match &tokens[index] {
            // `use<'a>` in a type captures lifetimes.
            Token::Word(word) if word == "use" && tokens.get(index + 1) == Some(&Token::Sign('<')) => index += 1,
            Token::Word(word) if word == "use" => {
                index = spread(&tokens, index + 1, Vec::new(), &mut found, &mut renamed);
            }
            Token::Word(word) if word == "extern" && tokens.get(index + 1) == Some(&Token::Word("crate".into())) => {
                index = spread(&tokens, index + 2, Vec::new(), &mut found, &mut renamed);
            }
            Token::Word(_) => {
                let mut path = Vec::new();
                while let Some(Token::Word(word)) = tokens.get(index) {
                    path.push(word.clone());
                    index += 1;
                    if tokens.get(index) != Some(&Token::Into) {
                        break;
                    }
                    index += 1;
                }
                if path.len() > 1 {
                    found.push(path);
                }
            }
            _ => index += 1,
        }
    }
    found
        .into_iter()
        .map(|path| resolve(module, path, &renamed).join("::"))
        .collect()
}

/// Reads one `use` tree; returns the place after it.
fn spread(
    tokens: &[Token],
    mut index: usize,
    before: Vec<String>,
    found: &mut Vec<Vec<String>>,
    renamed: &mut BTreeMap<String, Vec<String>>,
) -> usize {
    let mut path = before.clone();
    loop {
        match tokens.get(index) {
            Some(Token::Word(word)) if word == "as" => {
                if let Some(Token::Word(name)) = tokens.get(index + 1)
                    && name != "_"
                {
                    renamed.insert(name.clone(), path.clone());
                }
                index += 2;
            }
            Some(Token::Word(word)) => {
                path.push(word.clone());
                index += 1;
            }
            Some(Token::Sign('*')) => {
                path.push("*".into());
                index += 1;
            }
            Some(Token::Into) => index += 1,
            Some(Token::Sign('{')) => {
                index += 1;
                while !matches!(tokens.get(index), None | Some(Token::Sign('}'))) {
                    let next = spread(tokens, index, path.clone(), found, renamed);
                    assert!(
                        next > index || tokens.get(next) == Some(&Token::Sign(',')),
                        "a `use` that is none"
                    );
                    index = next;
                    if tokens.get(index) == Some(&Token::Sign(',')) {
                        index += 1;
                    }
                }
                return index + 1;
            }
            _ => {
                if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                    path.pop();
                }
                if let Some(name) = path.last().filter(|_| path.len() > 1) {
                    renamed.entry(name.clone()).or_insert_with(|| path.clone());
                }
                if !path.is_empty() {
                    found.push(path);
                }
                return index;
            }
        }
    }
}

/// `self` and `super` from the module; a name that a `use` brought in by what it stands for.
fn resolve(module: &[String], path: Vec<String>, renamed: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut path = path;
    // Names stand for paths that may begin with a name again; a chain ends soon or is a circle of equal names.
    for _ in 0..4 {
        match renamed.get(&path[0]) {
            Some(full) if full[0] != path[0] => path = full.iter().chain(&path[1..]).cloned().collect(),
            _ => break,
        }
    }
    let mut base = module.to_vec();
    let mut rest = path.as_slice();
    let mut relative = false;
    while let Some(first) = rest.first() {
        match first.as_str() {
            "self" => {}
            "super" => {
                base.pop();
            }
            _ => break,
        }
        relative = true;
        rest = &rest[1..];
    }
    if relative {
        base.iter().chain(rest).cloned().collect()
    } else {
        path
    }
}

/// Does `path` name `prefix` or something in it? A glob of what holds it, or the bare crate renamed, names it too.
fn names(path: &str, prefix: &str) -> bool {
    let inside =
        |whole: &str, part: &str| whole == part || whole.strip_prefix(part).is_some_and(|rest| rest.starts_with("::"));
    inside(path, prefix)
        || path
            .strip_suffix("::*")
            .is_some_and(|holder| prefix != holder && inside(prefix, holder))
}

/// `file`: from `src`, with `/`.
fn violations(file: &str, source: &str) -> Vec<Violation> {
    let inner = file.trim_end_matches(".rs");
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    let module: Vec<String> = std::iter::once("crate")
        .chain(inner.split('/'))
        .map(str::to_owned)
        .collect();
    let paths = paths(&module, source);
    RULES
        .iter()
        .filter(|rule| file.strip_prefix(rule.folder).is_some_and(|rest| rest.starts_with('/')))
        .flat_map(|rule| {
            paths
                .iter()
                .filter(|path| rule.forbidden.iter().any(|prefix| names(path, prefix)))
                .filter(|path| !rule.except.iter().any(|allowed| names(path, allowed)))
                .map(|path| Violation {
                    file: file.to_owned(),
                    path: path.clone(),
                    because: rule.because,
                })
        })
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn imports_run_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(
        files.len() > 40,
        "the sources are where this test looks: {} files",
        files.len()
    );
    for rule in RULES {
        assert!(src.join(rule.folder).is_dir(), "the folder {} exists", rule.folder);
    }
    let found: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let file = path.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/");
            violations(&file, &fs::read_to_string(path).unwrap())
        })
        .map(|violation| violation.to_string())
        .collect();
    assert!(found.is_empty(), "layers are broken:\n{}", found.join("\n"));
}

#[test]
fn a_broken_layer_is_seen_however_it_is_written() {
    for (file, source) in [
        ("protocols/x.rs", "use kube::Client;"),
        ("protocols/x.rs", "use {std::fmt, kube as k};"),
        ("protocols/x.rs", "fn f() { let _ = ::kube::Client::try_default(); }"),
        (
            "protocols/x.rs",
            "use std::fmt; mod inner { use k8s_openapi::api::core::v1::Pod; }",
        ),
        ("protocols/x.rs", "use crate::{model::key, pods::gateway};"),
        ("protocols/x.rs", "use super::super::pods::gateway;"),
        ("protocols/x.rs", "use libp2p::{PeerId, swarm::Stream};"),
        ("admission/mod.rs", "use super::pods::gateway;"),
        ("admission/x.rs", "extern crate prost;"),
        ("pods/x.rs", "use apocryph_proto::{limits, v0::pod::Pod};"),
        (
            "pods/x.rs",
            "use apocryph_proto as wire; fn f(_: wire::v0::pod::Pod) {}",
        ),
        ("pods/x.rs", "use apocryph_proto::*;"),
        ("capacity/x.rs", "impl prost::Message for X {}"),
        (
            "capacity/x.rs",
            "const A: &str = r#\"\"#; const Q: char = '\"'; use libp2p::PeerId; // \"",
        ),
        ("model/x.rs", "use crate::pods::gateway::Gateway;"),
        ("pods/objects/x.rs", "use std::time::{Duration, SystemTime}; "),
        (
            "pods/objects/deep/x.rs",
            "use std::time; fn now() { time::SystemTime::now(); }",
        ),
        ("net/x.rs", "macro_rules! m { () => { kube::Client::new() } }"),
    ] {
        assert!(!violations(file, source).is_empty(), "{file}: {source}");
    }
}

#[test]
fn what_is_allowed_is_not_reported() {
    for (file, source) in [
        (
            "pods/x.rs",
            "use kube::{Api, Client}; use apocryph_proto::{limits, outcome::Code};",
        ),
        (
            "protocols/x.rs",
            "// use kube::Client;\n/* kube::Api /* nested */ kube::Api */ const A: &str = \"kube::Client\";",
        ),
        (
            "protocols/x.rs",
            "const A: &str = r#\" \" use kube::Client; \"#; use prost::Message;",
        ),
        (
            "model/services.rs",
            "use crate::admission::Admitted; pub use crate::pricing::Tables;",
        ),
        (
            "pods/objects/x.rs",
            "use kube::api::ObjectMeta; use std::time::Duration;",
        ),
        (
            "admission/x.rs",
            "use crate::model::{key::PodKey, pod}; fn f<'a>(x: &'a pod::Tag) {}",
        ),
        ("telemetry/events.rs", "use kube::runtime::events::Recorder;"),
        ("podsx/x.rs", "use prost::Message;"),
        (
            "protocols/x.rs",
            "fn f() -> impl Sized + use<> {} extern \"C\" { fn kube(); }",
        ),
    ] {
        assert_eq!(violations(file, source), [], "{file}: {source}");
    }
}
