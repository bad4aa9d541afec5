use super::*;

const GOOD: &str = r#"apiVersion: pricing.apocryph.network/v1alpha1
tables:
- name: usdc
  payment:
    channel:
      chainId: 1
      contract: "0xAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAaAa"
      token: "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
      decimals: 6
  perHour:
    cpu: "0.012"
    memoryGiB: "0.004"
    storageGiB: "0.0001"
    ephemeralStorageGiB: "0.00002"
    externalIP: "0.002"
    gpu: {"NVIDIA L4": "0.35"}
  minimum: {runwayHours: 24, settlement: "1.00"}
- name: friends
  payment: {free: {publishers: ["0x00000000000000000000000000000000000000Ff"]}}
"#;

#[test]
fn every_field_is_read() {
    insta::assert_debug_snapshot!(Tables::parse(GOOD).unwrap().unwrap());
}

#[test]
fn other_good_texts() {
    let head = "apiVersion: pricing.apocryph.network/v1alpha1\n";
    for (text, tables) in [
        (format!("{head}tables: []\n"), None),
        (format!("{head}tables:\n"), None),
        (head.to_owned(), None),
        (
            format!("{head}tables: [{{name: a, payment: {{free: {{everyone: true}}}}}}]"),
            Some(1),
        ),
        // Prices may stay in a table while it is free; an explicit false is no second answer.
        (
            format!(
                "{head}tables: [{{name: a, payment: {{free: {{everyone: false, publishers: ['0x{}']}}}}, perHour: {{cpu: '1'}}, minimum: {{}}}}]",
                "ab".repeat(20)
            ),
            Some(1),
        ),
        // YAML's own way not to write a thing twice.
        (
            format!("{head}tables:\n- name: a\n  payment: &p {{free: {{everyone: true}}}}\n- name: b\n  payment: *p\n"),
            Some(2),
        ),
    ] {
        let parsed = Tables::parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}"));
        assert_eq!(parsed.map(|tables| tables.iter().len()), tables, "{text}");
    }
}

/// One change to the good text each, and what is said about it.
#[test]
fn bad_texts_name_line_and_field() {
    let changes: &[(&str, &str)] = &[
        ("v1alpha1", "v2"),
        ("apiVersion: pricing.apocryph.network/v1alpha1\n", ""),
        ("tables:", "table:"),
        ("tables:\n", "tables: many\nold:\n"),
        ("- name: usdc", "- title: usdc"),
        ("- name: usdc", "- name: USDC"),
        ("- name: usdc", "- name: 5"),
        ("- name: friends", "- name: usdc"),
        ("      chainId: 1\n", ""),
        ("chainId: 1", "chainId: 0"),
        ("chainId: 1", "chainId: \"1\""),
        ("chainId: 1", "chainId: 1.5"),
        ("chainId: 1", "chainID: 1"),
        ("decimals: 6", "decimals: 37"),
        ("decimals: 6", "decimals: -1"),
        ("\"0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48\"", "\"0xa0b86991\""),
        (
            "\"0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48\"",
            "\"a0b86991c6218b36c1d19d4a2e9eb0ce3606eb4800\"",
        ),
        ("\"0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48\"", "17"),
        ("cpu: \"0.012\"", "cpu: 0.012"),
        ("cpu: \"0.012\"", "cpu: \"-0.012\""),
        ("cpu: \"0.012\"", "cpu: \"0,012\""),
        ("cpu: \"0.012\"", "cpu: \"0.0120000000000000001\""),
        ("cpu: \"0.012\"", "cpu: \"1000000000000000000\""),
        ("cpu: \"0.012\"", "cpu:"),
        ("cpu: \"0.012\"", "cpus: \"0.012\""),
        ("    storageGiB: \"0.0001\"\n", ""),
        ("{\"NVIDIA L4\": \"0.35\"}", "{\"NVIDIA L4\": 0.35}"),
        ("{\"NVIDIA L4\": \"0.35\"}", "{\"\": \"0.35\"}"),
        ("{\"NVIDIA L4\": \"0.35\"}", "[]"),
        ("runwayHours: 24", "runwayHours: 8785"),
        ("runwayHours: 24", "runway: 24"),
        ("settlement: \"1.00\"", "settlement: 1"),
        (
            "{free: {publishers: [\"0x00000000000000000000000000000000000000Ff\"]}}",
            "{}",
        ),
        (
            "{free: {publishers: [\"0x00000000000000000000000000000000000000Ff\"]}}",
            "{gratis: {}}",
        ),
        (
            "{free: {publishers: [\"0x00000000000000000000000000000000000000Ff\"]}}",
            "free",
        ),
        ("{publishers: [\"0x00000000000000000000000000000000000000Ff\"]}", "{}"),
        (
            "{publishers: [\"0x00000000000000000000000000000000000000Ff\"]}",
            "{everyone: false}",
        ),
        (
            "{publishers: [\"0x00000000000000000000000000000000000000Ff\"]}",
            "{everyone: sure}",
        ),
        (
            "{publishers: [\"0x00000000000000000000000000000000000000Ff\"]}",
            "{everybody: true}",
        ),
        (
            "{publishers: [\"0x00000000000000000000000000000000000000Ff\"]}",
            "{publishers: []}",
        ),
        (
            "[\"0x00000000000000000000000000000000000000Ff\"]}",
            "[\"0x00000000000000000000000000000000000000Ff\"], everyone: true}",
        ),
        (
            "[\"0x00000000000000000000000000000000000000Ff\"]",
            "[\"0x00000000000000000000000000000000000000Ff\", \"0xfg\"]",
        ),
        ("publishers: [\"0x", "publishers: [\"0\u{1b}x"),
        ("  payment: {free:", "  payment: {channel: {}, free:"),
        ("- name: friends\n", "- name: friends\n  name: again\n"),
        ("  minimum: {", "  minimum: }"),
        ("tables:\n", "tables:\n\t"),
    ];
    let told: Vec<String> = changes
        .iter()
        .map(|(from, to)| {
            assert!(GOOD.contains(from), "{from}");
            let text = GOOD.replacen(from, to, 1);
            let error = Tables::parse(&text)
                .err()
                .unwrap_or_else(|| panic!("accepted: {from} -> {to}"));
            format!("{from:?} -> {to:?}\n  {error}")
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn sizes_are_bounded() {
    let head = "apiVersion: pricing.apocryph.network/v1alpha1\ntables:\n";
    let tables = |n: usize| -> String {
        let table = |i| format!("- {{name: t{i}, payment: {{free: {{everyone: true}}}}}}\n");
        format!("{head}{}", (0..n).map(table).collect::<String>())
    };
    assert!(Tables::parse(&tables(TABLES_MAX)).is_ok());
    assert_eq!(
        Tables::parse(&tables(TABLES_MAX + 1)).unwrap_err().to_string(),
        "line 3, tables: has 33 entries; at most 32"
    );

    let publishers = |n: usize| -> String {
        let listed: Vec<String> = (0..n).map(|i| format!("\"0x{i:040x}\"")).collect();
        format!(
            "{head}- {{name: a, payment: {{free: {{publishers: [{}]}}}}}}\n",
            listed.join(", ")
        )
    };
    assert!(Tables::parse(&publishers(PUBLISHERS_MAX)).is_ok());
    assert_eq!(
        Tables::parse(&publishers(PUBLISHERS_MAX + 1)).unwrap_err().field,
        "tables[0].payment.free.publishers"
    );
    let large = format!("{head}# {}\n", "x".repeat(TEXT_MAX));
    assert!(
        Tables::parse(&large)
            .unwrap_err()
            .to_string()
            .ends_with("bytes; at most 524288")
    );
}

#[test]
fn free_is_free_for_whom_it_says() {
    let (alice, bob) = (Publisher([0; 20]), Publisher([1; 20]));
    let tables = |list: &str| {
        Tables::parse(&format!("apiVersion: {API_VERSION}\ntables: [{list}]"))
            .unwrap()
            .unwrap()
    };
    let listed = format!("{{name: listed, payment: {{free: {{publishers: ['{alice}']}}}}}}");
    let all = "{name: all, payment: {free: {everyone: true}}}";
    let allowed = |name: &str| FreeAnswer::Allowed(name.to_owned());

    assert_eq!(tables(&listed).free_for(&alice), allowed("listed"));
    assert_eq!(tables(&listed).free_for(&bob), FreeAnswer::NotListed);
    assert_eq!(tables(&format!("{listed}, {all}")).free_for(&alice), allowed("listed"));
    assert_eq!(tables(&format!("{listed}, {all}")).free_for(&bob), allowed("all"));
    let channel_only = GOOD.split("- name: friends").next().unwrap();
    assert_eq!(
        Tables::parse(channel_only).unwrap().unwrap().free_for(&alice),
        FreeAnswer::NoFreeTable
    );
}
