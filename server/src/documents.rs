//! The documents that list what there is, held against it: a table between
//! `<!-- NAME: begin -->` and `<!-- NAME: end -->`.

mod limits;

use std::path::{Path, PathBuf};

/// The cells of a table, without its heading.
pub(crate) fn rows(document: &str, table: &str) -> Vec<Vec<String>> {
    let text = read(document);
    let (_, found, _) = part(&text, table);
    let lines = found.lines().skip(2);
    let cells = |line: &str| {
        let inner = line.trim_start_matches("| ").trim_end_matches(" |");
        inner.split(" | ").map(str::to_owned).collect()
    };
    lines.map(cells).collect()
}

/// The names in a cell, such as `` `a`, `b` ``.
pub(crate) fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// A table is made of the code. `UPDATE=1` rewrites it.
pub(crate) fn assert_table(document: &str, table: &str, want: &str) {
    let text = read(document);
    let (head, found, tail) = part(&text, table);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path(document), format!("{head}{want}{tail}")).unwrap();
        return;
    }
    assert_eq!(
        found, want,
        "{document} is behind the code; UPDATE=1 rewrites it"
    );
}

fn read(document: &str) -> String {
    std::fs::read_to_string(path(document)).unwrap()
}

fn path(document: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(document)
}

/// What stands before the table, the table, what stands behind it.
fn part<'a>(text: &'a str, table: &str) -> (&'a str, &'a str, &'a str) {
    let begin = format!("<!-- {table}: begin -->\n");
    let end = format!("<!-- {table}: end -->");
    let begin = text.find(&begin).expect("the table's first mark") + begin.len();
    let end = begin + text[begin..].find(&end).expect("the table's last mark");
    (&text[..begin], &text[begin..end], &text[end..])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io;

    use zk_proto::client::OpCode;

    use super::*;
    use crate::config::ConfigError;
    use crate::failure::{Failure, Port};

    #[test]
    fn every_operation_of_clients_is_listed_under_its_code() {
        let mut listed = BTreeSet::new();
        for row in rows("docs/compatibility.md", "operations") {
            let [operation, code, state] = &row[..] else {
                panic!("{row:?}");
            };
            let code = code.parse().unwrap();
            let op = OpCode::from_code(code).unwrap_or_else(|| panic!("{code} is no operation"));
            assert_eq!(
                names(operation)[0].to_lowercase(),
                format!("{op:?}").to_lowercase()
            );
            assert!(!state.is_empty());
            assert!(listed.insert(code), "{code} is there twice");
        }
        let of_servers = [OpCode::CreateSession, OpCode::Error].map(OpCode::code);
        let known = (-100..=1000).filter(|code| OpCode::from_code(*code).is_some());
        let wanted: BTreeSet<_> = known.filter(|code| !of_servers.contains(code)).collect();
        assert_eq!(listed, wanted);
    }

    #[test]
    fn every_exit_code_is_listed() {
        let error = || Box::new(io::Error::other("x"));
        let source = || io::Error::other("x");
        let (what, port) = (Port::Clients, 1);
        let failures = [
            Failure::Panic("x".into()),
            Failure::Config(ConfigError::Missing {
                file: "x".into(),
                key: "x",
                reason: "x",
            }),
            Failure::Usage("x".into()),
            Failure::Member(error()),
            Failure::Load(error()),
            Failure::Bind {
                what,
                port,
                source: source(),
            },
            Failure::Name {
                what,
                host: "x".into(),
                why: "x".into(),
            },
            Failure::BindPeer {
                what,
                port,
                source: source(),
            },
            Failure::Disk(error()),
            Failure::Halt("x"),
            Failure::Thread(source()),
        ];
        let mut wanted: BTreeSet<_> = failures.iter().map(Failure::exit_code).collect();
        wanted.insert(0);
        let rows = rows("docs/configuration.md", "exit codes");
        let listed: BTreeSet<u8> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
        assert_eq!(listed, wanted);
    }
}
