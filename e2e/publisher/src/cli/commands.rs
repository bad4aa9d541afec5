//! Which command runs, and the commands that are not about a pod: key, check, attest, capacity, completion.

use std::path::{Path, PathBuf};

use apocryph_proto::v0::pod::Resource;
use clap::CommandFactory;
use serde_json::json;

use super::{
    args::{Args, Command, Delegations, Global, Key, Shell, Wanted},
    delegations, explain, human, json as machine, looks,
    output::Output,
    pods, providers,
};
use crate::{
    attest::attest,
    capacity::capacity,
    credential,
    delegation::Delegation,
    error::Error,
    exit::Exit,
    follow::Settings,
    key::PublisherKey,
    known::Known,
    manifest,
    net::{Client, Connection},
    provider::{Provider, ProviderError},
    quantity,
    state::{self, Store},
};

/// The key itself, in hex.
const KEY_ENV: &str = "APOCRYPH_KEY";

/// Runs one command; `interrupted` resolves when the user wants to leave.
pub async fn run(args: Args, output: &mut Output, interrupted: impl Future<Output = ()>) -> Result<Exit, Error> {
    let mut remedy = String::new();
    let command = dispatch(args, output, &mut remedy);
    let outcome = tokio::select! {
        outcome = command => Some(outcome),
        () = interrupted => None,
    };
    output.stop_live();
    let exit = outcome.unwrap_or_else(|| Err(Error::Interrupted { remedy }))?;
    output.check()?;
    Ok(exit)
}

/// `remedy` is what an interrupted user can do next, as far as the command got.
async fn dispatch(args: Args, output: &mut Output, remedy: &mut String) -> Result<Exit, Error> {
    let global = args.global;
    match args.command {
        Command::Key(Key::New) => key_new(&global, output),
        Command::Key(Key::Show) => key_show(&global, output),
        Command::Attest { require_evidence } => attest_command(&global, require_evidence, output).await,
        Command::Capacity(wanted) => capacity_command(&global, &wanted, output).await,
        Command::Provider(command) => providers::run(&global, command, output),
        Command::Check { manifest } => check(&manifest, output),
        Command::Explain { code } => explain::explain(code.as_deref(), output),
        Command::Completion { shell } => completion(shell, output),
        Command::Deploy(args) => pods::deploy(&global, args, output, remedy).await,
        Command::Watch { pod, until, timeout } => {
            let settings = Settings {
                timeout,
                ..Settings::default()
            };
            pods::watch(&global, pod.as_deref(), until.into(), settings, output).await
        }
        Command::List => looks::list(&global, output).await,
        Command::Describe { pod } => looks::describe(&global, pod.as_deref(), output).await,
        Command::Logs(args) => looks::logs(&global, args, output).await,
        Command::Delegate(args) => delegations::delegate(&global, args, output),
        Command::Delegations(Delegations::List) => delegations::list(&global, output),
        Command::Delegations(Delegations::Revoke { pod, delegate, all }) => {
            delegations::revoke(&global, pod.as_deref(), delegate, all, output).await
        }
        Command::Peer => delegations::peer(&global, output),
        Command::Delete { pod, timeout } => {
            let settings = Settings {
                timeout,
                ..Settings::default()
            };
            pods::delete(&global, pod.as_deref(), settings, output, remedy).await
        }
    }
}

/// Where a file of the user's configuration is.
pub fn config_path(given: Option<&Path>, name: &str, option: &str) -> Result<PathBuf, Error> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let config = || {
        set("XDG_CONFIG_HOME")
            .filter(|p| p.is_absolute())
            .or_else(|| Some(set("HOME")?.join(".config")))
    };
    given
        .map(Path::to_owned)
        .or_else(|| Some(config()?.join("apocryph").join(name)))
        .ok_or_else(|| {
            Error::usage(
                "neither HOME nor XDG_CONFIG_HOME says where the key is",
                format!("Name its file with {option}."),
            )
        })
}

fn key_path(global: &Global) -> Result<PathBuf, Error> {
    config_path(global.key_file.as_deref(), "key", "--key-file")
}

/// The publisher's key, or with a delegation the delegate's.
pub fn load_key(global: &Global) -> Result<PublisherKey, Error> {
    match &global.delegation {
        Some(path) => delegations::key(global, path),
        None => load_wallet(global),
    }
}

/// The publisher's own key, for what nobody else can do.
pub fn wallet(global: &Global) -> Result<PublisherKey, Error> {
    if global.delegation.is_some() {
        return Err(Error::usage(
            "only the publisher's key can do this, not a delegation",
            "Leave out --delegation and APOCRYPH_DELEGATION.",
        ));
    }
    load_wallet(global)
}

fn load_wallet(global: &Global) -> Result<PublisherKey, Error> {
    match std::env::var(KEY_ENV) {
        Ok(_) if global.key_file.is_some() => Err(Error::usage(
            format!("the key is given twice, in {KEY_ENV} and as a file"),
            format!("Unset {KEY_ENV}, or leave out --key-file and APOCRYPH_KEY_FILE."),
        )),
        Ok(hex) => Ok(PublisherKey::from_hex(&zeroize::Zeroizing::new(hex), KEY_ENV)?),
        Err(_) => Ok(PublisherKey::load(&key_path(global)?)?),
    }
}

pub fn provider(global: &Global) -> Result<Option<Provider>, Error> {
    let given = providers::given(global)?.map(|(provider, _)| provider);
    match (given, &global.delegation) {
        (Some(provider), _) => Ok(Some(provider)),
        // Where it was given for.
        (None, Some(path)) => Ok(Delegation::load(path)?.provider),
        (None, None) => Ok(None),
    }
}

pub fn needed_provider(global: &Global) -> Result<(Provider, Option<Known>), Error> {
    providers::given(global)?.ok_or(Error::Provider(ProviderError::None))
}

pub fn store(global: &Global) -> Result<Store, Error> {
    let folder = global.state_dir.clone().map_or_else(state::default_folder, Ok)?;
    Ok(Store::open(folder)?)
}

fn key_new(global: &Global, output: &mut Output) -> Result<Exit, Error> {
    let path = key_path(global)?;
    let key = PublisherKey::random();
    key.store_new(&path)?;
    let (address, file) = (key.address_text(), path.display().to_string());
    output.tell(
        &[
            human::line("address", &address),
            human::line("file", format!("{file} (keep a copy: it cannot be made again)")),
        ],
        &json!({"event": "key", "address": address, "file": file}),
    );
    Ok(Exit::Ok)
}

fn key_show(global: &Global, output: &mut Output) -> Result<Exit, Error> {
    let address = wallet(global)?.address_text();
    output.tell(
        &[human::line("address", &address)],
        &json!({"event": "key", "address": address}),
    );
    Ok(Exit::Ok)
}

fn check(path: &Path, output: &mut Output) -> Result<Exit, Error> {
    let checked = manifest::check(&manifest::read(path)?)?;
    output.tell(&human::checked(&checked), &machine::checked(&checked));
    Ok(Exit::Ok)
}

fn completion(shell: Shell, output: &mut Output) -> Result<Exit, Error> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "apocryph", &mut script);
    output.raw(&String::from_utf8_lossy(&script));
    Ok(Exit::Ok)
}

/// One connection for a question without a key.
async fn connect(provider: &Provider, output: &mut Output) -> Result<(Client, Connection), Error> {
    output.start_live();
    let client = Client::start()?;
    let connection = client.connect(provider).await?;
    Ok((client, connection))
}

async fn attest_command(global: &Global, require_evidence: bool, output: &mut Output) -> Result<Exit, Error> {
    let (provider, _) = needed_provider(global)?;
    let (client, connection) = connect(&provider, output).await?;
    let attested = attest(&connection, false).await;
    let provider = connection.provider().to_base58();
    drop(connection);
    client.shutdown().await;
    let attested = attested?;
    output.tell(
        &human::attestation(&provider, &attested),
        &machine::attestation(Some(&provider), &attested),
    );
    if require_evidence {
        attested.accepted()?;
    }
    Ok(Exit::Ok)
}

fn wanted(wanted: &Wanted) -> Result<Vec<Resource>, Error> {
    let bytes = [
        ("memory", &wanted.memory),
        ("storage", &wanted.storage),
        ("ephemeral-storage", &wanted.ephemeral_storage),
    ];
    let cpu = wanted.cpu.iter().map(|text| quantity::cpu(text));
    let bytes = bytes
        .into_iter()
        .filter_map(|(name, text)| Some(quantity::bytes(name, text.as_ref()?)));
    cpu.chain(bytes).collect::<Result<_, _>>().map_err(|e| {
        Error::usage(
            e.to_string(),
            "See `apocryph capacity --help` for the forms; no fraction may be left of a byte or of 1m cpu.",
        )
    })
}

async fn capacity_command(global: &Global, args: &Wanted, output: &mut Output) -> Result<Exit, Error> {
    let wanted = wanted(args)?;
    let asked = !wanted.is_empty();
    let (provider, known) = needed_provider(global)?;
    let (client, connection) = connect(&provider, output).await?;
    let answer = capacity(&connection, wanted).await;
    drop(connection);
    client.shutdown().await;
    let answer = answer?;
    output.tell(&human::capacity(&answer, asked), &machine::capacity(&answer));
    if let Some(mut known) = known {
        // What was asked for is told already.
        if let Err(error) = known.note(&store(global)?, &answer, credential::now()) {
            output.note(&format!("`apocryph provider list` will not show this reply: {error}"));
        }
    }
    let now = answer.not_accepting.is_none() && (answer.fits || !asked);
    Ok(if now { Exit::Ok } else { Exit::Unavailable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_resources_are_parsed_or_named() {
        let args = Wanted {
            cpu: Some("500m".into()),
            memory: Some("256Mi".into()),
            storage: None,
            ephemeral_storage: Some("1Gi".into()),
        };
        let names: Vec<_> = wanted(&args).unwrap().into_iter().map(|r| r.resource).collect();
        assert_eq!(names, ["cpu", "memory", "ephemeral-storage"]);
        let wrong = Wanted {
            cpu: Some("many".into()),
            ..args
        };
        let error = wanted(&wrong).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.to_string().contains("many is not an amount of cpu"));
    }
}
