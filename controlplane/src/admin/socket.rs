//! The Unix socket of the admin API.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use thiserror::Error;

const BACKLOG: i32 = 64;

/// Why the socket could not be opened.
#[derive(Debug, Error)]
pub enum BindError {
    #[error(
        "admin socket {0} is in use: another node answers on it; stop that node, or set another \
         [admin] socket in this node's configuration"
    )]
    InUse(PathBuf),
    #[error(
        "{0} exists and is no socket; move it away, or set another [admin] socket in the \
         configuration"
    )]
    NotASocket(PathBuf),
    #[error(
        "admin socket path {0} is too long for a Unix socket (107 bytes); set a shorter [admin] \
         socket in the configuration"
    )]
    TooLong(PathBuf),
    #[error(
        "no permission to create admin socket {0}; run the node as root, or set [admin] socket to \
         a folder that this user may write"
    )]
    Permission(PathBuf),
    #[error("cannot create admin socket {path}: {error}")]
    Other { path: PathBuf, error: io::Error },
}

/// A listening socket with mode 0600. Its file is removed when it is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Creates the socket, and the folder it lies in. A socket file that a dead process left is
    /// replaced; one that somebody answers on is not.
    ///
    /// # Errors
    /// Says what stands in the way and what to do.
    pub fn bind(path: &Path) -> Result<AdminSocket, BindError> {
        let listener = remove_stale(path).and_then(|()| listen(path))?;
        Ok(AdminSocket { listener, path: path.to_owned() })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // A file that is gone already is what we want.
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(|error| in_words(path, error))?,
    };
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(BindError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| in_words(path, error))
        }
        Err(error) => Err(in_words(path, error)),
    }
}

fn listen(path: &Path) -> Result<UnixListener, BindError> {
    let address = SocketAddrUnix::new(path).map_err(|_| BindError::TooLong(path.to_owned()))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| in_words(path, error))?;
    }
    let open = || -> Result<UnixListener, Errno> {
        let family = AddressFamily::UNIX;
        let socket =
            rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // Linux creates the socket's file with the mode of the unbound socket, so there is no
        // moment at which others could connect; the umask, which all threads share, stays alone.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(UnixListener::from(socket))
    };
    open().map_err(|errno| in_words(path, errno.into()))
}

fn in_words(path: &Path, error: io::Error) -> BindError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::PermissionDenied => BindError::Permission(path),
        io::ErrorKind::AddrInUse => BindError::InUse(path),
        _ => BindError::Other { path, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_owner_may_open_it_and_it_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/folder/a.sock");
        let socket = AdminSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn refuses_a_socket_that_answers_and_replaces_one_that_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let first = UnixListener::bind(&path).unwrap();
        assert!(matches!(AdminSocket::bind(&path), Err(BindError::InUse(_))));
        drop(first);
        assert!(AdminSocket::bind(&path).is_ok());
    }

    #[test]
    fn never_removes_what_is_no_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert!(matches!(AdminSocket::bind(&path), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"data");
        let long = folder.path().join("x".repeat(120));
        assert!(matches!(AdminSocket::bind(&long), Err(BindError::TooLong(_))));
    }
}
