//! Binds and links the system's libdpdk: bindgen for what it exports, `csrc/shim.c` for what its
//! headers define inline.

use std::path::PathBuf;
use std::process::{Command, exit};

/// The oldest release whose names these bindings use (`RTE_ETH_*`, thread registration).
const MIN_VERSION: &str = "22.11";

fn main() {
    for path in ["build.rs", "csrc/shim.h", "csrc/shim.c"] {
        println!("cargo:rerun-if-changed={path}");
    }
    for variable in ["PKG_CONFIG_PATH", "PKG_CONFIG", "LIBCLANG_PATH"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }

    pkg_config(&[&format!("--atleast-version={MIN_VERSION}"), "libdpdk"]);
    // The flags are taken as they are: `-include rte_config.h` and `-march` decide struct layouts
    // and which inline functions exist, and the pkg-config crate drops both.
    let cflags = pkg_config(&["--cflags", "libdpdk"]);
    compile_shim(&cflags);
    bind(&cflags);
    link(&pkg_config(&["--libs", "libdpdk"]));
}

fn pkg_config(arguments: &[&str]) -> Vec<String> {
    let program = std::env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    match Command::new(&program).args(arguments).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
        }
        Ok(output) => fail(&format!(
            "`{program} {}` found no usable libdpdk.\n{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => fail(&format!("cannot run `{program}`: {error}")),
    }
}

fn fail(what: &str) -> ! {
    eprintln!(
        "\n{}\nDPDK {MIN_VERSION} or newer, with its headers, libclang and a C compiler, is needed \
         to build.\nOn Debian 12:\n\n    \
         apt-get install libdpdk-dev pkg-config libclang-dev gcc\n",
        what.trim_end()
    );
    exit(1);
}

fn compile_shim(cflags: &[String]) {
    let mut build = cc::Build::new();
    build.file("csrc/shim.c").warnings(true).opt_level(3).define("_GNU_SOURCE", None);
    for flag in cflags {
        build.flag(flag);
    }
    if let Err(error) = build.try_compile("dpdk_shim") {
        fail(&format!("csrc/shim.c does not compile: {error}"));
    }
}

fn bind(cflags: &[String]) {
    let builder = bindgen::Builder::default()
        .header("csrc/shim.h")
        .clang_args(cflags)
        .clang_arg("-D_GNU_SOURCE")
        .allowlist_function("shim_.*")
        .allowlist_function("rte_eal_init")
        .allowlist_function("rte_thread_(un)?register|rte_strerror")
        .allowlist_function("rte_pktmbuf_(pool_create|free_bulk)")
        .allowlist_function("rte_mempool_(in_use|avail)_count")
        .allowlist_function("rte_dev_(probe|remove)")
        .allowlist_function("rte_eth_(dev_.*|(rx|tx)_queue_setup)")
        .allowlist_function("rte_eth_(promiscuous|allmulticast)_(enable|disable)")
        .allowlist_function("rte_eth_(macaddr_get|link_get_nowait|x?stats_get|xstats_get_names)")
        .allowlist_var("shim_.*|RTE_LOG_.*|RTE_MBUF_F_(RX|TX)_.*")
        .allowlist_var("RTE_ETH_LINK_UP|RTE_ETH_MQ_RX_RSS|RTE_MAX_ETHPORTS")
        .allowlist_type("rte_mbuf|rte_eth_(conf|link|stats|xstat.*|dev_info)|rte_eth_rx_mq_mode")
        // Packed and aligned at once, which Rust cannot express (E0588). None of them is used.
        .opaque_type("rte_.*_hdr|rte_l2tpv2_.*|rte_gtp_psc_.*|rte_arp_.*|rte_flow_item_.*")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .derive_default(true)
        .layout_tests(false)
        .generate_comments(false);
    let bindings = match builder.generate() {
        Ok(bindings) => bindings,
        Err(error) => fail(&format!("bindgen cannot read DPDK's headers: {error}")),
    };
    let out: PathBuf = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR").into();
    bindings.write_to_file(out.join("bindings.rs")).expect("OUT_DIR is writable");
}

/// Links shared: EAL then loads every driver in its plugin folder by itself.
fn link(libs: &[String]) {
    for flag in libs {
        if let Some(folder) = flag.strip_prefix("-L") {
            println!("cargo:rustc-link-search=native={folder}");
        } else if let Some(library) = flag.strip_prefix("-l") {
            println!("cargo:rustc-link-lib=dylib={library}");
        }
    }
}
