//! How products of one category are made up: what they may be made of, and texts with gaps for it.
//!
//! Depends on its neighbour `random`.

use super::random::Random;

/// A category and how its products are made up.
#[derive(Debug)]
pub(super) struct Recipe {
    /// The path of the category.
    pub(super) category: [&'static str; 3],
    /// The title, with gaps.
    pub(super) title: &'static str,
    /// The brands that make such things.
    pub(super) brands: &'static [&'static str],
    /// Names of models; `#` becomes a number. Empty where models have no names.
    pub(super) models: &'static [&'static str],
    /// The cheapest and the dearest, in rupees.
    pub(super) price_rupees: (u64, u64),
    /// What a product of this kind has.
    pub(super) traits: &'static [Trait],
    /// First sentences, with gaps.
    pub(super) openings: &'static [&'static str],
    /// Sentences about it, with gaps.
    pub(super) details: &'static [&'static str],
    /// Last sentences, with gaps.
    pub(super) closings: &'static [&'static str],
    /// The sizes it is made in; empty where it has none.
    pub(super) sizes: &'static [&'static str],
}

/// One thing that a product has, and what it may be.
#[derive(Debug)]
pub(super) struct Trait {
    name: &'static str,
    values: &'static [&'static str],
    order: Order,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    /// From the worst to the best, so that the dear product is the better one.
    Rising,
    /// A matter of taste.
    Free,
}

/// A trait whose values are told from the worst to the best.
pub(super) const fn rising(name: &'static str, values: &'static [&'static str]) -> Trait {
    Trait { name, values, order: Order::Rising }
}

/// A trait that is a matter of taste.
pub(super) const fn free(name: &'static str, values: &'static [&'static str]) -> Trait {
    Trait { name, values, order: Order::Free }
}

/// What one product was given.
#[derive(Debug)]
pub(super) struct Traits(Vec<(&'static str, String)>);

impl Recipe {
    /// Makes up a product of this quality.
    pub(super) fn traits(&self, quality_permille: u64, random: &mut Random) -> Traits {
        let mut traits = vec![("brand", random.pick(self.brands).to_string())];
        if !self.models.is_empty() {
            let number = 11 + random.below(89);
            traits.push(("model", random.pick(self.models).replace('#', &number.to_string())));
        }
        for described in self.traits {
            let value = match described.order {
                Order::Free => random.pick(described.values),
                Order::Rising => described.near(quality_permille, random),
            };
            traits.push((described.name, value.to_string()));
        }
        Traits(traits)
    }
}

impl Trait {
    /// The value that fits the quality, or the next worse or better one.
    fn near(&self, quality_permille: u64, random: &mut Random) -> &'static str {
        let count = self.values.len() as u64;
        // The value in the middle of its share of the qualities is certain; at the edges, its neighbour is as likely.
        let place = (quality_permille * count + random.below(1_000)).saturating_sub(500) / 1_000;
        let at = usize::try_from(place).unwrap_or(0).min(self.values.len().saturating_sub(1));
        self.values.get(at).copied().unwrap_or_default()
    }
}

impl Traits {
    /// What was given under this name.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
    }

    /// All but the brand, which is no attribute.
    pub(super) fn attributes(&self) -> Vec<(String, String)> {
        let attributes = self.0.iter().filter(|(name, _)| *name != "brand");
        attributes.map(|(name, value)| ((*name).to_string(), value.clone())).collect()
    }

    /// The text with its gaps filled: `{ram}` with the trait `ram`, `{~color}` with the trait `color` in small letters.
    /// A gap that nothing fits stays, for a test to find.
    pub(super) fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len() * 2);
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            let value = match name.strip_prefix('~') {
                Some(name) => self.value(name).unwrap_or("{}").to_lowercase(),
                None => self.value(name).unwrap_or("{}").to_string(),
            };
            if wants_an(&filled, &value) {
                filled.insert(filled.len() - 1, 'n');
            }
            filled.push_str(&value);
            rest = after;
        }
        filled.push_str(rest);
        filled
    }
}

/// Whether the article "a" at the end of the text must become "an" before this value. "USB" and its like are spoken
/// "you".
fn wants_an(text: &str, value: &str) -> bool {
    let article = text == "A " || text == "a " || text.ends_with(" a ") || text.ends_with(" A ");
    article && (value.starts_with(['A', 'E', 'I', 'O', 'a', 'e', 'i', 'o', '8']) || value.starts_with("11"))
}
