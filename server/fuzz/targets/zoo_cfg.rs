//! A zoo.cfg.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use zk_proto::Sid;
use zk_server::config::ServerConfig;

fuzz_target!(|bytes: &[u8]| {
    // As a server reads the file.
    let text: String = bytes.iter().copied().map(char::from).collect();
    match ServerConfig::read(Path::new("zoo.cfg"), &text, Some(Sid(1))) {
        Ok(loaded) => assert!(!loaded.config.data_dir.as_os_str().is_empty()),
        Err(error) => {
            assert!(error.to_string().starts_with("zoo.cfg") || error.to_string().contains("myid"))
        }
    }
});
