//! The loop over all connections of a run: waits for sockets and for due times, and lets clients
//! advance. Bounded by deadlines whatever the peers do.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::client::{Client, Tools};
use crate::clock::Clock;
use crate::connection::Failure;

/// Time between two looks for the file that ends a run.
const FILE_CHECK_US: u64 = 5_000;
/// Time between two lines of live output.
const LIVE_US: u64 = 200_000;
/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

/// When a run ends, and what it says meanwhile.
#[derive(Debug)]
pub struct Plan {
    /// Clients are told to stop after so long.
    pub duration_us: u64,
    /// Or when this file appears.
    pub until_file: Option<PathBuf>,
    /// What has not ended so long after the stop has failed.
    pub grace_us: u64,
    /// Whether to print a line now and then.
    pub live: bool,
    /// File to create when every connection was answered.
    pub ready_file: Option<PathBuf>,
}

struct Loop<'a, C> {
    epoll: rustix::fd::OwnedFd,
    clients: &'a mut [C],
    tools: &'a mut Tools,
    clock: Clock,
    /// The loop's own notes on each client.
    slots: Vec<Slot>,
    timers: BinaryHeap<Reverse<(u64, usize)>>,
    /// Clients that are not over.
    active: usize,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// What the kernel was asked to watch.
    watched: EventFlags,
    /// The timer that counts; others of this client in the heap are out of date.
    scheduled_us: Option<u64>,
    is_over: bool,
}

/// Runs the clients to their end.
///
/// # Errors
/// The machine refuses what the loop itself needs. What befalls a connection is the connection's.
pub fn run<C: Client>(
    clients: &mut [C],
    tools: &mut Tools,
    clock: Clock,
    plan: &Plan,
) -> io::Result<()> {
    let count = clients.len();
    let mut this = Loop {
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        clients,
        tools,
        clock,
        slots: vec![
            Slot { watched: EventFlags::empty(), scheduled_us: None, is_over: false };
            count
        ],
        timers: BinaryHeap::new(),
        active: count,
    };
    for index in 0..count {
        this.advance(index)?;
    }
    this.until_over(plan)
}

impl<C: Client> Loop<'_, C> {
    fn until_over(&mut self, plan: &Plan) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        let mut live = Live::default();
        let mut ready_file = plan.ready_file.as_deref();
        let mut deadline_us = plan.duration_us;
        let mut next_file_check_us = plan.until_file.as_ref().map(|_| 0);
        let mut stopped = false;
        while self.active > 0 {
            let now_us = self.clock.now_us();
            let mut is_over = now_us >= deadline_us;
            if next_file_check_us.is_some_and(|due| now_us >= due) {
                is_over |= plan.until_file.as_ref().is_some_and(|file| file.exists());
                next_file_check_us = Some(now_us + FILE_CHECK_US);
            }
            if is_over && stopped {
                self.give_up(now_us);
                break;
            } else if is_over {
                stopped = true;
                next_file_check_us = None;
                deadline_us = now_us + plan.grace_us;
                self.stop(now_us)?;
                continue;
            }
            if let Some(file) = ready_file.take_if(|_| self.all_answered()) {
                std::fs::write(file, "")?;
            }
            let mut wake_us = deadline_us.min(next_file_check_us.unwrap_or(u64::MAX));
            if plan.live {
                wake_us = wake_us.min(live.print_when_due(now_us, self.clients));
            }
            self.wait(wake_us, &mut events)?;
            self.fire_timers()?;
        }
        Ok(())
    }

    fn all_answered(&self) -> bool {
        self.tools.answered as usize == self.clients.len()
    }

    /// Waits for sockets until `wake_us` or the next timer, and lets those advance that are ready.
    fn wait(&mut self, wake_us: u64, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let next_timer_us = self.timers.peek().map_or(u64::MAX, |Reverse((due_us, _))| *due_us);
        let timeout_us = wake_us.min(next_timer_us).saturating_sub(self.clock.now_us());
        let timeout = timespec(Duration::from_micros(timeout_us));
        // epoll counts in milliseconds; poll keeps the due time of a message to the microsecond.
        let mut ready = [PollFd::new(&self.epoll, PollFlags::IN)];
        match poll(&mut ready, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        events.clear();
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&timespec_zero()))?;
        for event in events.iter() {
            let (data, flags) = (event.data, event.flags);
            let index = usize::try_from(data.u64()).expect("an index of ours");
            self.advance(index)?;
            if flags.contains(EventFlags::ERR) {
                let now_us = self.clock.now_us();
                self.clients[index].connection_mut().check_error(now_us);
                self.settle(index)?;
            }
        }
        Ok(())
    }

    fn fire_timers(&mut self) -> io::Result<()> {
        let now_us = self.clock.now_us();
        while let Some(Reverse((due_us, index))) = self.timers.peek().copied() {
            if due_us > now_us {
                break;
            }
            self.timers.pop();
            if self.slots[index].scheduled_us == Some(due_us) {
                self.slots[index].scheduled_us = None;
                self.advance(index)?;
            }
        }
        Ok(())
    }

    fn advance(&mut self, index: usize) -> io::Result<()> {
        if self.clients[index].connection().is_over() {
            return Ok(());
        }
        self.clients[index].advance(self.clock.now_us(), self.tools);
        self.settle(index)
    }

    fn stop(&mut self, now_us: u64) -> io::Result<()> {
        for index in 0..self.clients.len() {
            if !self.clients[index].connection().is_over() {
                self.clients[index].stop(now_us, self.tools);
                self.settle(index)?;
                self.advance(index)?;
            }
        }
        Ok(())
    }

    fn give_up(&mut self, now_us: u64) {
        for client in self.clients.iter_mut() {
            client.connection_mut().fail(now_us, Failure::Unfinished);
        }
    }

    /// Brings what is watched and scheduled for a client in line with what it wants now.
    fn settle(&mut self, index: usize) -> io::Result<()> {
        let client = &self.clients[index];
        let slot = &mut self.slots[index];
        let connection = client.connection();
        if connection.is_over() {
            // Its socket is closed, which took it out of the epoll set.
            self.active -= usize::from(!slot.is_over);
            slot.is_over = true;
            return Ok(());
        }
        let wanted = wanted_events(client);
        let before = slot.watched;
        if let Some(fd) = connection.fd().filter(|_| wanted != before) {
            let data = EventData::new_u64(index as u64);
            match (before.is_empty(), wanted.is_empty()) {
                (true, _) => epoll::add(&self.epoll, fd, data, wanted)?,
                (false, false) => epoll::modify(&self.epoll, fd, data, wanted)?,
                // A half-closed connection reports its hang-up for ever, asked or not.
                (false, true) => epoll::delete(&self.epoll, fd)?,
            }
            slot.watched = wanted;
        }
        if let Some(due_us) = client.wake_at_us()
            && slot.scheduled_us != Some(due_us)
        {
            slot.scheduled_us = Some(due_us);
            self.timers.push(Reverse((due_us, index)));
        }
        Ok(())
    }
}

fn wanted_events<C: Client>(client: &C) -> EventFlags {
    if client.connection().is_connecting() {
        return EventFlags::OUT;
    }
    let interest = client.interest();
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, interest.read);
    flags.set(EventFlags::OUT, interest.write);
    flags
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

fn timespec_zero() -> Timespec {
    timespec(Duration::ZERO)
}

/// A line now and then for whoever watches.
#[derive(Debug, Default)]
struct Live {
    next_us: u64,
    last_us: u64,
    last_bytes: u64,
}

impl Live {
    /// Prints if it is time to. Returns when it is next.
    fn print_when_due<C: Client>(&mut self, now_us: u64, clients: &[C]) -> u64 {
        if now_us >= self.next_us {
            let connections = || clients.iter().map(Client::connection);
            let bytes: u64 = connections().map(|connection| connection.record.bytes).sum();
            let elapsed_us = (now_us - self.last_us).max(1);
            let rate = (bytes - self.last_bytes) as f64 * 8.0 / elapsed_us as f64;
            let longest_us = connections().map(|c| c.record.stall.longest(now_us).length_us).max();
            let silent_us = connections().map(|c| c.record.stall.current(now_us).length_us).max();
            eprintln!(
                "{:8.1} s  {rate:10.2} Mbit/s  longest stall {:8.1} ms  waiting {:8.1} ms",
                now_us as f64 / 1e6,
                longest_us.unwrap_or(0) as f64 / 1e3,
                silent_us.unwrap_or(0) as f64 / 1e3,
            );
            (self.last_us, self.last_bytes) = (now_us, bytes);
            self.next_us = now_us + LIVE_US;
        }
        self.next_us
    }
}
