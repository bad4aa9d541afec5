//! A verdict in words.

use apocryph_proto::outcome::Code;

use super::fit::{Blocked, Resource, Scope};
use crate::model::refusal::Refusal;

/// Seconds after which a full provider may have room.
const FULL_RETRY_AFTER: u32 = 60;

pub fn too_many_holds() -> Refusal {
    Refusal::busy("too many requests are being decided")
}

pub fn too_many_waiters() -> Refusal {
    Refusal::busy("too many requests for this pod are being decided").remedy("try again, with one request at a time")
}

/// Another's ended pod is never forgotten before its time for a new one: whoever resumes that one would start it again.
pub fn too_many_ended(most: u32) -> Refusal {
    Refusal::new(
        Code::InsufficientCapacity,
        format!("This provider remembers {most} ended pods, as many as it does, and takes no new one until some are forgotten."),
    )
    .remedy("Try again later, or choose another provider.")
    .resource(Resource::Pods.as_str())
    .retry_after(FULL_RETRY_AFTER)
}

pub fn blocked(blocked: Blocked) -> Refusal {
    let Blocked {
        resource,
        scope,
        wanted,
        most,
        never,
    } = blocked;
    let name = resource.as_str();
    let (wanted, most) = (amount(resource, wanted), amount(resource, most));
    let message = match (scope, never) {
        (Scope::NotOffered, _) => format!("the pod wants {wanted}; none is offered here"),
        (Scope::NotShared, _) => {
            "the pod wants a volume that several nodes write (VOLUME_RW_MANY); none is offered here".to_owned()
        }
        (Scope::NoNodes, _) => "no node takes tenants now".to_owned(),
        (Scope::Node, true) => format!(
            "one replica wants {wanted}; no node that could hold the rest of it has more than {most}, even empty"
        ),
        (Scope::Node, false) => {
            format!("one replica wants {wanted}; no node that has room for the rest of it has more than {most} free")
        }
        (Scope::Whole, true) => format!("the pod wants {wanted}; no more than {most} is rented out here in all"),
        (Scope::Whole, false) if resource == Resource::Pods => {
            "as many pods as are rented out here run already".to_owned()
        }
        (Scope::Whole, false) => format!("the pod wants {wanted}; of all that is rented out here, {most} is left"),
    };
    let (code, remedy) = match (scope, never) {
        (Scope::NotOffered, _) => (
            Code::StorageNotOffered,
            "leave out the volumes, or take another provider".to_owned(),
        ),
        (Scope::NotShared, _) => (
            Code::StorageNotOffered,
            "give accessMode VOLUME_RW_ONE and one replica, or take another provider".to_owned(),
        ),
        (Scope::NoNodes, _) => (
            Code::InsufficientCapacity,
            "try again later, or take another provider".to_owned(),
        ),
        (_, true) => (
            Code::LargerThanAnyNode,
            format!("ask for less {name}, or take another provider"),
        ),
        (_, false) if resource == Resource::Pods => (
            Code::InsufficientCapacity,
            "try again later, or take another provider".to_owned(),
        ),
        (_, false) => (
            Code::InsufficientCapacity,
            format!("ask for less {name}, try again later, or take another provider"),
        ),
    };
    let refusal = Refusal::new(code, message).remedy(remedy).resource(name);
    if code == Code::InsufficientCapacity {
        refusal.retry_after(FULL_RETRY_AFTER)
    } else {
        refusal
    }
}

/// As people write it: `1.5 cores`, `512 MiB of memory`, `3 pods`.
fn amount(resource: Resource, amount: u64) -> String {
    match resource {
        Resource::Cpu => format!(
            "{} {}",
            decimal(amount, 1000),
            if amount == 1000 { "core" } else { "cores" }
        ),
        Resource::Pods => format!("{amount} {}", if amount == 1 { "pod" } else { "pods" }),
        Resource::Memory | Resource::EphemeralStorage | Resource::Storage => {
            let units = [
                ("TiB", 1u64 << 40),
                ("GiB", 1 << 30),
                ("MiB", 1 << 20),
                ("KiB", 1 << 10),
            ];
            match units.into_iter().find(|(_, size)| amount >= *size) {
                Some((unit, size)) => format!("{} {unit} of {}", decimal(amount, size), resource.as_str()),
                None => format!("{amount} bytes of {}", resource.as_str()),
            }
        }
    }
}

/// Quotient with at most three digits behind the point, rounded down.
fn decimal(amount: u64, unit: u64) -> String {
    let thousandths = u128::from(amount % unit) * 1000 / u128::from(unit.max(1));
    let text = format!("{}.{thousandths:03}", amount / unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_like_people_write_them() {
        for (resource, value, text) in [
            (Resource::Cpu, 1000, "1 core"),
            (Resource::Cpu, 1500, "1.5 cores"),
            (Resource::Cpu, 20, "0.02 cores"),
            (Resource::Memory, 16 << 20, "16 MiB of memory"),
            (Resource::Memory, (3 << 30) / 2, "1.5 GiB of memory"),
            (Resource::Storage, 10 << 30, "10 GiB of storage"),
            (Resource::EphemeralStorage, 1000, "1000 bytes of ephemeral-storage"),
            (
                Resource::EphemeralStorage,
                u64::MAX,
                "16777215.999 TiB of ephemeral-storage",
            ),
            (Resource::Pods, 1, "1 pod"),
        ] {
            assert_eq!(amount(resource, value), text);
        }
    }

    #[test]
    fn a_verdict_tells_what_is_wanted_what_there_is_and_what_to_do() {
        let of = |resource, scope, wanted, most, never| {
            blocked(Blocked {
                resource,
                scope,
                wanted,
                most,
                never,
            })
        };
        let verdicts = [
            of(Resource::Memory, Scope::Node, 2 << 30, 3 << 29, false),
            of(Resource::Cpu, Scope::Node, 64_000, 3_920, true),
            of(Resource::Cpu, Scope::Whole, 2_000, 500, false),
            of(Resource::Memory, Scope::Whole, 2 << 40, 1 << 30, true),
            of(Resource::Pods, Scope::Whole, 1, 0, false),
            of(Resource::Pods, Scope::NoNodes, 1, 0, false),
            of(Resource::Storage, Scope::Whole, 10 << 30, 1 << 30, false),
            of(Resource::Storage, Scope::NotOffered, 10 << 30, 0, true),
            of(Resource::Storage, Scope::NotShared, 10 << 30, 0, true),
        ];
        let lines: Vec<String> = verdicts
            .iter()
            .map(|r| {
                format!(
                    "{r}; remedy: {}; resource: {:?}; retry after: {:?}",
                    r.remedy, r.resource, r.retry_after
                )
            })
            .collect();
        insta::assert_yaml_snapshot!(lines);
    }
}
