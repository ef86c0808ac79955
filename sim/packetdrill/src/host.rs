//! The calls as a program sees them: they may wait. Nobody waits for real time: packetdrill's main
//! thread, the *driver*, moves the virtual clock, and a call that it makes itself moves the clock
//! until it is done. A call in another thread sleeps while the driver goes on. When it is done the
//! clock stands still until that thread has come back and asked for the time, so that packetdrill
//! sees it return at the moment at which it did.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use engine::time::Instant;

use crate::errno::{Errno, Result};
use crate::poll::{Bits, EpollEvent};
use crate::settings::Settings;
use crate::stack::Stack;
use crate::wire::Packet;

/// Virtual time that the search for a packet covers at most: far beyond every timer.
const SEARCH_US: u64 = 24 * 3600 * 1_000_000;
/// Real time that the driver waits for a sleeper to run. It is on its way already.
const HANDOVER: Duration = Duration::from_secs(1);

/// A stack that several threads call.
#[derive(Debug)]
pub struct Host {
    driver: ThreadId,
    shared: Mutex<Shared>,
    changed: Condvar,
}

#[derive(Debug)]
struct Shared {
    stack: Stack,
    sleepers: BTreeMap<u64, Sleeper>,
    sleeps: u64,
    /// Threads whose call is done, and that have not called again.
    returning: Vec<ThreadId>,
}

/// A call that waits in a thread other than the driver.
#[derive(Debug)]
struct Sleeper {
    until: Option<Instant>,
    /// It has looked, and nothing has happened since.
    parked: bool,
}

type Guard<'a> = MutexGuard<'a, Shared>;

impl Host {
    /// A stack whose clock the calling thread will drive.
    #[must_use]
    pub fn new(settings: Settings) -> Host {
        let stack = Stack::new(settings);
        let shared = Shared { stack, sleepers: BTreeMap::new(), sleeps: 0, returning: Vec::new() };
        Host { driver: thread::current().id(), shared: Mutex::new(shared), changed: Condvar::new() }
    }

    /// Does something at once.
    pub fn now<T>(&self, work: impl FnOnce(&mut Stack) -> T) -> T {
        let mut shared = self.enter();
        let result = work(&mut shared.stack);
        drop(self.hand_over(shared));
        result
    }

    /// Tries until it does not fail with `EAGAIN` any more, until a time, or until nothing can
    /// happen any more.
    fn wait<T>(
        &self,
        until: Option<Instant>,
        mut attempt: impl FnMut(&mut Stack) -> Result<T>,
    ) -> Result<T> {
        let driving = thread::current().id() == self.driver;
        let mut shared = self.enter();
        let mut key = None;
        loop {
            let result = attempt(&mut shared.stack);
            let over = until.is_some_and(|until| until <= shared.stack.now());
            if over || !matches!(result, Err(Errno::EAGAIN)) {
                self.return_from(shared, key, driving);
                return result;
            }
            if driving {
                let next = shared.next_event();
                let Some(at) = earlier(next, until) else { return result };
                shared.stack.advance(at);
                shared = self.hand_over(shared);
            } else {
                shared = self.sleep(shared, &mut key, until);
            }
        }
    }

    /// The call is done.
    fn return_from(&self, mut shared: Guard<'_>, key: Option<u64>, driving: bool) {
        if let Some(key) = key {
            shared.sleepers.remove(&key);
            shared.returning.push(thread::current().id());
            self.changed.notify_all();
        } else if driving {
            drop(self.hand_over(shared));
        }
    }

    /// Sleeps until the driver has done something.
    fn sleep<'a>(
        &self,
        mut shared: Guard<'a>,
        key: &mut Option<u64>,
        until: Option<Instant>,
    ) -> Guard<'a> {
        let key = *key.get_or_insert_with(|| {
            shared.sleeps += 1;
            shared.sleeps
        });
        shared.sleepers.insert(key, Sleeper { until, parked: true });
        self.changed.notify_all();
        let parked = |shared: &mut Shared| shared.sleepers.get(&key).is_some_and(|s| s.parked);
        self.changed.wait_while(shared, parked).unwrap_or_else(PoisonError::into_inner)
    }

    /// After the driver has done something: lets the sleepers look, and waits until they sleep
    /// again or have come back.
    fn hand_over<'a>(&self, mut shared: Guard<'a>) -> Guard<'a> {
        let driving = thread::current().id() == self.driver;
        if !driving || shared.sleepers.is_empty() && shared.returning.is_empty() {
            return shared;
        }
        shared.sleepers.values_mut().for_each(|sleeper| sleeper.parked = false);
        self.changed.notify_all();
        let busy = |shared: &mut Shared| {
            !shared.returning.is_empty() || shared.sleepers.values().any(|s| !s.parked)
        };
        let waited = self.changed.wait_timeout_while(shared, HANDOVER, busy);
        let (mut shared, _) = waited.unwrap_or_else(PoisonError::into_inner);
        // Who has not come back by now will not.
        shared.returning.clear();
        shared
    }

    fn enter(&self) -> Guard<'_> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let me = thread::current().id();
        if shared.returning.contains(&me) {
            shared.returning.retain(|thread| *thread != me);
            self.changed.notify_all();
        }
        shared
    }

    /// Moves the clock by `us`.
    pub fn sleep_us(&self, us: u64) {
        let mut shared = self.enter();
        let end = shared.stack.now().plus_us(us);
        while shared.stack.now() < end {
            let at = earlier(shared.next_event(), Some(end)).unwrap_or(end);
            shared.stack.advance(at);
            shared = self.hand_over(shared);
        }
    }

    /// The time, which is a microsecond later each time.
    #[must_use]
    pub fn time(&self) -> Instant {
        let mut shared = self.enter();
        let at = shared.stack.now().plus_us(1);
        shared.stack.advance(at);
        self.hand_over(shared).stack.now()
    }

    /// A packet arrives.
    pub fn inject(&self, packet: &[u8]) {
        self.now(|stack| stack.inject(packet));
    }

    /// The next packet that leaves. The clock moves until there is one; `None`: there will be none.
    #[must_use]
    pub fn sniff(&self) -> Option<Packet> {
        let mut shared = self.enter();
        let end = shared.stack.now().plus_us(SEARCH_US);
        loop {
            if let Some(packet) = shared.stack.sniff() {
                return Some(packet);
            }
            let at = shared.next_event().filter(|&at| at <= end)?;
            shared.stack.advance(at);
            shared = self.hand_over(shared);
        }
    }

    /// `accept`: a new descriptor, and the peer's address.
    ///
    /// # Errors
    /// As [`Stack::accept`].
    pub fn accept(&self, fd: c_int) -> Result<(c_int, SocketAddr)> {
        let until = self.patience(fd)?;
        self.wait(until, |stack| stack.accept(fd))
    }

    /// `connect`.
    ///
    /// # Errors
    /// `EINPROGRESS`: the socket does not wait. As [`Stack::begin_connect`] and
    /// [`Stack::finish_connect`].
    pub fn connect(&self, fd: c_int, to: SocketAddr) -> Result<()> {
        let until = self.patience(fd)?;
        self.now(|stack| stack.begin_connect(fd, to))?;
        let in_progress = |error| if error == Errno::EAGAIN { Errno::EINPROGRESS } else { error };
        self.wait(until, |stack| stack.finish_connect(fd)).map_err(in_progress)
    }

    /// `recv` and its kin.
    ///
    /// # Errors
    /// As [`Stack::receive`].
    pub fn receive(&self, fd: c_int, max: usize, flags: c_int) -> Result<Vec<u8>> {
        let until = self.patience_with(fd, flags)?;
        if flags & libc::MSG_WAITALL == 0 || flags & libc::MSG_PEEK != 0 {
            return self.wait(until, |stack| stack.receive(fd, max, flags));
        }
        let mut all = Vec::new();
        while all.len() < max {
            match self.wait(until, |stack| stack.receive(fd, max - all.len(), flags)) {
                Ok(some) if some.is_empty() => break,
                Ok(some) => all.extend(some),
                Err(error) if all.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(all)
    }

    /// `send` and its kin: all of `bytes` if the descriptor waits, or else what fits.
    ///
    /// # Errors
    /// As [`Stack::send`], if nothing was taken before.
    pub fn send(&self, fd: c_int, bytes: &[u8], flags: c_int) -> Result<usize> {
        if flags & libc::MSG_FASTOPEN != 0 {
            // RFC 7413 is not there.
            return Err(Errno::EOPNOTSUPP);
        }
        let until = self.patience_with(fd, flags)?;
        let waits = until.is_none();
        let mut sent = 0;
        let result = self.wait(until, |stack| {
            sent += stack.send(fd, &bytes[sent..])?;
            if waits && sent < bytes.len() { Err(Errno::EAGAIN) } else { Ok(()) }
        });
        match result {
            Err(error) if sent == 0 => Err(error),
            _ => Ok(sent),
        }
    }

    /// `splice`.
    ///
    /// # Errors
    /// As [`Stack::splice`].
    pub fn splice(&self, from: c_int, to: c_int, max: usize, nonblocking: bool) -> Result<usize> {
        let until = if nonblocking { Some(Instant::ZERO) } else { self.patience(from)? };
        self.wait(until, |stack| stack.splice(from, to, max))
    }

    /// `close`, which waits for what is unsent if the socket lingers.
    ///
    /// # Errors
    /// As [`Stack::close`].
    pub fn close(&self, fd: c_int) -> Result<()> {
        let (lingers, now) = self.now(|stack| {
            let lingers = stack.lingers(fd);
            stack.close(fd).map(|()| (lingers, stack.now()))
        })?;
        if let Some((id, seconds)) = lingers {
            let until = now.plus_us(u64::from(seconds) * 1_000_000);
            let gone = |stack: &mut Stack| {
                if stack.has_lingered(id) { Ok(()) } else { Err(Errno::EAGAIN) }
            };
            // What is unsent when the time is over goes on by itself.
            let _in_time = self.wait(Some(until), gone);
        }
        Ok(())
    }

    /// `poll`: what each descriptor is ready for, and how many are. `timeout_ms` below 0: no limit.
    #[must_use]
    pub fn poll(&self, asked: &[(c_int, Bits)], timeout_ms: c_int) -> (Vec<Bits>, usize) {
        let until = self.until_ms(timeout_ms);
        let ready = self.wait(until, |stack| match stack.poll(asked) {
            (_, 0) => Err(Errno::EAGAIN),
            ready => Ok(ready),
        });
        ready.unwrap_or_else(|_| (vec![0; asked.len()], 0))
    }

    /// `epoll_wait`.
    ///
    /// # Errors
    /// As [`Stack::epoll_ready`].
    pub fn epoll_wait(&self, fd: c_int, max: usize, timeout_ms: c_int) -> Result<Vec<EpollEvent>> {
        let until = self.until_ms(timeout_ms);
        let ready = self.wait(until, |stack| match stack.epoll_ready(fd, max)? {
            events if events.is_empty() => Err(Errno::EAGAIN),
            events => Ok(events),
        });
        match ready {
            Err(Errno::EAGAIN) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Until when a call on `fd` waits: the beginning of time means that it does not.
    fn patience(&self, fd: c_int) -> Result<Option<Instant>> {
        let nonblocking = self.now(|stack| stack.descriptors.is_nonblocking(fd))?;
        Ok(nonblocking.then_some(Instant::ZERO))
    }

    fn patience_with(&self, fd: c_int, flags: c_int) -> Result<Option<Instant>> {
        let nonblocking = flags & libc::MSG_DONTWAIT != 0;
        let patience = self.patience(fd)?;
        Ok(if nonblocking { Some(Instant::ZERO) } else { patience })
    }

    fn until_ms(&self, timeout_ms: c_int) -> Option<Instant> {
        let ms = u64::try_from(timeout_ms).ok()?;
        Some(self.now(|stack| stack.now()).plus_us(ms * 1000))
    }
}

impl Shared {
    /// When the driver must stop next: an event of the stack, or the patience of a sleeper.
    fn next_event(&self) -> Option<Instant> {
        let impatient = self.sleepers.values().filter_map(|sleeper| sleeper.until).min();
        earlier(self.stack.next_event(), impatient)
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
