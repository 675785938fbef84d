//! What a client asks for next.

use zk_proto::client::OpCode;

use super::bodies;
use super::watching::Aspect;
use crate::world::World;

/// What a client has asked for.
#[derive(Debug)]
pub(super) enum Act {
    /// One znode, or several in a multi.
    Create(Vec<String>),
    CreateSequential,
    CreateContainer(String),
    Delete(String),
    /// A write that tells nothing about any one znode.
    Write,
    /// exists, getData or getChildren2.
    Look {
        aspect: Aspect,
        path: String,
        watch: bool,
    },
    /// A read whose content nobody looks at.
    Read,
    Watch {
        path: String,
        is_recursive: bool,
    },
    Unwatch(String),
    Close,
}

impl World {
    pub(super) fn ask(&mut self, client: usize) {
        self.clients[client].next_name += 1;
        let name = format!("{client}-{}", self.clients[client].next_name);
        match self.rng.below(100) {
            0..24 => self.ask_create(client, &name),
            24..46 => self.ask_special(client, &name),
            46..54 => self.ask_multi(client, &name),
            54..62 => self.ask_delete(client),
            62..74 => self.ask_shared_write(client, &name),
            74..90 => self.ask_look(client),
            _ => self.ask_other_read(client),
        }
    }

    fn ask_create(&mut self, client: usize, name: &str) {
        let path = format!("/c{name}");
        let body = bodies::create(&path, 0);
        let paths = vec![path];
        self.oracle.create(&paths);
        self.request(client, OpCode::Create, body, Act::Create(paths));
    }

    /// Every kind of znode but the persistent one.
    fn ask_special(&mut self, client: usize, name: &str) {
        let (op, body, act) = match self.rng.below(6) {
            0 => {
                let body = bodies::create("/q-", SEQUENTIAL);
                (OpCode::Create2, body, Act::CreateSequential)
            }
            1 => {
                // In a parent that all share, so that an end of a session shows there.
                let body = bodies::create("/shared0/e-", EPHEMERAL | SEQUENTIAL);
                (OpCode::Create, body, Act::Write)
            }
            2 => {
                let body = bodies::create(&format!("/e{name}"), EPHEMERAL);
                (OpCode::Create, body, Act::Write)
            }
            3 => {
                let path = format!("/k{name}");
                let body = bodies::create(&path, CONTAINER);
                (OpCode::CreateContainer, body, Act::CreateContainer(path))
            }
            4 => {
                let ttl_ms = self.rng.within(50, 3_000) as i64;
                let body = bodies::create_ttl(&format!("/t{name}"), ttl_ms);
                (OpCode::CreateTtl, body, Act::Write)
            }
            _ => return self.ask_in_container(client, name),
        };
        self.request(client, op, body, act);
    }

    /// A child makes a container one that may go away; nobody knows when.
    fn ask_in_container(&mut self, client: usize, name: &str) {
        let Some(container) = self.clients[client].containers.pop() else {
            return self.ask_create(client, name);
        };
        let path = format!("{container}/{name}");
        let body = bodies::create(&path, 0);
        self.request(client, OpCode::Create, body, Act::Write);
        self.request(client, OpCode::Delete, bodies::delete(&path), Act::Write);
    }

    fn ask_multi(&mut self, client: usize, name: &str) {
        let paths = vec![format!("/m{name}a"), format!("/m{name}b")];
        let shared = self.shared();
        let fails = self.rng.percent(20);
        let body = bodies::multi(&paths, &shared, fails);
        self.oracle.create(&paths);
        self.request(client, OpCode::Multi, body, Act::Create(paths));
    }

    fn ask_delete(&mut self, client: usize) {
        let state = &mut self.clients[client];
        if state.own.is_empty() {
            let path = self.shared();
            let body = bodies::delete(&path);
            return self.request(client, OpCode::Delete, body, Act::Write);
        }
        let nth = self.rng.index(state.own.len());
        let path = state.own.swap_remove(nth);
        self.oracle.delete(&path);
        let body = bodies::delete(&path);
        self.request(client, OpCode::Delete, body, Act::Delete(path));
    }

    fn ask_shared_write(&mut self, client: usize, name: &str) {
        let path = self.shared();
        let (op, body) = match self.rng.below(6) {
            0 => (OpCode::Create, bodies::create(&path, 0)),
            1 => (OpCode::SetAcl, bodies::set_acl(&path)),
            2 => {
                let child = format!("{path}/{}", self.rng.below(SHARED));
                (OpCode::Create2, bodies::create(&child, 0))
            }
            3 => {
                let child = format!("{path}/{}", self.rng.below(SHARED));
                (OpCode::Delete, bodies::delete(&child))
            }
            _ => (OpCode::SetData, bodies::set(&path, name)),
        };
        self.request(client, op, body, Act::Write);
    }

    fn ask_look(&mut self, client: usize) {
        let mut path = self.shared();
        if self.rng.percent(20) {
            path = format!("{path}/{}", self.rng.below(SHARED));
        }
        let watch = self.rng.percent(40);
        let (aspect, op) = match self.rng.below(3) {
            0 => (Aspect::Children, OpCode::GetChildren2),
            // Only this one leaves a watch where there is nothing.
            1 => (Aspect::Data, OpCode::Exists),
            _ => (Aspect::Data, OpCode::GetData),
        };
        let watch = watch && op != OpCode::GetData;
        let body = bodies::path_and_watch(&path, watch);
        let act = Act::Look {
            aspect,
            path,
            watch,
        };
        self.request(client, op, body, act);
    }

    fn ask_other_read(&mut self, client: usize) {
        let path = self.shared();
        let (op, body, act) = match self.rng.below(9) {
            0 => (OpCode::Sync, bodies::path("/"), Act::Read),
            1 => {
                let paths = ["/", &path];
                (OpCode::MultiRead, bodies::multi_read(&paths), Act::Read)
            }
            2 => (OpCode::GetEphemerals, bodies::path("/e"), Act::Read),
            3 => (OpCode::GetAllChildrenNumber, bodies::path("/"), Act::Read),
            4 => (OpCode::WhoAmI, Vec::new(), Act::Read),
            5 => (OpCode::GetAcl, bodies::path(&path), Act::Read),
            6 => {
                let any = bodies::path_and_code(&path, ANY_WATCH);
                (OpCode::CheckWatches, any, Act::Read)
            }
            7 => {
                let state = &self.clients[client];
                let changes = |act: &Act| matches!(act, Act::Watch { .. } | Act::Unwatch(_));
                let is_changing = state.pending.iter().any(|pending| changes(&pending.act));
                let Some((path, is_recursive)) = state.watching.any_always() else {
                    return;
                };
                if is_changing {
                    return;
                }
                let kind = PERSISTENT_WATCH + i32::from(is_recursive);
                let (path, body) = (path.to_owned(), bodies::path_and_code(path, kind));
                (OpCode::RemoveWatches, body, Act::Unwatch(path))
            }
            _ => {
                // One mode for each path, so that removing it leaves nothing behind.
                let is_recursive = path == "/shared1";
                let body = bodies::path_and_code(&path, i32::from(is_recursive));
                let act = Act::Watch { path, is_recursive };
                (OpCode::AddWatch, body, act)
            }
        };
        self.request(client, op, body, act);
    }

    fn shared(&mut self) -> String {
        format!("/shared{}", self.rng.below(SHARED))
    }
}

/// Znodes that all clients write, and children of each.
const SHARED: u64 = 3;

const EPHEMERAL: i32 = 1;
const SEQUENTIAL: i32 = 2;
const CONTAINER: i32 = 4;
/// Codes of `WatcherType`; the recursive one is next to the persistent one.
const ANY_WATCH: i32 = 3;
const PERSISTENT_WATCH: i32 = 4;
