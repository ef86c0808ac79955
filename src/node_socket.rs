//! Which admin socket a question goes to.

use std::{
    fs,
    os::unix::{fs::FileTypeExt, net::UnixStream},
    path::{Path, PathBuf},
};

use crate::{cli::SocketArgs, exit::Failure};

/// Where nodes put their admin sockets unless told otherwise.
const FOLDER: &str = "/run/holdfast";

/// The socket named on the command line or in `HOLDFAST_SOCKET`, or the only one there is.
///
/// # Errors
/// None is named, and there is none or more than one.
pub fn choose(args: &SocketArgs) -> Result<PathBuf, Failure> {
    match &args.socket {
        Some(socket) => Ok(socket.clone()),
        None => only_one(Path::new(FOLDER)),
    }
}

fn only_one(folder: &Path) -> Result<PathBuf, Failure> {
    let shown = folder.display();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_socket = |path: &PathBuf| path.metadata().is_ok_and(|data| data.file_type().is_socket());
    let mut sockets: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_socket).collect();
    sockets.sort();
    if sockets.len() > 1 {
        // A node that was killed leaves its socket behind; it is no choice.
        let answering = |socket: &PathBuf| UnixStream::connect(socket).is_ok();
        let alive: Vec<PathBuf> = sockets.iter().filter(|path| answering(path)).cloned().collect();
        if !alive.is_empty() {
            sockets = alive;
        }
    }
    match sockets.as_slice() {
        [socket] => Ok(socket.clone()),
        [] => Err(Failure::unreachable(format!(
            "no node runs here: there is no socket in {shown}; start one with `holdfast run`, or \
             name its socket with -s"
        ))),
        several => {
            let names: Vec<String> =
                several.iter().map(|socket| socket.display().to_string()).collect();
            let names = names.join(", ");
            Err(Failure::usage(format!("several nodes run here; name one with -s: {names}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::exit::{UNREACHABLE, USAGE};

    #[test]
    fn takes_the_only_socket_and_asks_when_there_are_two() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(only_one(folder.path()).unwrap_err().code, UNREACHABLE);
        let a = folder.path().join("a.sock");
        let _a = UnixListener::bind(&a).unwrap();
        fs::write(folder.path().join("notes"), "no socket").unwrap();
        assert_eq!(only_one(folder.path()).unwrap(), a);
        let b = UnixListener::bind(folder.path().join("b.sock")).unwrap();
        let failure = only_one(folder.path()).unwrap_err();
        assert_eq!(failure.code, USAGE);
        assert!(failure.message.contains("b.sock"), "{}", failure.message);
        drop(b);
        assert_eq!(only_one(folder.path()).unwrap(), a, "nobody answers on the other one");
    }
}
