//! The commands about delegations: peer, delegate, delegations.

use std::path::Path;

use apocryph_proto::limits::DELEGATION_VALIDITY_MAX;
use libp2p::PeerId;
use serde_json::{Value, json};

use super::{
    args::{Delegate, Global},
    commands::{config_path, provider, store, wallet},
    human,
    output::Output,
    pods::target,
};
use crate::{
    credential,
    delegation::{Allowed, Delegation, DelegationError, Records},
    error::Error,
    exit::Exit,
    follow::{Link, Settings},
    key::PublisherKey,
    net::Client,
    peer::PeerKey,
    pod_id::PodId,
    revoke as revocation,
};

/// The peer's key itself, in hex.
const PEER_KEY_ENV: &str = "APOCRYPH_PEER_KEY";
const DAY: u64 = 24 * 60 * 60;
const HOUR: u64 = 60 * 60;

fn peer_key(global: &Global) -> Result<PeerKey, Error> {
    match std::env::var(PEER_KEY_ENV) {
        Ok(_) if global.peer_key_file.is_some() => Err(Error::usage(
            format!("the peer's key is given twice, in {PEER_KEY_ENV} and as a file"),
            format!("Unset {PEER_KEY_ENV}, or leave out --peer-key-file and APOCRYPH_PEER_KEY_FILE."),
        )),
        Ok(hex) => Ok(PeerKey::from_hex(&zeroize::Zeroizing::new(hex), PEER_KEY_ENV)?),
        Err(_) => {
            let path = config_path(global.peer_key_file.as_deref(), "peer", "--peer-key-file")?;
            Ok(PeerKey::load_or_make(&path)?)
        }
    }
}

/// What a delegate asks with.
pub fn key(global: &Global, path: &Path) -> Result<PublisherKey, Error> {
    let delegation = Delegation::load(path)?;
    let peer = peer_key(global)?;
    if delegation.message.delegate != peer.id().to_base58() {
        return Err(Error::usage(
            format!(
                "the delegation is for peer {}, this client is {}",
                delegation.message.delegate,
                peer.id()
            ),
            format!(
                "Give the key of that peer with --peer-key-file or in {PEER_KEY_ENV}, or have one given to this peer."
            ),
        ));
    }
    let not_one = DelegationError::NotOne {
        path: path.to_owned(),
        fault: "its publisher is no address",
    };
    PublisherKey::delegate(peer, delegation.message).ok_or(Error::Delegation(not_one))
}

pub fn peer(global: &Global, output: &mut Output) -> Result<Exit, Error> {
    let peer = peer_key(global)?.id().to_base58();
    output.tell(&[human::line("peer", &peer)], &json!({"event": "peer", "peer": peer}));
    Ok(Exit::Ok)
}

pub fn delegate(global: &Global, args: Delegate, output: &mut Output) -> Result<Exit, Error> {
    let (key, store) = (wallet(global)?, store(global)?);
    let records = Records::open(store.folder())?;
    let validity = args.validity.as_secs();
    if validity > DELEGATION_VALIDITY_MAX {
        return Err(Error::usage(
            format!("{} d are more than providers take", validity / DAY),
            format!("Give it for at most {} d.", DELEGATION_VALIDITY_MAX / DAY),
        ));
    }
    let expires_at = credential::now().saturating_add(validity);
    let (pod, chain_id, provider) = match &args.pod {
        Some(text) => {
            let target = target(global, Some(text), &key, &store)?;
            (Some(target.pod), target.chain_id, Some(target.provider))
        }
        None => (None, 0, provider(global)?),
    };
    let void_by = records
        .of(&key.address())?
        .iter()
        .filter(|other| other.revoked && other.pod() == pod && pod.is_some())
        .map(|other| other.message.expires_at)
        .max();
    if let Some(void_by) = void_by.filter(|void_by| *void_by >= expires_at) {
        return Err(Error::usage(
            "this pod's delegations that expire by then were revoked",
            format!(
                "Give it for more than {}.",
                span(void_by.saturating_sub(credential::now()))
            ),
        ));
    }
    let allowed = Allowed {
        delegate: args.peer,
        operations: args.operations,
        pod,
        chain_id,
        expires_at,
    };
    let delegation = Delegation::sign(&key, allowed, provider)?;
    delegation.store_new(&args.to)?;
    records.note(&delegation)?;
    let file = args.to.display().to_string();
    output.tell(
        &[line(&delegation), human::line("file", &file)],
        &event(&delegation, Some(&file)),
    );
    Ok(Exit::Ok)
}

pub fn list(global: &Global, output: &mut Output) -> Result<Exit, Error> {
    let (key, store) = (wallet(global)?, store(global)?);
    for delegation in Records::open(store.folder())?.of(&key.address())? {
        output.tell(&[line(&delegation)], &event(&delegation, None));
    }
    Ok(Exit::Ok)
}

pub async fn revoke(
    global: &Global,
    pod: Option<&str>,
    delegate: Option<PeerId>,
    all: bool,
    output: &mut Output,
) -> Result<Exit, Error> {
    let (key, store) = (wallet(global)?, store(global)?);
    let target = target(global, pod, &key, &store)?;
    let records = Records::open(store.folder())?;
    let not_before = if all {
        credential::now().saturating_add(DELEGATION_VALIDITY_MAX)
    } else {
        last_of(&records.of(&key.address())?, target.pod, delegate)?
    };
    output.start_live();
    let client = Client::of(&key)?;
    let settings = Settings::default();
    let link = Link {
        client: &client,
        key: &key,
        provider: &target.provider,
        settings: &settings,
    };
    let outcome = revocation::revoke(link, target.pod, target.chain_id, not_before, &mut |event| {
        output.event(&event)
    })
    .await;
    client.shutdown().await;
    let in_force = outcome?;
    records.note_revoked(&key.address(), target.pod, in_force)?;
    let left = span(in_force.saturating_sub(credential::now()));
    output.result(
        human::line(
            "done",
            format!("void: every delegation of the pod that expires within {left}"),
        ),
        json!({"outcome": "revoked", "podId": target.pod.to_string(), "notBefore": in_force}),
        Exit::Ok,
    );
    Ok(Exit::Ok)
}

/// The latest expiry of those that are to be void.
fn last_of(given: &[Delegation], pod: PodId, delegate: Option<PeerId>) -> Result<u64, Error> {
    let delegate = delegate.map(|peer| peer.to_base58());
    given
        .iter()
        .filter(|one| one.pod().is_none_or(|its| its == pod))
        .filter(|one| delegate.as_ref().is_none_or(|peer| *peer == one.message.delegate))
        .map(|one| one.message.expires_at)
        .max()
        .ok_or_else(|| {
            Error::usage(
                format!("no such delegation of pod {pod} was given from here"),
                "With --all every one is void that there can be.",
            )
        })
}

fn line(delegation: &Delegation) -> String {
    let message = &delegation.message;
    let pod = delegation
        .pod()
        .map_or_else(|| "any pod".to_owned(), |pod| pod.to_string());
    let now = credential::now();
    let until = match message.expires_at.checked_sub(now) {
        _ if delegation.revoked => "revoked".to_owned(),
        Some(left) => format!("for {}", span(left)),
        None => "expired".to_owned(),
    };
    human::line(
        "delegated",
        format!(
            "{}: {} on {pod}, {until}",
            message.delegate,
            message.operations.join(", ")
        ),
    )
}

/// As it stands in the file.
fn event(delegation: &Delegation, file: Option<&str>) -> Value {
    let mut value = delegation.to_json();
    value["event"] = "delegation".into();
    if let Some(file) = file {
        value["file"] = file.into();
    }
    value
}

/// Days and hours, rounded up to the next hour.
fn span(seconds: u64) -> String {
    let hours = seconds.div_ceil(HOUR);
    match (hours / 24, hours % 24) {
        (0, hours) => format!("{hours} h"),
        (days, 0) => format!("{days} d"),
        (days, hours) => format!("{days} d {hours} h"),
    }
}
