//! The commands about one pod: deploy, watch, delete.

use apocryph_proto::{outcome::Code, v0::pod::Pod};
use serde_json::json;

use super::{
    args::{Deploy, Global},
    commands::{load_key, provider, store},
    human, json as machine,
    output::Output,
};
use crate::{
    delete,
    deploy::{self, Deployment, Options, Reached, Until},
    dry_run::{self, DryRun},
    error::{Ended, Error},
    exit::Exit,
    follow::{Link, Settings},
    key::PublisherKey,
    manifest,
    net::Client,
    pod_id::PodId,
    provider::{Provider, ProviderError},
    reply::{Refusal, Status},
    state::{StateError, Store},
    watch,
};

/// State files that are opened in search of something; a folder with more is searched in part.
const SEARCH_MAX: usize = 1_000;

/// The deployment to go on with, or a new one.
fn chosen(
    global: &Global,
    args: &Deploy,
    key: &PublisherKey,
    store: &Store,
    output: &mut Output,
) -> Result<Deployment, Error> {
    let mut given = provider(global)?;
    if let Some(text) = &args.resume {
        let pod = store.find(text)?;
        let mut deployment = Deployment::load(store, key, pod)?
            .ok_or_else(|| Error::State(StateError::Unknown(pod.to_string(), store.folder().to_owned())))?;
        // From the environment it may be meant for other pods.
        if let Some(provider) = given.filter(|p| p.peer() == deployment.provider().peer()) {
            deployment.set_addresses(&provider)?;
        }
        return Ok(deployment);
    }
    let path = args
        .manifest
        .as_deref()
        .ok_or_else(|| Error::usage("no manifest is given", "Name one, or --resume a pod."))?;
    let pod = manifest::read(path)?;
    manifest::check(&pod)?;
    if args.restart && args.pod_id.is_none() {
        return Err(Error::usage(
            "which pod is to be started anew is not said",
            "Name it with --resume or --pod-id.",
        ));
    }
    let mut remembered = args
        .pod_id
        .map(|id| Deployment::load(store, key, id))
        .transpose()?
        .flatten();
    // Of what was never sent nothing is settled: this manifest takes its place.
    if let Some(unsent) = remembered.take_if(|remembered| remembered.is_new()) {
        given = given.or_else(|| Some(unsent.provider().clone()));
    }
    let Some(mut remembered) = remembered else {
        let provider = given.ok_or(Error::Provider(ProviderError::None))?;
        if args.pod_id.is_none() {
            note_unfinished(store, key, &pod, &provider, output)?;
        }
        let id = args.pod_id.unwrap_or_else(PodId::random);
        return Ok(Deployment::free(pod, id, key, &provider, 0, args.detach));
    };
    if let Some(provider) = given {
        remembered.set_addresses(&provider)?;
    }
    if args.restart {
        remembered.replace(pod, key, args.detach);
    } else if !remembered.is_of(&pod) {
        return Err(Error::from(Refusal {
            remedy: "Deploy it under another pod id, or end the pod and say --restart.".into(),
            ..Refusal::new(
                Code::ContentDiffers,
                format!("pod {} was deployed with another manifest", remembered.pod()),
            )
        }));
    }
    Ok(remembered)
}

/// A client that was killed before its provider answered is easily run again without its pod id: a second pod.
fn note_unfinished(
    store: &Store,
    key: &PublisherKey,
    pod: &Pod,
    provider: &Provider,
    output: &mut Output,
) -> Result<(), Error> {
    for id in store.pods()?.into_iter().take(SEARCH_MAX) {
        // A file of another key, or one that cannot be read, is none of this manifest's business.
        if let Ok(Some(other)) = Deployment::load(store, key, id)
            && !other.is_accepted()
            && !other.is_unsent()
            && !other.has_ended()
            && other.provider().peer() == provider.peer()
            && other.is_of(pod)
        {
            output.note(&format!(
                "this manifest was sent before and was not seen accepted; that request is sent again, instead of as one more pod, by `apocryph deploy --resume {}`",
                &id.hex()[..16]
            ));
            return Ok(());
        }
    }
    Ok(())
}

pub async fn deploy(
    global: &Global,
    mut args: Deploy,
    output: &mut Output,
    remedy: &mut String,
) -> Result<Exit, Error> {
    let (key, store) = (load_key(global)?, store(global)?);
    if args.resume.is_none() && args.pod_id.is_none() {
        args.pod_id = key.delegated_pod();
    }
    let mut deployment = chosen(global, &args, &key, &store, output)?;
    let pod = deployment.pod();
    output.tell(
        &[human::line("pod", pod.to_string()), human::line("provider", deployment.provider().to_string())],
        &json!({"event": "pod", "podId": pod.to_string(), "provider": deployment.provider().texts(), "stateFile": store.path(pod)}),
    );
    *remedy = format!("Go on with `apocryph deploy --resume {pod}`; what the provider has accepted goes on by itself.");
    output.start_live();

    let client = Client::of(&key)?;
    let settings = Settings {
        allow_unattested: args.allow_unattested,
        timeout: args.effective_timeout(),
        wait: args.wait,
        ..Settings::default()
    };
    let provider = deployment.provider().clone();
    let link = Link {
        client: &client,
        key: &key,
        provider: &provider,
        settings: &settings,
    };
    let outcome = async {
        if args.restart {
            deploy::restart(link, &mut deployment, &mut |event| output.event(&event)).await?;
        }
        if args.dry_run {
            let told = dry_run::dry_run(link, &deployment, &mut |event| output.event(&event)).await?;
            return Ok(Outcome::Tried(told));
        }
        let options = Options {
            until: args.goal(),
            fail_fast: args.fail_fast,
        };
        deploy::deploy(link, &mut deployment, Some(&store), options, &mut |event| {
            output.event(&event)
        })
        .await
        .map(Outcome::Reached)
    }
    .await;
    client.shutdown().await;
    match outcome? {
        Outcome::Reached(where_to) => reached(pod, where_to, output),
        Outcome::Tried(told) => Ok(tried(pod, &told, output)),
    }
}

enum Outcome {
    Reached(Reached),
    Tried(DryRun),
}

/// The exit status is that of the first thing in the way.
fn tried(pod: PodId, told: &DryRun, output: &mut Output) -> Exit {
    let exit = told
        .blockers
        .first()
        .map_or(Exit::Ok, |blocker| Exit::of(&blocker.code));
    output.tell(&human::dry_run(told), &machine::dry_run(told));
    let line = match (told.blockers.len(), told.attached) {
        (0, true) => "this pod runs already; nothing was changed".to_owned(),
        (0, false) => "it would be accepted; nothing was made".to_owned(),
        (1, _) => "it would be refused; nothing was made".to_owned(),
        (count, _) => format!("it would be refused for {count} reasons; nothing was made"),
    };
    let outcome = if told.blockers.is_empty() {
        "acceptable"
    } else {
        "blocked"
    };
    output.result(
        human::line("done", line),
        json!({"outcome": outcome, "podId": pod.to_string()}),
        exit,
    );
    exit
}

fn reached(pod: PodId, reached: Reached, output: &mut Output) -> Result<Exit, Error> {
    let status = |outcome: &str, status: &Status| {
        json!({
            "outcome": outcome,
            "podId": pod.to_string(),
            "name": status.name,
            "life": status.life,
            "addresses": machine::addresses(&status.addresses),
        })
    };
    let exit = match reached {
        Reached::Accepted(s) => {
            let line = human::line("done", format!("accepted; follow it with `apocryph watch {pod}`"));
            output.result(line, status("accepted", &s), Exit::Ok);
            Exit::Ok
        }
        Reached::Running(s) => {
            let line = human::line("done", format!("running; end it with `apocryph delete {pod}`"));
            output.result(line, status("running", &s), Exit::Ok);
            Exit::Ok
        }
        Reached::Ended(end) => {
            let exit = end.exit();
            ended(pod, &end, exit, output);
            exit
        }
    };
    Ok(exit)
}

fn ended(pod: PodId, end: &Ended, exit: Exit, output: &mut Output) {
    let line = human::line(
        "done",
        format!("life {} ended, {}: {}", end.life, end.code.text, end.message),
    );
    output.result(
        line,
        json!({"outcome": "ended", "podId": pod.to_string(), "ended": machine::ended(end)}),
        exit,
    );
}

/// A pod that was deployed, and what is remembered of it.
pub struct Target {
    pub pod: PodId,
    pub provider: Provider,
    pub chain_id: u64,
    remembered: Option<Deployment>,
}

pub fn target(global: &Global, pod: Option<&str>, key: &PublisherKey, store: &Store) -> Result<Target, Error> {
    // A delegate's is the one that was delegated.
    let delegated = key.delegated_pod().map(|pod| pod.to_string());
    let pod = pod.or(delegated.as_deref());
    let remembered = match pod {
        Some(text) => {
            let id = store.find(text)?;
            let remembered = Deployment::load(store, key, id)?;
            if remembered.is_none() {
                // A pod that was deployed from elsewhere: the provider must be named.
                let provider = provider(global)?
                    .ok_or_else(|| Error::State(StateError::Unknown(id.to_string(), store.folder().to_owned())))?;
                return Ok(Target {
                    pod: id,
                    provider,
                    chain_id: 0,
                    remembered: None,
                });
            }
            remembered
        }
        None => Some(only_one(key, store)?),
    };
    let mut remembered = remembered.ok_or(Error::Provider(ProviderError::None))?;
    if let Some(provider) = provider(global)?.filter(|p| p.peer() == remembered.provider().peer()) {
        remembered.set_addresses(&provider)?;
    }
    Ok(Target {
        pod: remembered.pod(),
        provider: remembered.provider().clone(),
        chain_id: remembered.chain_id(),
        remembered: Some(remembered),
    })
}

/// The one pod that may live: sent, and not known to have ended.
fn only_one(key: &PublisherKey, store: &Store) -> Result<Deployment, Error> {
    let mut living = Vec::new();
    for id in store.pods()?.into_iter().take(SEARCH_MAX) {
        match Deployment::load(store, key, id) {
            Ok(Some(deployment)) if !deployment.has_ended() && !deployment.is_unsent() => living.push(deployment),
            Ok(_) | Err(Error::State(StateError::OtherKey(_))) => {}
            Err(error) => return Err(error),
        }
    }
    let names: Vec<_> = living.iter().take(8).map(|d| d.pod().to_string()).collect();
    match (living.pop(), living.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Error::usage(
            format!("no pod that lives is remembered in {}", store.folder().display()),
            "Give its pod id and --provider.",
        )),
        _ => Err(Error::usage(
            format!("there is more than one pod: {}", names.join(", ")),
            "Name one of them.",
        )),
    }
}

pub async fn watch(
    global: &Global,
    pod: Option<&str>,
    until: Until,
    settings: Settings,
    output: &mut Output,
) -> Result<Exit, Error> {
    let (key, store) = (load_key(global)?, store(global)?);
    let mut target = target(global, pod, &key, &store)?;
    output.start_live();
    let client = Client::of(&key)?;
    let link = Link {
        client: &client,
        key: &key,
        provider: &target.provider,
        settings: &settings,
    };
    let outcome = watch::watch(link, target.pod, target.chain_id, until, &mut |event| {
        output.event(&event)
    })
    .await;
    client.shutdown().await;
    let end = match &outcome {
        Ok(Reached::Ended(end)) => Some(end),
        Err(Error::Ended(end)) => Some(end.as_ref()),
        _ => None,
    };
    if let (Some(remembered), Some(end)) = (&mut target.remembered, end) {
        remembered.note_end(end, &store, &key)?;
    }
    reached(target.pod, outcome?, output)
}

pub async fn delete(
    global: &Global,
    pod: Option<&str>,
    settings: Settings,
    output: &mut Output,
    remedy: &mut String,
) -> Result<Exit, Error> {
    let (key, store) = (load_key(global)?, store(global)?);
    let mut target = target(global, pod, &key, &store)?;
    *remedy = format!(
        "If the order has arrived, it is carried out; see with `apocryph watch {}`.",
        target.pod
    );
    output.start_live();
    let client = Client::of(&key)?;
    let link = Link {
        client: &client,
        key: &key,
        provider: &target.provider,
        settings: &settings,
    };
    // The life that this client knows, so that a life which somebody starts meanwhile is not ended by mistake.
    let life = target
        .remembered
        .as_ref()
        .filter(|r| r.is_accepted())
        .map_or(0, Deployment::life);
    let outcome = delete::delete(link, target.pod, target.chain_id, life, &mut |event| {
        output.event(&event)
    })
    .await;
    client.shutdown().await;
    let end = outcome?;
    if let Some(remembered) = &mut target.remembered {
        remembered.note_end(&end, &store, &key)?;
    }
    ended(target.pod, &end, Exit::Ok, output);
    Ok(Exit::Ok)
}
