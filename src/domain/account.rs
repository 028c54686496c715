//! Who may log in. (Written on another branch.)
