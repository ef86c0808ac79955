//! TLS to etcd: whom a node believes, and how it shows who it is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio_rustls::TlsConnector;

/// Files in PEM. They are read for each connection, so that renewed ones count from the next on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The authorities that etcd's certificate must be of. The machine's own are not asked: who
    /// speaks for etcd decides who is primary.
    pub authorities: PathBuf,
    /// For an etcd that wants to see one.
    pub identity: Option<Identity>,
}

/// What shows who a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Files that cannot serve for TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("{}: {error}", .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{}: no PEM with {expected}: {error}", .path.display())]
    NotPem { path: PathBuf, expected: &'static str, error: pem::Error },
    #[error("{}: has no certificate", .path.display())]
    Empty { path: PathBuf },
    #[error("{}: {error}", .path.display())]
    Refused { path: PathBuf, error: rustls::Error },
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them is missing, or is not what it should be.
    pub fn check(&self) -> Result<(), TlsError> {
        self.connector().map(drop)
    }

    pub(crate) fn connector(&self) -> Result<TlsConnector, TlsError> {
        let refused = |path: &Path| {
            let path = path.to_owned();
            move |error| TlsError::Refused { path, error }
        };
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.authorities)? {
            roots.add(authority).map_err(refused(&self.authorities))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(refused(&self.authorities))?;
        let config = versions.with_root_certificates(roots);
        let config = match &self.identity {
            None => config.with_no_client_auth(),
            Some(Identity { certificate, key }) => config
                .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                .map_err(refused(certificate))?,
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Unreadable { path: path.to_owned(), error })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = contents(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let not_pem =
        |error| TlsError::NotPem { path: path.to_owned(), expected: "certificates", error };
    let all = all.map_err(not_pem)?;
    if all.is_empty() { Err(TlsError::Empty { path: path.to_owned() }) } else { Ok(all) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let not_pem =
        |error| TlsError::NotPem { path: path.to_owned(), expected: "a private key", error };
    PrivateKeyDer::from_pem_slice(&contents(path)?).map_err(not_pem)
}
