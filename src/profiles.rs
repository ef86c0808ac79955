//! `holdfast profiles`: what hardware is known, and with which settings.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use hw_profiles::Profile;

use crate::{cli::ProfilesArgs, exit::Failure, text::Table};

/// Lists all profiles or shows one.
///
/// # Errors
/// There is no profile of that name, or standard output can't be written.
pub fn profiles(args: &ProfilesArgs) -> anyhow::Result<ExitCode> {
    let text = match (&args.name, args.json) {
        (Some(name), json) => {
            let profile =
                hw_profiles::load(name, None).map_err(|error| Failure::usage(error.to_string()))?;
            if json {
                serde_json::to_string_pretty(&profile)? + "\n"
            } else {
                toml::to_string_pretty(&profile)?
            }
        }
        (None, true) => serde_json::to_string_pretty(&hw_profiles::builtin())? + "\n",
        (None, false) => list(&hw_profiles::builtin()),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn list(profiles: &[Profile]) -> String {
    let mut table = Table::with_headings(&["NAME", "DETECTION", "MEMORY", "DESCRIPTION"]);
    for profile in profiles {
        table.row([
            profile.name.clone(),
            format!("{} ms", profile.timers.detection_timeout_ms),
            if profile.eal.hugepages { "hugepages" } else { "plain" }.into(),
            profile.description.clone(),
        ]);
    }
    table.render(0)
}
