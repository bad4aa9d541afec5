//! Reading a manifest and checking it offline, with the parser that the provider admits with.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use apocryph_proto::{
    json,
    limits::MESSAGE_MAX,
    manifest::{Invalid, Manifest},
    outcome::{Class, Code},
    v0::pod::Pod,
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
}

impl ManifestError {
    pub fn code(&self) -> &'static str {
        match self {
            ManifestError::Io { .. } => "no_manifest",
            ManifestError::TooLarge(_) => Code::RequestTooLarge.as_str(),
            ManifestError::Text { .. } => Code::InvalidManifest.as_str(),
            ManifestError::Invalid(invalid) => invalid.code.as_str(),
        }
    }

    /// Path of the field at fault; empty: none.
    pub fn field(&self) -> &str {
        match self {
            ManifestError::Text { source, .. } => &source.field,
            ManifestError::Invalid(invalid) => &invalid.field,
            ManifestError::Io { .. } | ManifestError::TooLarge(_) => "",
        }
    }

    pub fn remedy(&self) -> String {
        match self {
            ManifestError::Io { .. } => "Check the path; `-` reads the manifest from standard input.",
            ManifestError::TooLarge(_) => "A manifest has at most 256 KiB, and 768 KiB of environment values.",
            ManifestError::Text { .. } => {
                "Correct that place: YAML or JSON, with lowerCamel names as in the README's example and deploy/samples."
            }
            ManifestError::Invalid(invalid) if invalid.code.class() == Class::NotServed => {
                "Leave the field out, or choose a provider that serves it."
            }
            ManifestError::Invalid(_) => "Correct the field; `apocryph check MANIFEST` tells without sending anything.",
        }
        .into()
    }

    pub fn exit(&self) -> Exit {
        match self {
            ManifestError::Io { .. } => Exit::Usage,
            ManifestError::Invalid(invalid) if invalid.code.class() == Class::NotServed => Exit::NotServed,
            ManifestError::TooLarge(_) | ManifestError::Text { .. } | ManifestError::Invalid(_) => Exit::Invalid,
        }
    }
}

/// Reads a manifest in YAML or JSON from a file, or from standard input (`-`).
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
    json::pod_from_yaml(&text).map_err(|source| ManifestError::Text {
        path: path.to_owned(),
        source,
    })
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
    if !manifest.volumes().is_empty() {
        notes.push("a volume lives as long as the pod's life: after an end its data is gone".into());
    }
    Ok(Checked {
        manifest,
        defaults,
        notes,
    })
}
