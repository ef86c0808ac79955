//! Bytes in flight.
