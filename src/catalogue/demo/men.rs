//! Demo products: fashion for men.
//!
//! Depends on its neighbour `recipe`.

use super::recipe::{Recipe, free, rising};

const BRANDS: &[&str] = &["Northloom", "Hearth & Hem", "Kora Thread", "Indigo Alley", "Rivermark"];
const SHOE_BRANDS: &[&str] = &["Solstrider", "Oakwelt", "Terra & Toe"];
const SIZES: &[&str] = &["S", "M", "L", "XL", "XXL"];
const WAIST_SIZES: &[&str] = &["30", "32", "34", "36", "38"];
const SHOE_SIZES: &[&str] = &["UK 6", "UK 7", "UK 8", "UK 9", "UK 10"];
const COLORS: &[&str] = &["Navy", "White", "Olive", "Charcoal", "Sky Blue", "Maroon", "Black", "Sand"];
const CLOSINGS: &[&str] = &[
    "Care: {~care}.",
    "Colours may differ slightly from the pictures.",
    "Easy to return within 14 days if it does not fit.",
];
const CARE: &[&str] = &["Machine wash cold", "Machine wash warm", "Gentle machine wash"];
const JACKET_CARE: &[&str] = &["Wipe clean", "Dry clean"];
const SHOE_CARE: &[&str] = &["Wipe with a damp cloth", "Brush off dry dirt"];
const LEATHER_CARE: &[&str] = &["Wipe with a dry cloth", "Treat with leather cream"];

pub(super) const RECIPES: [Recipe; 10] = [
    Recipe {
        category: ["Fashion", "Men", "T-Shirts"],
        title: "{brand} Men's {pattern} {material} {neck} T-Shirt ({color})",
        brands: BRANDS,
        models: &[],
        price_rupees: (299, 1_499),
        traits: &[
            free("color", COLORS),
            free("neck", &["Crew Neck", "Polo", "Henley", "V-Neck"]),
            free("pattern", &["Solid", "Striped", "Graphic", "Colour-Block"]),
            rising("material", &["Polycotton", "Cotton", "Combed Cotton", "Organic Cotton"]),
            free("fit", &["regular fit", "slim fit", "oversized fit"]),
            free("care", CARE),
        ],
        openings: &[
            "A {~neck} T-shirt of {~material} in {~color}.",
            "Soft {~material} and a {fit} make this T-shirt by {brand} a daily favourite.",
        ],
        details: &[
            "It is pre-shrunk, so the size stays.",
            "The seams are taped at neck and shoulders.",
            "The {~pattern} design goes with jeans, joggers and shorts.",
        ],
        closings: CLOSINGS,
        sizes: SIZES,
    },
    Recipe {
        category: ["Fashion", "Men", "Shirts"],
        title: "{brand} Men's {fit} {pattern} {material} Shirt ({color})",
        brands: BRANDS,
        models: &[],
        price_rupees: (599, 3_499),
        traits: &[
            free("color", COLORS),
            free("fit", &["Slim-Fit", "Regular-Fit", "Relaxed-Fit"]),
            free("pattern", &["Solid", "Checked", "Striped", "Printed"]),
            rising("material", &["Polycotton", "Cotton", "Oxford Cotton", "Linen"]),
            free("collar", &["button-down collar", "spread collar", "mandarin collar"]),
            free("occasion", &["Casual", "Office", "Party"]),
            free("care", CARE),
        ],
        openings: &[
            "A {~fit} shirt of {~material} with a {collar}.",
            "Crisp {~material} and a {~pattern} finish make this {brand} shirt right for {~occasion} wear.",
        ],
        details: &[
            "The chest pocket lies flat and the cuffs have two buttons.",
            "It irons easily and stays neat through the day.",
            "The curved hem can be worn tucked in or out.",
        ],
        closings: CLOSINGS,
        sizes: SIZES,
    },
    Recipe {
        category: ["Fashion", "Men", "Jeans"],
        title: "{brand} Men's {fit} {wash} Jeans ({color})",
        brands: &["Indigo Alley", "Northloom", "Rivermark"],
        models: &[],
        price_rupees: (899, 4_499),
        traits: &[
            free("color", &["Indigo", "Mid Blue", "Black", "Grey"]),
            free("fit", &["Slim", "Tapered", "Straight", "Relaxed"]),
            free("wash", &["Stonewashed", "Rinse-Washed", "Faded"]),
            rising("material", &["Cotton Blend", "Cotton with Elastane", "Selvedge Cotton"]),
            free("care", CARE),
        ],
        openings: &[
            "{fit} jeans of {~material} in {~color}.",
            "Made of {~material}, these {~fit} jeans by {brand} get better with wear.",
        ],
        details: &[
            "Rivets hold the five pockets.",
            "There is just enough stretch to cycle and climb stairs.",
            "The {~wash} finish is done by hand.",
        ],
        closings: CLOSINGS,
        sizes: WAIST_SIZES,
    },
    Recipe {
        category: ["Fashion", "Men", "Trousers"],
        title: "{brand} Men's {fit} {material} {style} ({color})",
        brands: BRANDS,
        models: &[],
        price_rupees: (799, 3_999),
        traits: &[
            free("color", &["Khaki", "Navy", "Charcoal", "Olive", "Black"]),
            free("style", &["Chinos", "Formal Trousers", "Cargo Trousers"]),
            free("fit", &["Slim-Fit", "Regular-Fit", "Tapered"]),
            rising("material", &["Polyviscose", "Cotton Twill", "Stretch Cotton", "Wool Blend"]),
            free("care", CARE),
        ],
        openings: &[
            "{fit} {~style} of {~material} in {~color}.",
            "Neat enough for meetings, these {~style} by {brand} are comfortable enough for travel.",
        ],
        details: &[
            "The waistband gives a little when you sit.",
            "Pockets are deep enough for a phone.",
            "The {~material} resists creases.",
        ],
        closings: CLOSINGS,
        sizes: WAIST_SIZES,
    },
    Recipe {
        category: ["Fashion", "Men", "Kurtas"],
        title: "{brand} Men's {pattern} {material} {length} Kurta ({color})",
        brands: &["Kora Thread", "Tulsi Row", "Hearth & Hem"],
        models: &[],
        price_rupees: (699, 4_499),
        traits: &[
            free("color", &["White", "Mustard", "Maroon", "Navy", "Bottle Green", "Beige"]),
            free("length", &["Knee-Length", "Short", "Long"]),
            free("pattern", &["Solid", "Block Print", "Embroidered", "Woven"]),
            rising("material", &["Cotton", "Linen Blend", "Khadi Cotton", "Silk Blend"]),
            free("occasion", &["Festive", "Wedding", "Daily"]),
            free("care", CARE),
        ],
        openings: &[
            "A {~length} kurta of {~material} in {~color} for {~occasion} wear.",
            "Airy {~material} and a mandarin collar make this {brand} kurta easy in the heat.",
        ],
        details: &[
            "The placket has wooden buttons.",
            "Pair it with pyjamas, churidar or jeans.",
            "Side pockets and slits are practical at long functions.",
        ],
        closings: CLOSINGS,
        sizes: SIZES,
    },
    Recipe {
        category: ["Fashion", "Men", "Jackets"],
        title: "{brand} Men's {material} {style} Jacket ({color})",
        brands: BRANDS,
        models: &[],
        price_rupees: (1_499, 8_999),
        traits: &[
            free("color", COLORS),
            free("style", &["Bomber", "Trucker", "Puffer", "Hooded"]),
            rising("material", &["Polyester", "Denim", "Nylon", "Wool Blend"]),
            free("season", &["Autumn", "Winter", "Monsoon"]),
            free("weather", &["windproof", "water-repellent"]),
            free("care", JACKET_CARE),
        ],
        openings: &[
            "A {~style} jacket of {~material} that is {weather} and light.",
            "Made for {~season}, this {~color} jacket by {brand} layers well.",
        ],
        details: &[
            "There are two pockets outside and one inside.",
            "The zip runs smoothly with one hand.",
            "Elastic at hem and cuffs keeps the warmth in.",
        ],
        closings: CLOSINGS,
        sizes: SIZES,
    },
    Recipe {
        category: ["Fashion", "Men", "Sneakers"],
        title: "{brand} Men's {material} {style} Sneakers ({color})",
        brands: SHOE_BRANDS,
        models: &[],
        price_rupees: (999, 6_999),
        traits: &[
            free("color", &["White", "Black", "Grey", "Navy", "Tan"]),
            free("style", &["Low-Top", "High-Top", "Slip-On", "Retro"]),
            rising("material", &["Canvas", "Mesh", "Faux Leather", "Leather"]),
            free("sole", &["rubber", "EVA", "cushioned"]),
            free("care", SHOE_CARE),
        ],
        openings: &[
            "{style} sneakers of {~material} with a {sole} sole.",
            "These {~color} sneakers by {brand} go with almost everything.",
        ],
        details: &[
            "The collar is padded around the ankle.",
            "Stitched soles do not come off.",
            "The footbed cushions long walks.",
        ],
        closings: CLOSINGS,
        sizes: SHOE_SIZES,
    },
    Recipe {
        category: ["Fashion", "Men", "Formal Shoes"],
        title: "{brand} Men's {material} {style} Shoes ({color})",
        brands: &["Oakwelt", "Rivermark", "Mochi Lane"],
        models: &[],
        price_rupees: (1_199, 7_999),
        traits: &[
            free("color", &["Black", "Tan", "Dark Brown", "Oxblood"]),
            free("style", &["Oxford", "Derby", "Loafer", "Monk Strap"]),
            rising("material", &["Faux Leather", "Leather", "Full-Grain Leather"]),
            free("sole", &["TPR", "rubber", "leather"]),
            free("care", LEATHER_CARE),
        ],
        openings: &[
            "{style} shoes of {~material} in {~color}.",
            "Polished for the office, these {~style} shoes by {brand} have a {sole} sole.",
        ],
        details: &[
            "A memory foam insole makes long days shorter.",
            "The heel is 2.5 cm high and does not click.",
            "They go with suits as well as chinos.",
        ],
        closings: CLOSINGS,
        sizes: SHOE_SIZES,
    },
    Recipe {
        category: ["Fashion", "Men", "Belts"],
        title: "{brand} Men's {style} {material} Belt ({color})",
        brands: &["Oakwelt", "Rivermark", "Carrywell"],
        models: &[],
        price_rupees: (399, 2_499),
        traits: &[
            free("color", &["Black", "Brown", "Tan"]),
            free("style", &["Formal", "Casual", "Reversible", "Braided"]),
            rising("material", &["Faux Leather", "Canvas", "Leather", "Full-Grain Leather"]),
            free("width", &["3 cm", "3.5 cm", "4 cm"]),
            free("care", LEATHER_CARE),
        ],
        openings: &[
            "A {~style} belt of {~material}, {width} wide.",
            "This {~color} belt by {brand} is {width} wide and goes with jeans and trousers.",
        ],
        details: &[
            "The buckle is free of nickel.",
            "It can be cut to length at the buckle.",
            "The edges are sealed and do not fray.",
        ],
        closings: &["Care: {~care}.", "It comes in a gift box."],
        sizes: &["32", "34", "36", "38", "40"],
    },
    Recipe {
        category: ["Fashion", "Men", "Wallets"],
        title: "{brand} Men's {material} {style} Wallet ({color})",
        brands: &["Oakwelt", "Carrywell", "Hearth & Hem"],
        models: &[],
        price_rupees: (349, 2_999),
        traits: &[
            free("color", &["Black", "Brown", "Tan", "Navy"]),
            free("style", &["Bifold", "Slim Card", "Trifold", "Zip-Around"]),
            rising("material", &["Canvas", "Faux Leather", "Leather", "Full-Grain Leather"]),
            free("card_slots", &["4", "6", "8", "10"]),
            free("care", LEATHER_CARE),
        ],
        openings: &[
            "A {~style} wallet of {~material} with {card_slots} card slots.",
            "Slim in the pocket, this {~color} wallet by {brand} keeps cards and notes in order.",
        ],
        details: &[
            "A layer inside protects cards against being read from outside.",
            "The note compartment takes all Indian notes unfolded.",
            "A coin pocket closes with a press stud.",
        ],
        closings: &["Care: {~care}.", "It comes in a gift box."],
        sizes: &[],
    },
];
