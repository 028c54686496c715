//! Recipes for the products of one category: the possible values of their traits, and texts with placeholders for
//! these.
//!
//! Depends on its neighbour `random`.

use super::random::Random;

/// A category, and how its products are generated.
#[derive(Debug)]
pub(super) struct Recipe {
    /// The path of the category.
    pub(super) category: [&'static str; 3],
    /// The title, with placeholders.
    pub(super) title: &'static str,
    /// The brands of such products.
    pub(super) brands: &'static [&'static str],
    /// Names of models; `#` becomes a number. Empty if models have no names.
    pub(super) models: &'static [&'static str],
    /// The lowest and the highest price, in rupees.
    pub(super) price_rupees: (u64, u64),
    /// The traits of such a product.
    pub(super) traits: &'static [Trait],
    /// First sentences, with placeholders.
    pub(super) openings: &'static [&'static str],
    /// Sentences about details, with placeholders.
    pub(super) details: &'static [&'static str],
    /// Last sentences, with placeholders.
    pub(super) closings: &'static [&'static str],
    /// The sizes in which it is made; empty if it has none.
    pub(super) sizes: &'static [&'static str],
}

/// A trait of a product, and its possible values.
#[derive(Debug)]
pub(super) struct Trait {
    name: &'static str,
    values: &'static [&'static str],
    order: Order,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    /// The values go from the worst to the best, so that a more expensive product is better.
    Rising,
    /// The values are a matter of taste.
    Free,
}

/// A trait whose values go from the worst to the best.
pub(super) const fn rising(name: &'static str, values: &'static [&'static str]) -> Trait {
    Trait { name, values, order: Order::Rising }
}

/// A trait whose values are a matter of taste.
pub(super) const fn free(name: &'static str, values: &'static [&'static str]) -> Trait {
    Trait { name, values, order: Order::Free }
}

/// The traits of one product.
#[derive(Debug)]
pub(super) struct Traits(Vec<(&'static str, String)>);

impl Recipe {
    /// Chooses the traits of a product of this quality.
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
    /// The value for this quality, or one next to it.
    fn near(&self, quality_permille: u64, random: &mut Random) -> &'static str {
        let count = self.values.len() as u64;
        // A quality in the middle of a value's share always gets that value; at the edges, the neighbour is as likely.
        let place = (quality_permille * count + random.below(1_000)).saturating_sub(500) / 1_000;
        let at = usize::try_from(place).unwrap_or(0).min(self.values.len().saturating_sub(1));
        self.values.get(at).copied().unwrap_or_default()
    }
}

impl Traits {
    /// The value of this trait.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
    }

    /// All traits but the brand, which is not an attribute.
    pub(super) fn attributes(&self) -> Vec<(String, String)> {
        let attributes = self.0.iter().filter(|(name, _)| *name != "brand");
        attributes.map(|(name, value)| ((*name).to_string(), value.clone())).collect()
    }

    /// Fills the placeholders of a text: `{ram}` with the trait `ram`, `{~color}` with the trait `color` in lower case.
    /// A placeholder without a trait stays; a test looks for such.
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

/// Whether the article "a" at the end of the text must become "an" before this value. "USB" and the like are pronounced
/// "you".
fn wants_an(text: &str, value: &str) -> bool {
    let article = text == "A " || text == "a " || text.ends_with(" a ") || text.ends_with(" A ");
    article && (value.starts_with(['A', 'E', 'I', 'O', 'a', 'e', 'i', 'o', '8']) || value.starts_with("11"))
}
