//! Arguments and environment.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Parser, Subcommand, ValueEnum, builder::PossibleValuesParser};
use libp2p::PeerId;

use crate::{delegation::OPERATIONS, deploy::Until, exit::Exit, pod_id::PodId};

/// How long `deploy` waits for running or accepted when nothing is said: longer than a provider's start deadline.
const DEPLOY_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Heading of the options that every command takes.
const EVERYWHERE: &str = "Options of every command";
/// Under each command.
const SEE_EXITS: &str = "Exit status: 0 when it worked; `apocryph --help` lists the others.";
const WATCH_EXITS: &str = "Exit status: 0 when the pod runs (--until running) or was ended by your own delete, 10 when it ended otherwise; \
     `apocryph --help` lists the others.";
const CAPACITY_EXITS: &str = "Exit status: 0 when pods are accepted now and what was asked for fits, 7 when not; `apocryph --help` lists the others.";
const FIRST_STEPS: &str = "\
First steps:
  apocryph key new
  apocryph provider add home /ip4/203.0.113.7/tcp/30700/p2p/12D3KooW...
  apocryph capacity --provider home
  apocryph check pod.yaml
  apocryph deploy pod.yaml --provider home --allow-unattested
  apocryph watch
  apocryph delete";

/// Rent a place for a container from a provider of the Apocryph network.
///
/// The key comes from --key-file, or in hex from the environment variable APOCRYPH_KEY; never from an argument. With --delegation
/// no key is needed: a peer that was named by the publisher's wallet asks under its own peer id (`apocryph peer`; in hex from
/// APOCRYPH_PEER_KEY).
#[derive(Debug, Parser)]
#[command(name = "apocryph", version, max_term_width = 100, after_help = closing())]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Args)]
pub struct Global {
    /// Lines for people, or one JSON object a line for scripts
    #[arg(long, global = true, help_heading = EVERYWHERE, value_enum, default_value_t = Format::Human, env = "APOCRYPH_OUTPUT")]
    pub output: Format,
    /// File with the publisher's key [default: ~/.config/apocryph/key]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "PATH", env = "APOCRYPH_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// File of a delegation (`apocryph delegate`): ask under it, without the publisher's key
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "PATH", env = "APOCRYPH_DELEGATION")]
    pub delegation: Option<PathBuf>,
    /// File with the key of this client's own peer id, for delegations [default: ~/.config/apocryph/peer]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "PATH", env = "APOCRYPH_PEER_KEY_FILE")]
    pub peer_key_file: Option<PathBuf>,
    /// Folder with what is remembered of pods and providers [default: ~/.local/state/apocryph]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "PATH", env = "APOCRYPH_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// The provider: a name of `apocryph provider list`, or a multiaddr that ends in its peer id (several of one provider
    /// separated by commas)
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "NAME|MULTIADDR", env = "APOCRYPH_PROVIDER")]
    pub provider: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Human,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The publisher's key: make one, show its address
    #[command(subcommand)]
    Key(Key),
    /// Providers by name: add, list, remove
    #[command(subcommand)]
    Provider(Providers),
    /// Ask the provider to prove what it runs on
    ///
    /// Needs no key. Prints what the provider claims, and for each part of its stack whether anything proves it.
    #[command(after_help = SEE_EXITS)]
    Attest {
        /// Fail (exit status 12) when nothing that is given proves it
        #[arg(long)]
        require_evidence: bool,
    },
    /// Ask what is free, what it costs, and whether a pod of this size would fit
    ///
    /// Needs no key. With --provider NAME the reply is remembered for `apocryph provider list`.
    #[command(after_help = CAPACITY_EXITS)]
    Capacity(Wanted),
    /// Check a manifest, offline
    ///
    /// With the parser that providers admit with: what it refuses they refuse, with the same words. Nothing is sent.
    #[command(after_help = SEE_EXITS)]
    Check {
        /// Manifest in YAML or JSON; `-`: standard input
        manifest: PathBuf,
    },
    /// Send a manifest and see it run
    ///
    /// Prints a line per status until the pod runs, then its addresses. A connection that breaks is made again by itself; a
    /// command that was ended goes on with --resume.
    #[command(after_help = SEE_EXITS)]
    Deploy(Deploy),
    /// Follow a pod
    #[command(after_help = WATCH_EXITS)]
    Watch {
        /// Pod id, or the beginning of one that was deployed from here; left out: the only one there is
        pod: Option<String>,
        /// When to leave
        #[arg(long, value_enum, default_value_t = Goal::Ended)]
        until: Goal,
        /// Give up after this long: 90s, 10m, 2h [default: never]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        timeout: Option<Duration>,
    },
    /// The pods that this key has at the provider
    List,
    /// Everything that the provider knows of a pod: replicas, conditions, what was in its way
    Describe {
        /// Pod id, or the beginning of one that was deployed from here; left out: the only one there is
        pod: Option<String>,
    },
    /// What a pod's containers write
    Logs(Logs),
    /// Let a peer act for you, without your key: what it may, on which pod, for how long
    #[command(after_help = SEE_EXITS)]
    Delegate(Delegate),
    /// What was delegated
    #[command(subcommand)]
    Delegations(Delegations),
    /// Print this client's own peer id, to have something delegated to it; made at the first time
    #[command(after_help = SEE_EXITS)]
    Peer,
    /// End a pod; its volumes go with it
    #[command(after_help = SEE_EXITS)]
    Delete {
        /// Pod id, or the beginning of one that was deployed from here; left out: the only one there is
        pod: Option<String>,
        /// Give up after this long: 90s, 10m, 2h; the end itself goes on [default: never]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        timeout: Option<Duration>,
    },
    /// What an outcome code means and what to do about it
    #[command(after_help = SEE_EXITS)]
    Explain {
        /// As an error or a status shows it: image_not_found, or ImageNotFound; left out: all of them
        code: Option<String>,
    },
    /// Print a script that completes this command in a shell
    ///
    /// For bash: `source <(apocryph completion bash)` in ~/.bashrc. For zsh: write it to a file `_apocryph` in a folder of
    /// $fpath. For fish: write it to ~/.config/fish/completions/apocryph.fish.
    #[command(after_help = SEE_EXITS)]
    Completion {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("which").required(true).args(["pod", "any_pod"]))]
pub struct Delegate {
    /// Peer id of who may: `apocryph peer` there prints it
    pub peer: PeerId,
    /// What they may: provision, watch, list, describe, update, logs, delete
    #[arg(long, value_name = "NAMES", required = true, value_delimiter = ',', value_parser = PossibleValuesParser::new(OPERATIONS))]
    pub operations: Vec<String>,
    /// Pod id, or the beginning of one that was deployed from here
    #[arg(long)]
    pub pod: Option<String>,
    /// All pods of yours, also those to come. Revoking works pod by pod: give it for a short time
    #[arg(long)]
    pub any_pod: bool,
    /// 12h, 30d; at most 366d
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub validity: Duration,
    /// The file to write
    #[arg(long, value_name = "PATH", default_value = "delegation.json")]
    pub to: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum Delegations {
    /// Those that were given from here
    #[command(after_help = SEE_EXITS)]
    List,
    /// Make a pod's delegations void, by when they expire: the ones named and every other one that expires no later
    #[command(after_help = SEE_EXITS)]
    Revoke {
        /// Pod id, or the beginning of one that was deployed from here; left out: the only one there is
        pod: Option<String>,
        /// Those of this peer [default: all that were given from here]
        #[arg(long, value_name = "PEER", conflicts_with = "all")]
        delegate: Option<PeerId>,
        /// Every one that there can be, whoever it was given by or to: new ones will have to last for a year
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key; refuses to overwrite one
    ///
    /// It is written to --key-file, for its owner alone. Who has it owns your pods; keep a copy, it cannot be made again.
    #[command(after_help = SEE_EXITS)]
    New,
    /// Print the address
    #[command(after_help = SEE_EXITS)]
    Show,
}

#[derive(Debug, Subcommand)]
pub enum Providers {
    /// Remember where a provider is, under a name for --provider
    ///
    /// Nothing is sent. A name that is taken is refused.
    #[command(after_help = SEE_EXITS)]
    Add {
        /// Letters, digits, `-`, `_` and `.`
        name: String,
        /// Multiaddr that ends in the peer id; several of one provider separated by commas
        #[arg(value_name = "MULTIADDR")]
        address: String,
    },
    /// All that are known, with the capacity they told last and when that was
    ///
    /// Nothing is sent: `apocryph capacity --provider NAME` asks anew.
    #[command(after_help = SEE_EXITS)]
    List,
    /// Forget a name; pods that were deployed there are not touched
    #[command(after_help = SEE_EXITS)]
    Remove {
        /// As `apocryph provider list` shows it
        name: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// Processor of one pod, in cores or thousandths: 1, 1.5, 500m
    #[arg(long, value_name = "CORES")]
    pub cpu: Option<String>,
    /// Memory of one pod, in bytes with Ki, Mi, Gi, Ti or k, M, G, T: 256Mi, 1Gi
    #[arg(long, value_name = "BYTES")]
    pub memory: Option<String>,
    /// Volumes of one pod in all: 10Gi
    #[arg(long, value_name = "BYTES")]
    pub storage: Option<String>,
    /// Files that a pod writes outside its volumes: 1Gi
    #[arg(long, value_name = "BYTES")]
    pub ephemeral_storage: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct Logs {
    /// Pod id, or the beginning of one that was deployed from here; left out: the only one there is
    pub pod: Option<String>,
    /// May be left out when the pod has one container
    #[arg(long, short, value_name = "NAME")]
    pub container: Option<String>,
    /// Go on with what is written from now on, until the pod has ended
    #[arg(long, short)]
    pub follow: bool,
    /// The last lines of each replica only
    #[arg(long, value_name = "LINES", value_parser = clap::value_parser!(u32).range(1..))]
    pub tail: Option<u32>,
    /// Lines of the last 90s, 10m, 2h only
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub since: Option<Duration>,
    /// Of the run before the last restart
    #[arg(long, short, conflicts_with = "follow")]
    pub previous: bool,
    /// Give up after this long: 90s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
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
    /// Send the manifest although the provider's stack is not proven: its admins can read it. This version accepts no kind of
    /// evidence yet, so nothing is sent without
    #[arg(long)]
    pub allow_unattested: bool,
    /// Only ask: the price, everything in the way, a digest of what would be made. Nothing is made
    #[arg(long, conflicts_with_all = ["detach", "until", "fail_fast"])]
    pub dry_run: bool,
    /// Leave as soon as the provider has accepted; `apocryph watch` follows the pod
    #[arg(long, conflicts_with_all = ["until", "fail_fast"])]
    pub detach: bool,
    /// When to leave
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
    /// Every replica is ready
    Running,
    /// The pod has ended; until then each change is told
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
    let wrong = || format!("{text} is not a time: write 90s, 10m, 2h or 30d");
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        Some((at, 'd')) => (&text[..at], 86_400),
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

fn closing() -> String {
    let lines: Vec<_> = Exit::ALL
        .iter()
        .map(|exit| format!("  {:>3}  {}", exit.status(), exit.meaning()))
        .collect();
    format!(
        "{FIRST_STEPS}\n\nExit status (`apocryph explain CODE` tells that of an outcome code):\n{}",
        lines.join("\n")
    )
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
        assert_eq!(seconds("30d"), Ok(2_592_000));
        for text in [
            "",
            "s",
            "0",
            "0m",
            "-1s",
            "+1s",
            "1.5h",
            "1w",
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
