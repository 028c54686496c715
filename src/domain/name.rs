//! The rule for the name of a person or of a seller, which others see.
//!
//! Depends on `serde`, `thiserror` and its neighbours.

use serde::{Deserialize, Serialize};

use super::text::{Lines, is_blank, is_clean};

/// The longest name, in characters: it fits on a line of an invoice or of a product's page.
pub const NAME_CHARACTERS_MAX: usize = 100;

/// The name is blank, too long, or cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("a name has 1 to {NAME_CHARACTERS_MAX} printable characters")]
pub struct InvalidName;

/// Checks that a name is printable, not blank, and at most [`NAME_CHARACTERS_MAX`] characters long.
pub(super) fn check_name(name: &str) -> Result<(), InvalidName> {
    if is_blank(name) || name.chars().count() > NAME_CHARACTERS_MAX || !is_clean(name, Lines::One) {
        return Err(InvalidName);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printable_and_bounded_in_characters() {
        for bad in ["", "  ", "a\nb", "a\0", "\u{200b}", "\u{202e}a", &"x".repeat(NAME_CHARACTERS_MAX + 1)] {
            assert_eq!(check_name(bad), Err(InvalidName), "{bad:?}");
        }
        for good in ["a", " Asha Rao", &"ß".repeat(NAME_CHARACTERS_MAX)] {
            assert_eq!(check_name(good), Ok(()), "{good:?}");
        }
    }
}
