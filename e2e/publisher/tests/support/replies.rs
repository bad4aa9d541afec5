//! What a provider says on a stream of provision-pod or manage-pod.

use apocryph_proto::v0::provision_pod::{
    self as wire, PodReply, PodStatus, Refusal, pod_reply::Message as Body, pod_status::Phase,
};

use super::Act;

/// A status that is not final, of life 1.
pub fn status(phase: Phase, code: &str) -> Act {
    Act::Send(PodReply {
        message: Some(Body::Status(pod_status(phase, code, 1))),
        r#final: false,
    })
}

/// Running, with an address.
pub fn running() -> Act {
    let mut status = pod_status(Phase::Running, "running", 1);
    status.replicas_ready = 1;
    status.addresses = vec![wire::Address {
        container_name: "web".into(),
        port_name: "http".into(),
        multiaddr: "/ip4/203.0.113.7/tcp/30432".into(),
    }];
    Act::Send(PodReply {
        message: Some(Body::Status(status)),
        r#final: false,
    })
}

/// The end of a life, final.
pub fn ended(code: &str, life: u64) -> Act {
    Act::Send(PodReply {
        message: Some(Body::Status(pod_status(Phase::Ended, code, life))),
        r#final: true,
    })
}

pub fn pod_status(phase: Phase, code: &str, life: u64) -> PodStatus {
    PodStatus {
        phase: phase.into(),
        code: code.into(),
        message: format!("The pod is {code}."),
        name: "abcdefghijklmnopqrstuvwxyz".into(),
        life,
        generation: 1,
        replicas: 1,
        at: 1_700_000_000,
        ..PodStatus::default()
    }
}

pub fn refusal(code: &str) -> Act {
    refuse(Refusal {
        code: code.into(),
        message: format!("It is {code}."),
        ..Refusal::default()
    })
}

pub fn refuse(refusal: Refusal) -> Act {
    Act::Send(PodReply {
        message: Some(Body::Refusal(refusal)),
        r#final: true,
    })
}
