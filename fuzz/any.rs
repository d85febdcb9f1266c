//! All targets in one program, which looks at the name it was called by: `scripts/fuzz` links once instead of twelve times.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let called = std::env::args().next().unwrap_or_default();
    let name = called.rsplit('/').next().unwrap_or_default();
    dunet::fuzzing::TARGETS.iter().find(|(known, _)| *known == name).expect("called by the name of a target").1
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
