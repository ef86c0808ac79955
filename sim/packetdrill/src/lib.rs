//! The engine behind packetdrill's plug-in interface: a shared object whose functions look like the
//! socket calls of a kernel, on one shard in virtual time. So the public collections of packetdrill
//! scripts can be run on us. It is not part of the appliance, and nothing depends on it.
//!
//! Start reading at `abi`, which fills packetdrill's table of functions and is the only place with
//! foreign types; each of these functions is a method of [`host::Host`], which knows about threads
//! and waiting; what a call does to a socket is in `calls`, and [`stack::Stack`] is the shard with
//! its clock.
//!
//! What must never happen here: a panic that crosses the border, a wait for real time, and code or
//! text of packetdrill's (its licence is another one): the order and signatures of the functions
//! are facts, their declarations here are our own.

pub mod abi;
mod calls;
mod descriptors;
pub mod errno;
pub mod host;
mod info;
mod options;
mod order;
mod pipe;
mod poll;
mod settings;
mod socket;
mod stack;
mod wire;
