//! The commands that look at pods and change nothing: list, describe, logs.

use std::time::Duration;

use apocryph_proto::v0::manage_pod;
use serde_json::json;

use super::{
    args::{Format, Global, Logs},
    commands::{load_key, needed_provider, store},
    human, json as machine,
    output::Output,
    pods::target,
};
use crate::{
    credential,
    describe::describe as ask_description,
    error::Error,
    exit::Exit,
    follow::{Event, Link, Settings},
    list::list as ask_list,
    logs::logs as read_logs,
    net::Client,
};

/// A question with one answer is given up after this long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

fn patience() -> Settings {
    Settings {
        timeout: Some(ANSWER_TIMEOUT),
        ..Settings::default()
    }
}

/// For people the answer alone; how it was come by is for scripts.
fn on_the_way(output: &mut Output, event: &Event) {
    if output.format() == Format::Json || matches!(event, Event::Lines(_) | Event::Retrying { .. }) {
        output.event(event);
    }
}

pub async fn list(global: &Global, output: &mut Output) -> Result<Exit, Error> {
    let key = load_key(global)?;
    let (provider, _) = needed_provider(global)?;
    output.start_live();
    let client = Client::of(&key)?;
    let link = Link {
        client: &client,
        key: &key,
        provider: &provider,
        settings: &patience(),
    };
    let outcome = ask_list(link, &mut |event| on_the_way(output, &event)).await;
    client.shutdown().await;
    let pods = outcome?;
    for pod in &pods {
        output.tell(&[human::listed(pod)], &machine::listed(pod));
    }
    let line = human::line("done", format!("{} pods of {}", pods.len(), key.address_text()));
    output.result(line, json!({"outcome": "listed", "pods": pods.len()}), Exit::Ok);
    Ok(Exit::Ok)
}

pub async fn describe(global: &Global, pod: Option<&str>, output: &mut Output) -> Result<Exit, Error> {
    let (key, store) = (load_key(global)?, store(global)?);
    let target = target(global, pod, &key, &store)?;
    output.start_live();
    let client = Client::of(&key)?;
    let link = Link {
        client: &client,
        key: &key,
        provider: &target.provider,
        settings: &patience(),
    };
    let outcome = ask_description(link, target.pod, target.chain_id, &mut |event| {
        on_the_way(output, &event)
    })
    .await;
    client.shutdown().await;
    let told = outcome?;
    output.tell(&human::description(&told), &machine::description(&told));
    Ok(Exit::Ok)
}

pub async fn logs(global: &Global, args: Logs, output: &mut Output) -> Result<Exit, Error> {
    let (key, store) = (load_key(global)?, store(global)?);
    let target = target(global, args.pod.as_deref(), &key, &store)?;
    let wanted = manage_pod::Logs {
        container_name: args.container.unwrap_or_default(),
        follow: args.follow,
        tail_lines: args.tail.unwrap_or(0),
        since: args
            .since
            .map_or(0, |since| credential::now().saturating_sub(since.as_secs()).max(1)),
        previous: args.previous,
    };
    let settings = Settings {
        timeout: args.timeout,
        ..Settings::default()
    };
    let client = Client::of(&key)?;
    let link = Link {
        client: &client,
        key: &key,
        provider: &target.provider,
        settings: &settings,
    };
    let outcome = read_logs(link, target.pod, target.chain_id, wanted, &mut |event| {
        on_the_way(output, &event)
    })
    .await;
    client.shutdown().await;
    let status = outcome?;
    if output.format() == Format::Json {
        let result = json!({"outcome": "read", "podId": target.pod.to_string(), "code": status.code.text});
        output.result(String::new(), result, Exit::Ok);
    }
    Ok(Exit::Ok)
}
