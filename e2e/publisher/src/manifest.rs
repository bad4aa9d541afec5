//! Reading a manifest and checking it offline, with the parser that the provider admits with.

use std::{
    fs, io,
    io::Read,
    path::{Component, Path, PathBuf},
};

use apocryph_proto::{
    json,
    limits::{MESSAGE_MAX, SECRETS_MAX},
    manifest::{Invalid, Manifest, VolumeKind},
    outcome::{Class, Code},
    v0::pod::{Pod, volume::Configuration},
};
use zeroize::Zeroizing;

use crate::exit::Exit;

/// Bytes of the text: what cannot be sent need not be read; YAML may be twice as long as the message.
pub const TEXT_MAX: u64 = 2 * MESSAGE_MAX as u64;
/// The name that stands for standard input.
pub const STDIN: &str = "-";

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{0} has more than {TEXT_MAX} bytes")]
    TooLarge(PathBuf),
    #[error("{path}: {source}")]
    Text { path: PathBuf, source: json::Error },
    #[error("{0}")]
    Invalid(Invalid),
    /// A secret volume's file.
    #[error("{field}: {path}: {source}")]
    SecretFile {
        field: String,
        path: PathBuf,
        source: io::Error,
    },
}

impl ManifestError {
    pub fn code(&self) -> &'static str {
        match self {
            ManifestError::Io { .. } => "no_manifest",
            ManifestError::TooLarge(_) => Code::RequestTooLarge.as_str(),
            ManifestError::Text { .. } => Code::InvalidManifest.as_str(),
            ManifestError::Invalid(invalid) => invalid.code.as_str(),
            ManifestError::SecretFile { .. } => "no_secret_file",
        }
    }

    /// Path of the field at fault; empty: none.
    pub fn field(&self) -> &str {
        match self {
            ManifestError::Text { source, .. } => &source.field,
            ManifestError::Invalid(invalid) => &invalid.field,
            ManifestError::SecretFile { field, .. } => field,
            ManifestError::Io { .. } | ManifestError::TooLarge(_) => "",
        }
    }

    pub fn remedy(&self) -> String {
        match self {
            ManifestError::Io { .. } => "Check the path; `-` reads the manifest from standard input.",
            ManifestError::TooLarge(_) => {
                "A manifest has at most 256 KiB, and 768 KiB of environment values and secrets."
            }
            ManifestError::Text { .. } => {
                "Correct that place: YAML or JSON, with lowerCamel names as in the README's example and deploy/samples."
            }
            ManifestError::Invalid(invalid) if invalid.code.class() == Class::NotServed => {
                "Leave the field out, or choose a provider that serves it."
            }
            ManifestError::SecretFile { .. } => {
                "Secret files lie beside the manifest or below it; of one from standard input, in the working folder."
            }
            ManifestError::Invalid(_) => "Correct the field; `apocryph check MANIFEST` tells without sending anything.",
        }
        .into()
    }

    pub fn exit(&self) -> Exit {
        match self {
            ManifestError::Io { .. } | ManifestError::SecretFile { .. } => Exit::Usage,
            ManifestError::Invalid(invalid) if invalid.code.class() == Class::NotServed => Exit::NotServed,
            ManifestError::TooLarge(_) | ManifestError::Text { .. } | ManifestError::Invalid(_) => Exit::Invalid,
        }
    }
}

/// Reads a manifest in YAML or JSON from a file, or from standard input (`-`), and the files of its secret volumes.
pub fn read(path: &Path) -> Result<Pod, ManifestError> {
    let io = |source| ManifestError::Io {
        path: path.to_owned(),
        source,
    };
    // Secret values are in it.
    let mut text = Zeroizing::new(String::new());
    let mut source: Box<dyn Read> = if path == Path::new(STDIN) {
        Box::new(io::stdin())
    } else {
        Box::new(fs::File::open(path).map_err(io)?)
    };
    let size = source
        .by_ref()
        .take(TEXT_MAX + 1)
        .read_to_string(&mut text)
        .map_err(io)?;
    if size as u64 > TEXT_MAX {
        return Err(ManifestError::TooLarge(path.to_owned()));
    }
    let mut pod = json::pod_from_yaml(&text).map_err(|source| ManifestError::Text {
        path: path.to_owned(),
        source,
    })?;
    let folder = if path == Path::new(STDIN) { None } else { path.parent() };
    read_secret_files(&mut pod, folder.unwrap_or(Path::new("")))?;
    Ok(pod)
}

/// Puts the contents in the place of the names: a provider cannot read a publisher's files.
fn read_secret_files(pod: &mut Pod, folder: &Path) -> Result<(), ManifestError> {
    for (index, volume) in pod.volumes.iter_mut().enumerate() {
        let Some(Configuration::Secret(secret)) = &mut volume.configuration else {
            continue;
        };
        if secret.file.is_empty() {
            continue;
        }
        let name = std::mem::take(&mut secret.file);
        let field = format!("volumes[{index}].secret.file");
        let invalid = |message: &str| {
            ManifestError::Invalid(Invalid {
                code: Code::InvalidManifest,
                field: field.clone(),
                message: message.into(),
            })
        };
        if !secret.contents.is_empty() || !secret.contents_string.is_empty() {
            return Err(invalid("the contents are given already; write one of the two"));
        }
        // A manifest from somebody else must not send out whatever lies on this machine.
        if !Path::new(&name)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        {
            return Err(invalid(
                "write a path below the manifest's folder, without a slash at its begin and without `..`",
            ));
        }
        let path = folder.join(name);
        let io = |source| ManifestError::SecretFile {
            field: field.clone(),
            path: path.clone(),
            source,
        };
        let file = fs::File::open(&path).map_err(io)?;
        // What is too large is refused with all other secrets.
        file.take(SECRETS_MAX as u64 + 1)
            .read_to_end(&mut secret.contents)
            .map_err(io)?;
        if secret.contents.is_empty() {
            return Err(invalid("the file is empty"));
        }
    }
    Ok(())
}

/// A manifest that a provider of this version takes, as far as the manifest alone decides.
pub struct Checked {
    pub manifest: Manifest,
    /// What the provider fills in.
    pub defaults: Vec<String>,
    /// What surprises people.
    pub notes: Vec<String>,
}

pub fn check(pod: &Pod) -> Result<Checked, ManifestError> {
    let manifest = Manifest::parse(pod).map_err(ManifestError::Invalid)?;
    let (mut defaults, mut notes) = (Vec::new(), Vec::new());
    for container in manifest.containers() {
        let name = &container.name;
        let requests = &container.requests;
        for (resource, asked) in [
            ("cpu", requests.cpu_millis),
            ("memory", requests.memory),
            ("ephemeral-storage", requests.ephemeral_storage),
        ] {
            if asked.is_none() {
                defaults.push(format!(
                    "container {name}: {resource} is not asked for; the provider's default is reserved"
                ));
            }
        }
        if !container.image.contains("@sha256:") {
            notes.push(format!(
                "container {name}: the image is named without a digest; what the name means may change between two starts"
            ));
        }
        if !container.env.is_empty() {
            notes.push(format!(
                "container {name}: environment values travel and are kept as secrets; who runs the cluster can read them"
            ));
        }
    }
    notes.push(
        "setuid programs and file capabilities (sudo, su, ping) have no effect: containers run under no-new-privileges"
            .into(),
    );
    let (mut kept, mut secret) = (false, false);
    for volume in manifest.volumes() {
        match volume.kind {
            VolumeKind::Filesystem { .. } => kept = true,
            VolumeKind::Secret(_) => secret = true,
            VolumeKind::Empty { size } => {
                if size.is_none() {
                    defaults.push(format!(
                        "volume {}: no size is asked for; the provider's default is reserved",
                        volume.name
                    ));
                }
            }
        }
    }
    if secret || manifest.containers().iter().any(|one| one.pull_secret.is_some()) {
        notes.push(
            "secret files and credentials of registries travel and are kept as secrets; who runs the cluster can read them"
                .into(),
        );
    }
    if kept {
        notes.push("a volume lives as long as the pod's life: after an end its data is gone".into());
    }
    Ok(Checked {
        manifest,
        defaults,
        notes,
    })
}
