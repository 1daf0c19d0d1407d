//! Reads the case files.

use crate::verdict::Verdict;

/// One case.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// Its name, unique over all files; also the path by which the replica knows it.
    pub(crate) name: String,
    /// The section of an RFC, or of the contract where that is stricter.
    pub(crate) section: String,
    /// What is sent, line by line, before placeholders and escapes.
    pub(crate) lines: Vec<String>,
    /// What must come of it.
    pub(crate) verdict: Verdict,
}

/// A block of a file: one case, or a family whose rows fill its holes.
struct Block {
    name: String,
    section: String,
    verdict: Option<Verdict>,
    lines: Vec<String>,
}

/// The cases of one file.
pub(crate) fn read(file: &str, text: &str) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    let mut block: Option<Block> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let at = |problem: String| format!("{file}:{number}: {problem}");
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        if let Some(rest) = line.strip_prefix("case ").or_else(|| line.strip_prefix("family ")) {
            finish(block.take(), &mut cases);
            block = Some(begun(rest).map_err(at)?);
            continue;
        }
        let Some(open) = &mut block else { return Err(at("a line outside of a case".into())) };
        if let Some(rest) = line.strip_prefix('>') {
            open.lines.push(rest.strip_prefix(' ').unwrap_or(rest).to_owned());
        } else if let Some(row) = line.strip_prefix("- ") {
            cases.push(row_of(open, row).map_err(at)?);
        } else {
            return Err(at(format!("not a line of a case: {line}")));
        }
    }
    finish(block, &mut cases);
    Ok(cases)
}

fn begun(rest: &str) -> Result<Block, String> {
    let parts = columns(rest);
    let (name, section, verdict) = match &parts[..] {
        [name, section] => (name, section, None),
        [name, section, verdict] => (name, section, Some(Verdict::read(verdict)?)),
        _ => return Err("write: case NAME | SECTION | VERDICT".to_owned()),
    };
    Ok(Block { name: name.clone(), section: section.clone(), verdict, lines: Vec::new() })
}

fn finish(block: Option<Block>, cases: &mut Vec<Case>) {
    if let Some(Block { name, section, verdict: Some(verdict), lines }) = block {
        cases.push(Case { name, section, lines, verdict });
    }
}

fn row_of(block: &Block, row: &str) -> Result<Case, String> {
    let columns = columns(row);
    let [name, values @ .., verdict] = &columns[..] else {
        return Err("write: - NAME | VALUE… | VERDICT".to_owned());
    };
    let mut lines = block.lines.clone();
    for (number, value) in (1..).zip(values) {
        for line in &mut lines {
            *line = line.replace(&format!("{{{number}}}"), value);
        }
    }
    if let Some(line) = lines.iter().find(|line| line.contains("{1}") || line.contains("{2}")) {
        return Err(format!("a hole without a value: {line}"));
    }
    Ok(Case {
        name: format!("{}-{name}", block.name),
        section: block.section.clone(),
        lines,
        verdict: Verdict::read(verdict)?,
    })
}

fn columns(text: &str) -> Vec<String> {
    text.split('|').map(|column| column.trim().to_owned()).collect()
}

#[test]
fn a_family_makes_a_case_of_each_row() {
    let text = "# words\ncase one | 9112 §3 | 400 closes\n> GET\n\nfamily two | 9110 §5\n> x: {1}\n\
                - a | 1 | 200 open\n- b | \\s | 400 closes\n";
    let cases = read("text", text).unwrap();
    let names: Vec<_> = cases.iter().map(|case| (case.name.as_str(), &case.lines[0][..])).collect();
    assert_eq!(names, [("one", "GET"), ("two-a", "x: 1"), ("two-b", "x: \\s")]);
    for bad in [
        "> x\n",
        "case a | b | 400 closes\nnonsense\n",
        "family a | b\n> {2}\n- x | 1 | 200 open\n",
    ] {
        assert!(read("text", bad).is_err(), "{bad}");
    }
}
