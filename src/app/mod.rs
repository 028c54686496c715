//! The program around the shop: serves it over HTTP until told to stop, imports, exports, and fills a demo.
//!
//! May depend on every room.

pub mod control;
pub mod demo;
pub mod export;
pub mod import;
pub mod serve;
