//! The arrows between modules, as the crate docs draw them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Groups from left to right; a module may import from groups to its left, and from itself.
const GROUPS: [&[&str]; 8] = [
    &[
        "article",
        "topic",
        "cursor",
        "fault",
        "filter",
        "access",
        "recipient",
        "target",
        "webhook",
    ],
    &["routing", "telemetry"],
    &["wire"],
    &["gate"],
    &["ingest", "delivery", "desk"],
    &["config"],
    &["server"],
    &["cli"],
];
/// Where the NATS client may be named.
const NATS: [&str; 5] = [
    "src/wire/log",
    "src/wire/subject.rs",
    "src/server/nats",
    "src/cli/bench",
    "src/wire/log.rs",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Every source file with its path in the project and its text.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&root.join("src"), &mut found);
    let relative = |path: &Path| {
        path.strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    found
        .iter()
        .map(|path| (relative(path), fs::read_to_string(path).unwrap()))
        .collect()
}

fn group(module: &str) -> Option<usize> {
    GROUPS.iter().position(|group| group.contains(&module))
}

/// The modules of this crate that a text imports: what follows `crate::`, or stands at the first
/// level of `use crate::{…}`.
fn imports(text: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|char| char.is_alphanumeric() || *char == '_')
            .collect()
    };
    let mut modules = Vec::new();
    for part in text.split("crate::").skip(1) {
        let Some(list) = part.strip_prefix('{') else {
            modules.push(word(part));
            continue;
        };
        let (mut depth, mut is_start) = (0, true);
        for (index, char) in list.char_indices() {
            match char {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => is_start = true,
                char if is_start && !char.is_whitespace() => {
                    modules.push(word(list.split_at(index).1));
                    is_start = false;
                }
                _ => {}
            }
        }
    }
    modules
}

/// No module imports from its right, or from its own group's neighbours beyond the domain's.
#[test]
fn arrows_point_to_the_left() {
    let mut seen = 0;
    for (path, text) in files() {
        let module = path.strip_prefix("src/").unwrap();
        let module = module.split(['/', '.']).next().unwrap();
        let Some(from) = group(module) else { continue };
        for import in imports(&text) {
            let Some(to) = group(&import) else { continue };
            seen += 1;
            let is_neighbour = to == from && (from == 0 || import == module);
            assert!(to < from || is_neighbour, "{path} imports crate::{import}");
        }
    }
    assert!(seen > 50, "the reader of imports finds too few: {seen}");
}

/// The NATS client stops at the log, the managed server and the floor of the benchmarks.
#[test]
fn nats_stays_where_it_belongs() {
    for (path, text) in files() {
        let is_allowed = NATS.iter().any(|place| path.starts_with(place));
        assert!(
            is_allowed || !text.contains("async_nats::"),
            "{path} names async_nats"
        );
    }
}

/// A file is read in one sitting.
#[test]
fn files_stay_short() {
    for (path, text) in files() {
        let count = text.lines().count();
        assert!(count <= 600, "{path} has {count} lines: split it");
    }
}

/// What the dashboard says of refusals is said of such as there are.
#[test]
fn words_are_for_reasons_that_there_are() {
    let words = "src/server/http/dashboard/phrases/refusal.rs";
    let (own, others): (Vec<_>, Vec<_>) = files().into_iter().partition(|(path, _)| path == words);
    let is_reason = |line: &&str| {
        let mut bytes = line.bytes();
        line.len() > 3 && bytes.all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let lines = own[0].1.lines().map(str::trim);
    let reasons = lines.filter_map(|line| line.strip_prefix('"')?.strip_suffix("\","));
    let reasons: Vec<_> = reasons.filter(is_reason).collect();
    assert!(reasons.len() > 40, "the reader of reasons finds too few");
    for reason in reasons {
        let quoted = format!("\"{reason}\"");
        let is_raised = others.iter().any(|(_, text)| text.contains(&quoted));
        assert!(is_raised, "nothing is refused as {reason}");
    }
}
