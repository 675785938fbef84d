//! Requests by their operation.

use std::array;

use zk_proto::client::OpCode;

use super::Counter;

/// How often clients have asked for each operation.
#[derive(Debug)]
pub(crate) struct OpCounts([Counter; COUNTED.len()]);

/// Requests for one operation after another, noted together.
#[derive(Debug)]
pub(crate) struct OpRun<'a> {
    counts: &'a OpCounts,
    op: i32,
    count: u64,
}

impl OpCounts {
    /// The metric of each operation and its count.
    pub(crate) fn value(&self, op: OpCode) -> u64 {
        let at = COUNTED.iter().position(|counted| *counted == op);
        at.map_or(0, |at| self.0[at].value())
    }

    /// Of all operations.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(Counter::value).sum()
    }

    pub(crate) fn reset(&self) {
        self.0.iter().for_each(Counter::reset);
    }

    /// Counts from now on; the end counts, too.
    pub(crate) const fn run(&self) -> OpRun<'_> {
        OpRun {
            counts: self,
            op: 0,
            count: 0,
        }
    }

    fn add(&self, op: i32, count: u64) {
        let at = COUNTED.iter().position(|counted| counted.code() == op);
        if let Some(at) = at.filter(|_| count > 0) {
            self.0[at].add(count);
        }
    }
}

impl Default for OpCounts {
    fn default() -> Self {
        Self(array::from_fn(|_| Counter::default()))
    }
}

impl OpRun<'_> {
    /// A request has come.
    pub(crate) fn note(&mut self, op: i32) {
        if op != self.op {
            self.flush();
            self.op = op;
        }
        self.count += 1;
    }

    fn flush(&mut self) {
        self.counts.add(self.op, self.count);
        self.count = 0;
    }
}

impl Drop for OpRun<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Frequent ones first, because they are looked for in this order.
const COUNTED: [OpCode; 28] = [
    OpCode::GetData,
    OpCode::SetData,
    OpCode::Exists,
    OpCode::GetChildren2,
    OpCode::GetChildren,
    OpCode::Create,
    OpCode::Create2,
    OpCode::Ping,
    OpCode::Multi,
    OpCode::Delete,
    OpCode::GetAcl,
    OpCode::SetAcl,
    OpCode::Sync,
    OpCode::Check,
    OpCode::Reconfig,
    OpCode::CheckWatches,
    OpCode::RemoveWatches,
    OpCode::CreateContainer,
    OpCode::CreateTtl,
    OpCode::MultiRead,
    OpCode::SetWatches,
    OpCode::SetWatches2,
    OpCode::AddWatch,
    OpCode::GetEphemerals,
    OpCode::GetAllChildrenNumber,
    OpCode::WhoAmI,
    OpCode::CreateSession,
    OpCode::CloseSession,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_requests_are_counted_by_operation() {
        let counts = OpCounts::default();
        let mut run = counts.run();
        for op in [
            OpCode::GetData,
            OpCode::GetData,
            OpCode::Ping,
            OpCode::GetData,
        ] {
            run.note(op.code());
        }
        run.note(77);
        drop(run);
        assert_eq!(counts.value(OpCode::GetData), 3);
        assert_eq!(counts.value(OpCode::Ping), 1);
        assert_eq!(counts.total(), 4);
        counts.reset();
        assert_eq!(counts.total(), 0);
    }
}
