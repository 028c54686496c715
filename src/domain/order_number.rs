//! The number of an order for people: what they read on an invoice and say on the telephone, such as `K7QZ-M3VB-2HT4`.
//!
//! It is derived from the order's id, so there is no counter on which several nodes would have to agree, and the same
//! order always has the same number. It is the first 55 bits of the id in Crockford's base 32, eleven characters
//! without the confusable I, L, O and U, and a twelfth that checks the others: a wrong character, or two that have
//! changed places, are noticed.
//!
//! A number is no id. Of ten million orders, two have the same number with a probability of 0.14 %, and of a thousand
//! orders of one customer, whose numbers share their first 16 bits, with one of one in a million. So nothing is keyed
//! by a number: who looks for one gets every order that has it, and nobody sees an order by it that is not theirs.
//!
//! Depends on `std` and its neighbours.

use std::{
    fmt::{self, Write},
    str::FromStr,
};

use super::ids::OrderId;

/// Crockford's base 32.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// How many characters stand before the check character.
const CHARACTERS: u32 = 11;
/// How many bits of the id a number has.
const BITS: u32 = 5 * CHARACTERS;
/// How many characters stand between two hyphens.
const GROUP: usize = 4;

/// The number of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderNumber(u64);

/// A text that is no order number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an order number has 12 characters, such as K7QZ-M3VB-2HT4, of which the last checks the others")]
pub struct InvalidOrderNumber;

impl OrderNumber {
    /// The number of an order.
    #[must_use]
    pub fn of(order: OrderId) -> Self {
        Self(u64::try_from(order.0 >> (u128::BITS - BITS)).expect("55 bits"))
    }

    /// The eleven values below 32, the first one first.
    fn values(self) -> impl Iterator<Item = u8> {
        (0..CHARACTERS).rev().map(move |place| u8::try_from(self.0 >> (5 * place) & 31).expect("5 bits"))
    }

    /// A cyclic code over the values: the remainder is multiplied by a root of x⁵ + x² + 1 for each of them. As the
    /// root has order 31, every wrong value and every exchange of two values changes the result.
    fn check(self) -> u8 {
        self.values().fold(0, |remainder, value| {
            let doubled = (remainder ^ value) << 1;
            if doubled & 32 == 0 { doubled } else { doubled ^ 0b10_0101 }
        })
    }
}

impl fmt::Display for OrderNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, value) in self.values().chain([self.check()]).enumerate() {
            if place > 0 && place % GROUP == 0 {
                formatter.write_char('-')?;
            }
            formatter.write_char(char::from(ALPHABET[usize::from(value)]))?;
        }
        Ok(())
    }
}

impl FromStr for OrderNumber {
    type Err = InvalidOrderNumber;

    /// Also reads what people write: small letters, spaces or no hyphens, `O` for zero, `I` and `L` for one.
    fn from_str(text: &str) -> Result<Self, InvalidOrderNumber> {
        let value = |character: char| {
            let character = match character.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let place = ALPHABET.iter().position(|known| char::from(*known) == character);
            place.and_then(|place| u8::try_from(place).ok()).ok_or(InvalidOrderNumber)
        };
        let written = text.chars().filter(|character| !matches!(character, '-' | ' ')).map(value);
        // One more than there may be, so that a long text is not read to its end.
        let values: Vec<u8> = written.take(CHARACTERS as usize + 2).collect::<Result<_, _>>()?;
        let Some((check, values)) = values.split_last().filter(|(_, rest)| rest.len() == CHARACTERS as usize) else {
            return Err(InvalidOrderNumber);
        };
        let number = Self(values.iter().fold(0, |number, value| number << 5 | u64::from(*value)));
        if number.check() == *check { Ok(number) } else { Err(InvalidOrderNumber) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::ids::UserId;

    #[test]
    fn numbers_are_what_they_were() {
        let known = [
            (0, "0000-0000-0000"),
            (u128::MAX, "ZZZZ-ZZZZ-ZZZK"),
            (0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, "04HM-ASW9-NF61"),
        ];
        for (id, number) in known {
            assert_eq!(OrderNumber::of(OrderId(id)).to_string(), number);
        }
    }

    #[test]
    fn what_people_write_is_read_and_what_is_no_number_is_refused() {
        let number = OrderNumber::of(OrderId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        for good in ["04HM-ASW9-NF61", "04hmasw9nf61", "O4HM ASW9 NF6L", " 04hm--asw9 nf6i "] {
            assert_eq!(good.parse(), Ok(number), "{good}");
        }
        for bad in
            ["", "04HM-ASW9-NF6", "04HM-ASW9-NF61J", "U4HM-ASW9-NF61", "04HM_ASW9_NF61", "ä", &"0".repeat(1 << 20)]
        {
            assert_eq!(bad.parse::<OrderNumber>(), Err(InvalidOrderNumber));
        }
    }

    #[test]
    fn the_orders_of_a_customer_have_numbers_that_begin_alike() {
        let (asha, ben) = (UserId(0xabcd << 112), UserId(0x1234 << 112));
        let number = |customer, hash| OrderNumber::of(OrderId::of_customer(customer, hash)).to_string();
        assert_eq!(number(asha, 1 << 100)[..3], number(asha, 7 << 90)[..3]);
        assert_ne!(number(asha, 1 << 100), number(asha, 7 << 90));
        assert_ne!(number(asha, 1 << 100), number(ben, 1 << 100));
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(id: u128) {
            let number = OrderNumber::of(OrderId(id));
            prop_assert_eq!(number.to_string().parse(), Ok(number));
        }

        #[test]
        fn a_wrong_character_and_an_exchange_are_noticed(id: u128, one in 0..12_usize, two in 0..12_usize, new in 0..32_usize) {
            let mut characters: Vec<u8> =
                OrderNumber::of(OrderId(id)).to_string().bytes().filter(|byte| *byte != b'-').collect();
            let written = characters.clone();
            characters.swap(one, two);
            if characters != written {
                prop_assert!(str::from_utf8(&characters).unwrap().parse::<OrderNumber>().is_err(), "exchanged");
            }
            characters.clone_from(&written);
            characters[one] = ALPHABET[new];
            if characters != written {
                prop_assert!(str::from_utf8(&characters).unwrap().parse::<OrderNumber>().is_err(), "wrong");
            }
        }
    }
}
