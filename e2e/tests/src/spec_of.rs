//! A manifest as the spec of an `ApocryphPod`, without asking whether it is a good one: what is wrong in the manifest is
//! wrong in the spec, so that the API server can say so. Admission never goes this way.

use serde_json::{Map, Value, json};

/// What a container gets that asks for nothing: the API server wants numbers where admission fills in the chart's.
const DEFAULTS: [(&str, u64); 3] = [("cpuMillis", 100), ("memory", 64 << 20), ("ephemeralStorage", 64 << 20)];
/// What an emptied volume gets that names no size.
const EMPTY_VOLUME: u64 = 64 << 20;
/// A Secret that an admin names.
const SECRET: &str = "values-of-the-manifest";

/// The largest number of a spec, as the API server reads it; a larger one would be of another type.
const MOST: u64 = i64::MAX as u64;

/// The spec of an admin's own pod (no tag, free) that runs `pod`, a manifest in protobuf-JSON. What an ApocryphPod has no
/// field for is left out; numbers beyond what the spec's can be become the largest that they can.
pub fn spec_of(pod: &Value, publisher: &str, pod_id: &str) -> Value {
    let containers: Vec<Value> = list(&pod["containers"]).iter().map(container).collect();
    let volumes: Vec<Value> = list(&pod["volumes"]).iter().map(volume).collect();
    let pulls = list(&pod["containers"])
        .iter()
        .any(|container| container["image"]["pullSecret"].is_object());
    let is_secret = pulls
        || containers.iter().any(|container| !list(&container["env"]).is_empty())
        || volumes.iter().any(|volume| volume["type"] == "Secret");
    let mut spec = Map::new();
    spec.insert("publisher".into(), publisher.into());
    spec.insert("podId".into(), pod_id.into());
    spec.insert("payment".into(), json!({"free": {}}));
    spec.insert("containers".into(), containers.into());
    spec.insert("volumes".into(), volumes.into());
    spec.insert(
        "replicas".into(),
        number(&pod["replicas"]["min"]).unwrap_or(0).max(1).into(),
    );
    if is_secret {
        spec.insert("secretName".into(), SECRET.into());
    }
    if pulls {
        spec.insert("pullSecret".into(), true.into());
    }
    if let Some(group) = number(&pod["fsGroup"]) {
        spec.insert("fsGroup".into(), group.into());
    }
    spec.into()
}

fn container(container: &Value) -> Value {
    let mut resources: Map<String, Value> = DEFAULTS
        .iter()
        .map(|(name, amount)| ((*name).into(), (*amount).into()))
        .collect();
    for request in list(&container["resourceRequests"]) {
        let (name, unit) = match request["resource"].as_str() {
            Some("cpu") => ("cpuMillis", 1000),
            Some("memory" | "ram") => ("memory", 1),
            Some("ephemeral-storage") => ("ephemeralStorage", 1),
            _ => continue,
        };
        resources.insert(name.into(), amount(request, unit).into());
    }
    let env: Vec<Value> = container["env"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| json!({"name": name}))
        .collect();
    let mut spec = json!({
        "name": text(&container["name"]),
        "image": text(&container["image"]["url"]),
        "command": list(&container["command"]),
        "args": list(&container["args"]),
        "ports": list(&container["ports"]).iter().map(port).collect::<Vec<_>>(),
        "env": env,
        "volumeMounts": list(&container["volumes"]).iter().map(mount).collect::<Vec<_>>(),
        "resources": resources,
    });
    // Empty and absent are the same on the wire.
    if !text(&container["workingDir"]).is_empty() {
        spec["workingDir"] = container["workingDir"].clone();
    }
    if container["user"]["uid"].is_number() {
        spec["user"] = container["user"].clone();
    }
    spec
}

fn port(port: &Value) -> Value {
    let (given, target) = (
        number(&port["port"]).unwrap_or(0),
        number(&port["targetPort"]).unwrap_or(0),
    );
    let given_or_target = if given == 0 { target } else { given };
    let (protocol, suffix) = if is(&port["protocol"], "UDP", 1) {
        ("UDP", "-udp")
    } else {
        ("TCP", "")
    };
    let name = match text(&port["name"]) {
        "" => format!("port-{given_or_target}{suffix}"),
        name => name.to_owned(),
    };
    let target = if target == 0 { given } else { target };
    json!({"name": name, "port": given_or_target, "targetPort": target, "protocol": protocol})
}

fn mount(mount: &Value) -> Value {
    json!({
        "name": text(&mount["name"]),
        "mountPath": text(&mount["mountPath"]),
        "readOnly": mount["readOnly"].as_bool().unwrap_or(false),
    })
}

fn volume(volume: &Value) -> Value {
    let size = list(&volume["filesystem"]["resourceRequests"])
        .first()
        .map(|request| amount(request, 1));
    let many = is(&volume["accessMode"], "VOLUME_RW_MANY", 2);
    let name = text(&volume["name"]);
    let mut spec = if is(&volume["type"], "VOLUME_FILESYSTEM", 1) {
        let mode = if many { "ReadWriteMany" } else { "ReadWriteOnce" };
        return json!({"name": name, "type": "Filesystem", "accessMode": mode, "size": size.unwrap_or(0)});
    } else if is(&volume["type"], "VOLUME_SECRET", 2) {
        json!({"name": name, "type": "Secret"})
    } else {
        json!({"name": name, "type": "Empty", "size": size.unwrap_or(EMPTY_VOLUME)})
    };
    if many {
        spec["accessMode"] = "ReadWriteMany".into();
    }
    spec
}

/// Protobuf-JSON writes values of an enum by name or number.
fn is(value: &Value, name: &str, of: u64) -> bool {
    value == name || value.as_u64() == Some(of)
}

/// In thousandths (`unit` 1000) or whole units (1).
fn amount(request: &Value, unit: u128) -> u64 {
    let of = |name: &str, factor: u128| number(&request[name]).map(|amount| u128::from(amount).saturating_mul(factor));
    let amount = of("amount", unit)
        .or_else(|| of("amountKibi", unit << 10))
        .or_else(|| of("amountMebi", unit << 20))
        .or_else(|| of("amountGibi", unit << 30))
        .or_else(|| of("amountMillis", unit).map(|thousandths| thousandths / 1000))
        .unwrap_or(0);
    u64::try_from(amount).unwrap_or(MOST).min(MOST)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Protobuf-JSON writes numbers of 64 bits as numbers or as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_becomes_a_spec_faults_and_all() {
        let pod = json!({
            "containers": [{
                "name": "Web", "image": {"url": "nginx"}, "args": ["-v"], "workingDir": "",
                "ports": [{"port": "80"}, {"name": "b", "targetPort": 70000}],
                "env": {"B": "secret", "": "x"},
                "volumes": [{"name": "gone", "mountPath": "/a", "readOnly": true}],
                "resourceRequests": [{"resource": "cpu", "amount": 2}, {"resource": "ram", "amountMillis": "2000"},
                                     {"resource": "ephemeral-storage", "amountGibi": "18446744073709551615"}],
            }],
            "volumes": [{"name": "v", "type": "VOLUME_FILESYSTEM", "filesystem": {"resourceRequests": [{"resource": "storage", "amountKibi": 3}]}}],
            "replicas": {"min": 3},
        });
        assert_eq!(
            spec_of(&pod, "0xa", "0xb"),
            json!({
                "publisher": "0xa", "podId": "0xb", "payment": {"free": {}}, "replicas": 3, "secretName": SECRET,
                "containers": [{
                    "name": "Web", "image": "nginx", "command": [], "args": ["-v"],
                    "ports": [{"name": "port-80", "port": 80, "targetPort": 80, "protocol": "TCP"},
                              {"name": "b", "port": 70000, "targetPort": 70000, "protocol": "TCP"}],
                    "env": [{"name": ""}, {"name": "B"}],
                    "volumeMounts": [{"name": "gone", "mountPath": "/a", "readOnly": true}],
                    "resources": {"cpuMillis": 2000, "memory": 2, "ephemeralStorage": MOST},
                }],
                "volumes": [{"name": "v", "type": "Filesystem", "accessMode": "ReadWriteOnce", "size": 3072}],
            })
        );
        let secret = json!({
            "containers": [{"name": "a", "image": {"url": "b", "pullSecret": {"username": "c"}}, "user": {"uid": 1},
                            "ports": [{"port": 53, "protocol": "UDP"}]}],
            "volumes": [{"name": "e", "accessMode": 2}, {"name": "s", "type": "VOLUME_SECRET"}],
            "fsGroup": 7,
        });
        let spec = spec_of(&secret, "0xa", "0xb");
        assert_eq!(
            spec["volumes"],
            json!([{"name": "e", "type": "Empty", "size": EMPTY_VOLUME, "accessMode": "ReadWriteMany"},
                   {"name": "s", "type": "Secret"}])
        );
        assert_eq!(
            (&spec["secretName"], &spec["pullSecret"], &spec["fsGroup"]),
            (&SECRET.into(), &true.into(), &7.into())
        );
        assert_eq!(spec["containers"][0]["user"], json!({"uid": 1}));
        assert_eq!(spec["containers"][0]["ports"][0]["name"], "port-53-udp");
        assert_eq!(
            spec_of(&Value::Null, "", ""),
            json!({"publisher": "", "podId": "", "payment": {"free": {}}, "containers": [], "volumes": [], "replicas": 1})
        );
    }
}
