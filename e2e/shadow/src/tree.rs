//! A subtree as lines of text.

use anyhow::Result;

use crate::jute::Decoder;
use crate::step::{Op, Path, PathWatch};
use crate::view::{Header, View};

/// Data, ACL if wanted, and Stat of every znode below `root`, by requests that `exchange` makes.
pub(crate) fn lines(
    view: &mut View,
    root: &str,
    acl: bool,
    mut exchange: impl FnMut(&Op) -> Result<(Header, Vec<u8>)>,
) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut paths = vec![root.to_owned()];
    while let Some(path) = paths.pop() {
        let (header, body) = exchange(&Op::GetChildren(plain(&path)))?;
        if header.err == 0 {
            let mut names = Decoder::new(&body).vector(Decoder::string)?;
            names.sort();
            paths.extend(names.iter().rev().map(|name| format!("{path}/{name}")));
        }
        let data = Op::GetData(plain(&path));
        let acl = acl.then(|| Op::GetAcl(Path { path: path.clone() }));
        for op in [Some(data), acl].into_iter().flatten() {
            let (header, body) = exchange(&op)?;
            let line = view.reply(&op, header.xid, &header, &body);
            lines.push(format!("{} {line}", view.text(&path)));
        }
    }
    Ok(lines)
}

fn plain(path: &str) -> PathWatch {
    PathWatch {
        path: path.to_owned(),
        watch: false,
    }
}
