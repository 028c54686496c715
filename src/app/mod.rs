//! The program around the shop: its settings, imports, exports, the control socket, the demo, and tokens for a load
//! run.
//!
//! Depends on `shop`, `catalogue`, `storage` and `domain`.

pub mod control;
pub mod demo;
pub mod export;
pub mod failure;
pub mod import;
mod rows;
pub mod settings;
pub mod tokens;
