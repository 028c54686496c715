//! The payments room.
