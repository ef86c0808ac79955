//! Behaviour of the http service on a connection.
