//! Demo products: fashion for women.
//!
//! Depends on its neighbour `recipe`.

use super::recipe::{Recipe, free, rising};

const BRANDS: &[&str] = &["Saffron Mill", "Neelam Lane", "Marigold & Moss", "Tulsi Row", "Fable & Fern"];
const SHOE_BRANDS: &[&str] = &["Solstrider", "Mochi Lane", "Terra & Toe"];
const SIZES: &[&str] = &["XS", "S", "M", "L", "XL"];
const SHOE_SIZES: &[&str] = &["UK 3", "UK 4", "UK 5", "UK 6", "UK 7"];
const COLORS: &[&str] = &["Teal", "Mustard", "Maroon", "Navy", "Blush Pink", "Olive", "Ivory", "Black"];
const PATTERNS: &[&str] = &["Floral Print", "Solid", "Block Print", "Striped", "Embroidered"];
const CLOSINGS: &[&str] = &[
    "Care: {~care}.",
    "Colours may differ slightly from the pictures.",
    "Easy to return within 14 days if it does not fit.",
];
const CARE: &[&str] = &["Machine wash cold", "Hand wash separately", "Gentle machine wash"];
const JACKET_CARE: &[&str] = &["Wipe clean", "Dry clean"];
const SHOE_CARE: &[&str] = &["Wipe with a damp cloth", "Brush off dry dirt"];

pub(super) const RECIPES: [Recipe; 9] = [
    Recipe {
        category: ["Fashion", "Women", "Dresses"],
        title: "{brand} Women's {pattern} {material} {style} Dress ({color})",
        brands: BRANDS,
        models: &[],
        price_rupees: (799, 4_999),
        traits: &[
            free("color", COLORS),
            free("style", &["A-Line", "Wrap", "Shirt", "Tiered Maxi", "Fit & Flare"]),
            free("pattern", PATTERNS),
            rising("material", &["Viscose", "Cotton", "Linen Blend", "Georgette"]),
            free("sleeves", &["cap sleeves", "short sleeves", "three-quarter sleeves"]),
            free("occasion", &["Casual", "Brunch", "Evening", "Office"]),
            free("care", CARE),
        ],
        openings: &[
            "This {~style} dress in {~color} is cut from soft {~material} and falls easily.",
            "Light {~material} makes this {~style} dress by {brand} comfortable from morning to night.",
        ],
        details: &[
            "It has {sleeves}, and pockets at the sides.",
            "The {~pattern} finish suits {~occasion} plans.",
            "A lining keeps it opaque, and a concealed zip closes it.",
        ],
        closings: CLOSINGS,
        sizes: SIZES,
    },
    Recipe {
        category: ["Fashion", "Women", "Kurtas"],
        title: "{brand} Women's {pattern} {material} {style} Kurta ({color})",
        brands: BRANDS,
        models: &[],
        price_rupees: (599, 3_499),
        traits: &[
            free("color", COLORS),
            free("style", &["Straight", "Anarkali", "A-Line", "High-Low"]),
            free("pattern", PATTERNS),
            rising("material", &["Rayon", "Cotton", "Chanderi", "Silk Blend"]),
            free("neck", &["round neck", "mandarin collar", "V-neck"]),
            free("occasion", &["Daily", "Festive", "Office"]),
            free("care", CARE),
        ],
        openings: &[
            "A {~style} kurta of {~material} in {~color}, made for {~occasion} wear.",
            "Breathable {~material} and a {neck} give this {brand} kurta its ease.",
        ],
        details: &[
            "Slits at the sides leave room to move.",
            "Wear it with leggings, palazzos or jeans.",
            "The {~pattern} work is done with colours that last.",
        ],
        closings: CLOSINGS,
        sizes: SIZES,
    },
    Recipe {
        category: ["Fashion", "Women", "Sarees"],
        title: "{brand} {pattern} {material} Saree with Blouse Piece ({color})",
        brands: &["Neelam Lane", "Tulsi Row", "Resham Kothi"],
        models: &[],
        price_rupees: (899, 14_999),
        traits: &[
            free("color", &["Peacock Blue", "Ruby Red", "Emerald", "Mustard", "Wine", "Ivory", "Magenta"]),
            free("pattern", &["Woven", "Block Print", "Zari Border", "Bandhani", "Floral Print"]),
            rising("material", &["Georgette", "Cotton", "Linen", "Cotton Silk", "Silk"]),
            free("length", &["5.5 m"]),
            free("occasion", &["Wedding", "Festive", "Party", "Office"]),
            free("care", &["Dry clean", "Hand wash separately"]),
        ],
        openings: &[
            "A {~color} saree of {~material} that drapes softly and keeps its pleats.",
            "This {~material} saree by {brand} is made for {~occasion} wear.",
        ],
        details: &[
            "It measures {length} and comes with an unstitched blouse piece of 0.8 m.",
            "The {~pattern} design runs through to the pallu.",
            "It is light enough to wear for many hours.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Fashion", "Women", "Tops"],
        title: "{brand} Women's {pattern} {material} {style} Top ({color})",
        brands: BRANDS,
        models: &[],
        price_rupees: (399, 1_999),
        traits: &[
            free("color", COLORS),
            free("style", &["Peplum", "Boxy", "Ruffled", "Wrap", "Crop"]),
            free("pattern", PATTERNS),
            rising("material", &["Polyester", "Viscose", "Cotton", "Linen Blend"]),
            free("sleeves", &["puff sleeves", "short sleeves", "full sleeves"]),
            free("care", CARE),
        ],
        openings: &[
            "A {~style} top of {~material} with {sleeves}.",
            "Easy to dress up or down, this {~color} top by {brand} goes with jeans and skirts.",
        ],
        details: &[
            "The fabric is soft, light and does not cling.",
            "Its {~style} cut flatters without being tight.",
            "The {~pattern} look stays fresh wash after wash.",
        ],
        closings: CLOSINGS,
        sizes: SIZES,
    },
    Recipe {
        category: ["Fashion", "Women", "Jeans"],
        title: "{brand} Women's {fit} {rise} Jeans ({color})",
        brands: &["Indigo Alley", "Fable & Fern", "Northloom"],
        models: &[],
        price_rupees: (899, 3_999),
        traits: &[
            free("color", &["Indigo", "Light Blue", "Black", "Grey"]),
            free("fit", &["Skinny", "Straight", "Wide-Leg", "Mom-Fit", "Bootcut"]),
            free("rise", &["High-Rise", "Mid-Rise"]),
            rising("material", &["Cotton Blend", "Cotton with Elastane", "Organic Cotton with Elastane"]),
            free("care", CARE),
        ],
        openings: &[
            "{fit} jeans with a {~rise} waist in {~color} denim.",
            "Denim of {~material} makes these {~fit} jeans hold their shape and still give.",
        ],
        details: &[
            "Five pockets and a sturdy zip are where they should be.",
            "The wash is done with far less water than usual.",
            "The {~rise} waistband sits flat and does not gape.",
        ],
        closings: CLOSINGS,
        sizes: &["26", "28", "30", "32", "34"],
    },
    Recipe {
        category: ["Fashion", "Women", "Jackets"],
        title: "{brand} Women's {material} {style} Jacket ({color})",
        brands: BRANDS,
        models: &[],
        price_rupees: (1_299, 6_999),
        traits: &[
            free("color", COLORS),
            free("style", &["Bomber", "Trucker", "Quilted", "Biker"]),
            rising("material", &["Polyester", "Denim", "Corduroy", "Faux Leather"]),
            free("closure", &["zip", "buttons"]),
            free("season", &["Spring", "Winter", "Monsoon"]),
            free("care", JACKET_CARE),
        ],
        openings: &[
            "A {~style} jacket of {~material} for cool evenings in {~season}.",
            "Throw this {~color} {~style} jacket over anything and be dressed.",
        ],
        details: &[
            "It closes with {closure} and has two deep pockets.",
            "The lining is smooth, so that it slips on over knitwear.",
            "Ribbed cuffs keep the wind out.",
        ],
        closings: CLOSINGS,
        sizes: SIZES,
    },
    Recipe {
        category: ["Fashion", "Women", "Heels"],
        title: "{brand} Women's {material} {style} Heels ({color})",
        brands: SHOE_BRANDS,
        models: &[],
        price_rupees: (799, 4_499),
        traits: &[
            free("color", &["Black", "Nude", "Burgundy", "Gold", "Silver"]),
            free("style", &["Block", "Kitten", "Stiletto", "Wedge"]),
            rising("material", &["Faux Leather", "Faux Suede", "Leather"]),
            free("heel_height", &["4 cm", "6 cm", "8 cm"]),
            free("care", SHOE_CARE),
        ],
        openings: &[
            "{style} heels of {~material} with a height of {heel_height}.",
            "From office to party, these {~color} heels by {brand} stay comfortable.",
        ],
        details: &[
            "A padded insole takes the strain off the foot.",
            "The sole grips on smooth floors.",
            "An adjustable strap holds the ankle.",
        ],
        closings: CLOSINGS,
        sizes: SHOE_SIZES,
    },
    Recipe {
        category: ["Fashion", "Women", "Handbags"],
        title: "{brand} Women's {material} {style} ({color})",
        brands: &["Carrywell", "Marigold & Moss", "Mochi Lane"],
        models: &[],
        price_rupees: (699, 5_999),
        traits: &[
            free("color", &["Tan", "Black", "Wine", "Olive", "Cream"]),
            free("style", &["Tote Bag", "Sling Bag", "Satchel", "Hobo Bag"]),
            rising("material", &["Canvas", "Faux Leather", "Vegan Leather", "Leather"]),
            free("compartments", &["two compartments", "three compartments"]),
            free("care", SHOE_CARE),
        ],
        openings: &[
            "A roomy {~style} of {~material} in {~color}.",
            "This {~style} by {brand} carries the day's things and looks good doing it.",
        ],
        details: &[
            "Inside are {compartments} and a zipped pocket for keys.",
            "The strap adjusts to shoulder or crossbody.",
            "Metal feet keep the base clean.",
        ],
        closings: &["Care: {~care}.", "A dust bag comes with it."],
        sizes: &[],
    },
    Recipe {
        category: ["Fashion", "Women", "Sports Shoes"],
        title: "{brand} Women's {use} Shoes ({color})",
        brands: SHOE_BRANDS,
        models: &[],
        price_rupees: (1_199, 7_999),
        traits: &[
            free("color", &["White", "Grey & Pink", "Black", "Lilac", "Aqua"]),
            free("use", &["Running", "Walking", "Training"]),
            rising("material", &["Mesh", "Knit", "Engineered Knit"]),
            rising("sole", &["EVA", "Cushioned EVA", "Rebound Foam"]),
            free("care", SHOE_CARE),
        ],
        openings: &[
            "{use} shoes with a breathable {~material} upper and a {sole} sole.",
            "Light on the foot, these {~use} shoes by {brand} soften every step.",
        ],
        details: &[
            "The heel is padded and does not rub.",
            "Rubber under toe and heel makes them last.",
            "The insole comes out for washing.",
        ],
        closings: CLOSINGS,
        sizes: SHOE_SIZES,
    },
];
