//! The existing network's binary messages decode, and mean what their JSON says: compared by field number, because names
//! have changed.

use std::{fs, path::Path};

use apocryph_proto::{descriptors, json, v0};
use data_encoding::HEXLOWER;
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage};
use serde_json::{Map, Value};

/// Old name, its message, and the name under which the same number stands now.
const RENAMED: [(&str, &str, &str); 4] = [
    ("pod.Container.Port", "containerPort", "targetPort"),
    ("pod.Container.Port", "servicePort", "port"),
    ("pod.Container", "entrypoint", "command"),
    ("pod.Container", "command", "args"),
];

/// The vectors' JSON with today's names; entrypoint and command move at once.
fn renamed(descriptor: &MessageDescriptor, value: &Value) -> Value {
    let Value::Object(fields) = value else {
        return value.clone();
    };
    let message = descriptor.full_name().strip_prefix("apocryph.proto.v0.").unwrap();
    let fields = fields.iter().map(|(name, value)| {
        let new = RENAMED
            .iter()
            .find(|(of, old, _)| *of == message && old == name)
            .map_or(name.as_str(), |(_, _, new)| new);
        let field = descriptor
            .get_field_by_json_name(new)
            .unwrap_or_else(|| panic!("{message} has no {new}"));
        let value = match (field.kind(), value) {
            (prost_reflect::Kind::Message(inner), Value::Array(items)) => {
                items.iter().map(|item| renamed(&inner, item)).collect()
            }
            (prost_reflect::Kind::Message(inner), _) if !field.is_map() => renamed(&inner, value),
            _ => value.clone(),
        };
        (new.to_owned(), value)
    });
    Value::Object(fields.collect::<Map<_, _>>())
}

fn check(vector: &Value) {
    let note = &vector["note"];
    // The vectors write `misc` for what is `pricing` on the wire; a package's name is not sent.
    let name = vector["message"]
        .as_str()
        .unwrap()
        .strip_prefix("apocryph.proto.v0.")
        .unwrap()
        .replace("misc.", "pricing.");
    let descriptor = descriptors::message(&name).unwrap_or_else(|| panic!("{name}"));
    let bytes = HEXLOWER.decode(vector["hex"].as_str().unwrap().as_bytes()).unwrap();

    let decoded = descriptors::decode(descriptor.clone(), &bytes).unwrap();
    let said = json::from_value(descriptor.clone(), renamed(&descriptor, &vector["json"])).unwrap();
    // As JSON first: it says where they differ.
    assert_eq!(
        serde_json::to_value(&decoded).unwrap(),
        serde_json::to_value(&said).unwrap(),
        "{name}, {note}"
    );
    assert!(decoded == said, "{name}, {note}");
    assert_no_unknown(&decoded);
    // Written again it is what their programs wrote: fields in the order of their numbers.
    assert_eq!(
        HEXLOWER.encode(&decoded.encode_to_vec()),
        HEXLOWER.encode(&bytes),
        "{name}, {note}"
    );

    let typed = match name.as_str() {
        "provisionPod.ProvisionPodRequest" => again::<v0::provision_pod::ProvisionPodRequest>(&bytes),
        "provisionPod.UpdatePodRequest" => again::<v0::provision_pod::UpdatePodRequest>(&bytes),
        "provisionPod.DeletePodRequest" => again::<v0::provision_pod::DeletePodRequest>(&bytes),
        "provisionPod.ProvisionPodResponse" => again::<v0::provision_pod::ProvisionPodResponse>(&bytes),
        "provisionPod.PodLogRequest" => again::<v0::provision_pod::PodLogRequest>(&bytes),
        "provisionPod.PodLogResponse" => again::<v0::provision_pod::PodLogResponse>(&bytes),
        "pricing.PricingTables" => again::<v0::pricing::PricingTables>(&bytes),
        "pod.Pod" => again::<v0::pod::Pod>(&bytes),
        other => panic!("{other}: no generated type is named here"),
    };
    assert_eq!(
        HEXLOWER.encode(&typed),
        HEXLOWER.encode(&bytes),
        "{name}, {note}, through the generated type"
    );
}

fn again<M: Message + Default>(bytes: &[u8]) -> Vec<u8> {
    M::decode(bytes).unwrap().encode_to_vec()
}

fn assert_no_unknown(message: &DynamicMessage) {
    assert_eq!(
        message.unknown_fields().count(),
        0,
        "{}",
        message.descriptor().full_name()
    );
    for (_, value) in message.fields() {
        let inner = match value {
            prost_reflect::Value::Message(inner) => vec![inner],
            prost_reflect::Value::List(items) => items.iter().filter_map(|item| item.as_message()).collect(),
            _ => Vec::new(),
        };
        inner.into_iter().for_each(assert_no_unknown);
    }
}

/// A list of vectors, or the list `protobuf` in a larger file.
fn check_file(path: &Path) -> usize {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: Value = serde_json::from_str(&text).unwrap();
    let vectors = file
        .as_array()
        .or_else(|| file["protobuf"].as_array())
        .expect("a list of vectors, or one under `protobuf`");
    vectors.iter().for_each(check);
    vectors.len()
}

#[test]
fn messages_of_the_existing_network_decode() {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/interop-protobuf.json");
    assert!(check_file(&ours) >= 7);
}

/// `APOCRYPH_VECTORS` names another file of the same form.
#[test]
fn messages_of_another_file_decode() {
    if let Some(path) = std::env::var_os("APOCRYPH_VECTORS") {
        assert!(check_file(Path::new(&path)) > 0);
    }
}
