//! Arguments and environment.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Parser, Subcommand, ValueEnum};

use crate::{deploy::Until, exit::Exit, pod_id::PodId};

/// How long `deploy` waits for running or accepted when nothing is said: longer than a provider's start deadline.
const DEPLOY_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Rent a place for a container from a provider of the Apocryph network.
///
/// The key comes from --key-file, or in hex from the environment variable APOCRYPH_KEY; never from an argument.
#[derive(Debug, Parser)]
#[command(name = "apocryph", version, max_term_width = 100, after_help = exits())]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Args)]
pub struct Global {
    /// Lines for people, or one JSON object a line for scripts
    #[arg(long, global = true, value_enum, default_value_t = Format::Human, env = "APOCRYPH_OUTPUT")]
    pub output: Format,
    /// File with the publisher's key [default: ~/.config/apocryph/key]
    #[arg(long, global = true, value_name = "PATH", env = "APOCRYPH_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// Folder of the state files [default: ~/.local/state/apocryph]
    #[arg(long, global = true, value_name = "PATH", env = "APOCRYPH_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// The provider, as multiaddr with peer id; several addresses of one provider separated by commas
    #[arg(long, global = true, value_name = "MULTIADDR", env = "APOCRYPH_PROVIDER")]
    pub provider: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Human,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The publisher's key
    #[command(subcommand)]
    Key(Key),
    /// Ask the provider to prove what it runs on
    Attest {
        /// Fail (exit status 12) when nothing that is given proves it
        #[arg(long)]
        require_evidence: bool,
    },
    /// Ask what is free, what it costs, and whether a pod of this size would fit
    Capacity(Wanted),
    /// Check a manifest, offline
    Check {
        /// Manifest in YAML or JSON; `-`: standard input
        manifest: PathBuf,
    },
    /// Send a manifest and see it run
    Deploy(Deploy),
    /// Follow a pod
    Watch {
        /// Pod id, or the beginning of one that was deployed from here; left out: the only one there is
        pod: Option<String>,
        #[arg(long, value_enum, default_value_t = Goal::Ended)]
        until: Goal,
        /// Give up after this long: 90s, 10m, 2h
        #[arg(long, value_name = "TIME", value_parser = duration)]
        timeout: Option<Duration>,
    },
    /// End a pod; its volumes go with it
    Delete {
        /// Pod id, or the beginning of one that was deployed from here; left out: the only one there is
        pod: Option<String>,
        /// Give up after this long: 90s, 10m, 2h; the end itself goes on
        #[arg(long, value_name = "TIME", value_parser = duration)]
        timeout: Option<Duration>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key; refuses to overwrite one
    New,
    /// Print the address
    Show,
}

#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// 500m, 1, 1.5
    #[arg(long, value_name = "CORES")]
    pub cpu: Option<String>,
    /// 256Mi, 1Gi
    #[arg(long, value_name = "BYTES")]
    pub memory: Option<String>,
    /// Volumes in all
    #[arg(long, value_name = "BYTES")]
    pub storage: Option<String>,
    #[arg(long, value_name = "BYTES")]
    pub ephemeral_storage: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").required(true).args(["manifest", "resume"]))]
pub struct Deploy {
    /// Manifest in YAML or JSON; `-`: standard input
    pub manifest: Option<PathBuf>,
    /// Go on with a pod that was deployed from here: pod id or the beginning of one
    #[arg(long, value_name = "POD", conflicts_with = "pod_id")]
    pub resume: Option<String>,
    /// 64 hex digits; the same id and manifest again is the same pod [default: a new random one]
    #[arg(long)]
    pub pod_id: Option<PodId>,
    /// The pod has ended: start it anew, with empty volumes
    #[arg(long)]
    pub restart: bool,
    /// Send the manifest although the provider's stack is not proven: its admins can read it
    #[arg(long)]
    pub allow_unattested: bool,
    /// Leave as soon as the provider has accepted
    #[arg(long, conflicts_with_all = ["until", "fail_fast"])]
    pub detach: bool,
    #[arg(long, value_enum, default_value_t = Goal::Running)]
    pub until: Goal,
    /// Leave at the first trouble (image not found, ...) instead of waiting for it to be mended
    #[arg(long)]
    pub fail_fast: bool,
    /// Wait for what may last: no capacity, not accepting, an end that is under way
    #[arg(long)]
    pub wait: bool,
    /// Give up after this long: 90s, 10m, 2h [default: 15m, none with --until ended]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
}

impl Deploy {
    pub fn goal(&self) -> Until {
        if self.detach {
            Until::Accepted
        } else {
            self.until.into()
        }
    }

    pub fn effective_timeout(&self) -> Option<Duration> {
        self.timeout
            .or_else(|| (self.goal() != Until::Ended).then_some(DEPLOY_TIMEOUT))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Goal {
    Running,
    Ended,
}

impl From<Goal> for Until {
    fn from(goal: Goal) -> Until {
        match goal {
            Goal::Running => Until::Running,
            Goal::Ended => Until::Ended,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is not a time: write 90s, 10m or 2h");
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        _ => (text, 1),
    };
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let seconds = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(unit))
        .filter(|s| *s > 0)
        .ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

fn exits() -> String {
    let lines: Vec<_> = Exit::ALL
        .iter()
        .map(|exit| format!("  {:>3}  {}", exit.status(), exit.meaning()))
        .collect();
    format!("Exit status:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn help_lists_every_exit_status() {
        let help = Args::command().render_long_help().to_string();
        for exit in Exit::ALL {
            assert!(
                help.contains(&format!("{:>3}  {}", exit.status(), exit.meaning())),
                "{exit:?}"
            );
        }
    }

    #[test]
    fn no_argument_takes_a_private_key() {
        for name in ["--key", "--private-key", "--secret"] {
            assert!(Args::try_parse_from(["apocryph", "key", "show", name, "ab"]).is_err());
        }
    }

    #[test]
    fn times_as_people_write_them() {
        let seconds = |text| duration(text).map(|d| d.as_secs());
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("10m"), Ok(600));
        assert_eq!(seconds("2h"), Ok(7_200));
        for text in [
            "",
            "s",
            "0",
            "0m",
            "-1s",
            "+1s",
            "1.5h",
            "1d",
            "1 m",
            "99999999999999999999h",
            "µ",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn deploy_takes_a_manifest_or_resumes() {
        let parse = |words: &[&str]| Args::try_parse_from([&["apocryph", "deploy"], words].concat());
        assert!(parse(&[]).is_err());
        assert!(parse(&["m.yaml", "--resume", "abcd"]).is_err());
        assert!(parse(&["--resume", "abcd", "--restart"]).is_ok());
        assert!(parse(&["m.yaml", "--detach", "--until", "ended"]).is_err());
        let Command::Deploy(deploy) = parse(&["m.yaml"]).unwrap().command else {
            unreachable!()
        };
        assert_eq!(
            (deploy.goal(), deploy.effective_timeout()),
            (Until::Running, Some(DEPLOY_TIMEOUT))
        );
        let Command::Deploy(deploy) = parse(&["m.yaml", "--until", "ended"]).unwrap().command else {
            unreachable!()
        };
        assert_eq!((deploy.goal(), deploy.effective_timeout()), (Until::Ended, None));
        let Command::Deploy(deploy) = parse(&["m.yaml", "--detach"]).unwrap().command else {
            unreachable!()
        };
        assert_eq!(deploy.goal(), Until::Accepted);
    }
}
