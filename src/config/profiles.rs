//! The hardware profiles of a node's ports.

use std::path::Path;

use hw_profiles::Profile;

use super::{
    addresses::link_key,
    error::Problem,
    schema::{LinkSection, NodeSection},
};

/// What each port runs with.
#[derive(Debug, Clone)]
pub struct Profiles {
    pub lan: Profile,
    /// By the places of the links.
    pub links: Vec<Profile>,
}

impl Profiles {
    /// The profiles that `section` names; override files are relative to `base`.
    ///
    /// # Errors
    /// No profile of that name, or a file that can't be used.
    pub fn load(section: &NodeSection, base: &Path) -> Result<Self, Problem> {
        let lan = load("node", &section.profile, section.profile_file.as_deref(), base)?;
        let link = |(place, link): (usize, &LinkSection)| match (
            &link.profile,
            link.profile_file.as_deref(),
        ) {
            (None, None) => Ok(lan.clone()),
            (name, file) => {
                let key = link_key(place, section.link.0.len());
                load(&key, name.as_ref().unwrap_or(&section.profile), file, base)
            }
        };
        let links = section.link.0.iter().enumerate().map(link).collect::<Result<_, _>>()?;
        Ok(Self { lan, links })
    }

    /// Those of all ports.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        [&self.lan].into_iter().chain(&self.links)
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
