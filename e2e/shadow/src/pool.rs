//! Where the random scenarios take paths, data, versions, ACLs and users from.

use crate::rng::Rng;
use crate::step::{Create, Op};

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) rng: Rng,
    /// Other schemes than world.
    pub(crate) acl: bool,
    pub(crate) acl_often: bool,
    /// Few paths, so that they meet more often.
    pub(crate) narrow: bool,
    /// Quota znodes are written as well.
    pub(crate) quota: bool,
}

impl Pool {
    pub(crate) fn path_to_read(&mut self) -> String {
        match self.rng.below(100) {
            0..6 => self.rng.pick(&SYSTEM_PATHS).to_owned(),
            // Not the last one: the reference echoes such a character as two halves.
            6..9 => self.rng.pick(&BAD_PATHS[..BAD_PATHS.len() - 1]).to_owned(),
            9..14 if self.quota => self.rng.pick(&QUOTA_PATHS).to_owned(),
            _ => self.usual(),
        }
    }

    /// Never one of the znodes that scenarios share: a difference there would go on for ever.
    pub(crate) fn path_to_write(&mut self) -> String {
        match self.rng.below(100) {
            0..4 => self.rng.pick(&BAD_PATHS).to_owned(),
            4..12 if self.quota => self.rng.pick(&QUOTA_PATHS).to_owned(),
            _ => self.usual(),
        }
    }

    pub(crate) fn path_to_delete(&mut self) -> String {
        match self.rng.below(100) {
            0..3 => self.rng.pick(&SYSTEM_PATHS).to_owned(),
            _ => self.path_to_write(),
        }
    }

    pub(crate) fn path_to_create(&mut self, flags: i32) -> String {
        let sequential = matches!(flags, 2 | 3 | 6);
        match self.rng.below(100) {
            0..3 => self.rng.pick(&BAD_PATHS).to_owned(),
            3..8 if self.quota => self.rng.pick(&QUOTA_PATHS).to_owned(),
            _ if sequential => self.rng.pick(&SEQUENTIAL).to_owned(),
            _ => self.common(),
        }
    }

    pub(crate) fn paths(&mut self) -> Vec<String> {
        let count = self.rng.below(4);
        (0..count).map(|_| self.path_to_read()).collect()
    }

    /// Below `/zookeeper/quota` always what can be read as limits: see the README of this check.
    pub(crate) fn data_of(&mut self, path: &str) -> Option<String> {
        if path.starts_with("/zookeeper/quota") {
            return Some(self.limits());
        }
        match self.rng.below(60) {
            0..6 => None,
            6..12 => Some(String::new()),
            12 => Some("#100000".to_owned()),
            13 => Some("#1000".to_owned()),
            14..20 => Some("#20".to_owned()),
            _ => Some(format!("data{}", self.rng.below(1000))),
        }
    }

    pub(crate) fn version(&mut self) -> i32 {
        self.rng.weighted(&[
            (50, -1),
            (25, 0),
            (12, 1),
            (6, 2),
            (3, 3),
            (1, -2),
            (1, i32::MAX),
        ])
    }

    pub(crate) fn ttl(&mut self) -> i64 {
        self.rng.weighted(&[
            (10, 86_400_000),
            (2, 0xff_ffff_ffff),
            (1, 0x100_0000_0000),
            (1, 0),
            (1, -5),
        ])
    }

    /// Absent: the world may do everything.
    pub(crate) fn acl_of_create(&mut self) -> Option<Vec<String>> {
        let often = if self.acl_often { 50 } else { 15 };
        if self.rng.percent(often) {
            self.acl()
        } else {
            None
        }
    }

    pub(crate) fn acl(&mut self) -> Option<Vec<String>> {
        if !self.acl {
            let text = self
                .rng
                .pick(&["31 world anyone", "1 world anyone", "13 world anyone"]);
            return Some(vec![text.to_owned()]);
        }
        if self.rng.percent(5) {
            return Some(Vec::new());
        }
        let count = self.rng.weighted(&[(6, 1), (3, 2), (1, 3)]);
        let one = |_| {
            let invalid = self.rng.percent(8);
            let (scheme, id) = self.rng.pick(if invalid { &INVALID_IDS } else { &IDS });
            let perms = self.rng.weighted(&[
                (10, 31),
                (4, 1),
                (2, 2),
                (2, 4),
                (2, 8),
                (2, 16),
                (2, 15),
                (1, 0),
                (1, 99),
            ]);
            format!("{perms} {scheme} {id}")
        };
        Some((0..count).map(one).collect())
    }

    pub(crate) fn auth_that_works(&mut self) -> Op {
        let id = self.rng.weighted(&[
            (4, "bob:bobpw"),
            (4, "ann:pw:with:colons"),
            (1, crate::system::SUPERUSER),
        ]);
        auth("digest", Some(id))
    }

    pub(crate) fn auth(&mut self) -> Op {
        let (scheme, id) = self.rng.pick(&[
            ("digest", Some("bob:bobpw")),
            ("digest", Some("bob:wrong")),
            ("digest", Some("carl:x")),
            ("digest", Some("no colon")),
            ("digest", Some("")),
            ("ip", Some("10.0.0.1")),
            ("world", Some("anyone")),
            ("auth", Some("")),
            ("super", Some("")),
            ("nonesuch", Some("x")),
            ("", Some("x")),
        ]);
        auth(scheme, id)
    }

    /// What Java's `setquota` leaves behind for one or two paths.
    pub(crate) fn quota_nodes(&mut self) -> Vec<Op> {
        let mut ops = Vec::new();
        let mut add = |path: &str, data: Option<String>| {
            ops.push(Op::Create(Create {
                path: path.to_owned(),
                data,
                ..Create::default()
            }));
        };
        add("/zookeeper/quota@", None);
        for path in ["/zookeeper/quota@/a", "/zookeeper/quota@/a/x"] {
            if self.rng.percent(70) {
                add(path, None);
                let limits = self.limits();
                add(&format!("{path}/zookeeper_limits"), Some(limits));
                let stats = "count=0,bytes=0".to_owned();
                add(&format!("{path}/zookeeper_stats"), Some(stats));
            }
        }
        ops
    }

    fn limits(&mut self) -> String {
        let mut limit = |max: i64| match self.rng.below(3) {
            0 => -1,
            _ => i64::try_from(self.rng.below(8)).unwrap_or(1) * max,
        };
        let (count, bytes) = (limit(1), limit(20));
        let (hard_count, hard_bytes) = (limit(1), limit(20));
        match self.rng.below(3) {
            0 => format!("count={count},bytes={bytes}"),
            _ => format!(
                "count={count},bytes={bytes}=;byteHardLimit={hard_bytes};countHardLimit={hard_count}"
            ),
        }
    }

    fn common(&mut self) -> String {
        let count = if self.narrow { 5 } else { PATHS.len() };
        self.rng.pick(&PATHS[..count]).to_owned()
    }

    fn usual(&mut self) -> String {
        if self.narrow && self.rng.percent(80) {
            return self.common();
        }
        match self.rng.below(12) {
            0 => self.rng.pick(&["@", "@/none", "@/a/none"]).to_owned(),
            1 | 2 => {
                let prefix = self.rng.pick(&SEQUENTIAL);
                format!("{prefix}{:010}", self.rng.below(12))
            }
            _ => self.common(),
        }
    }
}

fn auth(scheme: &str, id: Option<&str>) -> Op {
    Op::Auth {
        scheme: scheme.to_owned(),
        id: id.map(str::to_owned),
    }
}

const PATHS: [&str; 12] = [
    "@/a", "@/a", "@/a/x", "@/b", "@/a/x/z", "@/c", "@/a/y", "@/a/x", "@/b/x", "@/b/x/z", "@/ab",
    "@/a",
];
const SEQUENTIAL: [&str; 6] = ["@/q-", "@/q-", "@/a/q-", "@/a/", "@/b/s", "@/a/x/s"];
const SYSTEM_PATHS: [&str; 4] = ["/", "/zookeeper", "/zookeeper/quota", "/none"];
const QUOTA_PATHS: [&str; 6] = [
    "/zookeeper/quota@/a",
    "/zookeeper/quota@/a/zookeeper_limits",
    "/zookeeper/quota@/a/zookeeper_stats",
    "/zookeeper/quota@/a/x",
    "/zookeeper/quota@/a/x/zookeeper_limits",
    "/zookeeper/quota@/a/x/zookeeper_stats",
];
const BAD_PATHS: [&str; 14] = [
    "",
    "a",
    "@/a/",
    "@//a",
    "@/a//x",
    "@/a/../b",
    "@/.",
    "@/..",
    "@/a/./x",
    "@/\u{1}",
    "@/a\u{0}b",
    "@/\u{7f}",
    "@/\u{ffff}",
    "@/\u{1f600}",
];
const IDS: [(&str, &str); 9] = [
    ("world", "anyone"),
    ("world", "anyone"),
    ("digest", "bob:0ezhUayTjEymfNB3K9C0+wkMLMo="),
    ("digest", "bob:0ezhUayTjEymfNB3K9C0+wkMLMo="),
    ("digest", "carl:not-a-hash"),
    ("auth", ""),
    ("auth", "ignored"),
    ("ip", "127.0.0.0/8"),
    ("ip", "10.1.2.3"),
];
const INVALID_IDS: [(&str, &str); 9] = [
    ("world", "nobody"),
    ("digest", "bob"),
    ("digest", "a:b:c"),
    ("ip", "300.1.1.1"),
    ("ip", "127.0.0.1/33"),
    ("ip", "localhost"),
    ("super", ""),
    ("nonesuch", "x"),
    ("", ""),
];
