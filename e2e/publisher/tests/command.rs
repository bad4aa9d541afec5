//! The command as a user and a script meet it: the built binary against a scripted provider.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use apocryph_proto::v0::{
    manage_pod::{ManagePodRequest, Revoke, manage_pod_request::Operation},
    provision_pod::{
        self as wire, DryRun, LogLine, LogLines, PodReply, Price, ProvisionPodRequest, Refusal, Revoked,
        pod_reply::Message, pod_status::Phase,
    },
};
use prost::Message as _;
use serde_json::Value;
use support::{Act, FakeProvider, ended, refusal, running, status};

const SECRET: &str = "correct horse battery staple";

/// A home of its own for each test: key, state, manifest.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Home {
        let home = Home {
            folder: tempfile::tempdir().unwrap(),
        };
        let manifest = format!(
            "containers:\n- name: web\n  image: {{url: 'example.org/hello:1'}}\n  ports: [{{name: http, port: 80, targetPort: 8080}}]\n  env: {{TOKEN: '{SECRET}'}}\n"
        );
        fs::write(home.path().join("pod.yaml"), manifest).unwrap();
        home
    }

    fn with_key() -> Home {
        let home = Home::new();
        assert!(home.run(None, &["key", "new"]).status.success());
        home
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, provider: Option<&FakeProvider>, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apocryph"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.path())
            .current_dir(self.path())
            .stdin(Stdio::null());
        if let Some(fake) = provider {
            command.env("APOCRYPH_PROVIDER", fake.provider.to_string());
        }
        command
    }

    fn run(&self, provider: Option<&FakeProvider>, arguments: &[&str]) -> Output {
        self.command(provider, arguments).output().unwrap()
    }

    /// Runs beside the provider, which needs this thread's runtime.
    async fn against(&self, provider: &FakeProvider, arguments: &[&str]) -> Output {
        let mut command = self.command(Some(provider), arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }

    fn states(&self) -> Vec<Vec<u8>> {
        let folder = self.path().join(".local/state/apocryph");
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .collect()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json_lines(output: &Output) -> Vec<Value> {
    stdout(output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn happy() -> Vec<Act> {
    vec![
        status(Phase::Accepted, "accepted"),
        status(Phase::Scheduled, "scheduled"),
        status(Phase::Pulling, "pulling_image"),
        running(),
        Act::Hang,
    ]
}

#[test]
fn a_key_is_made_once_for_its_owner_and_shown_by_its_address() {
    let home = Home::new();
    let missing = home.run(None, &["key", "show"]);
    assert_eq!(code(&missing), 2);
    assert!(stderr(&missing).contains("apocryph key new"), "{}", stderr(&missing));

    let made = home.run(None, &["key", "new"]);
    assert_eq!(code(&made), 0);
    let file = home.path().join(".config/apocryph/key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let private = fs::read_to_string(&file).unwrap();
    assert!(!stdout(&made).contains(private.trim()));

    let again = home.run(None, &["key", "new"]);
    assert_eq!(code(&again), 2);
    assert_eq!(fs::read_to_string(&file).unwrap(), private);

    let address = |output: &Output| json_lines(output)[0]["address"].as_str().unwrap().to_owned();
    let shown = address(&home.run(None, &["--output", "json", "key", "show"]));
    assert!(stdout(&made).contains(&shown));
    let from_environment = Home::new()
        .command(None, &["--output", "json", "key", "show"])
        .env("APOCRYPH_KEY", private.trim())
        .output();
    assert_eq!(address(&from_environment.unwrap()), shown);

    let twice = home
        .command(None, &["key", "show", "--key-file", "x"])
        .env("APOCRYPH_KEY", private.trim())
        .output()
        .unwrap();
    assert_eq!(code(&twice), 2);
    assert!(stderr(&twice).contains("given twice"));
}

#[test]
fn a_manifest_is_checked_without_a_provider_and_without_showing_a_secret() {
    let home = Home::new();
    let human = home.run(None, &["check", "pod.yaml"]);
    assert_eq!(code(&human), 0, "{}", stderr(&human));
    insta::assert_snapshot!("check", stdout(&human));
    let json = home.run(None, &["--output", "json", "check", "pod.yaml"]);
    insta::assert_json_snapshot!("check_json", json_lines(&json));
    assert!(!stdout(&human).contains(SECRET) && !stdout(&json).contains(SECRET));
}

#[test]
fn a_secret_file_is_read_beside_the_manifest_and_nowhere_else() {
    let home = Home::new();
    fs::create_dir(home.path().join("shop")).unwrap();
    fs::write(home.path().join("shop/key"), SECRET).unwrap();
    fs::write(home.path().join("outside"), SECRET).unwrap();
    let check = |secret: &str| {
        let manifest = format!(
            "containers: [{{name: web, image: {{url: x}}}}]\nvolumes: [{{name: key, type: VOLUME_SECRET, secret: {secret}}}]"
        );
        fs::write(home.path().join("shop/pod.yaml"), manifest).unwrap();
        home.run(None, &["--output", "json", "check", "shop/pod.yaml"])
    };
    let read = check("{file: ./key}");
    assert_eq!(code(&read), 0, "{}", stdout(&read));
    assert!(!stdout(&read).contains(SECRET), "{}", stdout(&read));
    let outside = home.path().join("outside").display().to_string();
    for (secret, exit, says) in [
        ("{file: there-is-none}".to_owned(), 2, "there-is-none"),
        ("{file: ../outside}".to_owned(), 3, "below the manifest's folder"),
        (format!("{{file: '{outside}'}}"), 3, "below the manifest's folder"),
        ("{file: key, contentsString: a}".to_owned(), 3, "one of the two"),
    ] {
        let output = check(&secret);
        assert_eq!(code(&output), exit, "{secret}: {}", stdout(&output));
        let told = json_lines(&output).pop().unwrap();
        assert_eq!(told["field"].as_str(), Some("volumes[0].secret.file"), "{secret}");
        assert!(told["message"].as_str().unwrap().contains(says), "{secret}: {told}");
    }
}

#[test]
fn each_fault_of_a_manifest_has_its_exit_status_and_names_the_field() {
    let home = Home::new();
    let check = |text: &str| {
        fs::write(home.path().join("m.yaml"), text).unwrap();
        let output = home.run(None, &["--output", "json", "check", "m.yaml"]);
        (code(&output), json_lines(&output).pop().unwrap())
    };
    let (exit, unknown) = check("containers: [{name: web, imagee: {url: x}}]");
    assert_eq!((exit, unknown["exitCode"].as_i64()), (3, Some(3)));
    assert!(unknown["message"].as_str().unwrap().contains("imagee"), "{unknown}");
    let (exit, empty) = check("containers: []");
    assert_eq!(
        (exit, empty["code"].as_str(), empty["field"].as_str()),
        (3, Some("invalid_manifest"), Some("containers"))
    );
    let (exit, unserved) = check("containers: [{name: web, image: {url: 'x.org/y:1', cid: AQID}}]");
    assert_eq!((exit, unserved["code"].as_str()), (4, Some("not_served")));
    assert_eq!(unserved["field"].as_str(), Some("containers[0].image.cid"));
    assert_eq!(code(&home.run(None, &["check", "there-is-none.yaml"])), 2);
    assert_eq!(code(&home.run(None, &["check"])), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn deploy_tells_scripts_one_object_a_line() {
    let provider = FakeProvider::start(|_, _| happy()).await;
    let home = Home::with_key();
    let output = home
        .against(
            &provider,
            &["--output", "json", "deploy", "pod.yaml", "--allow-unattested"],
        )
        .await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    insta::assert_json_snapshot!("deploy_json", json_lines(&output), {
        "[].podId" => "[pod id]",
        "[].stateFile" => "[state file]",
        "[].provider" => "[multiaddrs]",
        "[].address" => "[multiaddr]",
    });
    let private = fs::read(home.path().join(".config/apocryph/key")).unwrap();
    for secret in [SECRET.as_bytes(), &private[..64]] {
        let encoded = [
            secret.to_vec(),
            data_encoding::BASE64.encode(secret).into(),
            data_encoding::HEXLOWER.encode(secret).into(),
        ];
        for form in encoded {
            let found = |content: &[u8]| content.windows(form.len()).any(|window| window == form);
            assert!(!found(&output.stdout) && !home.states().iter().any(|state| found(state)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deploy_watch_and_delete_tell_people_a_line_per_status() {
    let provider = FakeProvider::start(|_, call| match call.envelope.operation.as_str() {
        "provision" => vec![
            status(Phase::Accepted, "accepted"),
            status(Phase::Pulling, "pulling_image"),
            status(Phase::Pulling, "pulling_image"),
            running(),
            Act::Hang,
        ],
        "watch" => vec![running(), Act::Hang],
        _ => vec![status(Phase::Ending, "ending"), ended("deleted_by_publisher", 1)],
    })
    .await;
    let home = Home::with_key();
    let deployed = home
        .against(&provider, &["deploy", "pod.yaml", "--allow-unattested"])
        .await;
    assert_eq!(code(&deployed), 0, "{}", stderr(&deployed));
    let text = stdout(&deployed);
    let pulling = text.lines().filter(|line| line.starts_with("pulling ")).count();
    assert_eq!(pulling, 1, "a repeated status is told once:\n{text}");
    assert!(
        text.contains("\naddress    web http /ip4/203.0.113.7/tcp/30432\n"),
        "{text}"
    );

    // The pod id is left out: there is but one. Its provider is in the state file.
    let mut watch = home.command(None, &["watch", "--until", "running"]);
    let watched = tokio::task::spawn_blocking(move || watch.output().unwrap())
        .await
        .unwrap();
    assert_eq!(code(&watched), 0, "{}", stderr(&watched));

    let deleted = home.against(&provider, &["delete"]).await;
    assert_eq!(code(&deleted), 0, "{}", stderr(&deleted));
    assert!(
        stdout(&deleted).contains("ended, deleted_by_publisher"),
        "{}",
        stdout(&deleted)
    );

    let nothing_left = home.against(&provider, &["watch"]).await;
    assert_eq!(code(&nothing_left), 2);
    assert_eq!(provider.operations(), ["provision", "watch", "delete"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_pod_id_is_the_same_pod_and_another_manifest_is_refused_before_anything_is_sent() {
    let provider = FakeProvider::start(|_, _| happy()).await;
    let home = Home::with_key();
    let id = "ab".repeat(32);
    let deploy = ["deploy", "pod.yaml", "--allow-unattested", "--pod-id", &id];
    assert_eq!(code(&home.against(&provider, &deploy).await), 0);
    assert_eq!(code(&home.against(&provider, &deploy).await), 0);
    assert_eq!(
        code(
            &home
                .against(&provider, &["deploy", "--resume", "abab", "--allow-unattested"])
                .await
        ),
        0
    );
    assert_eq!(provider.operations(), ["provision", "watch", "watch"]);

    let other = fs::read_to_string(home.path().join("pod.yaml"))
        .unwrap()
        .replace("hello:1", "hello:2");
    fs::write(home.path().join("pod.yaml"), other).unwrap();
    let differs = home.against(&provider, &deploy).await;
    assert_eq!(code(&differs), 6);
    assert!(stderr(&differs).contains("content_differs"), "{}", stderr(&differs));
    assert_eq!(provider.calls().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_say_what_to_do_and_set_the_status() {
    let home = Home::with_key();
    let provider = FakeProvider::start(|_, _| vec![refusal("insufficient_capacity")]).await;

    let unattested = home.against(&provider, &["deploy", "pod.yaml"]).await;
    assert_eq!(code(&unattested), 12);
    assert!(
        stderr(&unattested).contains("--allow-unattested"),
        "{}",
        stderr(&unattested)
    );
    assert!(provider.calls().is_empty());

    let full = home
        .against(&provider, &["deploy", "pod.yaml", "--allow-unattested"])
        .await;
    assert_eq!(code(&full), 7);

    let no_provider = home.run(None, &["deploy", "pod.yaml", "--allow-unattested"]);
    assert_eq!(code(&no_provider), 2);
    assert!(
        stderr(&no_provider).contains("APOCRYPH_PROVIDER"),
        "{}",
        stderr(&no_provider)
    );

    let unknown = home.against(&provider, &["deploy", "--resume", "ffff"]).await;
    assert_eq!(code(&unknown), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_was_sent_without_an_answer_is_pointed_out() {
    let provider = FakeProvider::start(|n, _| {
        if n == 0 {
            vec![refusal("payment_not_offered")]
        } else {
            happy()
        }
    })
    .await;
    let home = Home::with_key();
    assert_eq!(
        code(
            &home
                .against(&provider, &["deploy", "pod.yaml", "--allow-unattested"])
                .await
        ),
        8
    );
    let second = home
        .against(&provider, &["deploy", "pod.yaml", "--allow-unattested"])
        .await;
    assert_eq!(code(&second), 0);
    assert!(stdout(&second).contains("deploy --resume"), "{}", stdout(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_sent_is_no_pod_and_gives_way_to_another_manifest() {
    let provider = FakeProvider::start(|_, _| happy()).await;
    let home = Home::with_key();
    let id = "cd".repeat(32);
    let unattested = home.against(&provider, &["deploy", "pod.yaml", "--pod-id", &id]).await;
    assert_eq!(code(&unattested), 12);
    let no_pod = home.run(None, &["watch"]);
    assert_eq!(code(&no_pod), 2);
    assert!(stderr(&no_pod).contains("no pod that lives"), "{}", stderr(&no_pod));

    let other = fs::read_to_string(home.path().join("pod.yaml"))
        .unwrap()
        .replace("hello:1", "hello:2");
    fs::write(home.path().join("pod.yaml"), other).unwrap();
    // Its provider is remembered all the same.
    let mut deploy = home.command(None, &["deploy", "pod.yaml", "--pod-id", &id, "--allow-unattested"]);
    let deployed = tokio::task::spawn_blocking(move || deploy.output().unwrap())
        .await
        .unwrap();
    assert_eq!(code(&deployed), 0, "{}", stderr(&deployed));
    assert!(!stdout(&deployed).contains("sent before"), "{}", stdout(&deployed));
    assert_eq!(provider.operations(), ["provision"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_by_its_name_and_what_it_said_last() {
    let provider = FakeProvider::start(|_, _| happy()).await;
    let home = Home::with_key();
    let empty = home.run(None, &["provider", "list"]);
    assert_eq!(code(&empty), 0);
    assert!(stdout(&empty).contains("provider add"), "{}", stdout(&empty));

    let address = provider.provider.to_string();
    assert_eq!(code(&home.run(None, &["provider", "add", "attic", &address])), 0);
    assert_eq!(code(&home.run(None, &["provider", "add", "attic", &address])), 2);
    assert_eq!(code(&home.run(None, &["provider", "add", "cellar", &address])), 0);

    let ask = |arguments: &'static [&'static str]| {
        let mut command = home.command(None, arguments);
        async {
            tokio::task::spawn_blocking(move || command.output().unwrap())
                .await
                .unwrap()
        }
    };
    assert_eq!(code(&ask(&["capacity", "--provider", "attic"]).await), 0);
    let deployed = ask(&["deploy", "pod.yaml", "--provider", "attic", "--allow-unattested"]).await;
    assert_eq!(code(&deployed), 0, "{}", stderr(&deployed));

    let listed = home.run(None, &["provider", "list"]);
    let text = stdout(&listed);
    let rows: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "ASKED", "ACCEPTING", "FREE", "PRICES"], "{text}");
    assert_eq!((rows[1][0], rows[1][3], rows[1][4]), ("attic", "ago", "yes"), "{text}");
    assert!(text.contains("cpu 1") && !text.contains('\u{1b}'), "{text}");
    assert_eq!(rows[2][..2], ["cellar", "never"], "{text}");
    let json = json_lines(&home.run(None, &["--output", "json", "provider", "list"]));
    assert_eq!(json[0]["asked"]["accepting"], true);
    assert!(json[0]["asked"]["at"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!(json[1]["asked"], Value::Null);

    assert_eq!(code(&home.run(None, &["provider", "remove", "attic"])), 0);
    let gone = home.run(None, &["capacity", "--provider", "attic"]);
    assert_eq!(code(&gone), 2);
    assert!(stderr(&gone).contains("provider list"), "{}", stderr(&gone));
}

#[test]
fn a_code_is_explained_in_both_spellings() {
    let home = Home::new();
    let one = home.run(None, &["explain", "image_not_found"]);
    assert_eq!(code(&one), 0);
    insta::assert_snapshot!("explain", stdout(&one));
    assert_eq!(stdout(&home.run(None, &["explain", "ImageNotFound"])), stdout(&one));
    assert!(stdout(&home.run(None, &["explain", "unreachable"])).contains("11: no connection"));
    let all = json_lines(&home.run(None, &["--output", "json", "explain"]));
    assert!(all.len() > apocryph_proto::outcome::Code::ALL.len());
    let unknown = home.run(None, &["explain", "from_the_future"]);
    assert_eq!(code(&unknown), 2);
    assert!(stderr(&unknown).contains("apocryph explain"), "{}", stderr(&unknown));
}

#[test]
fn each_shell_gets_a_script_that_knows_the_commands() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = home
            .command(None, &["completion", shell])
            .env("APOCRYPH_OUTPUT", "json")
            .output()
            .unwrap();
        assert_eq!(code(&script), 0);
        let text = stdout(&script);
        for word in ["deploy", "allow-unattested", "explain"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    // Bash itself: what follows `apocryph dele` on the line.
    let script = "source <(\"$1\" completion bash); COMP_WORDS=(apocryph dele); COMP_CWORD=1; _apocryph apocryph dele apocryph; echo \"${COMPREPLY[@]}\"";
    let completed = Command::new("bash")
        .args(["-euc", script, "bash", env!("CARGO_BIN_EXE_apocryph")])
        .output()
        .unwrap();
    assert_eq!(
        stdout(&completed).trim(),
        "delegate delegations delete",
        "{}",
        stderr(&completed)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn attest_and_capacity_need_no_key() {
    let provider = FakeProvider::start(|_, _| vec![]).await;
    let home = Home::new();
    let attested = home.against(&provider, &["--output", "json", "attest"]).await;
    assert_eq!(code(&attested), 0, "{}", stderr(&attested));
    insta::assert_json_snapshot!("attest_json", json_lines(&attested), { "[].provider" => "[peer id]" });
    assert_eq!(
        code(&home.against(&provider, &["attest", "--require-evidence"]).await),
        12
    );

    let fits = home.against(&provider, &["capacity", "--cpu", "500m"]).await;
    assert_eq!(code(&fits), 0, "{}", stderr(&fits));
    insta::assert_snapshot!("capacity", stdout(&fits));
    let full = home
        .against(&provider, &["--output", "json", "capacity", "--cpu", "1.5"])
        .await;
    assert_eq!(code(&full), 7);
    insta::assert_json_snapshot!("capacity_json", json_lines(&full));
    assert_eq!(code(&home.against(&provider, &["capacity", "--cpu", "much"]).await), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_it_says_how_to_go_on() {
    let (told, mut waits) = tokio::sync::mpsc::channel(1);
    let provider = FakeProvider::start(move |_, _| {
        told.try_send(()).unwrap();
        vec![status(Phase::Accepted, "accepted"), Act::Hang]
    })
    .await;
    let home = Home::with_key();
    let mut command = home.command(Some(&provider), &["deploy", "pod.yaml", "--allow-unattested"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    waits.recv().await.unwrap();
    let id = child.id().to_string();
    let interrupt = tokio::task::spawn_blocking(move || {
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        child.wait_with_output().unwrap()
    });
    let output = interrupt.await.unwrap();
    assert_eq!(code(&output), 130);
    assert!(
        stderr(&output).contains("apocryph deploy --resume 0x"),
        "{}",
        stderr(&output)
    );
    assert_eq!(home.states().len(), 1);
}

fn told(message: Message, last: bool) -> Act {
    Act::Send(PodReply {
        message: Some(message),
        r#final: last,
    })
}

fn lines(second: u64, texts: &[&str]) -> Act {
    let line = |text: &&str| LogLine {
        at: (1_700_000_000 + second) * 1_000_000_000,
        text: text.as_bytes().to_vec(),
        cut: false,
    };
    let lines = LogLines {
        replica: "workload-1".into(),
        container_name: "web".into(),
        lines: texts.iter().map(line).collect(),
    };
    told(Message::Log(lines), false)
}

fn description() -> wire::PodDescription {
    wire::PodDescription {
        status: Some(support::pod_status(Phase::Degraded, "container_exited", 2)),
        since: 1_700_000_003,
        pod_id: vec![0xab; 32],
        started_at: 1_700_000_000,
        ready_since: 1_700_000_001,
        terms: Some(wire::Terms {
            payment: Some(wire::terms::Payment::Free(wire::FreeTerms { table: "open".into() })),
        }),
        conditions: vec![wire::Condition {
            r#type: "Ready".into(),
            holds: false,
            code: "container_exited".into(),
            message: "It exited.".into(),
            since: 1_700_000_003,
        }],
        replicas: vec![wire::Replica {
            name: "workload-1".into(),
            code: "container_exited".into(),
            message: "It exited.".into(),
            remedy: "Mend it.\u{1b}[31m".into(),
            started_at: 1_700_000_000,
            containers: vec![wire::ContainerState {
                name: "web".into(),
                state: wire::container_state::State::Waiting.into(),
                since: 0,
                restarts: 4,
                last_exit: Some(wire::Exit {
                    exit_code: 137,
                    at: 1_700_000_002,
                    out_of_memory: true,
                }),
            }],
            ..wire::Replica::default()
        }],
        reasons: vec![wire::Reason {
            code: "running".into(),
            message: "It ran.".into(),
            at: 1_700_000_001,
            count: 2,
        }],
        end: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn list_and_describe_tell_people_and_scripts() {
    let provider = FakeProvider::start(|_, call| match call.envelope.operation.as_str() {
        "list" => {
            let pod = |byte: u8, phase: Phase| wire::PodEntry {
                name: "abcdefghijklmnopqrstuvwxyz".into(),
                pod_id: vec![byte; 32],
                phase: phase.into(),
                code: "running\u{1b}[31m".into(),
                since: 1_700_000_000,
                life: 2,
                replicas_ready: 1,
                replicas: 3,
            };
            let page = |pods| Message::List(wire::PodList { pods });
            vec![
                told(page(vec![pod(0xab, Phase::Running)]), false),
                told(page(vec![pod(0xcd, Phase::Ended)]), true),
            ]
        }
        _ => vec![told(Message::Description(description()), true)],
    })
    .await;
    let home = Home::with_key();
    let id = "ab".repeat(32);
    let shown = json_lines(&home.run(None, &["--output", "json", "key", "show"]));
    let address = shown[0]["address"].as_str().unwrap();
    for (name, arguments) in [("list", vec!["list"]), ("describe", vec!["describe", &id])] {
        let human = home.against(&provider, &arguments).await;
        assert_eq!(code(&human), 0, "{}", stderr(&human));
        let text = stdout(&human);
        assert!(!text.contains('\u{1b}'), "{text}");
        insta::assert_snapshot!(name, text.replace(address, "[address]"));
        let json = home
            .against(&provider, &[&["--output", "json"], &arguments[..]].concat())
            .await;
        insta::assert_json_snapshot!(format!("{name}_json"), json_lines(&json), { "[].address" => "[multiaddr]" });
    }
    assert!(provider.calls()[0].envelope.pod_id.iter().all(|byte| *byte == 0));
    assert!(provider.calls()[0].signer(provider.peer()).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_lines_alone_and_a_lost_stream_goes_on_where_it_broke_off() {
    let provider = FakeProvider::start(|n, _| match n {
        0 => vec![running(), lines(1, &["one", "two"]), Act::Cut],
        _ => {
            let last = support::pod_status(Phase::Running, "running", 1);
            vec![
                lines(1, &["one", "two", "three"]),
                lines(2, &["\u{1b}[31mred\ttab"]),
                told(Message::Status(last), true),
            ]
        }
    })
    .await;
    let home = Home::with_key();
    let id = "ab".repeat(32);
    let read = home.against(&provider, &["logs", &id, "--tail", "7"]).await;
    assert_eq!(code(&read), 0, "{}", stderr(&read));
    let text: Vec<String> = stdout(&read)
        .lines()
        .filter(|line| !line.starts_with("waiting "))
        .map(str::to_owned)
        .collect();
    assert_eq!(
        text,
        [
            "2023-11-14T22:13:21.000000000Z workload-1/web one",
            "2023-11-14T22:13:21.000000000Z workload-1/web two",
            "2023-11-14T22:13:21.000000000Z workload-1/web three",
            "2023-11-14T22:13:22.000000000Z workload-1/web \u{fffd}[31mred\ttab",
        ]
    );
    let json = home.against(&provider, &["--output", "json", "logs", &id]).await;
    let told: Vec<_> = json_lines(&json)
        .into_iter()
        .filter(|object| object["event"] == "line")
        .map(|object| object["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, ["one", "two", "three", "\u{1b}[31mred\ttab"]);
    assert_eq!(code(&home.against(&provider, &["logs", &id, "-f", "-p"]).await), 2);
}

#[test]
fn help_tells_the_exit_statuses() {
    let help = stdout(&Home::new().run(None, &["--help"]));
    insta::assert_snapshot!("help", help);
}

#[test]
fn every_command_says_what_it_does_and_how_it_ends() {
    let home = Home::new();
    let mut told = String::new();
    for command in [
        "key new",
        "key show",
        "provider add",
        "provider list",
        "provider remove",
        "attest",
        "capacity",
        "check",
        "deploy",
        "watch",
        "delegate",
        "delegations list",
        "delegations revoke",
        "peer",
        "delete",
        "explain",
        "completion",
    ] {
        let words: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let help = stdout(&home.run(None, &words));
        assert!(help.contains("Exit status: 0"), "{command}:\n{help}");
        // The options of every command are in the help of the program.
        let own = help.split("Options of every command").next().unwrap();
        told.push_str(&format!("==== {command}\n{own}\n"));
    }
    insta::assert_snapshot!("help_of_commands", told);
}

const POD: &str = "0x5151515151515151515151515151515151515151515151515151515151515151";

#[tokio::test]
async fn a_delegate_needs_no_key_of_the_publisher_and_asks_as_the_peer_that_was_named() {
    let wallet = Home::with_key();
    let ci = Home::new();
    let peer = stdout(&ci.run(None, &["peer", "--output", "json"]));
    let peer = serde_json::from_str::<Value>(&peer).unwrap()["peer"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        stdout(&ci.run(None, &["peer"])).contains(&peer),
        "another peer at the second time"
    );

    let fake = FakeProvider::start(|_, _| vec![running(), ended("deleted_by_publisher", 1)]).await;
    let words = [
        "delegate",
        &peer,
        "--operations",
        "watch,logs",
        "--pod",
        POD,
        "--for",
        "30d",
    ];
    let given = wallet.against(&fake, &words).await;
    assert_eq!(code(&given), 0, "{}", stderr(&given));
    assert_eq!(
        code(&wallet.against(&fake, &words).await),
        2,
        "the file was overwritten"
    );
    fs::copy(wallet.path().join("delegation.json"), ci.path().join("d.json")).unwrap();

    // The file says which pod and where; no key file, no provider.
    let mut watch = ci.command(None, &["watch", "--delegation", "d.json"]);
    let watched = tokio::task::spawn_blocking(move || watch.output().unwrap())
        .await
        .unwrap();
    assert_eq!(code(&watched), 0, "{}", stderr(&watched));
    let calls = fake.calls();
    let [call] = calls.as_slice() else { panic!("{calls:?}") };
    let envelope = &call.envelope;
    let delegation = envelope.delegation.as_ref().expect("a delegation");
    assert_eq!(call.peer.to_base58(), peer);
    assert_eq!(
        (delegation.delegate.as_str(), envelope.requester.as_str()),
        (peer.as_str(), peer.as_str())
    );
    assert!(envelope.signature.is_empty());
    assert_eq!(
        (envelope.pod_id.clone(), delegation.pod_id.clone()),
        (vec![0x51; 32], vec![0x51; 32])
    );
    let address = stdout(&wallet.run(None, &["key", "show"])).to_lowercase();
    assert!(
        address.contains(&data_encoding::HEXLOWER.encode(&envelope.publisher)),
        "{address}"
    );

    // What is the wallet's alone, and a peer that is not the one.
    for words in [&["key", "show"][..], &["delegations", "list"]] {
        let refused = ci.run(None, &[words, &["--delegation", "d.json"]].concat());
        assert_eq!(code(&refused), 2, "{words:?}");
    }
    let other = wallet.run(None, &["watch", "--delegation", "delegation.json"]);
    assert_eq!(code(&other), 2);
    assert!(stderr(&other).contains(&peer), "{}", stderr(&other));
}

#[tokio::test]
async fn delegations_are_listed_and_revoked_by_when_they_expire() {
    let home = Home::with_key();
    let fake = FakeProvider::start(|_, call| {
        let request = ManagePodRequest::decode(call.envelope.request.as_slice()).unwrap();
        let Some(Operation::Revoke(Revoke { not_before })) = request.operation else {
            panic!("{request:?}")
        };
        vec![Act::Send(PodReply {
            message: Some(Message::Revoked(Revoked { not_before })),
            r#final: true,
        })]
    })
    .await;
    let peers: Vec<_> = (0..2).map(|_| libp2p::PeerId::random().to_base58()).collect();
    for (peer, span, file) in [(&peers[0], "10d", "a.json"), (&peers[1], "20d", "b.json")] {
        let words = [
            "delegate",
            peer,
            "--operations",
            "watch",
            "--pod",
            POD,
            "--for",
            span,
            "--to",
            file,
        ];
        assert_eq!(code(&home.against(&fake, &words).await), 0);
    }
    let revoked = || {
        json_lines(&home.run(None, &["delegations", "list", "--output", "json"]))
            .iter()
            .map(|line| (line["delegate"].as_str().unwrap().to_owned(), line["revoked"] == true))
            .collect::<Vec<_>>()
    };
    assert_eq!(revoked(), [(peers[0].clone(), false), (peers[1].clone(), false)]);

    let first = home
        .against(&fake, &["delegations", "revoke", POD, "--delegate", &peers[0]])
        .await;
    assert_eq!(code(&first), 0, "{}", stderr(&first));
    assert_eq!(revoked(), [(peers[0].clone(), true), (peers[1].clone(), false)]);
    let short = [
        "delegate",
        &peers[0],
        "--operations",
        "watch",
        "--pod",
        POD,
        "--for",
        "9d",
        "--to",
        "c.json",
    ];
    let refused = home.against(&fake, &short).await;
    assert_eq!(code(&refused), 2, "it would be void from the beginning");

    let all = home
        .against(&fake, &["delegations", "revoke", POD, "--output", "json"])
        .await;
    assert_eq!(code(&all), 0, "{}", stderr(&all));
    assert!(revoked().iter().all(|(_, revoked)| *revoked));
    let nothing = home
        .against(&fake, &["delegations", "revoke", &POD.replace("51", "52")])
        .await;
    assert_eq!(code(&nothing), 2);
    assert_eq!(fake.operations(), ["revoke", "revoke"]);
    assert!(fake.calls().iter().all(|call| call.signer(fake.peer()).is_some()));
}

#[tokio::test]
async fn a_dry_run_tells_price_blockers_and_digest_and_leaves_nothing_behind() {
    let home = Home::with_key();
    let fake = FakeProvider::start(|index, call| {
        let request = ProvisionPodRequest::decode(call.envelope.request.as_slice()).unwrap();
        assert!(request.dry_run);
        let blocker = Refusal {
            code: "insufficient_capacity".into(),
            message: "full".into(),
            resource: "memory".into(),
            ..Refusal::default()
        };
        vec![Act::Send(PodReply {
            message: Some(Message::DryRun(DryRun {
                blockers: vec![blocker; index],
                name: "abcdefghijklmnopqrstuvwxyz".into(),
                life: 1,
                prices: vec![Price {
                    table: "free\u{1b}[31m".into(),
                    per_hour: "0".into(),
                    ..Price::default()
                }],
                objects_digest: vec![0xab; 32],
                ..DryRun::default()
            })),
            r#final: true,
        })]
    })
    .await;
    let words = ["deploy", "pod.yaml", "--dry-run", "--allow-unattested"];
    let fine = home.against(&fake, &words).await;
    assert_eq!(code(&fine), 0, "{}", stderr(&fine));
    let text = stdout(&fine);
    assert!(
        text.contains("0 an hour, by table free") && !text.contains('\u{1b}'),
        "{text}"
    );
    assert!(text.contains(&format!("sha256:{}", "ab".repeat(32))), "{text}");
    assert!(home.states().is_empty(), "a dry run was remembered");

    let blocked = home.against(&fake, &[&words[..], &["--output", "json"]].concat()).await;
    assert_eq!(code(&blocked), 7);
    let lines = json_lines(&blocked);
    let told = lines.iter().find(|line| line["event"] == "dryRun").unwrap();
    assert_eq!(told["blockers"][0]["resource"], "memory");
    assert_eq!(told["prices"][0]["perHour"], "0");
    assert_eq!(lines.last().unwrap()["outcome"], "blocked");
}
