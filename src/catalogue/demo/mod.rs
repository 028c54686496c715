//! The demo catalogue: electronics and apparel of brands that do not exist, made up by the program, so that a shop can
//! be tried and measured without anybody's data.
//!
//! What product number n is depends on the seed and n only: a larger catalogue contains the smaller one, and a
//! catalogue of a million products is told one by one.
//!
//! Depends on `domain` and its neighbours.

mod computers;
mod men;
mod phones_and_audio;
mod random;
mod recipe;
mod screens_and_cameras;
mod women;

use std::collections::VecDeque;

use self::{
    random::Random,
    recipe::{Recipe, Traits},
};
use crate::{
    catalogue::{entry::Entry, variant},
    domain::{
        ids::ProductId,
        money::{Currency, Money},
        product::{Details, ImportedRating, Picture, Variant},
    },
};

/// How many products a demo catalogue has unless told otherwise: enough that every category has several.
pub const DEMO_PRODUCTS_DEFAULT: usize = 500;

/// The largest stock of a demo product, in pieces.
pub const DEMO_STOCK_PIECES_MAX: u64 = 500;

/// Where the pictures of the demo would be; the domain is reserved (RFC 2606), so that nobody is ever asked for them.
const IMAGES_URL: &str = "https://images.souk.example";

/// Paise in a rupee.
const PAISE: u64 = 100;

/// Parts of a thousand, in which shares and qualities are counted.
const PERMILLE: u64 = 1_000;

/// How many sized products of a thousand are sold in all sizes; the others are left over in one.
const IN_ALL_SIZES_PERMILLE: u64 = 350;
/// How many products of a thousand are sold out.
const SOLD_OUT_PERMILLE: u64 = 40;
/// How many products of a thousand bring a rating along.
const RATED_PERMILLE: u64 = 700;

/// Demo products in the order of their numbers, each followed by its variants.
///
/// ```
/// use souk::catalogue::demo::DemoCatalogue;
///
/// let ten: Vec<_> = DemoCatalogue::new(7, 10).collect();
/// let twenty: Vec<_> = DemoCatalogue::new(7, 20).collect();
/// assert_eq!(ten[0].id.as_str(), "demo-000001");
/// assert_eq!(ten, twenty[..ten.len()]);
/// ```
#[derive(Debug, Clone)]
pub struct DemoCatalogue {
    seed: u64,
    made: usize,
    count: usize,
    variants: VecDeque<Entry>,
}

impl DemoCatalogue {
    /// The first `count` products of the catalogue of this seed. Variants are not counted: they come with their
    /// product.
    #[must_use]
    pub fn new(seed: u64, count: usize) -> Self {
        Self { seed, made: 0, count, variants: VecDeque::new() }
    }

    /// Only product `number` of the catalogue of this seed, counted from 1, with its variants.
    #[must_use]
    pub fn only(seed: u64, number: usize) -> Self {
        Self { seed, made: number.saturating_sub(1), count: number, variants: VecDeque::new() }
    }
}

impl Iterator for DemoCatalogue {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if let Some(variant) = self.variants.pop_front() {
            return Some(variant);
        }
        if self.made == self.count {
            return None;
        }
        self.made += 1;
        let number = self.made as u64;
        let mut random = Random::new(self.seed, number);
        let (product, variants) = make(number, &mut random)?;
        self.variants = variants;
        Some(product)
    }
}

/// All recipes, a category each.
fn recipes() -> impl Iterator<Item = &'static Recipe> {
    let electronics = [&phones_and_audio::RECIPES[..], &computers::RECIPES, &screens_and_cameras::RECIPES];
    let fashion = [&women::RECIPES[..], &men::RECIPES];
    electronics.into_iter().chain(fashion).flatten()
}

/// The product of this number and its variants.
fn make(number: u64, random: &mut Random) -> Option<(Entry, VecDeque<Entry>)> {
    let recipe = recipes().nth(random.index(recipes().count()))?;
    let id: ProductId = format!("demo-{number:06}").parse().ok()?;
    let quality_permille = random.below(PERMILLE);
    let traits = recipe.traits(quality_permille, random);
    let price = Money::new(price_rupees(recipe, quality_permille, random) * PAISE, Currency::INR).ok()?;
    let picture = |name: &str| Picture::at(format!("{IMAGES_URL}/{id}/{name}.jpg"));
    let pictures = (1..=2 + random.below(3)).map(|at| picture(&at.to_string())).collect();
    let mut details = Details {
        title: traits.fill(recipe.title),
        description: description(recipe, &traits, random),
        brand: traits.value("brand").map(str::to_string),
        category: recipe.category.map(str::to_string).to_vec(),
        price: Some(price),
        thumbnail: Some(picture("thumbnail")),
        pictures,
        attributes: traits.attributes(),
        imported_rating: rating(quality_permille, random),
        variant_of: None,
        variants: Vec::new(),
    };
    if !recipe.sizes.is_empty() && random.chance(IN_ALL_SIZES_PERMILLE) {
        return Some(in_all_sizes(id, details, recipe.sizes, random));
    }
    if !recipe.sizes.is_empty() {
        let size = random.pick(recipe.sizes);
        details.title = format!("{}, Size {size}", details.title);
        details.attributes.insert(0, ("size".into(), size.into()));
    }
    let stock = Some(stock(DEMO_STOCK_PIECES_MAX, random));
    Some((Entry { id, details, stock }, VecDeque::new()))
}

/// The product as a page about its sizes, and the sizes, which are what is sold.
fn in_all_sizes(id: ProductId, mut details: Details, sizes: &[&str], random: &mut Random) -> (Entry, VecDeque<Entry>) {
    let mut variants = VecDeque::with_capacity(sizes.len());
    for size in sizes {
        let options = vec![("size".to_string(), (*size).to_string())];
        let Ok(variant_id) = variant::id_of(&id, &size.replace(' ', "-")) else { continue };
        let variant = Details {
            title: variant::title(&details, &options),
            attributes: variant::attributes(&details, &options),
            imported_rating: None,
            variant_of: Some(id.clone()),
            variants: Vec::new(),
            ..details.clone()
        };
        // A size has its share of the stock that a product of one size has.
        let stock = Some(stock(DEMO_STOCK_PIECES_MAX / 4, random));
        variants.push_back((options, Entry { id: variant_id, details: variant, stock }));
    }
    let listed = |(options, entry): &(Vec<(String, String)>, Entry)| Variant {
        product: entry.id.clone(),
        options: options.clone(),
    };
    details.variants = variants.iter().map(listed).collect();
    (Entry { id, details, stock: None }, variants.into_iter().map(|(_, entry)| entry).collect())
}

/// Two to four sentences: what it is, one or two things about it, and often how it is sold.
fn description(recipe: &Recipe, traits: &Traits, random: &mut Random) -> String {
    let first = random.index(recipe.details.len());
    // A step of less than the whole list never comes back to where it began.
    let step = 1 + random.index(recipe.details.len().saturating_sub(1));
    let second = (first + step) % recipe.details.len().max(1);
    let mut sentences = vec![random.pick(recipe.openings)];
    sentences.extend(recipe.details.get(first));
    if random.chance(600) {
        sentences.extend(recipe.details.get(second).filter(|_| second != first));
    }
    if random.chance(500) {
        sentences.push(random.pick(recipe.closings));
    }
    let sentences: Vec<String> = sentences.into_iter().map(|sentence| traits.fill(sentence)).collect();
    sentences.join(" ")
}

/// A price within the range of the category that grows with the quality, faster at the top, and ends as prices end.
fn price_rupees(recipe: &Recipe, quality_permille: u64, random: &mut Random) -> u64 {
    let (low, high) = recipe.price_rupees;
    let share_permille = quality_permille * quality_permille / PERMILLE;
    let exact = low + (high - low) * share_permille / PERMILLE;
    let haggled = exact * (950 + random.below(100)) / PERMILLE;
    let step = match haggled {
        0..5_000 => 100,
        5_000..20_000 => 500,
        _ => 1_000,
    };
    haggled.div_ceil(step).max(1) * step - 1
}

/// Between none and `max`, small stocks being the more common.
fn stock(max: u64, random: &mut Random) -> u64 {
    if random.chance(SOLD_OUT_PERMILLE) {
        return 0;
    }
    1 + random.below(max).min(random.below(max))
}

/// A rating brought along: better for the better ones, and of a few or of many.
fn rating(quality_permille: u64, random: &mut Random) -> Option<ImportedRating> {
    if !random.chance(RATED_PERMILLE) {
        return None;
    }
    let tenths = 32 + quality_permille * 8 / PERMILLE + random.below(9);
    let magnitude = 2 + random.below(13);
    let count = u32::try_from(1 + random.below(1 << magnitude)).ok()?;
    Some(ImportedRating { average_hundredths: u16::try_from(tenths * 10).ok()?, count })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::catalogue::{
        read::Format,
        tests::{read, written},
    };

    #[test]
    fn a_hundred_thousand_products_are_valid_and_distinct() {
        let mut ids = HashSet::new();
        let (mut products, mut sold_out, mut rated, mut pages) = (0, 0, 0, 0);
        for entry in DemoCatalogue::new(1, 100_000) {
            entry.details.validate().unwrap_or_else(|rule| panic!("{}: {rule}", entry.id));
            assert!(entry.stock.is_none_or(|stock| stock <= DEMO_STOCK_PIECES_MAX));
            products += u32::from(entry.details.variant_of.is_none());
            sold_out += u32::from(entry.stock == Some(0));
            rated += u32::from(entry.details.imported_rating.is_some());
            pages += u32::from(!entry.details.variants.is_empty());
            assert!(ids.insert(entry.id));
        }
        assert_eq!(products, 100_000);
        assert!(sold_out > 1_000 && rated > 60_000 && pages > 10_000, "{sold_out} {rated} {pages}");
    }

    #[test]
    fn a_larger_catalogue_contains_the_smaller_and_another_seed_is_another_catalogue() {
        let small: Vec<Entry> = DemoCatalogue::new(42, 50).collect();
        let large: Vec<Entry> = DemoCatalogue::new(42, 200).collect();
        assert_eq!(small, large[..small.len()]);
        let other: Vec<Entry> = DemoCatalogue::new(43, 50).collect();
        assert_ne!(small, other);
    }

    #[test]
    fn the_default_catalogue_fills_every_category_and_survives_a_file() {
        let entries: Vec<Entry> = DemoCatalogue::new(1, DEMO_PRODUCTS_DEFAULT).collect();
        let categories: HashSet<&Vec<String>> = entries.iter().map(|entry| &entry.details.category).collect();
        assert_eq!(categories.len(), recipes().count());
        let tops: HashSet<&str> = recipes().map(|recipe| recipe.category[0]).collect();
        assert_eq!((categories.len(), tops.len()), (42, 2));

        let written = written(&entries);
        let rows = written.iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(rows, DEMO_PRODUCTS_DEFAULT, "a product and its sizes are one row");
        let (again, refused) = read(&written, Format::JsonLines);
        assert_eq!(refused, Vec::<String>::new());
        assert!(again == entries);
    }

    #[test]
    fn prices_end_in_99_within_the_range_of_their_category() {
        for recipe in recipes() {
            let mut random = Random::new(5, 5);
            for quality_permille in 0..PERMILLE {
                let rupees = price_rupees(recipe, quality_permille, &mut random);
                assert_eq!(rupees % 100, 99);
                let (low, high) = recipe.price_rupees;
                assert!(rupees >= low * 9 / 10 && rupees <= high * 111 / 100, "{}: {rupees}", recipe.title);
            }
        }
    }

    #[test]
    fn texts_are_whole_sentences_without_gaps() {
        for entry in DemoCatalogue::new(9, 5_000) {
            for text in [&entry.details.title, &entry.details.description] {
                let whole = !text.contains(['{', '}', '#', '~']) && !text.contains("  ");
                assert!(whole, "{}: {text}", entry.id);
            }
            let sentences = entry.details.description.matches(". ").count() + 1;
            assert!((2..=4).contains(&sentences), "{}: {}", entry.id, entry.details.description);
            assert!((2..=4).contains(&entry.details.pictures.len()));
        }
    }

    /// The catalogue is stored in shops and named in measurements, so it must not change unnoticed.
    #[test]
    fn the_catalogue_stays_what_it_is() {
        let first = DemoCatalogue::new(1, 1).next().unwrap();
        assert_eq!(first.details.title, "Kivano Vegan Leather Phone Case for Kestrix Edge 44 (Grey)");
        let written = written(&DemoCatalogue::new(1, DEMO_PRODUCTS_DEFAULT).collect::<Vec<Entry>>());
        assert_eq!(variant::checksum(&written), 0x1cf3_5e5b_271e_0d28);
    }
}
