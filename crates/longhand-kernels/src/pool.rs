//! Threads that wait for the next piece of work close by: the pieces of a token's pass take microseconds.
//!
//! Tasks are claimed one by one, so a thread that the system keeps from running delays nothing but the
//! task it holds. A waiting thread spins for some tens of microseconds, then sleeps.

use std::{
    any::Any,
    cell::UnsafeCell,
    hint::spin_loop,
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::JoinHandle,
};

/// Turns of the spinning loop before a waiting thread sleeps.
const SPINS: usize = 4_000;

type Task = dyn Fn(usize) + Sync + 'static;

/// Threads for one computation at a time.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    /// Held by the caller whose work is being done.
    busy: Mutex<()>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Written by the caller while `is_open` is false and no worker is inside; read by workers inside.
    job: UnsafeCell<Job>,
    next: AtomicUsize,
    is_open: AtomicBool,
    /// Workers that may look at the job.
    n_inside: AtomicUsize,
    n_asleep: AtomicUsize,
    ends: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleep: Mutex<()>,
    wake: Condvar,
}

struct Job {
    task: Option<*const Task>,
    n_tasks: usize,
}

// SAFETY: `job` is the only part that is not `Sync`. It is written only by the holder of `Pool::busy`,
// while `is_open` is false and after `n_inside` was seen at 0; a worker reads it only after it has added
// itself to `n_inside` and has then seen `is_open`. All of these are sequentially consistent, so a reader
// and a writer never overlap. The task behind the pointer is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: the pointer is followed only while the caller of `run` keeps the task alive (see `run`).
unsafe impl Send for Shared {}

impl Pool {
    /// A pool of `n_threads`, the calling thread being one of them.
    pub(crate) fn new(n_threads: NonZero<usize>) -> Pool {
        let shared = Arc::new(Shared {
            job: UnsafeCell::new(Job {
                task: None,
                n_tasks: 0,
            }),
            next: AtomicUsize::new(0),
            is_open: AtomicBool::new(false),
            n_inside: AtomicUsize::new(0),
            n_asleep: AtomicUsize::new(0),
            ends: AtomicBool::new(false),
            panic: Mutex::new(None),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        });
        let spawn = |_| {
            let shared = Arc::clone(&shared);
            let worker = std::thread::Builder::new().name("kernels".into());
            // A machine that gives no more threads leaves the work to those it gave.
            worker.spawn(move || shared.work()).ok()
        };
        let workers = (1..n_threads.get()).filter_map(spawn).collect();
        Pool {
            shared,
            busy: Mutex::new(()),
            workers,
        }
    }

    pub(crate) fn n_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs every task once and returns when all are done; see [`crate::Cpu::for_each`].
    pub(crate) fn run(&self, n_tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let busy = if self.workers.is_empty() || n_tasks < 2 {
            None
        } else {
            match self.busy.try_lock() {
                Ok(busy) => Some(busy),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            }
        };
        // One thread, one task, or called from inside a task or beside another computation.
        let Some(_busy) = busy else {
            (0..n_tasks).for_each(task);
            return;
        };
        let shared = &*self.shared;
        // SAFETY: forgets the lifetime of the task. `Closing` below makes sure, whether this returns or
        // unwinds, that no worker is inside any more, and none enters a closed job.
        let task_ptr =
            unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const Task>(task) };
        // SAFETY: `busy` is held, the job is closed and nobody is inside (the last `Closing` saw to it).
        unsafe {
            *shared.job.get() = Job {
                task: Some(task_ptr),
                n_tasks,
            };
        }
        shared.next.store(0, SeqCst);
        // A job whose caller panicked too has left its worker's panic behind.
        *lock(&shared.panic) = None;
        let closing = Closing(shared);
        shared.is_open.store(true, SeqCst);
        if shared.n_asleep.load(SeqCst) != 0 {
            let _sleep = lock(&shared.sleep);
            shared.wake.notify_all();
        }
        shared.take_tasks(task, n_tasks);
        drop(closing);
        if let Some(payload) = lock(&shared.panic).take() {
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.ends.store(true, SeqCst);
        {
            let _sleep = lock(&self.shared.sleep);
            self.shared.wake.notify_all();
        }
        for worker in self.workers.drain(..) {
            // A worker ends without a panic: those of tasks are caught.
            drop(worker.join());
        }
    }
}

/// Closes the job and waits until no worker is inside.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        // Tasks that nobody has begun are not begun any more when the caller unwinds.
        self.0.next.store(usize::MAX / 2, SeqCst);
        self.0.is_open.store(false, SeqCst);
        let mut n_spins = 0;
        while self.0.n_inside.load(SeqCst) != 0 {
            n_spins += 1;
            if n_spins < SPINS {
                spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

impl Shared {
    fn take_tasks(&self, task: &(dyn Fn(usize) + Sync), n_tasks: usize) {
        loop {
            let task_idx = self.next.fetch_add(1, SeqCst);
            if n_tasks <= task_idx {
                break;
            }
            task(task_idx);
        }
    }

    fn work(&self) {
        while self.wait_for_open() {
            self.n_inside.fetch_add(1, SeqCst);
            if self.is_open.load(SeqCst) {
                // SAFETY: inside and open: see `Sync`. The task lives until `n_inside` is 0 again.
                let (task, n_tasks) = unsafe {
                    let job = &*self.job.get();
                    (job.task.map(|task| &*task), job.n_tasks)
                };
                if let Some(task) = task {
                    let run = AssertUnwindSafe(|| self.take_tasks(task, n_tasks));
                    if let Err(payload) = catch_unwind(run) {
                        lock(&self.panic).get_or_insert(payload);
                    }
                }
                // The caller closes the job when its own share is done; until then there is nothing left.
                self.n_inside.fetch_sub(1, SeqCst);
                let mut n_spins = 0;
                while self.is_open.load(SeqCst) && n_tasks <= self.next.load(SeqCst) {
                    n_spins += 1;
                    if n_spins < SPINS {
                        spin_loop();
                    } else {
                        std::thread::yield_now();
                    }
                }
            } else {
                self.n_inside.fetch_sub(1, SeqCst);
            }
        }
    }

    /// False when the pool ends.
    fn wait_for_open(&self) -> bool {
        for _ in 0..SPINS {
            if self.is_open.load(SeqCst) {
                return true;
            }
            if self.ends.load(SeqCst) {
                return false;
            }
            spin_loop();
        }
        let mut sleep = lock(&self.sleep);
        self.n_asleep.fetch_add(1, SeqCst);
        let opens = loop {
            if self.is_open.load(SeqCst) {
                break true;
            }
            if self.ends.load(SeqCst) {
                break false;
            }
            sleep = self
                .wake
                .wait(sleep)
                .unwrap_or_else(PoisonError::into_inner);
        };
        self.n_asleep.fetch_sub(1, SeqCst);
        opens
    }
}

/// A panic while a lock is held leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn pool(n_threads: usize) -> Pool {
        Pool::new(NonZero::new(n_threads).unwrap())
    }

    #[test]
    fn every_task_runs_once_whatever_the_number_of_threads() {
        for n_threads in [1, 2, 5] {
            let pool = pool(n_threads);
            for n_tasks in [0, 1, 2, 3, 100, 2_000] {
                let runs: Vec<AtomicU64> = (0..n_tasks).map(|_| AtomicU64::new(0)).collect();
                pool.run(n_tasks, &|task_idx| {
                    runs[task_idx].fetch_add(1, SeqCst);
                });
                assert!(runs.iter().all(|n| n.load(SeqCst) == 1));
            }
        }
    }

    #[test]
    fn many_short_jobs_in_a_row_see_their_own_task() {
        let pool = pool(3);
        for job in 0..20_000_u64 {
            let sum = AtomicU64::new(0);
            pool.run(4, &|task_idx| {
                sum.fetch_add(job + task_idx as u64, SeqCst);
            });
            assert_eq!(sum.load(SeqCst), 4 * job + 6);
        }
    }

    #[test]
    fn sleeping_threads_wake_up() {
        let pool = pool(2);
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            let sum = AtomicU64::new(0);
            pool.run(64, &|_| {
                std::thread::sleep(std::time::Duration::from_micros(50));
                sum.fetch_add(1, SeqCst);
            });
            assert_eq!(sum.load(SeqCst), 64);
        }
    }

    #[test]
    fn a_job_inside_a_task_or_beside_another_runs_in_place() {
        let pool = pool(2);
        let sum = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        pool.run(4, &|_| {
                            pool.run(4, &|_| {
                                sum.fetch_add(1, SeqCst);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(sum.load(SeqCst), 3 * 200 * 16);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = pool(2);
        let panics = catch_unwind(AssertUnwindSafe(|| {
            pool.run(64, &|task_idx| {
                std::thread::sleep(std::time::Duration::from_micros(20));
                assert_ne!(task_idx, 40, "planted");
            });
        }));
        assert!(panics.is_err());
        // Both threads panic: what is left of it must not reach the next job.
        let started = AtomicUsize::new(0);
        let panics = catch_unwind(AssertUnwindSafe(|| {
            pool.run(2, &|_| {
                started.fetch_add(1, SeqCst);
                while started.load(SeqCst) < 2 {
                    std::thread::yield_now();
                }
                panic!("planted");
            });
        }));
        assert!(panics.is_err());
        let threads = Mutex::new(std::collections::HashSet::new());
        pool.run(64, &|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            lock(&threads).insert(std::thread::current().id());
        });
        assert_eq!(lock(&threads).len(), 2, "both threads still work");
    }
}
