//! The event loop: warm up, measure, drain.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};

use crate::args::LoadArgs;
use crate::connection::{Connection, Finished};
use crate::cpu;
use crate::load::Load;
use crate::report::Report;
use crate::session::Session;
use crate::warm_up::WarmUp;

/// Runs the workload that `args` describes.
///
/// # Errors
/// When a session cannot be opened, a server process ends, replies stop coming or one of them is
/// not the answer to its request. Error codes in replies are counted, not errors here.
pub(crate) fn run(args: &LoadArgs) -> Result<Report> {
    let run_id = lay_out(args)?;
    let mut generator = Generator::new(args, run_id)?;
    match args.rate {
        Some(rate) => generator.pace = Some(Pace::new(rate, ns_since(generator.started))),
        None => generator.fill(args.outstanding())?,
    }

    let mut warm_up = WarmUp::new(args.warm_up());
    loop {
        let before = generator.replies;
        let took = generator.run_for(args.warm_up().window)?;
        let rate = (generator.replies - before) as f64 / took.as_secs_f64();
        if warm_up.is_over_after(rate) {
            break;
        }
    }

    generator.histogram = Some(latencies()?);
    let cpu_before = cpu::Sample::take(&args.pids)?;
    let took = generator.run_for(args.measured())?;
    let cpu = cpu::Sample::take(&args.pids)?.since(cpu_before);
    let histogram = generator
        .histogram
        .take()
        .context("the histogram is gone")?;

    generator.drain()?;
    let (errors, first_error) = (generator.errors, generator.first_error);
    generator.close()?;
    Ok(Report {
        workload: args.workload,
        servers: args.servers.len(),
        connections: args.connections(),
        outstanding: args.outstanding(),
        took,
        warm_up_rates: warm_up.rates().to_vec(),
        histogram,
        errors,
        first_error,
        cpu,
    })
}

/// Latencies in ns, without an allocation while recording; what is read back is less than 1 % off.
fn latencies() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, 2).context("making a histogram")
}

/// A reply that takes longer than an hour counts as one of an hour.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;

/// Creates the znodes and gives a number that no other run has.
fn lay_out(args: &LoadArgs) -> Result<u64> {
    let server = *args.servers.first().context("no server given")?;
    let mut session = Session::open(server)?;
    session
        .lay_out(args.workload, args.znodes, args.data_bytes as usize)
        .context("laying out the znodes")?;
    let id = session.id().cast_unsigned();
    session.close()?;
    Ok(id)
}

struct Generator {
    poll: Poll,
    connections: Vec<Connection>,
    load: Load,
    started: Instant,
    replies: u64,
    last_reply_ns: u64,
    errors: u64,
    first_error: Option<i32>,
    is_draining: bool,
    /// Set when requests leave by the clock.
    pace: Option<Pace>,
    /// Set while latencies are recorded.
    histogram: Option<Histogram<u64>>,
}

impl Generator {
    fn new(args: &LoadArgs, run_id: u64) -> Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(args.connections());
        for index in 0..args.connections() {
            let mut session = Session::open(args.servers[index % args.servers.len()])?;
            session.sync()?;
            let mut connection = Connection::new(session)?;
            poll.registry().register(
                connection.source(),
                Token(index),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            connections.push(connection);
        }
        Ok(Self {
            poll,
            connections,
            load: Load::new(args.workload, args.znodes, args.data_bytes as usize, run_id),
            started: Instant::now(),
            replies: 0,
            last_reply_ns: 0,
            errors: 0,
            first_error: None,
            is_draining: false,
            pace: None,
            histogram: None,
        })
    }

    fn fill(&mut self, outstanding: usize) -> Result<()> {
        for connection in &mut self.connections {
            let now_ns = ns_since(self.started);
            for _ in 0..outstanding {
                connection.queue(&mut self.load, now_ns);
            }
            connection.send()?;
        }
        Ok(())
    }

    /// Keeps the load up for `length` and returns how long it really was.
    fn run_for(&mut self, length: Duration) -> Result<Duration> {
        let begin = Instant::now();
        let mut events = Events::with_capacity(EVENTS_PER_WAIT);
        loop {
            let elapsed = begin.elapsed();
            if elapsed >= length {
                return Ok(elapsed);
            }
            if self.pace.is_some() {
                self.send_due()?;
                self.turn(&mut events, Duration::ZERO)?;
                std::thread::sleep(PACED_TURN);
            } else {
                self.turn(&mut events, length - elapsed)?;
            }
        }
    }

    /// Sends what is due, spread over the connections in turn. A request counts from the moment
    /// at which it was due, so a server that stalls does not get away with fewer requests.
    fn send_due(&mut self) -> Result<()> {
        let now_ns = ns_since(self.started);
        let Some(pace) = &mut self.pace else {
            return Ok(());
        };
        let mut touched = Vec::new();
        while let Some((number, due_ns)) = pace.next_due(now_ns) {
            let index = number as usize % self.connections.len();
            self.connections[index].queue(&mut self.load, due_ns);
            touched.push(index);
        }
        touched.sort_unstable();
        touched.dedup();
        for index in touched {
            self.connections[index].send()?;
        }
        Ok(())
    }

    /// Awaits the replies of everything outstanding.
    fn drain(&mut self) -> Result<()> {
        self.is_draining = true;
        let mut events = Events::with_capacity(EVENTS_PER_WAIT);
        let begin = Instant::now();
        while self.connections.iter().any(|it| it.outstanding() > 0) {
            ensure!(
                begin.elapsed() < STALL_MAX,
                "some requests stayed unanswered for {STALL_MAX:?}"
            );
            self.turn(&mut events, STALL_CHECK)?;
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        for connection in self.connections {
            connection.close()?;
        }
        Ok(())
    }

    fn turn(&mut self, events: &mut Events, wait_max: Duration) -> Result<()> {
        match self.poll.poll(events, Some(wait_max.min(STALL_CHECK))) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(error).context("waiting for replies");
            }
            _ => {}
        }
        if events.is_empty() {
            let silent = ns_since(self.started).saturating_sub(self.last_reply_ns);
            if Duration::from_nanos(silent) > STALL_MAX {
                bail!("no reply for {STALL_MAX:?}");
            }
        }
        for event in events.iter() {
            let Token(index) = event.token();
            self.serve(index, event.is_readable())
                .with_context(|| format!("connection {index}"))?;
        }
        Ok(())
    }

    /// Takes all replies of one connection and sends as many new requests in one write.
    fn serve(&mut self, index: usize, is_readable: bool) -> Result<()> {
        let connection = &mut self.connections[index];
        let mut may_hold_more = is_readable;
        while may_hold_more {
            let mut finished = 0;
            let mut now_ns = None;
            may_hold_more = connection.receive(&self.load, |Finished { request, err }| {
                let now_ns = *now_ns.get_or_insert_with(|| ns_since(self.started));
                finished += 1;
                if let Some(histogram) = &mut self.histogram {
                    histogram.saturating_record(now_ns.saturating_sub(request.sent_ns));
                }
                if err != 0 {
                    self.errors += 1;
                    self.first_error.get_or_insert(err);
                }
            })?;
            let Some(now_ns) = now_ns else { continue };
            self.replies += finished;
            self.last_reply_ns = now_ns;
            if !self.is_draining && self.pace.is_none() {
                for _ in 0..finished {
                    connection.queue(&mut self.load, now_ns);
                }
            }
        }
        connection.send()
    }
}

/// Requests at a fixed rate.
struct Pace {
    interval_ns: f64,
    begin_ns: u64,
    sent: u64,
}

impl Pace {
    fn new(per_second: u32, begin_ns: u64) -> Self {
        Self {
            interval_ns: 1e9 / f64::from(per_second),
            begin_ns,
            sent: 0,
        }
    }

    /// Number and time of the next request, if it is due.
    fn next_due(&mut self, now_ns: u64) -> Option<(u64, u64)> {
        let due_ns = self.begin_ns + (self.sent as f64 * self.interval_ns) as u64;
        if due_ns > now_ns {
            return None;
        }
        self.sent += 1;
        Some((self.sent, due_ns))
    }
}

fn ns_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Paced requests leave and their replies are taken up to this late.
const PACED_TURN: Duration = Duration::from_micros(200);
const EVENTS_PER_WAIT: usize = 64;
/// Longest silence of all servers before the run fails.
const STALL_MAX: Duration = Duration::from_secs(20);
const STALL_CHECK: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_fall_due_at_the_rate_and_are_never_dropped() {
        let mut pace = Pace::new(1000, 5);
        assert_eq!(pace.next_due(5), Some((1, 5)));
        assert_eq!(pace.next_due(5), None);
        assert_eq!(pace.next_due(1_000_004), None);
        let late: Vec<_> = std::iter::from_fn(|| pace.next_due(3_000_005)).collect();
        assert_eq!(late, [(2, 1_000_005), (3, 2_000_005), (4, 3_000_005)]);
    }
}
