#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| dunet::fuzzing::mcp_body(data));
