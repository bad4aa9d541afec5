//! From the wire message to a manifest that holds. Rules in the order of the schema; the first fault is told.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use zeroize::Zeroizing;

use super::{
    Container, Invalid, Kind, Manifest, Quantity, Requests, SecretValue, User, Volume, image,
    image::Credentials,
    ports::PortsOfPod,
    text::{is_absolute, is_env_name, is_name, quote},
    volumes,
};
use crate::{
    descriptors, limits,
    outcome::Code,
    served,
    v0::pod::{self, volume::Configuration},
};

pub(super) type Checked<T> = Result<T, Invalid>;

impl Invalid {
    pub(super) fn new(code: Code, field: impl Into<String>, message: impl Into<String>) -> Invalid {
        Invalid {
            code,
            field: field.into(),
            message: message.into(),
        }
    }

    pub(super) fn manifest(field: impl Into<String>, message: impl Into<String>) -> Invalid {
        Invalid::new(Code::InvalidManifest, field, message)
    }
}

impl From<served::Refused> for Invalid {
    fn from(refused: served::Refused) -> Invalid {
        let message = if refused.remedy.is_empty() {
            refused.message
        } else {
            format!("{}; {}", refused.message, refused.remedy)
        };
        Invalid {
            code: refused.code,
            field: refused.field,
            message,
        }
    }
}

impl Manifest {
    /// Checks everything that depends on the manifest alone.
    ///
    /// Fields that are not served are refused here by the same table as on the wire ([`served::check`]); fields unknown to
    /// the schema are seen by that and by [`crate::json`] alone, a decoded `Pod` has lost them.
    pub fn parse(pod: &pod::Pod) -> Result<Manifest, Invalid> {
        let secrets = secret_bytes(pod);
        let encoded_len = pod.encoded_len();
        if secrets > limits::SECRETS_MAX {
            return Err(Invalid::manifest(
                "",
                format!(
                    "environment values, secret contents and registry credentials have {secrets} bytes in all; at most {}",
                    limits::SECRETS_MAX
                ),
            ));
        }
        let plain = encoded_len.saturating_sub(secrets);
        if plain > limits::MANIFEST_MAX {
            return Err(Invalid::manifest(
                "",
                format!(
                    "without its secrets the manifest has {plain} bytes; at most {}",
                    limits::MANIFEST_MAX
                ),
            ));
        }
        let Some(descriptor) = descriptors::message("pod.Pod") else {
            return Err(Invalid::manifest("", "the schema has no pod"));
        };
        served::check(descriptor, &Zeroizing::new(pod.encode_to_vec()))?;

        let replicas = replicas(pod.replicas.as_ref())?;
        if pod.containers.is_empty() {
            return Err(Invalid::manifest(
                "containers",
                "no container is given; give at least one",
            ));
        }
        let volumes = volumes::volumes(&pod.volumes, replicas)?;
        let mut of_pod = OfPod::default();
        let containers = pod
            .containers
            .iter()
            .enumerate()
            .map(|(index, one)| container(one, &format!("containers[{index}]"), &volumes, &mut of_pod))
            .collect::<Checked<_>>()?;
        if let Some(group) = pod.fs_group {
            id(group, "fsGroup")?;
        }
        Ok(Manifest {
            containers,
            volumes,
            replicas,
            fs_group: pod.fs_group,
        })
    }
}

/// What the pod's containers share, and so must not have twice.
#[derive(Default)]
struct OfPod {
    names: BTreeSet<String>,
    ports: PortsOfPod,
    credentials: Credentials,
}

fn secret_bytes(pod: &pod::Pod) -> usize {
    // Lengths of what is in memory already: their sum cannot overflow.
    let values = |container: &pod::Container| container.env.values().map(String::len).sum::<usize>();
    let pull = |container: &pod::Container| {
        let secret = container.image.as_ref().and_then(|image| image.pull_secret.as_ref());
        secret.map_or(0, |secret| secret.username.len() + secret.password.len())
    };
    let contents = |volume: &pod::Volume| match &volume.configuration {
        Some(Configuration::Secret(secret)) => secret.contents.len() + secret.contents_string.len(),
        _ => 0,
    };
    pod.containers.iter().map(|one| values(one) + pull(one)).sum::<usize>()
        + pod.volumes.iter().map(contents).sum::<usize>()
}

fn replicas(replicas: Option<&pod::Replicas>) -> Checked<u32> {
    let Some(replicas) = replicas else { return Ok(1) };
    let running = replicas.min.max(1);
    if running > limits::REPLICAS_MAX {
        return Err(Invalid::manifest(
            "replicas.min",
            format!("{running} replicas; at most {}", limits::REPLICAS_MAX),
        ));
    }
    if replicas.max > running {
        return Err(Invalid::new(
            Code::ScalingNotServed,
            "replicas.max",
            format!(
                "{} is more than the {running} that always runs, and scaling is not served by this version; leave it out",
                replicas.max
            ),
        ));
    }
    Ok(running)
}

/// A name that is given, fits its rule and its length.
pub(super) fn name(value: &str, field: &str) -> Checked<String> {
    if value.len() <= limits::NAME_MAX && is_name(value) {
        return Ok(value.to_owned());
    }
    Err(Invalid::manifest(
        field,
        format!(
            "{} is not a DNS label; write 1 to {} lowercase letters, digits and `-`, none at the ends",
            quote(value),
            limits::NAME_MAX
        ),
    ))
}

pub(super) fn text(value: &str, field: &str, max: usize) -> Checked<()> {
    if value.len() > max {
        return Err(Invalid::manifest(
            field,
            format!("{} bytes; at most {max}", value.len()),
        ));
    }
    if value.contains('\0') {
        return Err(Invalid::manifest(
            field,
            "contains a NUL character, which no program can be given; remove it",
        ));
    }
    Ok(())
}

pub(super) fn bounded(count: usize, max: usize, field: &str) -> Checked<()> {
    if count > max {
        return Err(Invalid::manifest(
            format!("{field}[{max}]"),
            format!("there may be at most {max} of these"),
        ));
    }
    Ok(())
}

fn container(container: &pod::Container, field: &str, volumes: &[Volume], of_pod: &mut OfPod) -> Checked<Container> {
    let name = name(&container.name, &format!("{field}.name"))?;
    if !of_pod.names.insert(name.clone()) {
        return Err(Invalid::manifest(
            format!("{field}.name"),
            format!("another container is named {} already; names are unique", quote(&name)),
        ));
    }
    let (image, pull_secret) = image::parse(
        container.image.as_ref(),
        &format!("{field}.image"),
        &mut of_pod.credentials,
    )?;
    Ok(Container {
        name,
        image,
        pull_secret,
        command: words(&container.command, &format!("{field}.command"))?,
        args: words(&container.args, &format!("{field}.args"))?,
        working_dir: working_dir(&container.working_dir, &format!("{field}.workingDir"))?,
        ports: of_pod.ports.parse(&container.ports, &format!("{field}.ports"))?,
        env: env(&container.env, &format!("{field}.env"))?,
        mounts: volumes::mounts(&container.volumes, &format!("{field}.volumes"), volumes)?,
        requests: requests(&container.resource_requests, &format!("{field}.resourceRequests"))?,
        user: user(container.user.as_ref(), &format!("{field}.user"))?,
    })
}

fn user(user: Option<&pod::User>, field: &str) -> Checked<Option<User>> {
    let Some(pod::User { uid, gid }) = user else {
        return Ok(None);
    };
    let Some(uid) = *uid else {
        return match gid {
            // The container runtime takes no group alone.
            Some(_) => Err(Invalid::manifest(
                format!("{field}.uid"),
                "a gid needs a uid beside it; write both, or the uid alone",
            )),
            None => Ok(None),
        };
    };
    id(uid, &format!("{field}.uid"))?;
    if let Some(gid) = *gid {
        id(gid, &format!("{field}.gid"))?;
    }
    Ok(Some(User { uid, gid: *gid }))
}

fn id(id: u32, field: &str) -> Checked<()> {
    if limits::USER_ID.contains(&id) {
        return Ok(());
    }
    Err(Invalid::manifest(
        field,
        format!(
            "{id} is more than {}, the last that a user namespace maps",
            limits::USER_ID.end()
        ),
    ))
}

fn words(words: &[String], field: &str) -> Checked<Vec<String>> {
    bounded(words.len(), limits::WORDS_MAX, field)?;
    for (index, word) in words.iter().enumerate() {
        text(word, &format!("{field}[{index}]"), limits::WORD_MAX)?;
    }
    Ok(words.to_vec())
}

fn working_dir(path: &str, field: &str) -> Checked<Option<String>> {
    if path.is_empty() {
        return Ok(None);
    }
    text(path, field, limits::PATH_MAX)?;
    if !is_absolute(path) {
        return Err(Invalid::manifest(
            field,
            format!(
                "{} is not absolute; write a path that begins with `/`, without control characters",
                quote(path)
            ),
        ));
    }
    Ok(Some(path.to_owned()))
}

fn env(env: &BTreeMap<String, String>, field: &str) -> Checked<BTreeMap<String, SecretValue>> {
    // Names and values become keys and values of a Secret, `env.CONTAINER.NAME`.
    const { assert!("env.".len() + limits::NAME_MAX + 1 + limits::ENV_NAME_MAX <= limits::SECRET_KEY_MAX) }
    if env.len() > limits::ENV_MAX {
        return Err(Invalid::manifest(
            field,
            format!("{} variables; at most {}", env.len(), limits::ENV_MAX),
        ));
    }
    env.iter()
        .map(|(name, value)| {
            if name.len() > limits::ENV_NAME_MAX || !is_env_name(name) {
                return Err(Invalid::manifest(
                    field,
                    format!(
                        "{} is not a variable's name; write at most {} letters, digits, `_`, `.` and `-`, a letter or `_` first",
                        quote(name),
                        limits::ENV_NAME_MAX
                    ),
                ));
            }
            let length = name.len() + 1 + value.len();
            if length > limits::ENV_VARIABLE_MAX {
                return Err(Invalid::manifest(
                    format!("{field}[{name}]"),
                    format!(
                        "name and value have {length} bytes; at most {}, more Linux gives to no program",
                        limits::ENV_VARIABLE_MAX
                    ),
                ));
            }
            if value.contains('\0') {
                let field = format!("{field}[{name}]");
                return Err(Invalid::manifest(field, "the value contains a NUL character, which no program can be given; remove it"));
            }
            Ok((name.clone(), SecretValue::new(value)))
        })
        .collect()
}

fn requests(list: &[pod::Resource], field: &str) -> Checked<Requests> {
    bounded(list.len(), limits::RESOURCES_MAX, field)?;
    let mut requests = Requests::default();
    for (index, resource) in list.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let quantity = Quantity::parse_within_bounds(resource, &field)?;
        let place = match quantity.kind {
            Kind::Cpu => &mut requests.cpu_millis,
            Kind::Memory => &mut requests.memory,
            Kind::EphemeralStorage => &mut requests.ephemeral_storage,
            Kind::Storage => {
                return Err(Invalid::manifest(
                    format!("{field}.resource"),
                    "`storage` belongs to a volume; for the container's own files write `ephemeral-storage`",
                ));
            }
        };
        if place.replace(quantity.amount).is_some() {
            return Err(Invalid::manifest(
                format!("{field}.resource"),
                format!("`{}` is asked for twice; write it once", quantity.kind.as_str()),
            ));
        }
    }
    Ok(requests)
}
