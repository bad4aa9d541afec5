//! Volumes and where containers mount them.

use std::collections::BTreeSet;

use super::{
    Access, Invalid, Kind, Mount, Quantity, SecretBytes, Volume, VolumeKind,
    parse::{Checked, bounded, name, text},
    text::{is_mount_path, quote},
};
use crate::{
    limits,
    v0::pod::{
        self, Resource,
        volume::{AccessMode, Configuration, SecretConfig, Type},
    },
};

/// Contents become a value of a Secret, `volume.NAME`.
const _: () = assert!("volume.".len() + limits::NAME_MAX <= limits::SECRET_KEY_MAX);

/// `replicas`: how many run.
pub(super) fn volumes(list: &[pod::Volume], replicas: u32) -> Checked<Vec<Volume>> {
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
        let kind = kind(volume, &field)?;
        if let VolumeKind::Filesystem {
            access: Access::One, ..
        } = kind
            && replicas > 1
        {
            return Err(Invalid::manifest(
                format!("{field}.accessMode"),
                format!("VOLUME_RW_ONE is for one replica and {replicas} run; write VOLUME_RW_MANY, or replicas.min 1"),
            ));
        }
        volumes.push(Volume { name, kind });
    }
    Ok(volumes)
}

fn kind(volume: &pod::Volume, field: &str) -> Checked<VolumeKind> {
    let misplaced = |what: &str| {
        Err(Invalid::manifest(
            format!("{field}.{what}"),
            format!(
                "{what} does not belong to a volume of type {}",
                volume.r#type().as_str_name()
            ),
        ))
    };
    match (volume.r#type(), &volume.configuration) {
        (Type::VolumeFilesystem, Some(Configuration::Secret(_))) => misplaced("secret"),
        (Type::VolumeFilesystem, configuration) => {
            let requests = match configuration {
                Some(Configuration::Filesystem(filesystem)) => filesystem.resource_requests.as_slice(),
                _ => {
                    return Err(Invalid::manifest(
                        format!("{field}.filesystem"),
                        "a volume needs its size; write filesystem: {resourceRequests: [{resource: storage, amountGibi: 1}]}",
                    ));
                }
            };
            let Some(size) = size(requests, Kind::Storage, field)? else {
                return Err(Invalid::manifest(
                    format!("{field}.filesystem.resourceRequests"),
                    "a volume needs one request, `storage`",
                ));
            };
            let access = match volume.access_mode() {
                AccessMode::VolumeRwOne => Access::One,
                AccessMode::VolumeRwMany => Access::Many,
            };
            Ok(VolumeKind::Filesystem { size, access })
        }
        _ if volume.access_mode() == AccessMode::VolumeRwMany => misplaced("accessMode"),
        (Type::VolumeEmpty, None) => Ok(VolumeKind::Empty { size: None }),
        (Type::VolumeEmpty, Some(Configuration::Filesystem(filesystem))) => Ok(VolumeKind::Empty {
            size: size(&filesystem.resource_requests, Kind::EphemeralStorage, field)?,
        }),
        (Type::VolumeEmpty, Some(Configuration::Secret(_))) => misplaced("secret"),
        (Type::VolumeSecret, Some(Configuration::Filesystem(_))) => misplaced("filesystem"),
        (Type::VolumeSecret, Some(Configuration::Secret(secret))) => contents(secret, field),
        (Type::VolumeSecret, None) => contents(&SecretConfig::default(), field),
    }
}

/// What cid, key and file say was refused before.
fn contents(secret: &SecretConfig, field: &str) -> Checked<VolumeKind> {
    let contents = match (secret.contents.as_slice(), secret.contents_string.as_bytes()) {
        ([], []) => {
            return Err(Invalid::manifest(
                format!("{field}.secret"),
                "a secret volume needs its contents; write file, contents (base64) or contentsString",
            ));
        }
        (contents, []) | ([], contents) => contents,
        _ => {
            return Err(Invalid::manifest(
                format!("{field}.secret.contentsString"),
                "contents is given already; write one of the two",
            ));
        }
    };
    Ok(VolumeKind::Secret(SecretBytes::new(contents)))
}

/// The one request that a volume has; `None`: it has none.
fn size(requests: &[Resource], wanted: Kind, field: &str) -> Checked<Option<u64>> {
    let list = format!("{field}.filesystem.resourceRequests");
    let one = match requests {
        [] => return Ok(None),
        [one] => one,
        [_, _, ..] => {
            return Err(Invalid::manifest(
                format!("{list}[1]"),
                format!("a volume has exactly one request, `{}`", wanted.as_str()),
            ));
        }
    };
    let field = format!("{list}[0]");
    let quantity = Quantity::parse_within_bounds(one, &field)?;
    if quantity.kind != wanted {
        return Err(Invalid::manifest(
            format!("{field}.resource"),
            format!(
                "a volume of this type has no `{}`; its one request is `{}`",
                quantity.kind.as_str(),
                wanted.as_str()
            ),
        ));
    }
    Ok(Some(quantity.amount))
}

pub(super) fn mounts(list: &[pod::container::VolumeMount], field: &str, volumes: &[Volume]) -> Checked<Vec<Mount>> {
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
