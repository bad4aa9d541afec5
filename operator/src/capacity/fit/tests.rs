use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

fn resources(cpu_millis: u64, memory: u64, ephemeral_storage: u64) -> Resources {
    Resources {
        cpu_millis,
        memory,
        ephemeral_storage,
    }
}

fn node(cpu_millis: u64, memory: u64, pods: u64) -> Node {
    let whole = Amounts {
        resources: resources(cpu_millis, memory, 100 * MIB),
        pods,
    };
    Node { whole, free: whole }
}

fn demand(replicas: u32, cpu_millis: u64, memory: u64) -> Demand {
    Demand {
        replicas,
        per_replica: resources(cpu_millis, memory, MIB),
        ..Demand::default()
    }
}

fn unbounded() -> Bounds {
    Bounds::default()
}

#[test]
fn a_replica_fits_on_one_node_not_on_the_sum_of_them() {
    let nodes = [node(1000, 100 * MIB, 10), node(1000, 100 * MIB, 10)];
    assert_eq!(fits(&nodes, &unbounded(), &demand(1, 1000, 100 * MIB)), Ok(()));
    assert_eq!(fits(&nodes, &unbounded(), &demand(2, 1000, 100 * MIB)), Ok(()));
    assert_eq!(
        fits(&nodes, &unbounded(), &demand(1, 1001, MIB)),
        Err(Blocked {
            resource: Resource::Cpu,
            scope: Scope::Node,
            wanted: 1001,
            most: 1000,
            never: true
        })
    );
    assert_eq!(
        fits(&nodes, &unbounded(), &demand(3, 1000, MIB)),
        Err(Blocked {
            resource: Resource::Cpu,
            scope: Scope::Node,
            wanted: 1000,
            most: 0,
            never: false
        })
    );
}

#[test]
fn the_blocking_resource_is_the_one_that_asked_for_less_would_let_it_in() {
    // The large node is short of memory, the small one of cpu: less memory would do, so would less cpu. Memory lacks more.
    let mut large = node(8000, 1000 * MIB, 10);
    large.free.resources.memory = 10 * MIB;
    let small = node(900, 1000 * MIB, 10);
    assert_eq!(
        fits(
            &[large.clone(), small.clone()],
            &unbounded(),
            &demand(1, 1000, 500 * MIB)
        ),
        Err(Blocked {
            resource: Resource::Memory,
            scope: Scope::Node,
            wanted: 500 * MIB,
            most: 10 * MIB,
            never: false
        })
    );
    // Both are short of slots.
    let full = |mut node: Node| {
        node.free.pods = 0;
        node
    };
    let blocked = fits(&[full(large), full(small)], &unbounded(), &demand(1, 100, MIB)).unwrap_err();
    assert_eq!((blocked.resource, blocked.most), (Resource::Pods, 0));
    // No node at all.
    let blocked = fits(&[], &unbounded(), &demand(1, 1, MIB)).unwrap_err();
    assert_eq!((blocked.scope, blocked.never), (Scope::NoNodes, false));
}

#[test]
fn bounds_hold_the_whole() {
    let nodes = [node(8000, 1000 * MIB, 100)];
    let bound = |whole, used| Bound {
        whole: Some(whole),
        used,
    };
    for (bounds, resource, most, never) in [
        (
            Bounds {
                cpu_millis: bound(1000, 900),
                ..unbounded()
            },
            Resource::Cpu,
            100,
            false,
        ),
        (
            Bounds {
                cpu_millis: bound(100, 0),
                ..unbounded()
            },
            Resource::Cpu,
            100,
            true,
        ),
        (
            Bounds {
                memory: bound(30 * MIB, 20 * MIB),
                ..unbounded()
            },
            Resource::Memory,
            10 * MIB,
            false,
        ),
        (
            Bounds {
                ephemeral_storage: bound(MIB, MIB),
                ..unbounded()
            },
            Resource::EphemeralStorage,
            MIB,
            true,
        ),
        (
            Bounds {
                pods: bound(5, 5),
                ..unbounded()
            },
            Resource::Pods,
            0,
            false,
        ),
        // Used more than there is (the admin lowered it): nothing is left, nothing wraps.
        (
            Bounds {
                pods: bound(5, u64::MAX),
                ..unbounded()
            },
            Resource::Pods,
            0,
            false,
        ),
    ] {
        let blocked = fits(&nodes, &bounds, &demand(2, 100, 10 * MIB)).unwrap_err();
        assert_eq!(
            (blocked.resource, blocked.most, blocked.never, blocked.scope),
            (resource, most, never, Scope::Whole)
        );
    }
    assert_eq!(
        fits(
            &nodes,
            &Bounds {
                pods: bound(5, 4),
                ..unbounded()
            },
            &demand(2, 100, MIB)
        ),
        Ok(())
    );
}

#[test]
fn storage_is_apart_from_nodes() {
    let nodes = [node(8000, 1000 * MIB, 100)];
    let wants = Demand {
        storage: 10,
        ..demand(1, 1, MIB)
    };
    assert_eq!(fits(&nodes, &unbounded(), &wants).unwrap_err().scope, Scope::NotOffered);
    let offered = |used| Bounds {
        storage: Bound { whole: Some(10), used },
        ..unbounded()
    };
    assert_eq!(fits(&nodes, &offered(0), &wants), Ok(()));
    let blocked = fits(&nodes, &offered(1), &wants).unwrap_err();
    assert_eq!(
        (blocked.resource, blocked.wanted, blocked.most, blocked.never),
        (Resource::Storage, 10, 9, false)
    );
    let shared = Demand { shared: true, ..wants };
    assert_eq!(fits(&nodes, &offered(0), &shared).unwrap_err().scope, Scope::NotShared);
    let both = Bounds {
        shared_storage: true,
        ..offered(0)
    };
    assert_eq!(fits(&nodes, &both, &shared), Ok(()));
}

#[test]
fn of_two_reasons_the_one_that_never_passes_is_told() {
    let nodes = [node(1000, 100 * MIB, 10)];
    let bounds = Bounds {
        pods: Bound {
            whole: Some(1),
            used: 1,
        },
        ..unbounded()
    };
    assert_eq!(
        fits(&nodes, &bounds, &demand(1, 2000, MIB)).unwrap_err().resource,
        Resource::Cpu
    );
    assert_eq!(
        fits(&nodes, &bounds, &demand(1, 1, MIB)).unwrap_err().resource,
        Resource::Pods
    );
}

#[test]
fn promises_are_placed_largest_first_on_the_fullest_node() {
    let mut nodes = [node(4000, 400 * MIB, 10), node(4000, 400 * MIB, 10)];
    nodes[1].free.resources.cpu_millis = 1500;
    // The small one goes where little is left, so the large one still fits.
    place(
        &mut nodes,
        &[Lack {
            replicas: 1,
            per_replica: resources(1000, MIB, 0),
        }],
    );
    assert_eq!(nodes[1].free.resources.cpu_millis, 500);
    place(
        &mut nodes,
        &[Lack {
            replicas: 1,
            per_replica: resources(4000, MIB, 0),
        }],
    );
    assert_eq!(nodes[0].free.resources.cpu_millis, 0);
    // What fits nowhere takes nothing.
    let before = nodes.clone();
    place(
        &mut nodes,
        &[Lack {
            replicas: u32::MAX,
            per_replica: resources(4000, MIB, 0),
        }],
    );
    assert_eq!(nodes, before);
}

#[test]
fn numbers_at_the_end_of_the_range_neither_wrap_nor_fit() {
    let nodes = [node(u64::MAX, u64::MAX, u64::MAX), node(u64::MAX, u64::MAX, u64::MAX)];
    let most = Demand {
        replicas: 3,
        per_replica: resources(u64::MAX, u64::MAX, u64::MAX),
        storage: u64::MAX,
        shared: false,
    };
    let bound = Bound {
        whole: Some(u64::MAX),
        used: u64::MAX - 1,
    };
    let bounds = Bounds {
        cpu_millis: bound,
        memory: bound,
        ephemeral_storage: bound,
        pods: bound,
        storage: bound,
        shared_storage: false,
    };
    assert!(fits(&nodes, &bounds, &most).is_err());
    assert_eq!(free(&nodes, &unbounded()).cpu_millis, u64::MAX);
    assert_eq!(free(&nodes, &bounds).cpu_millis, 1);
}

fn amounts() -> impl Strategy<Value = Resources> {
    let number = || prop_oneof![8 => 0u64..20, 1 => Just(u64::MAX), 1 => any::<u64>()];
    (number(), number(), number()).prop_map(|(cpu, memory, ephemeral)| resources(cpu, memory, ephemeral))
}

fn node_strategy() -> impl Strategy<Value = Node> {
    (amounts(), 0u64..6, amounts(), 0u64..6).prop_map(|(whole, pods, used, used_pods)| {
        let whole = Amounts { resources: whole, pods };
        Node {
            whole,
            free: whole.saturating_sub(Amounts {
                resources: used,
                pods: used_pods,
            }),
        }
    })
}

fn lack_strategy() -> impl Strategy<Value = Lack> {
    (0u32..4, amounts()).prop_map(|(replicas, per_replica)| Lack { replicas, per_replica })
}

proptest! {
    /// Whatever is placed: no node gives more than it had, and what all nodes gave is what whole replicas take.
    #[test]
    fn no_node_is_ever_over_committed(
        nodes in prop::collection::vec(node_strategy(), 0..5),
        lacking in prop::collection::vec(lack_strategy(), 0..8),
    ) {
        let mut placed = nodes.clone();
        place(&mut placed, &lacking);
        let mut slots = 0;
        for (before, after) in nodes.iter().zip(&placed) {
            prop_assert!(before.free.checked_sub(after.free).is_some());
            slots += before.free.pods - after.free.pods;
        }
        prop_assert!(slots <= lacking.iter().map(|lack| u64::from(lack.replicas)).sum::<u64>());
    }

    #[test]
    fn the_order_of_promises_does_not_matter(
        nodes in prop::collection::vec(node_strategy(), 0..5),
        lacking in prop::collection::vec(lack_strategy(), 0..8).prop_flat_map(|lacking| (Just(lacking.clone()), Just(lacking).prop_shuffle())),
    ) {
        let (mut one, mut other) = (nodes.clone(), nodes);
        place(&mut one, &lacking.0);
        place(&mut other, &lacking.1);
        prop_assert_eq!(one, other);
    }

    /// "Fits" means that it can be placed; a refusal names something that is really short.
    #[test]
    fn verdicts_are_true(
        nodes in prop::collection::vec(node_strategy(), 0..5),
        wanted in lack_strategy(),
    ) {
        let demand = Demand { replicas: wanted.replicas, per_replica: wanted.per_replica, ..Demand::default() };
        let mut placed = nodes.clone();
        let all_placed = (0..wanted.replicas).all(|_| place_one(&mut placed, wanted.per_replica));
        match fits(&nodes, &unbounded(), &demand) {
            Ok(()) => prop_assert!(all_placed),
            Err(blocked) => {
                prop_assert!(!all_placed);
                prop_assert!(blocked.scope == Scope::NoNodes || blocked.wanted > 0);
                prop_assert!(blocked.most < blocked.wanted || blocked.never, "{:?}", blocked);
                let size = Amounts::of_replica(wanted.per_replica);
                let fits_an_empty_node = nodes.iter().any(|node| node.whole.checked_sub(size).is_some());
                prop_assert_eq!(blocked.never, !nodes.is_empty() && !fits_an_empty_node);
            }
        }
    }
}
