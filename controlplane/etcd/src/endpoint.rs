//! Where an etcd answers.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use thiserror::Error;

/// Host and port of one member of an etcd cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    secure: bool,
    host: String,
    port: u16,
}

/// A text that is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected https:// or http://, a host and a port, e.g. \"https://10.0.0.5:2379\"")]
pub struct EndpointError;

impl Endpoint {
    /// Whether it is spoken to over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// A name or an address; IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As an HTTP request names it.
    pub(crate) fn authority(&self) -> String {
        let Endpoint { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let uri: Uri = text.parse().map_err(|_| EndpointError)?;
        let has_more = uri.path_and_query().is_some_and(|rest| rest.as_str() != "/")
            || uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(EndpointError),
        };
        let (Some(host), Some(port), false) = (uri.host(), uri.port_u16(), has_more) else {
            return Err(EndpointError);
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Endpoint { secure, host, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_keeps_its_text() {
        for text in ["http://10.0.0.5:2379", "https://etcd-1.example:2379", "http://[fd00::5]:1"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
            assert_eq!(endpoint.is_secure(), text.starts_with("https"));
        }
        let slash: Endpoint = "http://[fd00::5]:2379/".parse().unwrap();
        assert_eq!((slash.host(), slash.port()), ("fd00::5", 2379));
    }

    #[test]
    fn refuses_what_is_none() {
        for text in
            ["", "10.0.0.5:2379", "http://10.0.0.5", "ftp://e:1", "http://e:1/v3", "http://u@e:1"]
        {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError), "{text}");
        }
    }
}
