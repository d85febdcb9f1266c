//! What `dunet demo` runs on: a sandbox Odoo inside the process and a sample listing of taxpayers. Never used by `serve`.

pub mod sandbox;
