//! Catalogue files: what a shop sells, as rows of a file that people and other programs write.
//!
//! ```text
//! file ──▶ encoding ──▶ lines ──▶ value (JSON Lines) ─┐
//!                 └───▶ records ──▶ table (CSV) ──────┴─▶ row ──▶ Entry ──▶ write ──▶ file
//!                         │         spreadsheet ┘   ▲   variant ┘    ▲
//!                         └───────▶ foreign (CSV) ──┘       demo ────┘
//! ```
//!
//! Files are read and written as streams: only one row is in memory, whatever their size, and a hash of each id. The
//! rows of files of other programs are kept until their end, within a limit. `docs/CATALOGUE.md` documents the format.
//! May depend on `domain` and `clock` only; this room does not know how the entries are used.

pub mod demo;
pub mod entry;
pub mod error;
pub mod foreign;
pub mod read;
pub mod row;
pub mod write;

mod common;
mod delimiter;
mod dos;
mod encoding;
mod families;
mod fields;
mod format;
mod hints;
mod lines;
mod places;
mod quotes;
mod records;
mod spreadsheet;
mod table;
mod value;
mod variant;

#[cfg(test)]
mod tests;
