//! `[register]` of kind `etcd`: where it is, and which key is the cluster's.

use std::{path::Path, time::Duration};

use ::etcd::{Endpoint, Identity, Login, Tls, keeper::Setup};

use super::{checker::Checker, schema::RegisterSection};

/// What the keys of all clusters begin with unless told otherwise.
const PREFIX: &str = "/holdfast";
/// How long an answer may take unless told otherwise.
const TIMEOUT_MS: u32 = 1_000;

/// The register in etcd, as a node reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etcd {
    pub endpoints: Vec<Endpoint>,
    /// The key of this cluster alone.
    pub key: String,
    pub login: Option<Login>,
    pub tls: Option<Tls>,
    pub timeout: Duration,
}

impl Etcd {
    /// What its keeper is made with.
    pub fn setup(&self) -> Setup {
        let Etcd { endpoints, key, login, tls, timeout } = self.clone();
        Setup { endpoints, key, login, tls, patience: timeout }
    }
}

/// Notes what is given for etcd where there is none.
pub fn refuse(section: &RegisterSection, check: &mut Checker) {
    let given = [
        ("register.endpoints", !section.endpoints.is_empty()),
        ("register.prefix", section.prefix.is_some()),
        ("register.user", section.user.is_some()),
        ("register.password_file", section.password_file.is_some()),
        ("register.ca_file", section.ca_file.is_some()),
        ("register.cert_file", section.cert_file.is_some()),
        ("register.key_file", section.key_file.is_some()),
        ("register.timeout_ms", section.timeout_ms.is_some()),
    ];
    for (key, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
        let what = format!("is given, but register.kind is \"{}\"", section.kind);
        check.fail(key, what, "expected register.kind = \"etcd\", or no such key");
    }
}

/// The register in etcd.
pub fn etcd(
    section: &RegisterSection,
    cluster: &str,
    base: &Path,
    check: &mut Checker,
) -> Option<Etcd> {
    let hint = "expected register.kind = \"pair\": etcd needs nobody switched off";
    check.require(section.fence.is_empty(), "register.fence", "is given", hint);
    let hint = "expected register.kind = \"raft\", or no voters: etcd decides";
    check.require(section.voters.is_empty(), "register.voters", "are given", hint);
    let hint = "expected the members of one etcd cluster, e.g. \
                endpoints = [\"https://10.0.0.5:2379\", \"https://10.0.0.6:2379\"]";
    check.require(!section.endpoints.is_empty(), "register.endpoints", "are missing", hint);
    let expected = "https:// or http://, a host and a port, e.g. \"https://10.0.0.5:2379\"";
    let endpoints: Option<Vec<Endpoint>> = section
        .endpoints
        .iter()
        .map(|text| check.parse("register.endpoints", text, expected))
        .collect();
    let prefix = section.prefix.as_deref().unwrap_or(PREFIX);
    let fits = prefix.starts_with('/') && !prefix.ends_with('/') && prefix.len() <= 256;
    let hint = "expected a path such as \"/holdfast\", without a slash at its end";
    check.require(fits, "register.prefix", format!("\"{prefix}\""), hint);
    let key = format!("{prefix}/{cluster}/view");
    let timeout_ms = section.timeout_ms.unwrap_or(TIMEOUT_MS);
    let timeout_ms = check.range("register.timeout_ms", timeout_ms, 50, 60_000);
    let timeout = Duration::from_millis(timeout_ms.into());
    let login = login(section, base, check);
    let tls = tls(section, endpoints.as_deref().unwrap_or_default(), base, check);
    Some(Etcd { endpoints: endpoints?, key, login, tls, timeout })
}

/// All endpoints are spoken to over TLS, or none: what one of them hears the others hear as well.
fn tls(
    section: &RegisterSection,
    endpoints: &[Endpoint],
    base: &Path,
    check: &mut Checker,
) -> Option<Tls> {
    let secure = endpoints.iter().filter(|endpoint| endpoint.is_secure()).count();
    let hint = "expected https:// in all of them, or in none";
    check.require(
        secure == 0 || secure == endpoints.len(),
        "register.endpoints",
        "mix https and http",
        hint,
    );
    let file = |name: &Option<String>| name.as_ref().map(|name| base.join(name));
    let identity = match (file(&section.cert_file), file(&section.key_file)) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (certificate, _) => {
            let missing =
                if certificate.is_some() { "register.key_file" } else { "register.cert_file" };
            check.fail(missing, "is missing", "expected a cert_file and its key_file, or neither");
            return None;
        }
    };
    if secure == 0 {
        let given = section.ca_file.is_some() || identity.is_some();
        let hint = "expected endpoints with https://, or no such file";
        check.require(!given, "register.ca_file, .cert_file", "are of no use over http", hint);
        return None;
    }
    let Some(authorities) = file(&section.ca_file) else {
        let hint = "expected a PEM file with the authority of etcd's certificates";
        check.fail("register.ca_file", "is missing", hint);
        return None;
    };
    let tls = Tls { authorities, identity };
    if let Err(error) = tls.check() {
        let key = "register.ca_file, .cert_file, .key_file";
        check.fail(key, error.to_string(), "expected files in PEM that this user can read");
    }
    Some(tls)
}

fn login(section: &RegisterSection, base: &Path, check: &mut Checker) -> Option<Login> {
    let (user, file) = match (&section.user, &section.password_file) {
        (None, None) => return None,
        (Some(user), Some(file)) => (user.clone(), base.join(file)),
        (user, _) => {
            let key = if user.is_some() { "register.password_file" } else { "register.user" };
            check.fail(key, "is missing", "expected a user and a password_file, or neither");
            return None;
        }
    };
    match std::fs::read_to_string(&file) {
        Ok(text) => Some(Login { user, password: text.trim_end_matches(['\r', '\n']).into() }),
        Err(error) => {
            let what = format!("{}: cannot be read: {error}", file.display());
            check.fail("register.password_file", what, "expected a file with the password");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Register,
        testing::{GOOD, read},
    };
    use super::*;

    fn with_register(text: &str) -> Result<Etcd, String> {
        let file = format!("{GOOD}\n[register]\nkind = \"etcd\"\n{text}\n");
        match read(&file).map_err(|error| error.to_string())?.register {
            Register::Etcd(etcd) => Ok(etcd),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn key_is_the_clusters_own() {
        let etcd = with_register(r#"endpoints = ["http://10.0.0.5:2379"]"#).unwrap();
        assert_eq!(
            (etcd.key.as_str(), etcd.timeout),
            ("/holdfast/lab/view", Duration::from_secs(1))
        );
        let text = "endpoints = [\"http://e1:1\", \"http://e2:1\"]\nprefix = \"/prod/holdfast\"";
        let etcd = with_register(text).unwrap();
        assert_eq!((etcd.key.as_str(), etcd.endpoints.len()), ("/prod/holdfast/lab/view", 2));
    }

    #[test]
    fn nodes_must_have_the_key_in_common_but_not_the_endpoints() {
        let digest = |text: &str| {
            let file = format!("{GOOD}\n[register]\nkind = \"etcd\"\n{text}\n");
            *read(&file).unwrap().manifest().digest()
        };
        let here = digest("endpoints = [\"http://e1:1\"]");
        assert_eq!(digest("endpoints = [\"http://e2:1\"]"), here);
        assert_ne!(digest("endpoints = [\"http://e1:1\"]\nprefix = \"/other\""), here);
    }

    #[test]
    fn password_comes_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "secret\n").unwrap();
        let base = "endpoints = [\"http://e:1\"]\nuser = \"lab\"";
        let text = format!("{base}\npassword_file = \"{}\"", file.display());
        let login = with_register(&text).unwrap().login.unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("lab", "secret"));
        assert!(!format!("{login:?}").contains("secret"));
        let said = with_register(base).unwrap_err();
        assert!(said.contains("register.password_file: is missing"), "{said}");
        std::fs::remove_file(&file).unwrap();
        assert!(with_register(&text).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn says_what_is_wrong() {
        let some = r#"endpoints = ["http://e:1"]"#;
        for (text, expected) in [
            ("", "register.endpoints: are missing"),
            (r#"endpoints = ["10.0.0.5:2379"]"#, "expected https:// or http://"),
            (r#"endpoints = ["https://e:1", "http://f:1"]"#, "mix https and http"),
            (r#"endpoints = ["https://e:1"]"#, "register.ca_file: is missing"),
            ("endpoints = [\"https://e:1\"]\nca_file = \"/nowhere.pem\"", "/nowhere.pem: "),
            (&format!("{some}\nca_file = \"ca.pem\""), "of no use over http"),
            (&format!("{some}\ncert_file = \"node.pem\""), "register.key_file: is missing"),
            (&format!("{some}\nkey_file = \"node.key\""), "register.cert_file: is missing"),
            (&format!("{some}\nfence = [\"/sbin/off\"]"), "nobody switched off"),
            (&format!("{some}\nvoters = {{ a = \"10.79.0.1:1\" }}"), "etcd decides"),
            (&format!("{some}\nprefix = \"holdfast/\""), "expected a path"),
            (&format!("{some}\ntimeout_ms = 5"), "expected 50 to 60000"),
        ] {
            let said = with_register(text).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn its_keys_belong_to_no_other_kind() {
        let text = "[register]\nendpoints = [\"http://e:1\"]\nprefix = \"/x\"";
        let said = read(&format!("{GOOD}\n{text}\n")).unwrap_err().to_string();
        assert!(said.contains("register.endpoints: is given, but register.kind is \"pair\""));
        assert!(said.contains("register.prefix"), "{said}");
    }
}
