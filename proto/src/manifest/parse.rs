//! From the wire message to a manifest that holds. Rules in the order of the schema; the first fault is told.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use zeroize::Zeroizing;

use super::{
    Container, Invalid, Kind, Manifest, Mount, Quantity, Requests, SecretValue, Volume, image,
    ports::PortsOfPod,
    text::{is_absolute, is_env_name, is_mount_path, is_name, quote},
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
                    "the environment values have {secrets} bytes in all; at most {}",
                    limits::SECRETS_MAX
                ),
            ));
        }
        let plain = encoded_len.saturating_sub(secrets);
        if plain > limits::MANIFEST_MAX {
            return Err(Invalid::manifest(
                "",
                format!(
                    "without environment values the manifest has {plain} bytes; at most {}",
                    limits::MANIFEST_MAX
                ),
            ));
        }
        let Some(descriptor) = descriptors::message("pod.Pod") else {
            return Err(Invalid::manifest("", "the schema has no pod"));
        };
        served::check(descriptor, &Zeroizing::new(pod.encode_to_vec()))?;

        let replicas = replicas(pod.replicas.as_ref())?;
        let [container] = pod.containers.as_slice() else {
            // More than one was refused above.
            return Err(Invalid::manifest(
                "containers",
                "no container is given; give exactly one",
            ));
        };
        let volumes = volumes(&pod.volumes)?;
        let mut ports = PortsOfPod::default();
        let container = parse_container(container, "containers[0]", &volumes, &mut ports)?;
        Ok(Manifest {
            containers: vec![container],
            volumes,
            replicas,
        })
    }
}

fn secret_bytes(pod: &pod::Pod) -> usize {
    // Lengths of what is in memory already: their sum cannot overflow.
    pod.containers
        .iter()
        .flat_map(|container| container.env.values())
        .map(String::len)
        .sum()
}

fn replicas(replicas: Option<&pod::Replicas>) -> Checked<u32> {
    let Some(replicas) = replicas else { return Ok(1) };
    let running = replicas.min.max(1);
    if running > 1 {
        return Err(Invalid::new(
            Code::NotServed,
            "replicas.min",
            format!("{running} replicas: more than one is not served by this version; leave it out or write 1"),
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
fn name(value: &str, field: &str) -> Checked<String> {
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

fn text(value: &str, field: &str, max: usize) -> Checked<()> {
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

fn volumes(list: &[pod::Volume]) -> Checked<Vec<Volume>> {
    bounded(list.len(), limits::VOLUMES_MAX, "volumes")?;
    let mut names = BTreeSet::new();
    let mut volumes = Vec::with_capacity(list.len());
    for (index, volume) in list.iter().enumerate() {
        let field = format!("volumes[{index}]");
        let name = name(&volume.name, &format!("{field}.name"))?;
        if !names.insert(name.clone()) {
            return Err(Invalid::manifest(
                format!("{field}.name"),
                format!("another volume is named {} already; names are unique", quote(&name)),
            ));
        }
        volumes.push(Volume {
            name,
            size: volume_size(volume, &field)?,
        });
    }
    Ok(volumes)
}

fn volume_size(volume: &pod::Volume, field: &str) -> Checked<u64> {
    let Some(Configuration::Filesystem(filesystem)) = &volume.configuration else {
        return Err(Invalid::manifest(
            format!("{field}.filesystem"),
            "a volume needs its size; write filesystem: {resourceRequests: [{resource: storage, amountGibi: 1}]}",
        ));
    };
    let list = format!("{field}.filesystem.resourceRequests");
    let one = match filesystem.resource_requests.as_slice() {
        [] => return Err(Invalid::manifest(list, "a volume needs one request, `storage`")),
        [one] => one,
        [_, _, ..] => {
            return Err(Invalid::manifest(
                format!("{list}[1]"),
                "a volume has exactly one request, `storage`",
            ));
        }
    };
    let field = format!("{list}[0]");
    let quantity = Quantity::parse_within_bounds(one, &field)?;
    if quantity.kind != Kind::Storage {
        return Err(Invalid::manifest(
            format!("{field}.resource"),
            format!(
                "a volume has no `{}`; its one request is `storage`",
                quantity.kind.as_str()
            ),
        ));
    }
    Ok(quantity.amount)
}

fn parse_container(
    container: &pod::Container,
    field: &str,
    volumes: &[Volume],
    ports: &mut PortsOfPod,
) -> Checked<Container> {
    Ok(Container {
        name: name(&container.name, &format!("{field}.name"))?,
        image: parse_image(container.image.as_ref(), &format!("{field}.image"))?,
        command: words(&container.command, &format!("{field}.command"))?,
        args: words(&container.args, &format!("{field}.args"))?,
        working_dir: working_dir(&container.working_dir, &format!("{field}.workingDir"))?,
        ports: ports.parse(&container.ports, &format!("{field}.ports"))?,
        env: env(&container.env, &format!("{field}.env"))?,
        mounts: mounts(&container.volumes, &format!("{field}.volumes"), volumes)?,
        requests: requests(&container.resource_requests, &format!("{field}.resourceRequests"))?,
    })
}

fn parse_image(image: Option<&pod::Image>, field: &str) -> Checked<String> {
    let url = image.map(|image| image.url.as_str()).unwrap_or_default();
    let field = format!("{field}.url");
    if url.is_empty() {
        return Err(Invalid::manifest(
            field,
            "no image is given; write for example docker.io/library/nginx:1.29",
        ));
    }
    text(url, &field, limits::IMAGE_MAX)?;
    match image::fault(url) {
        None => Ok(url.to_owned()),
        Some(fault) => Err(Invalid::manifest(
            field,
            format!(
                "{} is not an image reference: {fault}; write for example docker.io/library/nginx:1.29",
                quote(url)
            ),
        )),
    }
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

fn mounts(list: &[pod::container::VolumeMount], field: &str, volumes: &[Volume]) -> Checked<Vec<Mount>> {
    bounded(list.len(), limits::MOUNTS_MAX, field)?;
    let mut paths = BTreeSet::new();
    let mut mounts = Vec::with_capacity(list.len());
    for (index, mount) in list.iter().enumerate() {
        let name_field = format!("{field}[{index}].name");
        if !volumes.iter().any(|volume| volume.name == mount.name) {
            return Err(Invalid::manifest(
                name_field,
                format!("the pod has no volume {}; name one of its volumes", quote(&mount.name)),
            ));
        }
        let path_field = format!("{field}[{index}].mountPath");
        text(&mount.mount_path, &path_field, limits::PATH_MAX)?;
        if !is_mount_path(&mount.mount_path) {
            return Err(Invalid::manifest(
                path_field,
                format!(
                    "{} is no place for a volume; write an absolute path below `/`, without `.`, `..`, empty parts, `:`, control characters and a slash at the end",
                    quote(&mount.mount_path)
                ),
            ));
        }
        if !paths.insert(mount.mount_path.as_str()) {
            return Err(Invalid::manifest(
                path_field,
                format!(
                    "another volume is mounted at {} already; paths are unique",
                    quote(&mount.mount_path)
                ),
            ));
        }
        mounts.push(Mount {
            volume: mount.name.clone(),
            path: mount.mount_path.clone(),
            read_only: mount.read_only,
        });
    }
    Ok(mounts)
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
