//! DPDK's libraries and the drivers that EAL loads as plugins.

use std::{fs, path::PathBuf};

use super::finding::Report;
use crate::config::NodeConfig;

const AREA: &str = "dpdk";
const INSTALL: &str = "apt-get install librte-meta-net librte-meta-bus librte-meta-mempool";

/// The plugin folder, and in it what every node and this node need.
pub fn libraries(config: Option<&NodeConfig>, report: &mut Report) {
    let Some((folder, plugins)) = plugins() else {
        report.error(AREA, "no folder with DPDK's drivers was found", INSTALL);
        return;
    };
    report.ok(AREA, format!("{} files of drivers in {}", plugins.len(), folder.display()));
    let mut wanted = vec!["mempool_ring".to_owned(), "bus_vdev".to_owned()];
    for profile in config.iter().flat_map(|config| config.profiles.iter()) {
        let library = library_of(&profile.device.driver);
        if !wanted.contains(&library) {
            wanted.push(library);
        }
    }
    for name in wanted {
        let file = format!("librte_{name}.so");
        if plugins.iter().any(|plugin| plugin.starts_with(&file)) {
            report.ok(AREA, format!("driver {name} is installed"));
        } else {
            report.error(AREA, format!("driver {name} ({file}) is not installed"), INSTALL);
        }
    }
}

/// A port calls its driver `net_ixgbe` or `mlx5_pci`; the plugin's file says `net_…`.
fn library_of(driver: &str) -> String {
    match driver.strip_suffix("_pci") {
        Some(name) => format!("net_{name}"),
        None => driver.to_owned(),
    }
}

/// The newest plugin folder that holds any network driver.
fn plugins() -> Option<(PathBuf, Vec<String>)> {
    let libraries = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"];
    let mut folders = Vec::new();
    for library in libraries.map(PathBuf::from) {
        let inner = fs::read_dir(&library).into_iter().flatten().flatten();
        for parent in inner.map(|entry| entry.path()).chain([library.clone()]) {
            let versions = fs::read_dir(parent.join("dpdk")).into_iter().flatten().flatten();
            folders.extend(versions.map(|entry| entry.path()));
        }
    }
    folders.sort();
    folders.into_iter().rev().find_map(|folder| {
        let entries = fs::read_dir(&folder).ok()?.flatten();
        let files: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        files.iter().any(|file| file.starts_with("librte_net_")).then_some((folder, files))
    })
}
