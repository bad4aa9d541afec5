use proptest::prelude::*;
use prost::encoding::{encode_key, encode_varint};
use prost_reflect::{Cardinality, Syntax};

use super::*;
use table::Value;

const TABLES: [&str; 6] = [
    "signing.Envelope",
    "provisionPod.ProvisionPodRequest",
    "managePod.ManagePodRequest",
    "attest.AttestRequest",
    "provisioningCapacity.CapacityRequest",
    "pod.Pod",
];

fn tables() -> impl Iterator<Item = (MessageDescriptor, &'static [Field])> {
    TABLES.iter().map(|name| {
        let descriptor = descriptors::message(name).unwrap();
        let fields = table::of(descriptor.full_name()).unwrap();
        (descriptor, fields)
    })
}

fn under(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.into()
    } else {
        format!("{path}.{name}")
    }
}

/// The item's rule, whether in a list or not.
fn item(rule: &Rule) -> &Rule {
    match rule {
        Rule::List { item, .. } => item,
        other => other,
    }
}

fn every_field_has_one_row(descriptor: &MessageDescriptor, fields: &[Field], path: &str, depth: usize) {
    assert!(
        depth < 8,
        "{path}: a recursive message would let a stranger choose the depth"
    );
    for row in fields {
        let known = descriptor.get_field_by_json_name(row.name);
        assert!(
            known.is_some(),
            "{path}: the row `{}` is of no field of {}",
            row.name,
            descriptor.full_name()
        );
    }
    for field in descriptor.fields() {
        let path = under(path, field.json_name());
        let rows: Vec<_> = fields.iter().filter(|row| row.name == field.json_name()).collect();
        let [row] = rows.as_slice() else {
            panic!("{path} has {} rows, not one", rows.len())
        };
        assert!(
            !field.is_packed(),
            "{path}: lists of numbers would be packed, which the walk does not read"
        );
        assert_eq!(field.is_map(), matches!(row.rule, Rule::Map { .. }), "{path}");
        if !matches!(row.rule, Rule::Refused(_)) {
            assert_eq!(field.is_list(), matches!(row.rule, Rule::List { .. }), "{path}");
        }
        match (item(&row.rule), field.kind()) {
            (Rule::Message(fields), Kind::Message(inner)) => every_field_has_one_row(&inner, fields, &path, depth + 1),
            (Rule::Values(values), Kind::Enum(inner)) => {
                for value in inner.values() {
                    let rows = values.iter().filter(|row| row.name == value.name()).collect::<Vec<_>>();
                    let [Value { number, .. }] = rows.as_slice() else {
                        panic!("{path}: {} has no row", value.name())
                    };
                    assert_eq!(
                        i64::from(*number),
                        i64::from(value.number()),
                        "{path}: {}",
                        value.name()
                    );
                }
                assert_eq!(values.len(), inner.values().len(), "{path}");
            }
            (Rule::Map { .. }, Kind::Message(entry)) => {
                assert!(matches!(entry.map_entry_key_field().kind(), Kind::String), "{path}");
                assert!(matches!(entry.map_entry_value_field().kind(), Kind::String), "{path}");
            }
            (Rule::Served, Kind::Message(_) | Kind::Enum(_)) => {
                panic!("{path} is served without rows for what is in it")
            }
            (Rule::Served | Rule::Refused(_), _) => {}
            _ => panic!("{path}: the row does not fit the field's type"),
        }
    }
}

#[test]
fn every_field_of_every_request_is_served_or_refused() {
    for (descriptor, fields) in tables() {
        assert_eq!(descriptor.parent_file().syntax(), Syntax::Proto3);
        every_field_has_one_row(&descriptor, fields, "", 0);
    }
}

fn with_length(field: &FieldDescriptor, bytes: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    encode_key(field.number(), WireType::LengthDelimited, &mut to);
    encode_varint(bytes.len() as u64, &mut to);
    to.extend_from_slice(bytes);
    to
}

fn number(field: &FieldDescriptor, number: u64) -> Vec<u8> {
    let mut to = Vec::new();
    encode_key(field.number(), WireType::Varint, &mut to);
    encode_varint(number, &mut to);
    to
}

/// The field alone, with a value that is not the default.
fn set(field: &FieldDescriptor) -> Vec<u8> {
    match field.kind() {
        Kind::Bool | Kind::Uint32 | Kind::Uint64 => number(field, 1),
        Kind::String | Kind::Bytes => with_length(field, b"x"),
        Kind::Message(_) => with_length(field, b""),
        other => panic!("no field of a request is a {other:?}"),
    }
}

/// The field alone, with its default value spelled out; `None` when even that means that it is set.
fn default(field: &FieldDescriptor) -> Option<Vec<u8>> {
    let bytes = match field.kind() {
        Kind::Bool | Kind::Uint32 | Kind::Uint64 => number(field, 0),
        Kind::String | Kind::Bytes => with_length(field, b""),
        _ => return None,
    };
    (!field.supports_presence() && field.cardinality() != Cardinality::Repeated).then_some(bytes)
}

/// From a field of a message that is deep inside to the bytes of the request.
type Wrap<'a> = dyn Fn(Vec<u8>) -> Vec<u8> + 'a;
type Visit<'a> = dyn FnMut(&'static Rule, &FieldDescriptor, &str, &Wrap<'_>) + 'a;

/// Calls `visit` for each row with its field, its path with every list's first item, and what wraps a field of that message.
fn rows(descriptor: &MessageDescriptor, fields: &'static [Field], path: &str, wrap: &Wrap<'_>, visit: &mut Visit<'_>) {
    for row in fields {
        let field = descriptor.get_field_by_json_name(row.name).unwrap();
        let path = under(path, row.name);
        visit(&row.rule, &field, &path, wrap);
        if let (Rule::Message(inner_fields), Kind::Message(inner)) = (item(&row.rule), field.kind()) {
            let path = if field.is_list() { format!("{path}[0]") } else { path };
            rows(
                &inner,
                inner_fields,
                &path,
                &|bytes| wrap(with_length(&field, &bytes)),
                visit,
            );
        }
    }
}

fn assert_refused(descriptor: &MessageDescriptor, bytes: &[u8], code: Code, path: &str) {
    let refused = check(descriptor.clone(), bytes).expect_err(path);
    assert_eq!((refused.code, refused.field.as_str()), (code, path), "{refused}");
    assert!(!refused.message.is_empty());
}

#[test]
fn every_row_that_refuses_does_so_when_its_field_alone_is_set() {
    let mut refusals = 0;
    for (descriptor, fields) in tables() {
        rows(
            &descriptor,
            fields,
            "",
            &|bytes| bytes,
            &mut |rule, field, path, wrap| match rule {
                Rule::Refused(no) => {
                    refusals += 1;
                    assert_refused(&descriptor, &wrap(set(field)), no.code, path);
                    if let Some(bytes) = default(field) {
                        let answer = check(descriptor.clone(), &wrap(bytes));
                        assert_eq!(answer, Ok(()), "{path}: its default is not set");
                    }
                }
                Rule::Values(values) => {
                    for value in *values {
                        let answer = check(descriptor.clone(), &wrap(number(field, value.number.into())));
                        assert_eq!(answer, Ok(()), "{path}");
                    }
                    assert_refused(&descriptor, &wrap(number(field, 99)), Code::InvalidManifest, path);
                }
                Rule::List { max, beyond, .. } => {
                    // One more than the bound; items that are refused by themselves come earlier.
                    let many = set(field).repeat(max + 1);
                    let refused = check(descriptor.clone(), &wrap(many)).unwrap_err();
                    if refused.field == format!("{path}[{max}]") {
                        let code = beyond.as_ref().map_or(Code::InvalidManifest, |no| no.code);
                        assert_eq!(refused.code, code, "{path}");
                    } else {
                        assert_eq!(
                            refused.field.split(']').next(),
                            Some(format!("{path}[0").as_str()),
                            "{refused}"
                        );
                    }
                }
                Rule::Served | Rule::Message(_) | Rule::Map { .. } => {}
            },
        );
    }
    assert!(refusals > 25, "{refusals}");
}

#[test]
fn unknown_fields_are_refused_wherever_they_are() {
    let mut places = 0;
    for (descriptor, fields) in tables() {
        let mut unknown = Vec::new();
        encode_key(1000, WireType::Varint, &mut unknown);
        encode_varint(0, &mut unknown);
        assert_refused(&descriptor, &unknown, Code::UnknownField, "");
        rows(
            &descriptor,
            fields,
            "",
            &|bytes| bytes,
            &mut |rule, field, path, wrap| {
                if matches!(item(rule), Rule::Message(_)) {
                    places += 1;
                    let path = if field.is_list() {
                        format!("{path}[0]")
                    } else {
                        path.to_owned()
                    };
                    let bytes = wrap(with_length(field, &unknown));
                    assert_refused(&descriptor, &bytes, Code::UnknownField, &path);
                    let told = check(descriptor.clone(), &bytes).unwrap_err();
                    assert!(told.message.contains("1000"), "{told}");
                }
            },
        );
    }
    assert!(places > 20, "{places}");
}

#[test]
fn what_a_decoder_would_drop_is_refused() {
    let provision = descriptors::message("provisionPod.ProvisionPodRequest").unwrap();
    let detach = provision.get_field_by_json_name("detach").unwrap();
    assert!(check(provision.clone(), &number(&detach, 1)).is_ok());
    let twice = [number(&detach, 1), number(&detach, 0)].concat();
    assert_refused(&provision, &twice, Code::Malformed, "detach");
    let as_text = with_length(&detach, b"1");
    assert_refused(&provision, &as_text, Code::Malformed, "detach");

    let manage = descriptors::message("managePod.ManagePodRequest").unwrap();
    let [watch, delete] = ["watch", "delete"].map(|name| manage.get_field_by_json_name(name).unwrap());
    let both = [set(&watch), set(&delete)].concat();
    assert_refused(&manage, &both, Code::Malformed, "delete");

    let pod = descriptors::message("pod.Pod").unwrap();
    let replicas = pod.get_field_by_json_name("replicas").unwrap();
    let Kind::Message(inner) = replicas.kind() else {
        panic!()
    };
    let min = inner.get_field_by_json_name("min").unwrap();
    let cut_to_one = with_length(&replicas, &number(&min, (1 << 32) + 1));
    assert_refused(&pod, &cut_to_one, Code::Malformed, "replicas.min");
}

#[test]
fn a_variable_given_twice_or_not_as_text_is_refused() {
    let pod = descriptors::message("pod.Pod").unwrap();
    let containers = pod.get_field_by_json_name("containers").unwrap();
    let Kind::Message(container) = containers.kind() else {
        panic!()
    };
    let env = container.get_field_by_json_name("env").unwrap();
    let Kind::Message(entry) = env.kind() else { panic!() };
    let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
    let variable =
        |name: &[u8], text: &[u8]| with_length(&env, &[with_length(&key, name), with_length(&value, text)].concat());
    let one = |bytes: Vec<u8>| with_length(&containers, &bytes);

    assert!(check(pod.clone(), &one([variable(b"A", b"1"), variable(b"B", b"2")].concat())).is_ok());
    let twice = one([variable(b"A", b"1"), variable(b"A", b"2")].concat());
    assert_refused(&pod, &twice, Code::Malformed, "containers[0].env[A]");
    assert_refused(
        &pod,
        &one(variable(b"A", &[0xff])),
        Code::Malformed,
        "containers[0].env",
    );
    let many = (0..=crate::limits::ENV_MAX)
        .flat_map(|n| variable(format!("V{n}").as_bytes(), b""))
        .collect();
    assert_refused(&pod, &one(many), Code::InvalidManifest, "containers[0].env");
}

#[test]
fn a_message_full_of_empty_messages_is_refused_before_it_is_decoded() {
    // Decoded, these two-byte containers take hundreds of megabytes.
    let pod = [0x0a, 0x00].repeat(500_000);
    let mut request = Vec::new();
    encode_key(1, WireType::LengthDelimited, &mut request);
    encode_varint(pod.len() as u64, &mut request);
    request.extend(pod);
    let refused = decode::<v0::provision_pod::ProvisionPodRequest>(&request).unwrap_err();
    assert_eq!(
        (refused.code, refused.field.as_str()),
        (Code::InvalidManifest, "pod.containers[16]")
    );
}

#[test]
fn a_message_cut_anywhere_is_refused_or_a_message() {
    let request = v0::provision_pod::ProvisionPodRequest {
        pod: Some(v0::pod::Pod {
            containers: vec![v0::pod::Container {
                name: "app".into(),
                ..Default::default()
            }],
            ..Default::default()
        }),
        detach: true,
        after_life: 300,
        ..Default::default()
    };
    let bytes = request.encode_to_vec();
    assert_eq!(decode::<v0::provision_pod::ProvisionPodRequest>(&bytes), Ok(request));
    for end in 0..bytes.len() {
        let cut = decode::<v0::provision_pod::ProvisionPodRequest>(&bytes[..end]);
        if let Err(refused) = cut {
            assert_eq!(refused.code, Code::Malformed, "{refused}");
        }
    }
}

fn never_panics(bytes: &[u8]) -> Result<(), TestCaseError> {
    fn agrees<M: Request>(bytes: &[u8]) -> Result<(), TestCaseError> {
        let descriptor = descriptors::message(M::NAME).unwrap();
        if check(descriptor, bytes).is_ok() {
            prop_assert!(
                M::decode(bytes).is_ok(),
                "{} passes the check and does not decode",
                M::NAME
            );
        }
        Ok(())
    }
    agrees::<v0::signing::Envelope>(bytes)?;
    agrees::<v0::provision_pod::ProvisionPodRequest>(bytes)?;
    agrees::<v0::manage_pod::ManagePodRequest>(bytes)?;
    agrees::<v0::attest::AttestRequest>(bytes)?;
    agrees::<v0::provisioning_capacity::CapacityRequest>(bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        never_panics(&bytes)?;
    }

    #[test]
    fn bytes_that_nearly_are_a_request_are_answered(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), twice in any::<bool>()
    ) {
        let request = v0::signing::Envelope {
            operation: "provision".into(), pod_id: vec![1; 32], request: vec![0x0a, 0x02, 0x0a, 0x00], chain_id: 1 << 40,
            ..Default::default()
        };
        let mut bytes = request.encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if twice { bytes.extend_from_within(at..) }
        never_panics(&bytes)?;
    }
}
