//! The table: one row per field of each request, served or refused. A test walks the descriptors and finds every field here.

use crate::{limits, outcome::Code};

pub(super) struct Field {
    /// lowerCamel (the protobuf-JSON name).
    pub(super) name: &'static str,
    pub(super) rule: Rule,
}

pub(super) enum Rule {
    Served,
    /// Known, not served: refused when set. Covers everything below it.
    Refused(No),
    Message(&'static [Field]),
    /// An enum: its values, all of them served.
    Values(&'static [Value]),
    /// At most `max` items; `beyond` when a greater number is only not served yet.
    List {
        max: usize,
        beyond: Option<No>,
        item: &'static Rule,
    },
    /// Text to text.
    Map {
        max: usize,
    },
}

/// A value of an enum.
pub(super) struct Value {
    pub(super) name: &'static str,
    pub(super) number: u32,
}

pub(super) struct No {
    pub(super) code: Code,
    pub(super) message: &'static str,
    pub(super) remedy: &'static str,
}

impl No {
    pub(super) const UNLISTED: No = No {
        code: Code::Unimplemented,
        message: "this field is not served by this version",
        remedy: "leave it out",
    };
}

const fn served(name: &'static str) -> Field {
    Field {
        name,
        rule: Rule::Served,
    }
}

const fn part(name: &'static str, fields: &'static [Field]) -> Field {
    Field {
        name,
        rule: Rule::Message(fields),
    }
}

const fn list(name: &'static str, max: usize, item: &'static Rule) -> Field {
    Field {
        name,
        rule: Rule::List {
            max,
            beyond: None,
            item,
        },
    }
}

const fn no(name: &'static str, code: Code, message: &'static str, remedy: &'static str) -> Field {
    Field {
        name,
        rule: Rule::Refused(No { code, message, remedy }),
    }
}

const fn not_served(name: &'static str, message: &'static str, remedy: &'static str) -> Field {
    no(name, Code::NotServed, message, remedy)
}

const fn unimplemented_(name: &'static str, message: &'static str, remedy: &'static str) -> Field {
    no(name, Code::Unimplemented, message, remedy)
}

/// The rows of a request, or of `pod.Pod`, by the message's full name.
pub(super) fn of(full_name: &str) -> Option<&'static [Field]> {
    match full_name.strip_prefix("apocryph.proto.v0.")? {
        "signing.Envelope" => Some(ENVELOPE),
        "provisionPod.ProvisionPodRequest" => Some(PROVISION),
        "managePod.ManagePodRequest" => Some(MANAGE),
        "attest.AttestRequest" => Some(ATTEST),
        "provisioningCapacity.CapacityRequest" => Some(CAPACITY),
        "pod.Pod" => Some(POD),
        _ => None,
    }
}

const fn value(name: &'static str, number: u32) -> Value {
    Value { name, number }
}

/// The values that may be written.
pub(super) fn names(values: &[Value]) -> String {
    values.iter().map(|value| value.name).collect::<Vec<_>>().join(", ")
}

const LEAVE_OUT: &str = "leave it out";

const ENVELOPE: &[Field] = &[
    served("operation"),
    served("podId"),
    served("requestHash"),
    served("provider"),
    served("requester"),
    served("request"),
    served("publisher"),
    served("chainId"),
    served("issuedAt"),
    served("expiresAt"),
    served("afterGeneration"),
    served("signature"),
    part("delegation", DELEGATION),
    unimplemented_(
        "sealed",
        "sealed requests are not served by this version",
        "send the envelope unsealed",
    ),
];

const DELEGATION: &[Field] = &[
    served("publisher"),
    served("delegate"),
    list("operations", limits::DELEGATED_OPERATIONS_MAX, &Rule::Served),
    served("podId"),
    served("anyPod"),
    served("expiresAt"),
    served("chainId"),
    served("signature"),
];

const PROVISION: &[Field] = &[
    part("pod", POD),
    part("payment", PAYMENT),
    served("dryRun"),
    served("detach"),
    served("afterLife"),
];

const CHANNELS: &str = "payment channels are not served by this version";
const PAY_FREE: &str = "leave it empty; only publisherAddress and podID are given for a free pod";

const PAYMENT: &[Field] = &[
    not_served("chainID", CHANNELS, PAY_FREE),
    not_served("contractAddress", CHANNELS, PAY_FREE),
    served("publisherAddress"),
    not_served("providerAddress", CHANNELS, PAY_FREE),
    served("podID"),
];

const MANAGE: &[Field] = &[
    part("watch", &[]),
    part("list", &[]),
    part("describe", &[]),
    unimplemented_(
        "update",
        "`update` is not served by this version",
        "use `delete`, then provision anew with afterLife",
    ),
    part(
        "logs",
        &[
            served("containerName"),
            served("follow"),
            served("tailLines"),
            served("since"),
            served("previous"),
        ],
    ),
    part("delete", &[served("life")]),
    part("revoke", &[served("notBefore")]),
];

const ATTEST: &[Field] = &[served("nonce"), served("wantCapacity")];

const CAPACITY: &[Field] = &[
    Field {
        name: "resources",
        rule: Rule::List {
            max: limits::RESOURCES_MAX,
            beyond: Some(No {
                code: Code::InvalidRequest,
                message: "more resources than a pod can ask for",
                remedy: "name each resource once",
            }),
            item: &Rule::Message(RESOURCE),
        },
    },
    not_served("requirements", REQUIREMENTS, LEAVE_OUT),
];

const REQUIREMENTS: &str = "requirements on the node are not served by this version";

const POD: &[Field] = &[
    list("containers", limits::CONTAINERS_MAX, &Rule::Message(CONTAINER)),
    list("volumes", limits::VOLUMES_MAX, &Rule::Message(VOLUME)),
    part(
        "replicas",
        &[
            served("min"),
            served("max"),
            no(
                "targetPendingRequests",
                Code::ScalingNotServed,
                "scaling is not served by this version",
                LEAVE_OUT,
            ),
        ],
    ),
    not_served(
        "keyPair",
        "key pairs for pods are not served by this version",
        LEAVE_OUT,
    ),
    not_served(
        "verificationSettings",
        "verification of images is not served by this version",
        LEAVE_OUT,
    ),
    not_served("requirements", REQUIREMENTS, LEAVE_OUT),
    served("fsGroup"),
];

const CONTAINER: &[Field] = &[
    served("name"),
    part("image", IMAGE),
    list("command", limits::WORDS_MAX, &Rule::Served),
    list("args", limits::WORDS_MAX, &Rule::Served),
    served("workingDir"),
    list("ports", limits::PORTS_MAX, &Rule::Message(PORT)),
    Field {
        name: "env",
        rule: Rule::Map { max: limits::ENV_MAX },
    },
    list(
        "volumes",
        limits::MOUNTS_MAX,
        &Rule::Message(&[served("name"), served("mountPath"), served("readOnly")]),
    ),
    list("resourceRequests", limits::RESOURCES_MAX, &Rule::Message(RESOURCE)),
    part("user", &[served("uid"), served("gid")]),
];

const IMAGE: &[Field] = &[
    not_served(
        "cid",
        "images by CID are not served by this version",
        "push the image to a registry and give image.url",
    ),
    not_served("key", "encrypted images are not served by this version", LEAVE_OUT),
    served("url"),
    not_served(
        "verificationDetails",
        "verification of images is not served by this version",
        "give a digest in image.url",
    ),
    part("pullSecret", &[served("username"), served("password")]),
];

const PORT: &[Field] = &[
    served("name"),
    served("targetPort"),
    served("port"),
    not_served(
        "hostHttpHost",
        "ports by HTTP host name are not served by this version",
        "leave it out: the port is offered as TCP",
    ),
    not_served(
        "hostTcpPort",
        "a port number on the host cannot be chosen in this version",
        "leave it out: the status names the address",
    ),
    Field {
        name: "protocol",
        rule: Rule::Values(&[value("TCP", 0), value("UDP", 1)]),
    },
    not_served(
        "hostIP",
        "an address cannot be chosen in this version",
        "leave it out: the status names the address",
    ),
];

const VOLUME: &[Field] = &[
    served("name"),
    Field {
        name: "type",
        rule: Rule::Values(&[
            value("VOLUME_EMPTY", 0),
            value("VOLUME_FILESYSTEM", 1),
            value("VOLUME_SECRET", 2),
        ]),
    },
    Field {
        name: "accessMode",
        rule: Rule::Values(&[value("VOLUME_RW_ONE", 0), value("VOLUME_RW_MANY", 2)]),
    },
    part(
        "filesystem",
        &[list(
            "resourceRequests",
            limits::RESOURCES_MAX,
            &Rule::Message(RESOURCE),
        )],
    ),
    part(
        "secret",
        &[
            not_served(
                "cid",
                "secrets by CID are not served by this version",
                "give file, contents or contentsString",
            ),
            not_served("key", "encrypted secrets are not served by this version", LEAVE_OUT),
            no(
                "file",
                Code::InvalidManifest,
                "the name of a file means nothing to a provider: the client sends its contents",
                "give contents or contentsString",
            ),
            served("contents"),
            served("contentsString"),
        ],
    ),
];

const RESOURCE: &[Field] = &[
    served("resource"),
    served("amount"),
    served("amountMillis"),
    served("amountKibi"),
    served("amountMebi"),
    served("amountGibi"),
];
