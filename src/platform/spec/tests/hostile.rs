//! Input that is not meant well: it is refused, or cheap.

use super::*;

/// Far more than any of these takes, even in a debug build beside other work.
const PATIENCE: Duration = Duration::from_secs(10);

/// Loads a text under a deadline and returns how many problems it had.
fn load_in_time(text: &str) -> usize {
    let start = Instant::now();
    let problems = load_texts(&[text], Policy::ANY).err().unwrap_or_default();
    assert!(start.elapsed() < PATIENCE, "took {:?}", start.elapsed());
    for problem in &problems {
        assert!(problem.to_string().len() < 4096, "a message must not grow with the input");
    }
    problems.len()
}

#[test]
fn aliases_that_multiply_are_refused() {
    let bomb: Vec<_> = (1..10)
        .map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(", ")))
        .collect();
    let text = format!("a0: &a0 [lol, lol, lol]\n{}", bomb.concat());
    let said = problems(&[&text]).join("\n");
    assert!(said.contains("the file holds too much, aliases included"), "{said}");
    // The same with one long text instead of many values.
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 1000].join(", "));
    assert!(problems(&[&long])[0].contains("the file holds too much"));
    // And with depth: each level is one deeper than the level before.
    let deep: Vec<_> = (1..40).map(|i| format!("b{i}: &b{i} [*b{}]\n", i - 1)).collect();
    assert!(problems(&[&format!("b0: &b0 []\n{}", deep.concat())])[0].contains("nested deeper"));
    assert!(problems(&["a: &a [*a]\n"])[0].contains("no complete value"));
}

#[test]
fn large_files_of_every_kind_are_refused_or_cheap() {
    // A quarter of the largest file: what takes quadratic time shows there too.
    let size = FILE_BYTES_MAX / 4;
    let repeated = |text: &str| text.repeat(size / text.len());
    for unit in [
        "[", "{", "- ", "a: ", "a,", "? ", "&a ", "!", "*a ", "'", "\"", "%", "|\n", "#", "\n",
        "---\n", "[a],", "{a: b}, ", "-\n",
    ] {
        load_in_time(&repeated(unit));
        load_in_time(&format!("[{}", repeated(unit)));
        load_in_time(&format!("a: {}", repeated(unit)));
    }
    assert_eq!(load_in_time(&"a".repeat(FILE_BYTES_MAX + 1)), 1);
}

#[test]
fn problems_without_number_are_cut_off() {
    let fields: Vec<_> = (0..30_000).map(|i| format!("  field-{i}: 1\n")).collect();
    let said = load_in_time(&format!("{HEAD}spec:\n{}", fields.concat()));
    assert_eq!(said, PROBLEMS_MAX + 1);
    let twice: String = (0..30_000).map(|_| "a: 1\n").collect();
    load_in_time(&twice);
    let versions = "    - {}\n".repeat(50_000);
    assert_eq!(load_in_time(&format!("{HEAD}spec:\n  versions:\n{versions}")), PROBLEMS_MAX + 1);
    let documents = format!("{HEAD}---\n").repeat(5000);
    assert_eq!(load_in_time(&documents), PROBLEMS_MAX + 1);
    let secrets: Vec<_> = (0..1001)
        .map(|i| format!("---\n{{apiVersion: v1, kind: Secret, metadata: {{name: s{i}}}}}\n"))
        .collect();
    assert!(problems(&[&secrets.concat()])[0].contains("more than 1000 documents"));
}

/// Pieces that YAML and endpoints are made of, so that random texts get far.
fn piece() -> impl Strategy<Value = String> {
    let known = [
        "apiVersion: modelway.dev/v1alpha1\n",
        "kind: InferenceEndpoint\n",
        "kind: Secret\n",
        "metadata: {name: demo}\n",
        "spec:\n",
        "  versions:\n",
        "    - name: blue\n",
        "    - ",
        "      targetRef: {kind: Process, command: [a]}\n",
        "data:\n",
        "  primaryKey: ",
        "---\n",
        "...\n",
        "  ",
        "\n",
        "\t",
        ": ",
        "- ",
        "? ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&a ",
        "*a ",
        "!!int ",
        "!x ",
        "|",
        ">-\n",
        "'",
        "\"",
        "\\",
        "#",
        "%YAML 1.2\n",
        "%TAG ! a\n",
        "<<",
        "~",
        "1",
        "0x",
        ".inf",
        "500ms",
        "ä",
        "\u{feff}",
        "\0",
        "\r",
    ];
    prop_oneof![8 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_text_of_yaml_pieces_panics_or_takes_long(pieces in prop::collection::vec(piece(), 0..40)) {
        load_in_time(&pieces.concat());
    }

    #[test]
    fn no_edit_of_the_full_example_panics(
        edits in prop::collection::vec((0..3000_usize, 0..30_usize, piece()), 1..6),
    ) {
        let mut text: Vec<char> = good::FULL.chars().collect();
        for (at, length, piece) in edits {
            let start = at.min(text.len());
            let end = (at + length).min(text.len());
            text.splice(start..end, piece.chars());
        }
        load_in_time(&text.iter().collect::<String>());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        load_in_time(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_value_in_any_place_panics(value in any::<String>(), number in any::<i64>(), place in 0..12_usize) {
        let quoted = serde_json::to_string(&value).expect("a text is JSON");
        let field = [
            format!("hosts: [{quoted}]"), format!("stickyBy: {{header: {quoted}}}"),
            format!("limits: {{maxPayload: {quoted}}}"), format!("limits: {{maxPayload: {number}}}"),
        ];
        let inner = [
            format!("name: {quoted}"), format!("scoringPath: {quoted}"), format!("maxQueueWait: {quoted}"),
            format!("port: {number}"), format!("trafficPercentile: {number}"),
            format!("autoscale: {{minReplicas: {number}, maxReplicas: {number}}}"),
            format!("targetRef: {{kind: Addresses, addresses: [{quoted}]}}"),
            format!("targetRef: {{kind: Process, env: {{{quoted}: {quoted}}}}}"),
        ];
        let text = match field.get(place) {
            Some(field) => format!("{HEAD}spec:\n  {field}\n  versions: []\n"),
            None => format!("{HEAD}spec:\n  versions:\n    - {}\n", inner[place - 4]),
        };
        load_in_time(&text);
    }
}
