//! The process and its machine under the names of the reference
//! (`Environment.list` of 3.9.4). What only a Java machine has is `<NA>`, as
//! Java says of a property that is not set.

use std::fs;

use tokio::task::spawn_blocking;

use super::{Commands, VERSION};

impl Commands {
    /// `envi`.
    pub(super) async fn environment_text(&self) -> String {
        let mut text = "Environment:\n".to_owned();
        for (name, value) in environment().await {
            text += &format!("{name}={value}\n");
        }
        text
    }
}

/// All names with their values, in the reference's order.
pub(super) async fn environment() -> Vec<(&'static str, String)> {
    spawn_blocking(list).await.unwrap_or_default()
}

fn list() -> Vec<(&'static str, String)> {
    let user = User::read();
    let system = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{name}"));
        text.map_or_else(|_| NOT_THERE.into(), |text| text.trim().to_owned())
    };
    let current = std::env::current_dir();
    let directory = current.map_or_else(|_| NOT_THERE.into(), |dir| dir.display().to_string());
    let memory = Memory::read();
    let mut list = vec![
        ("zookeeper.version", VERSION.to_owned()),
        ("host.name", system("hostname")),
    ];
    list.extend(OF_JAVA.map(|name| (name, NOT_THERE.to_owned())));
    list.extend([
        ("os.name", system("ostype")),
        ("os.arch", java_arch(std::env::consts::ARCH).to_owned()),
        ("os.version", system("osrelease")),
        ("user.name", user.name),
        ("user.home", user.home),
        ("user.dir", directory),
        ("os.memory.free", memory.free),
        ("os.memory.max", memory.total.clone()),
        ("os.memory.total", memory.total),
    ]);
    let temporary = std::env::temp_dir().display().to_string();
    if let Some((_, value)) = list.iter_mut().find(|(name, _)| *name == "java.io.tmpdir") {
        *value = temporary;
    }
    list
}

/// Who runs the process, by the system's list of users.
struct User {
    name: String,
    home: String,
}

impl User {
    fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        let uid = uid.and_then(|ids| ids.split_whitespace().next());
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let fields = users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>());
        let own = fields
            .into_iter()
            .find(|fields| fields.get(2).copied() == uid);
        let field = |at: usize| {
            let field = own.as_ref().and_then(|fields| fields.get(at));
            field.map_or(NOT_THERE, |field| *field).to_owned()
        };
        Self {
            name: field(0),
            home: field(5),
        }
    }
}

/// Of the machine, since the process has no heap of a fixed size.
struct Memory {
    free: String,
    total: String,
}

impl Memory {
    fn read() -> Self {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let megabytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes =
                line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            kilobytes.map_or_else(|| NOT_THERE.into(), |kb| format!("{}MB", kb / 1024))
        };
        Self {
            free: megabytes("MemAvailable:"),
            total: megabytes("MemTotal:"),
        }
    }
}

fn java_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        other => other,
    }
}

const NOT_THERE: &str = "<NA>";

const OF_JAVA: [&str; 7] = [
    "java.version",
    "java.vendor",
    "java.home",
    "java.class.path",
    "java.library.path",
    "java.io.tmpdir",
    "java.compiler",
];
