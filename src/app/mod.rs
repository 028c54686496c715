//! The program around the shop: serves it over HTTP until told to stop, imports, exports, fills a demo, and
//! writes tokens for a load run.

pub mod control;
pub mod demo;
pub mod export;
pub mod import;
mod rows;
pub mod serve;
pub mod tokens;
