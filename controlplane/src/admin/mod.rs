//! The admin API: a Unix socket that operators and the command line ask.
