//! What a client asks for next.

use zk_proto::client::OpCode;

use super::bodies;
use super::watching::Aspect;
use crate::FaultKind;
use crate::invariants::registers::Newest;
use crate::invariants::syncs::Acknowledged;
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
    /// A register is set if it still has this version. `before` is the newest
    /// version that was acknowledged when the client asked.
    Set {
        path: String,
        expected: i32,
        before: i32,
        data: String,
    },
    /// The data of a register. `least` is what had been acknowledged of it
    /// when the sync before this read was sent.
    Get {
        path: String,
        least: Option<Newest>,
    },
    /// What was acknowledged when it was sent.
    Sync(Acknowledged),
    /// Keeps the session.
    Ping,
    /// Nothing that could be done.
    Nonsense,
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
        if self.has(FaultKind::Malformed) && self.rng.percent(1) {
            return self.ask_nonsense(client, &name);
        }
        match self.rng.below(100) {
            0..20 => self.ask_create(client, &name),
            20..40 => self.ask_special(client, &name),
            40..48 => self.ask_multi(client, &name),
            48..56 => self.ask_delete(client),
            56..66 => self.ask_shared_write(client, &name),
            66..78 => self.ask_register(client, &name),
            78..87 => self.ask_look(client),
            87..91 => self.ask_synced_read(client),
            _ => self.ask_other_read(client),
        }
    }

    /// What one of a crowd makes.
    pub(super) fn ask_ephemeral(&mut self, client: usize) {
        self.clients[client].next_name += 1;
        let path = format!("/crowd{client}-{}", self.clients[client].next_name);
        let (body, wanted) = (bodies::create(&path, EPHEMERAL), format!("create {path}"));
        self.write_once(client, OpCode::Create, body, Act::Write, wanted);
    }

    /// A request that ends too early, or one that nobody knows.
    fn ask_nonsense(&mut self, client: usize, name: &str) {
        let mut body = bodies::create(&format!("/c{name}"), 0);
        let kept = self.rng.index(body.len());
        body.truncate(kept);
        let ops = [
            OpCode::Create,
            OpCode::SetData,
            OpCode::Multi,
            OpCode::GetData,
            OpCode::Check,
        ];
        let op = ops[self.rng.index(ops.len())];
        self.request(client, op, body, Act::Nonsense);
    }

    fn ask_create(&mut self, client: usize, name: &str) {
        let path = format!("/c{name}");
        let body = bodies::create(&path, 0);
        let wanted = format!("create {path}");
        let paths = vec![path];
        self.oracle.create(&paths);
        self.write_once(client, OpCode::Create, body, Act::Create(paths), wanted);
    }

    /// Sets a register by its version, or looks at it.
    fn ask_register(&mut self, client: usize, name: &str) {
        let path = format!("/reg{}", self.rng.below(REGISTERS));
        let known = self.clients[client].registers.get(&path).copied();
        let Some(expected) = known.filter(|_| self.rng.percent(70)) else {
            if self.rng.percent(15) {
                let wanted = format!("create {path}");
                let body = bodies::create(&path, 0);
                return self.write(client, OpCode::Create, body, Act::Write, wanted);
            }
            let body = bodies::path_and_watch(&path, false);
            let act = Act::Get { path, least: None };
            return self.request(client, OpCode::GetData, body, act);
        };
        // Some are longer than what servers propose.
        let name = &match self.rng.below(20) {
            0 => format!("{name}-{}", "x".repeat(self.rng.within(200, 500) as usize)),
            _ => name.to_owned(),
        };
        let wanted = format!("set {path} {name}");
        let body = bodies::set(&path, name, expected);
        let newest = self.checks.registers.newest(&path);
        let (before, data) = (newest.unwrap_or_default().version, name.to_owned());
        let act = Act::Set {
            path,
            expected,
            before,
            data,
        };
        self.write_once(client, OpCode::SetData, body, act, wanted);
    }

    /// Every kind of znode but the persistent one.
    fn ask_special(&mut self, client: usize, name: &str) {
        let (op, path, flags, act) = match self.rng.below(6) {
            0 => {
                let path = "/q-".to_owned();
                (OpCode::Create2, path, SEQUENTIAL, Act::CreateSequential)
            }
            1 => {
                // In a parent that all share, so that an end of a session shows there.
                let path = "/shared0/e-".to_owned();
                (OpCode::Create, path, EPHEMERAL | SEQUENTIAL, Act::Write)
            }
            2 => (OpCode::Create, format!("/e{name}"), EPHEMERAL, Act::Write),
            3 => {
                let path = format!("/k{name}");
                let act = Act::CreateContainer(path.clone());
                (OpCode::CreateContainer, path, CONTAINER, act)
            }
            4 => {
                let path = format!("/t{name}");
                let ttl_ms = self.rng.within(50, 3_000) as i64;
                let body = bodies::create_ttl(&path, ttl_ms);
                let wanted = format!("create {path}");
                return self.write_once(client, OpCode::CreateTtl, body, Act::Write, wanted);
            }
            _ => return self.ask_in_container(client, name),
        };
        let wanted = format!("create {path}");
        self.write(client, op, bodies::create(&path, flags), act, wanted);
    }

    /// A child makes a container one that may go away; nobody knows when.
    fn ask_in_container(&mut self, client: usize, name: &str) {
        let Some(container) = self.clients[client].containers.pop() else {
            return self.ask_create(client, name);
        };
        let path = format!("{container}/{name}");
        let body = bodies::create(&path, 0);
        let wanted = format!("create {path}");
        self.write_once(client, OpCode::Create, body, Act::Write, wanted);
        let (body, wanted) = (bodies::delete(&path), format!("delete {path}"));
        self.write_once(client, OpCode::Delete, body, Act::Write, wanted);
    }

    fn ask_multi(&mut self, client: usize, name: &str) {
        let paths = vec![format!("/m{name}a"), format!("/m{name}b")];
        let shared = self.shared();
        let fails = self.rng.percent(20);
        let body = bodies::multi(&paths, &shared, fails);
        self.oracle.create(&paths);
        let wanted = format!("multi set {shared} {}", paths[0]);
        self.write(client, OpCode::Multi, body, Act::Create(paths), wanted);
    }

    fn ask_delete(&mut self, client: usize) {
        let state = &mut self.clients[client];
        if state.own.is_empty() {
            let path = self.shared();
            let (body, wanted) = (bodies::delete(&path), format!("delete {path}"));
            return self.write(client, OpCode::Delete, body, Act::Write, wanted);
        }
        let nth = self.rng.index(state.own.len());
        let path = state.own.swap_remove(nth);
        self.oracle.delete(&path);
        let (body, wanted) = (bodies::delete(&path), format!("delete {path}"));
        self.write_once(client, OpCode::Delete, body, Act::Delete(path), wanted);
    }

    fn ask_shared_write(&mut self, client: usize, name: &str) {
        let path = self.shared();
        let child = format!("{path}/{}", self.rng.below(SHARED));
        let (op, body, wanted) = match self.rng.below(6) {
            0 => {
                let body = bodies::create(&path, 0);
                (OpCode::Create, body, format!("create {path}"))
            }
            1 => {
                let body = bodies::set_acl(&path);
                (OpCode::SetAcl, body, format!("set ACL of {path}"))
            }
            2 => {
                let body = bodies::create(&child, 0);
                (OpCode::Create2, body, format!("create {child}"))
            }
            3 => {
                let body = bodies::delete(&child);
                (OpCode::Delete, body, format!("delete {child}"))
            }
            _ => {
                let body = bodies::set(&path, name, -1);
                let wanted = format!("set {path} {name}");
                return self.write_once(client, OpCode::SetData, body, Act::Write, wanted);
            }
        };
        self.write(client, op, body, Act::Write, wanted);
    }

    /// A read that must show what anybody was told before.
    fn ask_synced_read(&mut self, client: usize) {
        let path = format!("/reg{}", self.rng.below(REGISTERS));
        let least = self.checks.registers.newest(&path);
        let sync = Act::Sync(self.checks.acknowledged_so_far());
        self.request(client, OpCode::Sync, bodies::path(&path), sync);
        let body = bodies::path_and_watch(&path, false);
        self.request(client, OpCode::GetData, body, Act::Get { path, least });
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
            0 => {
                let act = Act::Sync(self.checks.acknowledged_so_far());
                (OpCode::Sync, bodies::path("/"), act)
            }
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

/// Znodes that are set by version only.
const REGISTERS: u64 = 2;
/// Znodes that all clients write, and children of each.
const SHARED: u64 = 3;

const EPHEMERAL: i32 = 1;
const SEQUENTIAL: i32 = 2;
const CONTAINER: i32 = 4;
/// Codes of `WatcherType`; the recursive one is next to the persistent one.
const ANY_WATCH: i32 = 3;
const PERSISTENT_WATCH: i32 = 4;
