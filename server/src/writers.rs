//! Other processes that write to the data directories.

use std::fs;
use std::path::{Path, PathBuf};

/// A process that has a file open for writing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(crate) pid: u32,
    /// Name of its program, such as `java`.
    pub(crate) program: String,
    /// The file, in one of the directories that were asked for.
    pub(crate) file: PathBuf,
}

/// A process other than this one that has a file open for writing directly in
/// one of these directories, as this machine's `/proc` tells. Processes of
/// other users are seen only by root, those in other containers not at all. A
/// program that reads, such as a backup, is none.
pub(crate) fn other_writer(dirs: &[PathBuf]) -> Option<Writer> {
    let dirs: Vec<PathBuf> = dirs
        .iter()
        .filter_map(|dir| dir.canonicalize().ok())
        .collect();
    let own = std::process::id();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != own)
        .find_map(|pid| written_by(pid, &dirs))
}

fn written_by(pid: u32, dirs: &[PathBuf]) -> Option<Writer> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let open = fs::read_dir(process.join("fd")).ok()?.flatten();
    let file = open
        .filter_map(|entry| Some((entry.file_name(), fs::read_link(entry.path()).ok()?)))
        .filter(|(_, file)| {
            file.parent()
                .is_some_and(|dir| dirs.iter().any(|it| it == dir))
        })
        .find(|(descriptor, _)| is_for_writing(&process.join("fdinfo").join(descriptor)))?
        .1;
    let program = fs::read_to_string(process.join("comm")).unwrap_or_default();
    let program = program.trim_end().to_owned();
    Some(Writer { pid, program, file })
}

/// The access mode is in the last two bits of the flags, which are octal.
fn is_for_writing(descriptor: &Path) -> bool {
    let text = fs::read_to_string(descriptor).unwrap_or_default();
    let mut lines = text.lines();
    let flags = lines.find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & 3 != 0)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// A shell that has this file open in this way.
    fn opened(file: &Path, how: &str) -> Child {
        let script = format!("exec 9{how}'{}'; echo open; read -r line", file.display());
        let mut shell = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 5];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut said).unwrap();
        shell
    }

    #[test]
    fn a_process_that_writes_is_told_from_one_that_reads() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log.1");
        fs::write(&file, b"x").unwrap();
        let dirs = [dir.path().to_path_buf()];
        let mut reader = opened(&file, "<");
        assert_eq!(other_writer(&dirs), None);
        let mut writer = opened(&file, ">>");
        let found = other_writer(&dirs).unwrap();
        assert_eq!((found.pid, found.program.as_str()), (writer.id(), "sh"));
        assert_eq!(found.file, file.canonicalize().unwrap());
        for child in [&mut reader, &mut writer] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let end = Instant::now() + Duration::from_secs(5);
        while other_writer(&dirs).is_some() {
            assert!(Instant::now() < end, "the process has ended");
        }
        // Its own files are nobody else's.
        let _own = fs::OpenOptions::new().append(true).open(&file).unwrap();
        assert_eq!(other_writer(&dirs), None);
    }
}
