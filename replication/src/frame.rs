//! Link datagrams.
