//! The client's own codes, beside the outcome codes of providers.

use crate::exit::Exit;

/// A word of this client for a failure that no provider told: [`crate::Error::code`] gives it, `apocryph explain` explains it.
pub struct OwnCode {
    pub code: &'static str,
    pub meaning: &'static str,
    pub remedy: &'static str,
    pub exit: Exit,
}

const fn own(code: &'static str, exit: Exit, meaning: &'static str, remedy: &'static str) -> OwnCode {
    OwnCode {
        code,
        meaning,
        remedy,
        exit,
    }
}

/// All of them; a test holds that no error has another.
pub const OWN_CODES: &[OwnCode] = &[
    own(
        "usage",
        Exit::Usage,
        "Something that the command needs is missing or contradicts itself.",
        "See `apocryph COMMAND --help`.",
    ),
    own(
        "no_key",
        Exit::Usage,
        "There is no usable key.",
        "Make one with `apocryph key new`, or name yours with --key-file or in APOCRYPH_KEY.",
    ),
    own(
        "no_provider",
        Exit::Usage,
        "No provider is named, or what is named is none.",
        "Name one with --provider: a multiaddr that ends in the peer id, or a name of `apocryph provider list`.",
    ),
    own(
        "no_manifest",
        Exit::Usage,
        "The manifest cannot be read.",
        "Check its path; `-` reads from standard input.",
    ),
    own(
        "state_file",
        Exit::Failure,
        "What is remembered of a pod or a provider cannot be read or written.",
        "Check --state-dir and its rights, and that the key is the one that the pod was deployed with.",
    ),
    own(
        "delegation_file",
        Exit::Usage,
        "The file of a delegation cannot be read or written, or is none.",
        "Give the file that `apocryph delegate` wrote, as it was written.",
    ),
    own(
        "cannot_sign",
        Exit::Failure,
        "The key could not sign the request.",
        "Check the key with `apocryph key show`.",
    ),
    own(
        "unreachable",
        Exit::Unreachable,
        "There is no connection to the provider.",
        "Check its address and that its port is open from here; try again in a minute.",
    ),
    own(
        "stream_lost",
        Exit::Unreachable,
        "The connection broke before the provider's last word, for as long as it was tried again.",
        "Run the same command again; what the provider has accepted goes on meanwhile.",
    ),
    own(
        "not_attested",
        Exit::NotAttested,
        "The provider proves nothing that this client accepts about what it runs on.",
        "Choose one that does, or say --allow-unattested: who runs the cluster can read the manifest then.",
    ),
    own(
        "attestation_invalid",
        Exit::NotAttested,
        "The attestation was not made for this question.",
        "Do not use this provider: somebody may stand between you and it.",
    ),
    own(
        "timeout",
        Exit::Unavailable,
        "The time that --timeout gives is over (exit status 9 when the pod was in trouble, 11 when the provider was never reached).",
        "Give more time, or see where the pod stands with `apocryph watch POD`.",
    ),
    own(
        "output",
        Exit::Failure,
        "The output could not be written.",
        "Check where it goes: a full disk or a closed pipe.",
    ),
    own(
        "interrupted",
        Exit::Interrupted,
        "You or the system ended the command.",
        "Run it again, for a deployment with --resume; what the provider has accepted goes on meanwhile.",
    ),
];
