//! The program around the shop: its settings, imports, exports, the socket for operators' commands, a demo, and tokens
//! for a load run.

pub mod control;
pub mod demo;
pub mod export;
pub mod failure;
pub mod import;
mod rows;
pub mod settings;
pub mod tokens;
