//! An authority, and what it certifies, by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

/// In a folder that outlives all copies of this.
#[derive(Clone)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// An authority in an empty folder, with a certificate for `etcd` and one for `node`.
    pub fn make(folder: &Path) -> Certificates {
        let this = Certificates { folder: folder.to_owned() };
        std::fs::create_dir_all(folder).unwrap();
        this.openssl("req -x509 -subj /CN=authority -keyout ca.key -out ca.pem");
        // etcd's gateway is a client of etcd itself.
        this.certify("etcd", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth");
        this.certify("node", "extendedKeyUsage=clientAuth");
        this
    }

    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    pub fn of(&self, whom: &str) -> PathBuf {
        self.folder.join(whom).with_extension("pem")
    }

    pub fn key_of(&self, whom: &str) -> PathBuf {
        self.folder.join(whom).with_extension("key")
    }

    fn certify(&self, whom: &str, extensions: &str) {
        std::fs::write(self.folder.join("extensions"), extensions).unwrap();
        self.openssl(&format!("req -subj /CN={whom} -keyout {whom}.key -out {whom}.csr"));
        self.openssl(&format!(
            "x509 -req -in {whom}.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
             -extfile extensions -out {whom}.pem"
        ));
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        command.current_dir(&self.folder).args(arguments.split_whitespace());
        if arguments.starts_with("req") {
            command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        }
        let output = command.output().expect("openssl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
