//! Everything at once, in an order that a seed decides.

use super::world::*;
use zk_proto::Sid;

/// A small generator; the same seed gives the same run.
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) const fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let voters = *random.pick(&[3, 3, 3, 5]);
    let mut world = World::new(voters);
    let sids: Vec<_> = world.servers.keys().copied().collect();
    for sid in &sids {
        world.server(*sid).disk.tail_max = *random.pick(&[2, 5, 500]);
    }
    world.start_all();
    for _ in 0..800 {
        let sid = *random.pick(&sids);
        let up = world.servers[&sid].zab.is_some();
        match random.below(1_000) {
            0..10 if up => world.crash(sid),
            10..60 if !up => world.start(sid),
            60..70 => {
                let other = *random.pick(&sids);
                if sid != other {
                    world.cut(sid, other);
                }
            }
            70..100 => world.heal(),
            100..250 => {
                let leads = |sid: &Sid| {
                    let zab = world.servers[sid].zab.as_ref();
                    zab.is_some_and(|zab| zab.is_serving() && zab.leader() == Some(*sid))
                };
                if leads(&sid) {
                    world.propose(sid);
                }
            }
            250..260 => world.wait(),
            _ => {
                let actions = world.actions();
                if actions.is_empty() {
                    world.start_or_wait(sid);
                } else {
                    world.act(*random.pick(&actions));
                }
            }
        }
    }
    world.heal();
    for sid in &sids {
        if world.servers[sid].zab.is_none() {
            world.start(*sid);
        }
    }
    world.run_until_serving();
    let leader = world.leader();
    world.propose(leader);
    world.settle();
    world.assert_equal();
    assert!(world.servers.values().all(|server| !server.halted));
}

#[test]
fn nothing_committed_is_lost_whatever_fails() {
    for seed in 1..=SEEDS {
        let result = std::panic::catch_unwind(|| run(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}

const SEEDS: u64 = 500;
