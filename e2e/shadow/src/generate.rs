//! Random scenarios: a few sessions, few paths, so that they meet often.

use crate::pool::Pool;
use crate::rng::Rng;
use crate::step::{
    Action, Attach, Create, Op, Open, Password, Path, PathKind, PathVersion, PathWatch, Scenario,
    SetAcl, SetData, SetWatches, Since, Step,
};

/// Which operations a run is about. Left out are those that a server does not have yet.
#[derive(Clone, Debug)]
pub(crate) struct Families(pub(crate) Vec<Family>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Family {
    /// create, delete, setData, getData, exists, getChildren, sync, multi, setWatches, sessions.
    Base,
    /// auth, getACL, setACL, whoAmI, ACLs of other schemes than world.
    Acl,
    /// addWatch, checkWatches, removeWatches, setWatches2.
    Watch,
    /// createContainer, createTTL.
    Kinds,
    /// multiRead, getEphemerals, getAllChildrenNumber.
    Read,
    Quota,
    /// reconfig, which is refused.
    Reconfig,
}

/// What a scenario has most of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taste {
    Plain,
    Acl,
    Watch,
    Multi,
    Quota,
    Session,
    Burst,
}

/// The scenario of this number; the same for the same arguments.
pub(crate) fn scenario(seed: u64, number: u64, families: &Families) -> Scenario {
    let mut rng = Rng::of(seed, number);
    let mut tastes = vec![
        (3, Taste::Plain),
        (2, Taste::Multi),
        (2, Taste::Session),
        (3, Taste::Burst),
        (3, Taste::Watch),
    ];
    if families.have(Family::Acl) {
        tastes.push((3, Taste::Acl));
    }
    if families.have(Family::Quota) {
        tastes.push((2, Taste::Quota));
    }
    let taste = rng.weighted(&tastes);
    let slots = 2 + rng.below(SLOTS_MAX - 1);
    let narrow = rng.percent(50);
    let mut generator = Generator {
        pool: Pool {
            rng,
            narrow,
            acl: families.have(Family::Acl),
            quota: taste == Taste::Quota,
            acl_often: taste == Taste::Acl,
        },
        families,
        taste,
        slots,
    };
    Scenario {
        name: format!("seed {seed} scenario {number}"),
        steps: generator.steps(),
    }
}

impl Families {
    fn have(&self, family: Family) -> bool {
        self.0.contains(&family)
    }
}

struct Generator<'a> {
    pool: Pool,
    families: &'a Families,
    taste: Taste,
    slots: usize,
}

impl Generator<'_> {
    fn steps(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for on in 0..self.slots {
            let action = Action::Open(self.open());
            steps.push(Step { on, action });
            if self.families.have(Family::Acl) && self.pool.rng.percent(40) {
                let action = Action::Do(vec![self.pool.auth_that_works()]);
                steps.push(Step { on, action });
            }
        }
        if self.taste == Taste::Quota {
            let ops = self.pool.quota_nodes();
            let on = 0;
            steps.push(Step {
                on,
                action: Action::Do(ops),
            });
        }
        for at in 0..STEPS {
            let on = self.pool.rng.below(self.slots);
            let early = at < STEPS_OF_GROWTH && self.pool.rng.percent(60);
            let action = if early {
                let create = self.create();
                Action::Do(vec![create])
            } else {
                self.action(on)
            };
            let reconnected = matches!(&action, Action::Attach(it) if it.session == on);
            let ended = ends(&action);
            steps.push(Step { on, action });
            if reconnected && self.pool.rng.percent(70) {
                let action = Action::Do(vec![self.set_watches()]);
                steps.push(Step { on, action });
            }
            if ended && self.pool.rng.percent(90) {
                let action = self.connect(on);
                steps.push(Step { on, action });
            }
        }
        steps
    }

    fn action(&mut self, on: usize) -> Action {
        let session = if self.taste == Taste::Session { 12 } else { 2 };
        let close = if self.taste == Taste::Session { 4 } else { 1 };
        match self.pool.rng.below(200) {
            it if it < session => Action::Drop {},
            it if it < 2 * session => self.connect(on),
            it if it < 2 * session + close => Action::Do(vec![Op::CloseSession {}]),
            it if it < 2 * session + close + 1 => Action::Do(vec![self.unknown()]),
            it if it < 2 * session + close + 2 && self.families.have(Family::Acl) => {
                Action::Do(vec![self.pool.auth()])
            }
            _ => {
                let burst = self.taste == Taste::Burst && self.pool.rng.percent(50);
                let count = if burst {
                    2 + self.pool.rng.below(12)
                } else {
                    1
                };
                Action::Do((0..count).map(|_| self.op(count > 1)).collect())
            }
        }
    }

    fn connect(&mut self, on: usize) -> Action {
        if self.pool.rng.percent(30) {
            return Action::Open(self.open());
        }
        let own = self.pool.rng.percent(85);
        Action::Attach(Attach {
            server: self.pool.rng.below(SERVERS),
            timeout_ms: self.timeout(),
            session: if own {
                on
            } else {
                self.pool.rng.below(self.slots)
            },
            password: self.pool.rng.weighted(&[
                // A wrong one ends the owner's connection at the reference only.
                (90, Password::Own),
                (0, Password::OwnOfUnknown),
                (0, Password::Zero),
                (0, Password::Empty),
                (0, Password::Null),
            ]),
            keep: false,
            last_zxid: self.last_zxid(),
        })
    }

    fn open(&mut self) -> Open {
        Open {
            server: self.pool.rng.below(SERVERS),
            timeout_ms: self.timeout(),
            old_client: self.pool.rng.percent(10),
            last_zxid: self.last_zxid(),
        }
    }

    fn timeout(&mut self) -> Option<i32> {
        self.pool.rng.percent(20).then(|| {
            self.pool
                .rng
                .pick(&[0, -1, 1, 70_001, 1_000_000, i32::MAX, i32::MIN])
        })
    }

    fn last_zxid(&mut self) -> Since {
        self.pool.rng.weighted(&[
            (60, Since::Zero),
            (35, Since::Ago(0)),
            (3, Since::Ago(3)),
            (2, Since::Ago(-1)),
        ])
    }

    /// One operation. In a burst none after which answers depend on when the server looks: the
    /// reference checks a write against the ACL that is applied, not against one that is proposed.
    fn op(&mut self, burst: bool) -> Op {
        let have = |family| usize::from(self.families.have(family));
        let taste = |taste| if self.taste == taste { 4 } else { 1 };
        let alone = usize::from(!burst);
        let (acl, watch) = (taste(Taste::Acl), taste(Taste::Watch));
        let choices = [
            (22, Kind::Create),
            (12, Kind::Delete),
            (14, Kind::SetData),
            (8 * watch, Kind::Read),
            (2, Kind::Sync),
            (1, Kind::Ping),
            (3 * taste(Taste::Multi), Kind::Multi),
            (2 * watch, Kind::SetWatches),
            (4 * acl * alone * have(Family::Acl), Kind::SetAcl),
            (3 * acl * have(Family::Acl), Kind::GetAcl),
            (have(Family::Acl), Kind::WhoAmI),
            (3 * watch * have(Family::Watch), Kind::AddWatch),
            (3 * watch * have(Family::Watch), Kind::RemoveWatches),
            (2 * watch * have(Family::Watch), Kind::CheckWatches),
            (3 * have(Family::Read), Kind::MultiRead),
            (2 * have(Family::Read), Kind::GetEphemerals),
            (2 * have(Family::Read), Kind::GetAllChildrenNumber),
            (alone * have(Family::Reconfig), Kind::Reconfig),
            (have(Family::Read), Kind::Broken),
        ];
        match self.pool.rng.weighted(&choices) {
            Kind::Create => self.create(),
            Kind::Delete => self.delete(),
            Kind::SetData => self.set_data(),
            Kind::SetAcl => Op::SetAcl(SetAcl {
                path: self.pool.path_to_write(),
                acl: self.pool.acl(),
                version: self.pool.version(),
            }),
            Kind::Read => self.read(),
            Kind::GetAcl => Op::GetAcl(self.at()),
            Kind::Sync => Op::Sync(self.at()),
            Kind::Ping => Op::Ping {},
            Kind::WhoAmI => Op::WhoAmI {},
            Kind::Multi => Op::Multi(self.several(Self::write_in_multi)),
            Kind::MultiRead => Op::MultiRead(self.several(Self::read_in_multi)),
            Kind::SetWatches => self.set_watches(),
            Kind::AddWatch => Op::AddWatch(PathKind {
                path: self.pool.path_to_read(),
                kind: self.pool.rng.weighted(&[(10, 0), (10, 1), (1, 2), (1, -1)]),
            }),
            Kind::RemoveWatches => Op::RemoveWatches(self.watcher_type()),
            Kind::CheckWatches => Op::CheckWatches(self.watcher_type()),
            Kind::GetEphemerals => Op::GetEphemerals(self.at()),
            Kind::GetAllChildrenNumber => Op::GetAllChildrenNumber(self.at()),
            Kind::Broken => self.broken(),
            Kind::Reconfig => Op::Reconfig {
                joining: "server.9=127.0.0.1:1:2:participant;127.0.0.1:3".to_owned(),
            },
        }
    }

    fn create(&mut self) -> Op {
        let with_kinds = usize::from(self.families.have(Family::Kinds));
        let choices = [
            (10, 1),
            (10, 15),
            (3 * with_kinds, 19),
            (3 * with_kinds, 21),
        ];
        let opcode = self.pool.rng.weighted(&choices);
        // The flags of another kind.
        if with_kinds == 1 && self.pool.rng.percent(5) {
            let flags = match opcode {
                1 | 15 => self.pool.rng.pick(&[4, 5, 6]),
                19 => self.pool.rng.pick(&[0, 1, 2, 3, 5, 6]),
                _ => self.pool.rng.pick(&[0, 1, 2, 3, 4]),
            };
            return self.create_with(opcode, flags, 86_400_000);
        }
        let flags = match opcode {
            19 => 4,
            21 => self.pool.rng.pick(&[5, 6]),
            _ => {
                let choices = [(10, 0), (6, 1), (4, 2), (4, 3), (1, 9)];
                self.pool.rng.weighted(&choices)
            }
        };
        let ttl = self.pool.ttl();
        self.create_with(opcode, flags, ttl)
    }

    fn create_with(&mut self, opcode: i32, flags: i32, ttl: i64) -> Op {
        let path = self.pool.path_to_create(flags);
        let create = Create {
            data: self.pool.data_of(&path),
            path,
            acl: self.pool.acl_of_create(),
            flags,
            ttl: if opcode == 21 { ttl } else { 0 },
        };
        match opcode {
            1 => Op::Create(create),
            15 => Op::Create2(create),
            19 => Op::CreateContainer(create),
            _ => Op::CreateTtl(create),
        }
    }

    fn delete(&mut self) -> Op {
        Op::Delete(PathVersion {
            path: self.pool.path_to_delete(),
            version: self.pool.version(),
        })
    }

    fn set_data(&mut self) -> Op {
        let path = self.pool.path_to_write();
        Op::SetData(SetData {
            data: self.pool.data_of(&path),
            path,
            version: self.pool.version(),
        })
    }

    fn read(&mut self) -> Op {
        let at = PathWatch {
            path: self.pool.path_to_read(),
            watch: self.pool.rng.percent(60),
        };
        match self.pool.rng.below(4) {
            0 => Op::Exists(at),
            1 => Op::GetData(at),
            2 => Op::GetChildren(at),
            _ => Op::GetChildren2(at),
        }
    }

    fn several(&mut self, one: fn(&mut Self) -> Op) -> Vec<Op> {
        let count = self.pool.rng.below(6);
        (0..count).map(|_| one(self)).collect()
    }

    fn write_in_multi(&mut self) -> Op {
        match self.pool.rng.below(8) {
            0 | 1 => Op::Check(PathVersion {
                path: self.pool.path_to_write(),
                version: self.pool.version(),
            }),
            2 => self.delete(),
            3 | 4 => self.set_data(),
            _ => match self.create() {
                Op::Create(create) => Op::Create(known_flags(create)),
                Op::Create2(create) => Op::Create2(known_flags(create)),
                Op::CreateContainer(create) => Op::CreateContainer(known_flags(create)),
                other => other,
            },
        }
    }

    fn read_in_multi(&mut self) -> Op {
        let at = PathWatch {
            path: self.pool.path_to_read(),
            watch: self.pool.rng.percent(20),
        };
        match self.pool.rng.below(20) {
            0 => self.set_data(),
            it if it % 2 == 0 => Op::GetData(at),
            _ => Op::GetChildren(at),
        }
    }

    fn set_watches(&mut self) -> Op {
        let mut set = SetWatches {
            since: self.pool.rng.weighted(&[
                (3, Since::Zero),
                (5, Since::Ago(0)),
                (2, Since::Ago(2)),
                (2, Since::Ago(10)),
                (1, Since::Ago(-5)),
            ]),
            data: self.pool.paths(),
            exist: self.pool.paths(),
            child: self.pool.paths(),
            ..SetWatches::default()
        };
        if self.families.have(Family::Watch) && self.pool.rng.percent(50) {
            set.persistent = self.pool.paths();
            set.recursive = self.pool.paths();
            return Op::SetWatches2(set);
        }
        Op::SetWatches(set)
    }

    fn watcher_type(&mut self) -> PathKind {
        PathKind {
            path: self.pool.path_to_read(),
            kind: self
                .pool
                .rng
                .weighted(&[(4, 1), (4, 2), (4, 3), (4, 4), (4, 5), (1, 0), (1, 6)]),
        }
    }

    fn at(&mut self) -> Path {
        Path {
            path: self.pool.path_to_read(),
        }
    }

    /// A read whose body ends early, has a null path or goes on after its end.
    fn broken(&mut self) -> Op {
        let opcodes = [3, 4, 6, 8, 12, 17, 18, 22, 101, 103, 104, 105, 106];
        let bodies = [
            "",
            "00",
            "00000005",
            "7fffffff",
            "fffffffe00",
            "ffffffff",
            "ffffffff00",
            "000000022f61",
            "000000052f6e6f6e6500ffff",
            "0000000000000000ffffffffffffffffffffffff",
        ];
        Op::Raw {
            opcode: self.pool.rng.pick(&opcodes),
            body: self.pool.rng.pick(&bodies).to_owned(),
        }
    }

    fn unknown(&mut self) -> Op {
        Op::Raw {
            opcode: self
                .pool
                .rng
                .pick(&[0, 10, 13, 23, 99, 108, 12_345, -2, -12]),
            body: "000000022f61ffffffff".to_owned(),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Create,
    Delete,
    SetData,
    SetAcl,
    Read,
    GetAcl,
    Sync,
    Ping,
    WhoAmI,
    Multi,
    MultiRead,
    SetWatches,
    AddWatch,
    RemoveWatches,
    CheckWatches,
    GetEphemerals,
    GetAllChildrenNumber,
    Reconfig,
    Broken,
}

/// Other flags make the whole multi undecodable; see the README of this check.
fn known_flags(create: Create) -> Create {
    let flags = match create.flags {
        0..5 => create.flags,
        _ => 0,
    };
    Create { flags, ..create }
}

/// The slot has no connection afterwards.
fn ends(action: &Action) -> bool {
    match action {
        Action::Drop {} => true,
        Action::Do(ops) => matches!(
            ops.last(),
            Some(Op::CloseSession {} | Op::Raw { .. } | Op::Auth { .. })
        ),
        _ => false,
    }
}

const SLOTS_MAX: usize = 5;
/// Steps name one of so many servers; a system takes that modulo the number it has.
const SERVERS: usize = 3;
const STEPS: usize = 140;
/// So many steps at the begin are creates more often than not.
const STEPS_OF_GROWTH: usize = 12;
