//! What a scenario consists of, and its text: one step a line, as JSON.
//!
//! In every path `@` stands for the scenario's own root, so that one scenario can run any number
//! of times against the same servers.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Steps in one global order. Each is finished on the system before the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

/// What one slot does: a place for a connection and the session that it last had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) on: usize,
    #[serde(flatten)]
    pub(crate) action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// Connects and asks for a new session.
    Open(Open),
    /// Connects and asks for a session that exists, or did.
    Attach(Attach),
    /// Closes the socket, not the session.
    Drop {},
    /// Sends requests with one system call, then reads their replies.
    Do(Vec<Op>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Open {
    /// Which server, modulo their number; 0 is the leader.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) server: usize,
    /// Wanted timeout; absent: [`TIMEOUT_MS`].
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) timeout_ms: Option<i32>,
    /// Leaves the read-only byte out, as clients before 3.4 do.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) old_client: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) last_zxid: Since,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Attach {
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) server: usize,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) timeout_ms: Option<i32>,
    /// The slot whose session is asked for.
    pub(crate) session: usize,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) password: Password,
    /// Leaves connections of the session to other servers open; those to the same server are for
    /// that to close.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) keep: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) last_zxid: Since,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Password {
    #[default]
    Own,
    /// The right one of a session id that nobody was given.
    OwnOfUnknown,
    Zero,
    Empty,
    Null,
}

/// A zxid, relative to what the system has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Since {
    #[default]
    Zero,
    /// So many transactions before the last one; negative: after it.
    Ago(i64),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Op {
    Create(Create),
    Create2(Create),
    CreateContainer(Create),
    CreateTtl(Create),
    Delete(PathVersion),
    SetData(SetData),
    SetAcl(SetAcl),
    Check(PathVersion),
    Exists(PathWatch),
    GetData(PathWatch),
    GetChildren(PathWatch),
    GetChildren2(PathWatch),
    GetAcl(Path),
    GetEphemerals(Path),
    GetAllChildrenNumber(Path),
    WhoAmI {},
    Sync(Path),
    Ping {},
    Multi(Vec<Self>),
    MultiRead(Vec<Self>),
    AddWatch(PathKind),
    CheckWatches(PathKind),
    RemoveWatches(PathKind),
    SetWatches(SetWatches),
    SetWatches2(SetWatches),
    Auth {
        scheme: String,
        id: Option<String>,
    },
    Reconfig {
        joining: String,
    },
    CloseSession {},
    /// Any opcode with any body, as hexadecimal digits.
    Raw {
        opcode: i32,
        body: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Create {
    pub(crate) path: String,
    /// Null when absent; `#N` stands for N bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) data: Option<String>,
    /// Each "permissions scheme id"; absent: the world may do everything.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) acl: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) flags: i32,
    /// Milliseconds, of createTTL only.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) ttl: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetData {
    pub(crate) path: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) data: Option<String>,
    #[serde(default = "any", skip_serializing_if = "is_any")]
    pub(crate) version: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetAcl {
    pub(crate) path: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) acl: Option<Vec<String>>,
    #[serde(default = "any", skip_serializing_if = "is_any")]
    pub(crate) version: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PathVersion {
    pub(crate) path: String,
    #[serde(default = "any", skip_serializing_if = "is_any")]
    pub(crate) version: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PathWatch {
    pub(crate) path: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) watch: bool,
}

/// A mode of addWatch, or a watcher type of checkWatches and removeWatches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PathKind {
    pub(crate) path: String,
    pub(crate) kind: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Path {
    pub(crate) path: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SetWatches {
    pub(crate) since: Since,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) data: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) exist: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) child: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) persistent: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) recursive: Vec<String>,
}

impl Scenario {
    /// Reads lines of steps; empty lines and lines that begin with `#` are left out.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self> {
        let steps = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
            .map(|(at, line)| {
                serde_json::from_str(line).with_context(|| format!("{name}, line {}", at + 1))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            name: name.to_owned(),
            steps,
        })
    }
}

impl Step {
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("steps hold nothing that JSON cannot")
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn any() -> i32 {
    -1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_any(version: &i32) -> bool {
    *version == any()
}

/// Timeout that a session asks for when its step names none.
pub(crate) const TIMEOUT_MS: i32 = 90_000;
