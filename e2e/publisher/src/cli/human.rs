//! What people read. Every text of a provider has passed [`crate::reply::printable`] before it gets here.

use std::time::Duration;

use apocryph_proto::{
    manifest::{Access, Protocol, VolumeKind},
    v0::{
        pod::{Pod, Resource},
        provision_pod::{
            Condition, ContainerState, LogLines, PodDescription, PodEntry, Replica, container_state::State, terms,
        },
        provisioning_capacity::{CapacityResponse, PriceTable, price_table::Payment},
    },
};

use crate::{
    attest::Attested,
    dry_run::DryRun,
    follow::Event,
    key::address_text,
    known::{Asked, Known},
    manifest::Checked,
    quantity::{binary, show},
    reply::{Refusal, Status, phase_name, printable, printable_line},
    time,
};

/// A line with its keyword in a column of its own.
pub fn line(word: &str, text: impl AsRef<str>) -> String {
    format!("{word:<10} {}", text.as_ref())
}

/// Phase, code, sentence, remedy.
pub fn status(status: &Status) -> String {
    let mut text = format!("{}: {}", status.code.text, status.message);
    if !status.remedy.is_empty() {
        text.push_str(" -> ");
        text.push_str(&status.remedy);
    }
    line(phase_name(status.phase), text)
}

/// One line per address: container, port, multiaddr.
pub fn addresses(status: &Status) -> Vec<String> {
    let one = |a: &crate::reply::Address| line("address", format!("{} {} {}", a.container, a.port, a.multiaddr));
    status.addresses.iter().map(one).collect()
}

/// What the provider filled in, from `accepted`.
pub fn admitted(status: &Status) -> Vec<String> {
    status.admitted.as_deref().map(reserved).unwrap_or_default()
}

fn reserved(pod: &Pod) -> Vec<String> {
    let one = |container: &apocryph_proto::v0::pod::Container| {
        let reserved = resources(&container.resource_requests);
        line("reserved", format!("{}: {reserved}", printable(&container.name)))
    };
    pod.containers.iter().map(one).collect()
}

/// All that a dry run told, but for its outcome.
pub fn dry_run(told: &DryRun) -> Vec<String> {
    let blocker = |refusal: &Refusal| {
        let mut text = format!("{}: ", refusal.code.text);
        for part in [&refusal.field, &refusal.resource] {
            if !part.is_empty() {
                text.push_str(&format!("{part}: "));
            }
        }
        text.push_str(&refusal.message);
        if !refusal.remedy.is_empty() {
            text.push_str(&format!(" -> {}", refusal.remedy));
        }
        line("blocker", text)
    };
    let mut lines = vec![line("name", format!("{}, life {}", told.name, told.life))];
    lines.extend(told.admitted.as_deref().map(reserved).unwrap_or_default());
    lines.extend(told.prices.iter().map(|price| {
        let token = price.token.as_ref().map_or_else(String::new, |(chain_id, token)| {
            format!(
                " of token 0x{} on chain {chain_id}",
                data_encoding::HEXLOWER.encode(token)
            )
        });
        line(
            "price",
            format!("{} an hour{token}, by table {}", price.per_hour, price.table),
        )
    }));
    if !told.objects_digest.is_empty() {
        let digest = data_encoding::HEXLOWER.encode(&told.objects_digest);
        lines.push(line("objects", format!("sha256:{digest}")));
    }
    lines.extend(told.blockers.iter().map(blocker));
    lines
}

/// Lines for an event; status is told elsewhere.
pub fn event(event: &Event) -> Vec<String> {
    match event {
        // The live line shows it; without a terminal, what comes of it is enough.
        Event::Connecting { .. } => Vec::new(),
        Event::Connected { address } => vec![line("connected", address.to_string())],
        Event::Attested(attested) => vec![attested_line(attested)],
        Event::Sent { operation } => vec![line("sent", *operation)],
        Event::Status(_) | Event::Lines(_) => Vec::new(),
        Event::Retrying { reason, delay, .. } => vec![line(
            "waiting",
            format!("{reason}; next attempt in {}", seconds(*delay)),
        )],
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn attested_line(attested: &Attested) -> String {
    match attested.accepted() {
        Ok(()) => line("attested", "the provider's stack is proven"),
        Err(not_accepted) => line("attested", format!("nothing is proven: {}", not_accepted.0.join("; "))),
    }
}

/// All that an attestation says.
pub fn attestation(provider: &str, attested: &Attested) -> Vec<String> {
    let claims = &attested.claims;
    let or = |text: &str, otherwise: &str| {
        if text.is_empty() {
            otherwise.to_owned()
        } else {
            text.to_owned()
        }
    };
    let hash = data_encoding::HEXLOWER.encode(&claims.policies_hash);
    let mut lines = vec![
        line("provider", provider),
        line("answer", "made for this question, by this peer, on this connection"),
        attested_line(attested),
    ];
    if !attested.not_proven.is_empty() {
        lines.push(line("unproven", attested.not_proven.join(", ")));
    }
    lines.push(line(
        "secrets",
        format!("visible to {}", or(&claims.secrets_visible_to, "(not told)")),
    ));
    lines.push(line(
        "claims",
        format!(
            "image {}, policies {}",
            or(&claims.image_id, "(unknown)"),
            or(&hash, "(not told)")
        ),
    ));
    lines.push(line(
        "claims",
        match &claims.payment_address {
            Some(address) => format!("payments go to {}", address_text(address)),
            None => "takes no payments".into(),
        },
    ));
    lines
}

/// `cpu 3500m, memory 2 GiB`.
fn resources(list: &[Resource]) -> String {
    let words: Vec<_> = list
        .iter()
        .map(|r| format!("{} {}", printable(&r.resource), show(r)))
        .collect();
    if words.is_empty() {
        "nothing".into()
    } else {
        words.join(", ")
    }
}

/// All that a capacity reply says.
pub fn capacity(capacity: &CapacityResponse, asked: bool) -> Vec<String> {
    let mut lines = vec![line("free", resources(&capacity.available_resources))];
    for shape in &capacity.nodes {
        let mut text = format!("{} of {}", shape.count, resources(&shape.free));
        for model in [&shape.cpu_model, &shape.gpu_model] {
            if !model.is_empty() {
                text.push_str(&format!(", {}", printable(model)));
            }
        }
        lines.push(line("nodes", text));
    }
    lines.extend(capacity.tables.iter().map(|table| line("price", price(table))));
    if let Ok(address) = <&[u8; 20]>::try_from(capacity.provider_address.as_slice()) {
        lines.push(line("payment", address_text(address)));
    }
    let root = if capacity.images_may_run_as_root {
        "images may start as root"
    } else {
        "images must not start as root"
    };
    lines.push(line("images", root));
    if !capacity.shared_addresses.is_empty() {
        let shared: Vec<_> = capacity.shared_addresses.iter().map(|a| printable(a)).collect();
        lines.push(line("addresses", shared.join(", ")));
    }
    match &capacity.not_accepting {
        Some(not) => lines.push(line(
            "accepting",
            format!("no, {}: {}", printable(&not.code), printable(&not.message)),
        )),
        None => lines.push(line("accepting", "yes")),
    }
    if asked {
        lines.push(line(
            "fits",
            match (capacity.fits, capacity.blocking_resource.as_str()) {
                (true, _) => "yes".into(),
                (false, "") => "no".into(),
                (false, resource) => format!("no: {} blocks", printable(resource)),
            },
        ));
    }
    lines
}

/// Known providers with what they said last. `now`: Unix seconds.
pub fn providers(known: &[Known], now: u64) -> Vec<String> {
    let rows = known.iter().map(|known| {
        let (asked, accepting, free, prices) = match &known.asked {
            None => ("never".into(), "?".into(), "?".into(), "?".into()),
            Some(Asked { at, capacity }) => (
                format!("{} ago", rough(now.saturating_sub(*at))),
                match &capacity.not_accepting {
                    None => "yes".into(),
                    Some(not) => printable(&not.code),
                },
                resources(&capacity.available_resources),
                capacity.tables.iter().map(price).collect::<Vec<_>>().join("; "),
            ),
        };
        [known.name.clone(), asked, accepting, free, prices]
    });
    let head = ["NAME", "ASKED", "ACCEPTING", "FREE", "PRICES"].map(String::from);
    columns(std::iter::once(head).chain(rows).collect())
}

/// Seconds in their largest whole unit.
fn rough(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Each column as wide as its widest cell.
fn columns<const N: usize>(rows: Vec<[String; N]>) -> Vec<String> {
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let one = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(one).collect()
}

fn price(table: &PriceTable) -> String {
    let mut text = printable(&table.name);
    match &table.payment {
        Some(Payment::Free(free)) if free.everyone => text.push_str(": free for everyone"),
        Some(Payment::Free(free)) => text.push_str(&format!(": free for {} listed publishers", free.listed)),
        Some(Payment::Channel(channel)) => text.push_str(&format!(": payment channel on chain {}", channel.chain_id)),
        None => {}
    }
    let hour = table.per_hour.clone().unwrap_or_default();
    let mut prices = vec![
        ("cpu", hour.cpu),
        ("memory GiB", hour.memory_gib),
        ("storage GiB", hour.storage_gib),
        ("ephemeral storage GiB", hour.ephemeral_storage_gib),
        ("external IP", hour.external_ip),
    ];
    prices.retain(|(_, price)| !price.is_empty());
    let mut words: Vec<_> = prices
        .into_iter()
        .map(|(name, price)| format!("{name} {}", printable(&price)))
        .collect();
    words.extend(
        hour.gpu
            .iter()
            .map(|(model, price)| format!("{} {}", printable(model), printable(price))),
    );
    if !words.is_empty() {
        text.push_str(&format!("; per hour: {}", words.join(", ")));
    }
    text
}

/// A manifest that passed: what it asks for, without one secret value.
pub fn checked(checked: &Checked) -> Vec<String> {
    let mut lines = Vec::new();
    for container in checked.manifest.containers() {
        lines.push(line(
            "container",
            format!("{}, image {}", container.name, container.image),
        ));
        let requests = &container.requests;
        let asked = [
            requests.cpu_millis.map(|m| format!("cpu {m}m")),
            requests.memory.map(|b| format!("memory {}", binary(b.into()))),
            requests
                .ephemeral_storage
                .map(|b| format!("ephemeral-storage {}", binary(b.into()))),
        ];
        let asked: Vec<_> = asked.into_iter().flatten().collect();
        if !asked.is_empty() {
            lines.push(line("requests", asked.join(", ")));
        }
        for port in &container.ports {
            lines.push(line(
                "port",
                format!(
                    "{} {}{} to {} in the container",
                    port.name,
                    port.port,
                    if port.protocol == Protocol::Udp { " (UDP)" } else { "" },
                    port.target_port
                ),
            ));
        }
        if let Some(user) = container.user {
            let group = user.gid.map(|gid| format!(":{gid}")).unwrap_or_default();
            lines.push(line("user", format!("{}{group}", user.uid)));
        }
        if let Some(secret) = &container.pull_secret {
            lines.push(line(
                "pulled as",
                format!("{} (password secret)", printable(&secret.username)),
            ));
        }
        for name in container.env.keys() {
            lines.push(line("env", format!("{name} (value secret)")));
        }
        for mount in &container.mounts {
            let how = if mount.read_only { ", read only" } else { "" };
            lines.push(line("mount", format!("{} at {}{how}", mount.volume, mount.path)));
        }
    }
    for volume in checked.manifest.volumes() {
        let what = match &volume.kind {
            VolumeKind::Filesystem { size, access } => {
                let shared = if *access == Access::Many {
                    ", written by several nodes"
                } else {
                    ""
                };
                format!("{}{shared}", binary((*size).into()))
            }
            VolumeKind::Empty { size } => {
                let size = size
                    .map(|size| format!("{}, ", binary(size.into())))
                    .unwrap_or_default();
                format!("{size}emptied with each replica")
            }
            VolumeKind::Secret(_) => "(contents secret)".to_owned(),
        };
        lines.push(line("volume", format!("{} {what}", volume.name)));
    }
    let replicas = checked.manifest.replicas();
    if replicas > 1 {
        lines.push(line("replicas", replicas.to_string()));
    }
    if let Some(group) = checked.manifest.fs_group() {
        lines.push(line("fsGroup", group.to_string()));
    }
    lines.extend(checked.defaults.iter().map(|text| line("default", text)));
    lines.extend(checked.notes.iter().map(|text| line("note", text)));
    lines.push(line(
        "valid",
        "a provider of this version takes it, as far as the manifest alone decides",
    ));
    lines
}

/// Time, replica and container, then the line.
pub fn log_lines(lines: &LogLines) -> Vec<String> {
    let from = format!("{}/{}", printable(&lines.replica), printable(&lines.container_name));
    lines
        .lines
        .iter()
        .map(|line| {
            let at = if line.at == 0 {
                "-".to_owned()
            } else {
                time::nanoseconds(line.at)
            };
            let cut = if line.cut { " [cut here]" } else { "" };
            format!(
                "{at} {from} {}{cut}",
                printable_line(&String::from_utf8_lossy(&line.text))
            )
        })
        .collect()
}

/// One pod of a list.
pub fn listed(pod: &PodEntry) -> String {
    line(
        phase_name(pod.phase()),
        format!(
            "0x{} life {}, {} of {} ready, {} since {}",
            data_encoding::HEXLOWER.encode(&pod.pod_id),
            pod.life,
            pod.replicas_ready,
            pod.replicas,
            printable(&pod.code),
            time::seconds(pod.since)
        ),
    )
}

/// `None` for 0: not yet, or not known.
fn moment(unix: u64) -> Option<String> {
    (unix > 0).then(|| time::seconds(unix))
}

/// All that a description says.
pub fn description(told: &PodDescription) -> Vec<String> {
    let mut lines = vec![line(
        "pod",
        format!("0x{}", data_encoding::HEXLOWER.encode(&told.pod_id)),
    )];
    if let Some(wire) = &told.status {
        let status = Status::from(wire.clone());
        lines.push(line(
            "name",
            format!(
                "{}, life {}, generation {}",
                status.name, status.life, status.generation
            ),
        ));
        lines.push(self::status(&status));
        lines.push(line(
            "replicas",
            format!("{} of {} ready", status.replicas_ready, status.replicas),
        ));
        lines.extend(addresses(&status));
    }
    let times = [
        ("asked for", told.started_at),
        ("ready first", told.ready_since),
        ("as it is now since", told.since),
    ];
    let times: Vec<_> = times
        .into_iter()
        .filter_map(|(what, unix)| Some(format!("{what} {}", moment(unix)?)))
        .collect();
    lines.push(line("times", times.join(", ")));
    if let Some(terms::Payment::Free(free)) = told.terms.as_ref().and_then(|terms| terms.payment.as_ref()) {
        let table = if free.table.is_empty() {
            "the provider's own".to_owned()
        } else {
            format!("by price table {}", printable(&free.table))
        };
        lines.push(line("payment", format!("free, {table}")));
    }
    if let Some(end) = &told.end {
        lines.push(line(
            "end",
            format!(
                "ordered {} by {}: {}",
                time::seconds(end.at),
                printable(&end.by),
                printable(&end.code)
            ),
        ));
    }
    lines.extend(told.conditions.iter().map(condition));
    for one in &told.replicas {
        lines.extend(replica(one));
    }
    lines.extend(told.reasons.iter().map(|reason| {
        let often = if reason.count > 1 {
            format!(" ({} times)", reason.count)
        } else {
            String::new()
        };
        line(
            "before",
            format!(
                "{} {}: {}{often}",
                time::seconds(reason.at),
                printable(&reason.code),
                printable(&reason.message)
            ),
        )
    }));
    lines
}

fn condition(condition: &Condition) -> String {
    let Condition {
        r#type,
        holds,
        code,
        message,
        since,
    } = condition;
    let holds = if *holds { "yes" } else { "no" };
    line(
        "condition",
        format!(
            "{}: {holds} since {}, {}: {}",
            printable(r#type),
            time::seconds(*since),
            printable(code),
            printable(message)
        ),
    )
}

fn replica(replica: &Replica) -> Vec<String> {
    let mut text = format!(
        "{} {}: {}",
        printable(&replica.name),
        printable(&replica.code),
        printable(&replica.message)
    );
    if !replica.remedy.is_empty() {
        text.push_str(&format!(" -> {}", printable(&replica.remedy)));
    }
    let mut lines = vec![line("replica", text)];
    lines.extend(replica.containers.iter().map(container));
    lines
}

fn container(container: &ContainerState) -> String {
    let state = match container.state() {
        State::Unspecified => "in a state that this client does not know",
        State::Waiting => "waiting",
        State::Running => "running",
        State::Exited => "exited",
    };
    let mut text = format!("{}: {state}", printable(&container.name));
    if let Some(since) = moment(container.since) {
        text.push_str(&format!(" since {since}"));
    }
    text.push_str(&format!(", started again {} times", container.restarts));
    if let Some(exit) = &container.last_exit {
        text.push_str(&format!(", last exit status {}", exit.exit_code));
        if let Some(at) = moment(exit.at) {
            text.push_str(&format!(" at {at}"));
        }
        if exit.out_of_memory {
            text.push_str(", out of memory");
        }
    }
    line("container", text)
}
