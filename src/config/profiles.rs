//! The hardware profiles of a node's two ports.

use std::path::Path;

use hw_profiles::Profile;

use super::{error::Problem, schema::NodeSection};

/// What each port runs with.
#[derive(Debug, Clone)]
pub struct Profiles {
    pub lan: Profile,
    pub link: Profile,
}

impl Profiles {
    /// The profiles that `section` names; override files are relative to `base`.
    ///
    /// # Errors
    /// No profile of that name, or a file that can't be used.
    pub fn load(section: &NodeSection, base: &Path) -> Result<Self, Problem> {
        let lan = load("node", &section.profile, section.profile_file.as_deref(), base)?;
        let link_file = section.link.profile_file.as_deref();
        let link = match (&section.link.profile, link_file) {
            (None, None) => lan.clone(),
            (name, file) => {
                load("node.link", name.as_ref().unwrap_or(&section.profile), file, base)?
            }
        };
        Ok(Self { lan, link })
    }
}

fn load(section: &str, name: &str, file: Option<&str>, base: &Path) -> Result<Profile, Problem> {
    let path = file.map(|file| base.join(file));
    hw_profiles::load(name, path.as_deref()).map_err(|error| {
        let key = if file.is_some() { "profile_file" } else { "profile" };
        Problem {
            key: format!("{section}.{key}"),
            what: error.to_string(),
            hint: "`holdfast profiles` lists what there is".into(),
        }
    })
}
