//! Every size that is a promise to publishers. The schema of `ApocryphPod` and the wire use the same numbers.
//! Sizes in bytes, times in seconds.

use std::ops::RangeInclusive;

/// One wire message: manifest, secret contents and what wraps them.
pub const MESSAGE_MAX: usize = (1 << 20) + (16 << 10);
/// A request of attest or provisioning-capacity, which carry no manifest.
pub const SMALL_REQUEST_MAX: usize = 16 << 10;
/// The manifest without environment values and secret contents, encoded.
pub const MANIFEST_MAX: usize = 256 << 10;
/// All environment values, contents of secret volumes and registry credentials of a pod together.
pub const SECRETS_MAX: usize = 768 << 10;

/// A signed request is valid for at most this long.
pub const VALIDITY_MAX: u64 = 600;
/// Clock difference that is forgiven at both ends of the validity.
pub const CLOCK_SKEW: u64 = 30;
/// A delegation expires at most this far ahead: a leap year.
pub const DELEGATION_VALIDITY_MAX: u64 = 366 * 24 * 60 * 60;
/// Operations that one delegation lists.
pub const DELEGATED_OPERATIONS_MAX: usize = 16;
/// Unix seconds that are kept: to the end of the year 9999.
pub const UNIX_TIME: RangeInclusive<u64> = 1..=253_402_300_799;
/// Bytes of an attest nonce.
pub const NONCE: RangeInclusive<usize> = 16..=64;

pub const CONTAINERS_MAX: usize = 16;
/// Replicas that run.
pub const REPLICAS_MAX: u32 = 32;
pub const VOLUMES_MAX: usize = 16;
/// Ports of one container.
pub const PORTS_MAX: usize = 16;
/// Volume mounts of one container.
pub const MOUNTS_MAX: usize = 16;
/// Environment variables of one container.
pub const ENV_MAX: usize = 128;
/// Entries of `command` and of `args`, each.
pub const WORDS_MAX: usize = 64;
/// Bytes of one entry of `command` or `args`.
pub const WORD_MAX: usize = 4096;
/// Names of containers and volumes: a DNS label (RFC 1123).
pub const NAME_MAX: usize = 63;
/// Names of ports: an IANA service name (RFC 6335).
pub const PORT_NAME_MAX: usize = 15;
pub const ENV_NAME_MAX: usize = 128;
/// One environment variable, `NAME=value`: Linux starts no program with a longer one (MAX_ARG_STRLEN, less the NUL at its end).
pub const ENV_VARIABLE_MAX: usize = (128 << 10) - 1;
/// A key of a Kubernetes Secret.
pub const SECRET_KEY_MAX: usize = 253;
/// Image reference, digest included.
pub const IMAGE_MAX: usize = 512;
/// Name and password at a registry; passwords may be tokens of a cloud.
pub const REGISTRY_USERNAME_MAX: usize = 256;
pub const REGISTRY_PASSWORD_MAX: usize = 16 << 10;
/// Users and groups: as many as a user namespace of a pod maps.
pub const USER_ID: RangeInclusive<u32> = 0..=65535;
/// Absolute paths: working directory, mount path.
pub const PATH_MAX: usize = 1024;
/// Entries of one list of resources.
pub const RESOURCES_MAX: usize = 8;
pub const PORT: RangeInclusive<u64> = 1..=65535;

/// Processor, in thousandths of a core.
pub const CPU_MILLIS: RangeInclusive<u64> = 1..=1_024_000;
/// A container needs at least 16 MiB; at most 16 TiB.
pub const MEMORY: RangeInclusive<u64> = (16 << 20)..=(16 << 40);
pub const EPHEMERAL_STORAGE: RangeInclusive<u64> = (1 << 20)..=(16 << 40);
/// One volume.
pub const VOLUME_SIZE: RangeInclusive<u64> = (1 << 20)..=(64 << 40);
/// Most lives that are counted.
pub const LIFE: RangeInclusive<u64> = 1..=(1 << 32);

/// One line of a log; what is longer is cut.
pub const LOG_LINE_MAX: usize = 16 << 10;
/// Pods in one message of a list.
pub const LIST_PAGE: usize = 100;
/// Replicas of a description.
pub const REPLICAS_DESCRIBED: usize = 64;
/// Earlier reasons of a description.
pub const REASONS_DESCRIBED: usize = 16;
