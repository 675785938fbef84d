//! Copies the sources of `zk-core` and puts the faults into the copy. A fault
//! whose place is not found any more fails the build and names the file: the
//! core has changed there, and the table has to follow.

#[path = "src/table.rs"]
mod table;

use std::path::{Path, PathBuf};
use std::{env, fs};

use table::FAULTS;

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    let source = manifest.join("../../../core/src");
    println!("cargo::rerun-if-changed={}", source.display());
    println!("cargo::rerun-if-changed=src/table.rs");
    let copy = out.join("core");
    if copy.exists() {
        fs::remove_dir_all(&copy).expect("the old copy can be removed");
    }
    copy_tree(&source, &copy);
    for (number, fault) in FAULTS.iter().enumerate() {
        for edit in fault.edits {
            let path = copy.join(edit.file);
            let text = fs::read_to_string(&path);
            let text = text.unwrap_or_else(|error| panic!("{}: {error}", edit.file));
            let found = text.matches(edit.find).count();
            assert!(
                found == 1,
                "fault {}: server/core/src/{} has {found} times, not once:\n{}\n\
                 change the fault in server/sim/mutants/core/src/table.rs",
                fault.name,
                edit.file,
                edit.find
            );
            let on = format!("crate::faults::on({number})");
            let text = text.replace(edit.find, &edit.replace.replace("$on", &on));
            fs::write(&path, text).expect("the copy can be written");
        }
    }
    let root = fs::read_to_string(copy.join("lib.rs")).expect("zk-core has a lib.rs");
    fs::write(out.join("lib.rs"), included(&root, &copy)).expect("the copy can be written");
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the copy can be written");
    for entry in fs::read_dir(from).expect("the sources are there") {
        let path = entry.expect("the sources can be listed").path();
        let target = to.join(path.file_name().expect("it was listed"));
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            let text = fs::read_to_string(&path).expect("sources are text");
            // Tests may contain what is looked for, and name files beside them.
            let end = text.find("\n#[cfg(test)]\nmod tests {");
            let text = text[..end.unwrap_or(text.len())].replace("#[cfg(test)]", "#[cfg(false)]");
            fs::write(&target, text).expect("the copy can be written");
        }
    }
}

/// An included file has no inner attributes and has to say where its modules are.
fn included(root: &str, copy: &Path) -> String {
    let mut text = String::new();
    for line in root.lines() {
        let is_inner = line.starts_with("//!") || line.starts_with("#![");
        let module = line
            .strip_suffix(';')
            .and_then(|line| line.rsplit_once("mod "));
        if let Some((_, name)) = module.filter(|_| !is_inner) {
            let [file, dir] = [format!("{name}.rs"), format!("{name}/mod.rs")];
            let file = if copy.join(&file).exists() { file } else { dir };
            text += &format!("#[path = {:?}]\n", copy.join(file));
        }
        if !is_inner {
            text += line;
            text.push('\n');
        }
    }
    text
}
