//! Starting EAL, and what is said when something is missing.

use dpdk::{
    Eal, EalConfig, EalError, Mempool, MempoolConfig, MempoolError, Port, PortConfig, PortError,
    ThreadRegistration,
};

use crate::isolate::{self, Player};
use crate::node;

fn config(file_prefix: &str) -> EalConfig {
    EalConfig {
        file_prefix: file_prefix.to_owned(),
        hugepages: false,
        memory_mib: 64,
        pci: Vec::new(),
        args: Vec::new(),
    }
}

fn own_prefix() -> String {
    format!("hf-t-{}", std::process::id())
}

fn af_packet(interface: &str) -> PortConfig {
    let profile = hw_profiles::load("af_packet", None).unwrap();
    PortConfig::from_profile(&profile, 0, interface, 1, 1500).unwrap()
}

#[test]
fn pools_of_standard_and_jumbo_frames_fit_without_hugepages() {
    isolate::alone("eal::pools_of_standard_and_jumbo_frames_fit_without_hugepages", || {
        let mut profile = hw_profiles::load("af_packet", None).unwrap();
        profile.eal.memory_mib = 1024;
        let eal = node::eal(&profile);
        for (name, mbufs, data_room) in
            [("lan0", 16_383, 2176), ("lan1", 32_767, 2176), ("link", 16_383, 12_416)]
        {
            let config = MempoolConfig { mbufs, cache: 256, data_room };
            let pool = Mempool::new(&eal, name, &config).unwrap();
            let frames: Vec<_> = std::iter::from_fn(|| pool.allocate()).collect();
            assert_eq!(frames.len() as u32, mbufs);
            assert!(frames.iter().all(|frame| frame.tailroom() == usize::from(data_room) - 128));
            drop(frames);
            assert_eq!(pool.in_use(), 0);
        }
    });
}

#[test]
fn a_pool_that_does_not_fit_says_what_to_change() {
    isolate::alone("eal::a_pool_that_does_not_fit_says_what_to_change", || {
        let eal = Eal::init(&config(&own_prefix())).unwrap();
        let large = MempoolConfig { mbufs: 65_535, cache: 0, data_room: 9344 };
        let error = Mempool::new(&eal, "large", &large).unwrap_err();
        assert!(matches!(error, MempoolError::Refused { mib: 595, .. }), "{error:?}");
        assert!(error.to_string().contains("eal.memory_mib"), "{error}");
        let small = MempoolConfig { mbufs: 63, cache: 0, data_room: 2176 };
        for name in ["", "a\0b", "a name that is too long for a ring"] {
            let error = Mempool::new(&eal, name, &small).unwrap_err();
            assert!(matches!(error, MempoolError::InvalidName { .. }), "{error:?}");
        }
        let empty = Mempool::new(&eal, "small", &small).unwrap();
        let frames: Vec<_> = std::iter::from_fn(|| empty.allocate()).collect();
        assert_eq!((frames.len(), empty.available()), (63, 0));
        let mut burst = arrayvec::ArrayVec::<dpdk::Mbuf, 4>::new();
        assert!(!empty.allocate_burst(&mut burst) && burst.is_empty());
    });
}

#[test]
fn starts_once_and_registers_any_number_of_threads_in_turn() {
    isolate::alone("eal::starts_once_and_registers_any_number_of_threads_in_turn", || {
        let eal = Eal::init(&config(&own_prefix())).unwrap();
        assert_eq!(Eal::init(&config("other")).unwrap_err(), EalError::AlreadyStarted);
        // The thread that started EAL is known already, and stays known.
        drop(ThreadRegistration::new(&eal).unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..300 {
                    let _one_of_128_places = ThreadRegistration::new(&eal).unwrap();
                }
            });
        });
    });
}

#[test]
fn leaves_the_processors_of_the_calling_thread_as_they_were() {
    isolate::alone("eal::leaves_the_processors_of_the_calling_thread_as_they_were", || {
        let allowed = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("Cpus_allowed:"));
            line.unwrap().to_owned()
        };
        let before = allowed();
        Eal::init(&config(&own_prefix())).unwrap();
        assert_eq!(allowed(), before);
    });
}

#[test]
fn a_prefix_in_use_is_refused() {
    if !isolate::is_root() {
        return;
    }
    let test = "eal::a_prefix_in_use_is_refused";
    match isolate::role().as_deref() {
        None => Player::start(test, "first", &[]).succeed(),
        Some("first") => {
            Eal::init(&config(&own_prefix())).unwrap();
            Player::start(test, &own_prefix(), &[]).succeed();
        }
        Some(prefix) => {
            let error = Eal::init(&config(prefix)).unwrap_err();
            assert_eq!(error, EalError::PrefixInUse { prefix: prefix.to_owned() });
        }
    }
}

#[test]
fn missing_hugepages_are_named_before_eal_is_tried() {
    isolate::alone("eal::missing_hugepages_are_named_before_eal_is_tried", || {
        let pools = std::fs::read_dir("/sys/kernel/mm/hugepages").unwrap().flatten();
        let free = |pool: std::fs::DirEntry| {
            std::fs::read_to_string(pool.path().join("free_hugepages")).unwrap() != "0\n"
        };
        if pools.into_iter().any(free) {
            return eprintln!("!!! SKIPPED: this machine has free hugepages !!!");
        }
        let with_hugepages = EalConfig { hugepages: true, ..config(&own_prefix()) };
        assert_eq!(Eal::init(&with_hugepages).unwrap_err(), EalError::NoHugepages);
        Eal::init(&config(&own_prefix())).expect("the process may still try without");
    });
}

#[test]
fn unknown_arguments_and_devices_are_named() {
    isolate::alone("eal::unknown_arguments_and_devices_are_named", || {
        let absent = EalConfig { pci: vec!["0000:ff:1f.7".into()], ..config(&own_prefix()) };
        let error = Eal::init(&absent).unwrap_err();
        assert_eq!(error, EalError::NoSuchDevice { address: "0000:ff:1f.7".into() });
        let nul = EalConfig { args: vec!["a\0b".into()], ..config(&own_prefix()) };
        assert!(matches!(Eal::init(&nul).unwrap_err(), EalError::InvalidArgument { .. }));
        let unknown = EalConfig { args: vec!["--lcore".into()], ..config(&own_prefix()) };
        let error = Eal::init(&unknown).unwrap_err();
        assert!(matches!(error, EalError::BadArguments { .. }), "{error:?}");
    });
}

#[test]
fn a_port_that_cannot_be_had_is_explained() {
    if !isolate::is_root() {
        return;
    }
    isolate::alone("eal::a_port_that_cannot_be_had_is_explained", || {
        let eal = Eal::init(&config(&own_prefix())).unwrap();
        let small = MempoolConfig { mbufs: 2047, cache: 0, data_room: 2176 };
        let pool = Mempool::new(&eal, "small", &small).unwrap();
        let open = |config: &PortConfig| Port::open(&eal, config, &pool).map(|_| ()).unwrap_err();

        let error = open(&af_packet("hf-absent"));
        assert_eq!(error, PortError::NoSuchInterface { interface: "hf-absent".into() });
        let error = open(&PortConfig { device: "net_absent0".into(), ..af_packet("lo") });
        assert!(matches!(error, PortError::NoDriver { .. }), "{error:?}");
        let error = open(&PortConfig { device: "0000:ff:1f.7".into(), ..af_packet("lo") });
        assert!(matches!(error, PortError::NoSuchDevice { .. }), "{error:?}");
        let error = open(&PortConfig { queues: 9, ..af_packet("lo") });
        assert!(matches!(error, PortError::TooFewQueues { asked: 9, max: 1, .. }), "{error:?}");
        let error = open(&PortConfig { device: "net_ring0".into(), queues: 0, ..af_packet("lo") });
        assert!(matches!(error, PortError::TooFewQueues { asked: 0, .. }), "{error:?}");
        let error = open(&PortConfig { mtu: 9000, device_limits_mtu: true, ..af_packet("lo") });
        assert!(matches!(error, PortError::MtuTooLarge { max: 1500, .. }), "{error:?}");
        let option = format!("{},no_such_option=1", af_packet("lo").device);
        let error = open(&PortConfig { device: option, ..af_packet("lo") });
        assert!(matches!(error, PortError::Refused { .. }), "{error:?}");

        // What was refused left nothing behind: the same device can be had now, and once.
        let config = PortConfig { mtu: 1500, ..af_packet("lo") };
        let first = Port::open(&eal, &config, &pool).unwrap();
        assert!(matches!(open(&config), PortError::AlreadyOpen { .. }));
        drop(first);
        std::thread::scope(|scope| {
            let registered = || drop(ThreadRegistration::new(&eal).unwrap());
            scope.spawn(registered).join().unwrap();
        });
        Port::open(&eal, &config, &pool).unwrap();
    });
}

#[test]
fn a_missing_permission_is_named() {
    if !isolate::is_root() {
        return;
    }
    let test = "eal::a_missing_permission_is_named";
    if isolate::role().is_none() {
        let drop_all = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
        return Player::start(test, "powerless", &drop_all).succeed();
    }
    let eal = Eal::init(&config(&own_prefix())).unwrap();
    let small = MempoolConfig { mbufs: 2047, cache: 0, data_room: 2176 };
    let pool = Mempool::new(&eal, "small", &small).unwrap();
    let error = Port::open(&eal, &af_packet("lo"), &pool).unwrap_err();
    assert!(matches!(error, PortError::NotPermitted { .. }), "{error:?}");
    assert!(error.to_string().contains("root"), "{error}");
}
