//! Blocking work on the thread that runs all tasks, between two of them.
//!
//! On a runtime of one thread, a short piece of blocking work costs least on
//! that thread: no other one is woken for it, and none when it is done. But
//! nobody knows that it stays short: a disk that has synced in 100 µs for days
//! may hang for seconds. So the work is done outside of the runtime, and a
//! second thread watches. When it is not done after [`LOOK_EVERY`], a new thread
//! runs the tasks, and the one that hangs ends when its work is done. That a
//! runtime of one thread may be run by one thread after the other is documented
//! at [`Runtime::block_on`].

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Runtime, RuntimeFlavor};

use crate::failure::Failure;

/// A piece of work. It is shared, so that asking for it again allocates nothing.
pub(crate) type Work = Arc<dyn Fn() + Send + Sync>;

/// Runs `main` to its end on `runtime`, and drops what other tasks are left.
///
/// With one thread in the runtime, `main` gets a way to have blocking work done
/// between two tasks. With several it gets `None`: there a worker that blocks
/// keeps its queue and perhaps the sockets of all others to itself.
///
/// # Errors
/// [`Failure::Panic`] if `main` or such work panics, [`Failure::Thread`] if the
/// system gives no thread to run the tasks.
pub fn block_on<T, F>(
    runtime: Runtime,
    main: impl FnOnce(Option<BetweenTasks>) -> F,
) -> Result<T, Failure>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    if runtime.handle().runtime_flavor() != RuntimeFlavor::CurrentThread {
        let outcome = runtime.block_on(main(None));
        runtime.shutdown_background();
        return Ok(outcome);
    }
    let between_tasks = BetweenTasks(Arc::default());
    let (outcome, ended) = mpsc::channel();
    let main = runtime.spawn(main(Some(between_tasks.clone())));
    let shared = between_tasks.0;
    let told = shared.clone();
    runtime.spawn(async move {
        // The other end waits for this or for the end of the thread that runs it.
        let _ = outcome.send(main.await);
        told.finish();
    });
    let runtime = Arc::new(runtime);
    let start = || run_tasks(&shared, &runtime);
    let thread = start().map_err(Failure::Thread)?;
    let thread = shared.watch(thread, start);
    // It panics at nothing; without an outcome, work has.
    let _ = thread.join();
    if let Some(runtime) = Arc::into_inner(runtime) {
        runtime.shutdown_background();
    }
    match ended.try_recv() {
        Ok(outcome) => outcome.map_err(|panic| Failure::Panic(panic.to_string())),
        Err(_) => Err(Failure::Panic("work between two tasks".into())),
    }
}

/// Where a task asks for work that blocks.
#[derive(Clone)]
pub struct BetweenTasks(Arc<Shared>);

impl BetweenTasks {
    /// Has this done once the tasks that are ready have run. Only a task of the
    /// same runtime may ask.
    pub(crate) fn ask(&self, work: Work) {
        let mut state = self.0.state.lock();
        state.asked.push_back(work);
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
impl BetweenTasks {
    /// Of no runtime: what is asked for waits for [`Self::do_asked`].
    pub(crate) fn of_no_runtime() -> Self {
        Self(Arc::default())
    }

    /// Does what was asked for on this thread.
    pub(crate) fn do_asked(&self) {
        let asked = std::mem::take(&mut self.0.state.lock().asked);
        asked.iter().for_each(|work| work());
    }
}

/// What the thread that runs the tasks and the one that watches it share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the one that watches.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asked: VecDeque<Work>,
    /// Wakes the future that ends when there is something to do.
    waker: Option<Waker>,
    /// How many pieces of work were begun; the number of the last one.
    begun: u64,
    /// The last piece is not done, and its thread is still the one that runs the tasks.
    is_at_work: bool,
    /// Somebody looks every [`LOOK_EVERY`].
    is_watched: bool,
    is_finished: bool,
}

/// Starts a thread that runs the tasks until they are finished or it is replaced.
fn run_tasks(shared: &Arc<Shared>, runtime: &Arc<Runtime>) -> io::Result<JoinHandle<()>> {
    let (shared, runtime) = (shared.clone(), runtime.clone());
    let run = move || {
        let all_work = || {
            while let Some((number, work)) = runtime.block_on(poll_fn(|cx| shared.poll_next(cx))) {
                work();
                if !shared.is_done(number) {
                    break;
                }
            }
        };
        // The hook has told of the panic.
        if catch_unwind(AssertUnwindSafe(all_work)).is_err() {
            shared.finish();
        }
    };
    let thread = thread::Builder::new().name("tasks".into());
    thread.spawn(run)
}

impl Shared {
    /// The next piece of work and its number; `None` at the end.
    fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<(u64, Work)>> {
        let mut state = self.state.lock();
        if state.is_finished {
            return Poll::Ready(None);
        }
        let Some(work) = state.asked.pop_front() else {
            match &mut state.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        state.begun += 1;
        state.is_at_work = true;
        if !state.is_watched {
            self.changed.notify_one();
        }
        Poll::Ready(Some((state.begun, work)))
    }

    /// That piece is done. Returns whether its thread still runs the tasks.
    fn is_done(&self, number: u64) -> bool {
        let mut state = self.state.lock();
        let is_own = state.is_at_work && state.begun == number;
        state.is_at_work &= !is_own;
        is_own
    }

    fn finish(&self) {
        let mut state = self.state.lock();
        state.is_finished = true;
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
        self.changed.notify_one();
    }

    /// Watches the thread that runs the tasks until they are finished, and
    /// starts another one in its place when its work takes long. Returns the
    /// last one.
    fn watch(
        &self,
        mut thread: JoinHandle<()>,
        start: impl Fn() -> io::Result<JoinHandle<()>>,
    ) -> JoinHandle<()> {
        let mut state = self.state.lock();
        let mut seen = 0;
        let mut quiet = QUIET_LOOKS_MAX;
        while !state.is_finished {
            // Work may have begun before anybody watched.
            if quiet < QUIET_LOOKS_MAX || state.is_at_work {
                self.changed.wait_for(&mut state, LOOK_EVERY);
            } else {
                state.is_watched = false;
                self.changed.wait(&mut state);
                state.is_watched = true;
            }
            quiet = if state.begun == seen { quiet + 1 } else { 0 };
            if state.is_at_work && state.begun == seen {
                match start() {
                    Ok(other) => {
                        state.is_at_work = false;
                        thread = other;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the disk hangs, and everything with it: cannot start a thread; it is tried again");
                    }
                }
            }
            seen = state.begun;
        }
        thread
    }
}

/// Work that is at it for two looks in a row hangs, for all that one knows.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// After so many looks without new work, nobody looks before there is some.
const QUIET_LOOKS_MAX: u32 = 20;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    use tokio::runtime::Builder;
    use tokio::time::{sleep, timeout};

    use super::*;

    fn run<T, F>(main: impl FnOnce(BetweenTasks) -> F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        block_on(runtime, |between| main(between.unwrap()))
    }

    /// Waits for something that work does.
    async fn wait_for(is_done: impl Fn() -> bool) {
        let wait = async {
            while !is_done() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(20), wait).await.unwrap();
    }

    #[test]
    fn short_work_is_done_by_the_thread_that_runs_the_tasks() {
        let done = run(|between| async move {
            let by = Arc::new(Mutex::new(Vec::new()));
            let own = thread::current().id();
            for count in 1..=100 {
                let noted = by.clone();
                between.ask(Arc::new(move || noted.lock().push(thread::current().id())));
                wait_for(|| by.lock().len() == count).await;
            }
            let by = by.lock();
            by.iter().filter(|it| **it == own).count()
        });
        // Where the machine stands still, a look takes short work for long.
        assert!(done.unwrap() > 50);
    }

    /// Sockets and timers, too, which the thread that hangs had to itself.
    #[test]
    fn tasks_go_on_while_work_hangs_and_work_is_done_after_that() {
        let outcome = run(|between| async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            for _ in 0..3 {
                let is_free = Arc::new((AtomicBool::new(false), AtomicBool::new(false)));
                let hangs = is_free.clone();
                between.ask(Arc::new(move || {
                    let end = Instant::now() + Duration::from_secs(20);
                    while !hangs.0.load(Ordering::Relaxed) && Instant::now() < end {
                        thread::sleep(Duration::from_millis(1));
                    }
                    hangs.1.store(true, Ordering::Relaxed);
                }));
                for _ in 0..5 {
                    sleep(Duration::from_millis(1)).await;
                    let connected = tokio::net::TcpStream::connect(address);
                    let (one, other) = tokio::join!(connected, listener.accept());
                    assert!(one.is_ok() && other.is_ok());
                }
                assert!(!is_free.1.load(Ordering::Relaxed), "it hangs all the time");
                is_free.0.store(true, Ordering::Relaxed);
                wait_for(|| is_free.1.load(Ordering::Relaxed)).await;
            }
            "ended"
        });
        assert_eq!(outcome.unwrap(), "ended");
    }

    #[test]
    fn work_that_hangs_before_anybody_watches_is_noticed() {
        let shared = Arc::new(Shared::default());
        {
            let mut state = shared.state.lock();
            state.begun = 1;
            state.is_at_work = true;
        }
        let (replaced, is_replaced) = mpsc::channel();
        thread::spawn(move || {
            let start = || {
                let shared = shared.clone();
                Ok(thread::spawn(move || shared.finish()))
            };
            let last = shared.watch(thread::spawn(|| {}), start);
            last.join().unwrap();
            replaced.send(()).unwrap();
        });
        let outcome = is_replaced.recv_timeout(Duration::from_secs(20));
        outcome.expect("another thread runs the tasks");
    }

    #[test]
    fn a_panic_of_work_or_of_the_tasks_is_a_failure() {
        let outcome = run(|between| async move {
            between.ask(Arc::new(|| panic!("on purpose")));
            std::future::pending::<()>().await;
        });
        assert!(matches!(outcome, Err(Failure::Panic(_))));
        let outcome = run(|_| async { panic!("on purpose") });
        assert!(matches!(outcome, Err::<(), _>(Failure::Panic(_))));
    }
}
