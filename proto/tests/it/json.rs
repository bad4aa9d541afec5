//! Protobuf-JSON and YAML to a manifest and back.

use apocryph_proto::{
    json::{Error, TEXT_MAX, pod_from_yaml, to_json, to_yaml},
    v0::pod::{
        Pod,
        resource::Quantity,
        volume::{AccessMode, Configuration, Type},
    },
};

fn error(text: &str) -> Error {
    pod_from_yaml(text).expect_err(text)
}

fn assert_error(text: &str, field: &str, words: &str) {
    let error = error(text);
    assert_eq!(error.field, field, "{error}");
    assert!(error.message.contains(words), "{error} does not say {words}");
}

#[test]
fn yaml_and_json_say_the_same() {
    let yaml = pod_from_yaml(
        "# a comment\ncontainers:\n- name: app # another\n  image: {url: nginx}\n  ports:\n  - {port: 80}\n  env:\n    A: 'b'\n",
    );
    let json = pod_from_yaml(
        r#"{"containers": [{"name": "app", "image": {"url": "nginx"}, "ports": [{"port": "80"}], "env": {"A": "b"}}]}"#,
    );
    assert_eq!(yaml.unwrap(), json.unwrap());
}

#[test]
fn values_have_the_spellings_of_protobuf_json() {
    let pod = pod_from_yaml(
        r#"
volumes:
- {name: a, type: VOLUME_FILESYSTEM, accessMode: 2, filesystem: {resourceRequests: [{resource: storage, amountGibi: "18446744073709551615"}]}}
- {name: b, type: 2, secret: {cid: AQID, contentsString: text}}
containers:
- name: app
  working_dir: /proto/names/are/read
  ports: [{port: 18446744073709551615, hostTcpPort: "0"}]
  resourceRequests: [{resource: cpu, amountMillis: "10"}, {resource: memory}]
fsGroup: 0
keyPair: null
"#,
    )
    .unwrap();
    assert_eq!(
        (pod.volumes[0].r#type(), pod.volumes[0].access_mode()),
        (Type::VolumeFilesystem, AccessMode::VolumeRwMany)
    );
    let Some(Configuration::Filesystem(filesystem)) = &pod.volumes[0].configuration else {
        panic!()
    };
    assert_eq!(
        filesystem.resource_requests[0].quantity,
        Some(Quantity::AmountGibi(u64::MAX))
    );
    let Some(Configuration::Secret(secret)) = &pod.volumes[1].configuration else {
        panic!()
    };
    assert_eq!(
        (secret.cid.as_slice(), secret.contents_string.as_str()),
        (&[1, 2, 3][..], "text")
    );
    assert_eq!(pod.containers[0].working_dir, "/proto/names/are/read");
    assert_eq!(pod.containers[0].ports[0].port, u64::MAX);
    assert!(pod.containers[0].ports[0].exposed_port.is_some());
    assert_eq!(pod.containers[0].resource_requests[1].quantity, None);
    assert_eq!((pod.fs_group, pod.key_pair), (Some(0), None));
}

#[test]
fn unknown_fields_are_named_with_their_place() {
    assert_error("contaners: []", "contaners", "the fields are containers, volumes");
    assert_error(
        "containers: [{name: a}, {name: b, ports: [{}, {por: 1}]}]",
        "containers[1].ports[1].por",
        "targetPort, port",
    );
    assert_error("containers: [{image: {tag: x}}]", "containers[0].image.tag", "url");
    assert_error(
        "volumes: [{filesystem: {size: 1}}]",
        "volumes[0].filesystem.size",
        "resourceRequests",
    );
}

#[test]
fn old_names_are_named_with_the_new_one() {
    assert_error(
        "containers: [{entrypoint: [a]}]",
        "containers[0].entrypoint",
        "it is `command` now",
    );
    assert_error(
        "containers: [{ports: [{containerPort: 1}]}]",
        "containers[0].ports[0].containerPort",
        "it is `targetPort` now",
    );
    assert_error(
        "containers: [{ports: [{servicePort: 1}]}]",
        "containers[0].ports[0].servicePort",
        "it is `port` now",
    );
    assert_error("servicePort: 1", "servicePort", "Pod has no such field");
}

#[test]
fn wrong_shapes_are_named_with_what_would_be_right() {
    assert_error(
        "containers: {name: app}",
        "containers",
        "a list is wanted, not a mapping",
    );
    assert_error(
        "containers: [{image: nginx}]",
        "containers[0].image",
        "a mapping is wanted, not a text: the fields are cid, key, url",
    );
    assert_error("containers: [{name: 8080}]", "containers[0].name", "quotes");
    assert_error("containers: [{args: [--port, 80]}]", "containers[0].args[1]", "quotes");
    assert_error(
        "containers: [{env: {PORT: 80}}]",
        "containers[0].env[PORT]",
        "not a number; put the value in quotes",
    );
    assert_error("containers: [{env: {ON: true}}]", "containers[0].env[ON]", "quotes");
    assert_error(
        "containers: [{env: {EMPTY: }}]",
        "containers[0].env[EMPTY]",
        "write \"\"",
    );
    assert_error(
        "containers: [{env: [{name: A, value: b}]}]",
        "containers[0].env",
        "names and their values",
    );
    assert_error("- a", "", "a mapping is wanted, not a list");
    assert_error("", "", "");
    assert_error("containers: [{ports: [{port: -1}]}]", "containers[0].ports[0].port", "");
    assert_error(
        "containers: [{ports: [{port: 1.5}]}]",
        "containers[0].ports[0].port",
        "",
    );
    assert_error(
        "containers: [{ports: [{port: http}]}]",
        "containers[0].ports[0].port",
        "",
    );
    assert_error(
        "containers: [{ports: [{protocol: SCTP}]}]",
        "containers[0].ports[0].protocol",
        "",
    );
    assert_error(
        "containers: [{volumes: [{readOnly: yes}]}]",
        "containers[0].volumes[0].readOnly",
        "",
    );
    assert_error("volumes: [{secret: {cid: '*'}}]", "volumes[0].secret.cid", "");
}

#[test]
fn nothing_is_given_twice() {
    assert!(
        error("containers: []\ncontainers: []").message.contains("duplicate"),
        "{}",
        error("containers: []\ncontainers: []")
    );
    assert!(pod_from_yaml(r#"{"containers": [{"env": {"A": "1", "A": "2"}}]}"#).is_err());
    assert_error(
        "containers: [{workingDir: /a, working_dir: /b}]",
        "containers[0].working_dir",
        "both spellings",
    );
    assert_error(
        "containers: [{resourceRequests: [{resource: cpu, amount: 1, amountMillis: 5}]}]",
        "containers[0].resourceRequests[0].amountMillis",
        "`amount` is given already",
    );
    assert!(pod_from_yaml("containers: []\n---\ncontainers: []").is_err());
}

#[test]
fn errors_repeat_no_value() {
    for text in [
        "containers: [{env: {A: [s3cr3t]}}]",
        "containers: [{env: {A: s3cr3t, A: s3cr3t}}]",
        "containers: [{env: {A: 's3cr3t}}]",
        "containers: [{env: {A: s3cr3t}, extra: s3cr3t}]",
        "volumes: [{secret: {contents: '*s3cr3t*'}}]",
        "volumes: [{secret: {contents: {s3cr3t: 1}}}]",
        "keyPair: {privateKey: s3cr3t, x: 1}",
        "containers: s3cr3t",
        "containers: [{ports: [{port: s3cr3t}]}]",
        "&s3cr3t",
        "containers: !s3cr3t [s3cr3t",
    ] {
        let error = error(text).to_string();
        assert!(!error.contains("s3cr3t"), "{error}");
    }
}

#[test]
fn small_texts_that_would_grow_large_are_refused() {
    let mut laughs = String::from("a: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let below = format!("*a{}, ", level - 1).repeat(9);
        laughs += &format!("b{level}: &a{level} [{below}]\n");
    }
    assert!(pod_from_yaml(&laughs).is_err());
    let deep = format!("containers: {}{}", "[".repeat(5000), "]".repeat(5000));
    assert!(pod_from_yaml(&deep).is_err());
    let flat = format!("containers: [{}]", "{}, ".repeat(100_000));
    assert!(pod_from_yaml(&flat).is_err());
    let long = format!("containers: [{{name: {}}}]", "x".repeat(TEXT_MAX));
    assert!(error(&long).message.contains("at most"));
}

#[test]
fn what_is_printed_reads_back() {
    let text = "containers: [{name: app, image: {url: nginx}, env: {A: 'yes', B: '1'}, ports: [{port: 80}], \
                resourceRequests: [{resource: cpu, amountMillis: 18446744073709551615}]}]";
    let pod: Pod = pod_from_yaml(text).unwrap();
    assert_eq!(pod_from_yaml(&to_yaml(&pod).unwrap()).unwrap(), pod);
    let json = to_json(&pod).unwrap();
    assert_eq!(pod_from_yaml(&json.to_string()).unwrap(), pod);
    assert_eq!(
        json["containers"][0]["resourceRequests"][0]["amountMillis"],
        "18446744073709551615"
    );
}
