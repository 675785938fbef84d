//! Rules of the house that no compiler checks: layers, file sizes, documents
//! that lead to what they name.

use std::fs;
use std::path::{Path, PathBuf};

/// Below the server's own directory; each crate has its sources in one of these.
const SOURCES: [&str; 5] = ["src", "proto/src", "core/src", "store/src", "sim/src"];
/// A file holds one kind of thing.
const LINES_MAX: usize = 800;

#[test]
fn files_hold_one_kind_of_thing() {
    for source in SOURCES {
        for (file, text) in files(source) {
            let lines = text.lines().count();
            assert!(lines <= LINES_MAX, "{} has {lines} lines", file.display());
        }
    }
}

#[test]
fn zab_knows_no_tree_session_or_watch() {
    assert_names_none("core/src/zab", &["tree", "session", "watch", "request"]);
}

#[test]
fn the_tree_knows_no_other_part() {
    assert_names_none("core/src/tree", &["zab", "session", "watch", "request"]);
}

#[test]
fn only_the_shell_knows_tokio_and_sockets() {
    for source in SOURCES.iter().skip(1) {
        for (file, text) in files(source) {
            for (number, line) in text.lines().enumerate() {
                let sockets = ["use tokio", "std::net::Tcp", "std::net::Udp"];
                let uses = sockets.iter().any(|it| line.contains(it));
                assert!(!uses, "{}:{}: {line}", file.display(), number + 1);
            }
        }
    }
}

/// Whoever looks for a rule starts in ARCHITECTURE.md.
#[test]
fn the_architecture_names_every_module_and_nothing_that_is_not_there() {
    let server = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = server.parent().unwrap().to_owned();
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let mut places: Vec<_> = SOURCES.iter().map(|it| server.join(it)).collect();
    places.extend([root.join("server/core/src/tree"), root]);
    let mut named = Vec::new();
    for name in text.split('`').skip(1).step_by(2) {
        let before = named.len();
        let found = places.iter().map(|place| place.join(name));
        named.extend(found.filter(|path| path.exists()));
        let is_path = name.contains('/') && !name.starts_with(['.', '/']) && !name.contains(' ');
        assert!(!is_path || named.len() > before, "{name} is not there");
    }
    for source in SOURCES {
        for entry in fs::read_dir(server.join(source)).unwrap() {
            let module = entry.unwrap().path();
            let directory = module.with_extension("");
            let is_root = directory.ends_with("lib") || directory.ends_with("main");
            let is_named = |path: &PathBuf| *path == module || path.starts_with(&directory);
            assert!(
                is_root || named.iter().any(is_named),
                "ARCHITECTURE.md names nothing of {}",
                module.display()
            );
        }
    }
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let documents = [
        "README",
        "ARCHITECTURE",
        "CHANGELOG",
        "CONTRIBUTING",
        "SECURITY",
    ];
    let mut documents: Vec<_> = documents
        .iter()
        .map(|it| root.join(format!("{it}.md")))
        .collect();
    documents.extend(below(&root.join("docs"), "md"));
    let mut count = 0;
    for document in &documents {
        let text = fs::read_to_string(document).unwrap();
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            if path.starts_with("http") {
                continue;
            }
            let target = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            assert!(target.exists(), "{}: {link}", document.display());
            let has_heading = || {
                let text = fs::read_to_string(&target).unwrap();
                let headings = text.lines().filter(|line| line.starts_with('#'));
                headings.map(anchor).any(|it| it == heading)
            };
            assert!(
                heading.is_empty() || has_heading(),
                "{}: {link}",
                document.display()
            );
            count += 1;
        }
    }
    assert!(count > 30, "only {count} links were found");
}

/// Each test that docs/reliability.md names as `file` `function` is there.
#[test]
fn tests_named_for_reliability_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let words: Vec<_> = text.split('`').collect();
    let mut count = 0;
    for pair in words.windows(3) {
        let [file, between, function] = pair else {
            continue;
        };
        let is_file = file.contains('/') && [".rs", ".py"].iter().any(|end| file.ends_with(end));
        if !is_file {
            continue;
        }
        let code = fs::read_to_string(root.join(file));
        let code = code.unwrap_or_else(|error| panic!("{file}: {error}"));
        if *between == " " {
            let named = [format!("fn {function}("), format!("def {function}(")];
            let is_there = named.iter().any(|name| code.contains(name));
            assert!(is_there, "{file} has no {function}");
            count += 1;
        }
    }
    assert!(count > 30, "only {count} tests were found");
}

/// As GitHub makes it of a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn assert_names_none(dir: &str, others: &[&str]) {
    for (file, text) in files(dir) {
        let uses = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (number, line) in uses {
            for other in others {
                let names = line.contains(&format!("crate::{other}"));
                assert!(!names, "{}:{}: {line}", file.display(), number + 1);
            }
        }
    }
}

fn files(source: &str) -> Vec<(PathBuf, String)> {
    let found = below(&Path::new(env!("CARGO_MANIFEST_DIR")).join(source), "rs");
    assert!(!found.is_empty(), "no sources below {source}");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    found.into_iter().map(read).collect()
}

/// All files with this extension.
fn below(root: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                found.push(path);
            }
        }
    }
    found
}
