//! Times the bytes that another program, such as curl, hands on through a pipe. What it has to say
//! about them is that program's matter: here counts only when they came.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::args::MeterArgs;
use crate::client::Tools;
use crate::clock::{Clock, micros};
use crate::connection::{Failure, Record};
use crate::report::Report;

/// Reads standard input to its end, or until the time is over.
///
/// # Errors
/// Standard input cannot be read.
pub fn run(args: &MeterArgs) -> io::Result<Report> {
    let clock = Clock::start();
    let mut record = Record { opened_us: Some(0), ..Record::default() };
    let mut buffer = Tools::new().buffer;
    let stdin = io::stdin();
    let end_us = micros(args.duration);
    record.stall.expect(0);
    loop {
        if !is_readable(&stdin, end_us.saturating_sub(clock.now_us()))? {
            record.failure = Some(Failure::Unfinished);
            break;
        }
        match rustix::io::read(&stdin, &mut buffer)? {
            0 => {
                record.stall.satisfied(clock.now_us());
                break;
            }
            len => {
                record.bytes += len as u64;
                record.stall.progress(clock.now_us());
            }
        }
    }
    record.ended_us = Some(clock.now_us());
    Ok(Report::of("meter", "standard input".into(), clock, &[&record], None))
}

/// Waits for bytes or the end. False: the time is over.
fn is_readable(stdin: &impl AsFd, left_us: u64) -> io::Result<bool> {
    let left = Duration::from_micros(left_us);
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    loop {
        match poll(&mut [PollFd::new(stdin, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
