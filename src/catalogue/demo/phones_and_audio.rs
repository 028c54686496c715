//! Demo products: phones and accessories, wearables and audio.
//!
//! Depends on its neighbour `recipe`.

use super::recipe::{Recipe, free, rising};

const PHONE_BRANDS: &[&str] = &["Nimbus", "Voltara", "Kestrix", "Orvane", "Mivaro"];
const ADD_ON_BRANDS: &[&str] = &["Voltara", "Bravix", "Pluggo", "Orvane", "Kivano"];
const AUDIO_BRANDS: &[&str] = &["Auralune", "Sonarch", "Halcyra", "Nimbus", "Basswerk"];
const WORN_BRANDS: &[&str] = &["Nimbus", "Pulsora", "Kestrix", "Strivo"];
const CLOSINGS: &[&str] = &[
    "It comes with a warranty of {warranty}.",
    "The box holds the device, a quick start guide and a warranty card for {warranty}.",
    "Covered by a {brand} warranty of {warranty}.",
];
const COLORS: &[&str] = &["Graphite", "Midnight Blue", "Silver", "Sage Green", "Rose Gold", "Pearl White"];
const DARK_COLORS: &[&str] = &["Black", "Graphite", "Navy", "White", "Forest Green"];

pub(super) const RECIPES: [Recipe; 10] = [
    Recipe {
        category: ["Electronics", "Phones", "Smartphones"],
        title: "{brand} {model} 5G Smartphone ({ram} RAM, {storage}, {color})",
        brands: PHONE_BRANDS,
        models: &["A#", "Note #", "Edge #", "M#"],
        price_rupees: (8_999, 79_999),
        traits: &[
            free("color", COLORS),
            rising("ram", &["4 GB", "6 GB", "8 GB", "12 GB", "16 GB"]),
            rising("storage", &["64 GB", "128 GB", "256 GB", "512 GB"]),
            rising("display", &["6.5-inch LCD", "6.6-inch AMOLED", "6.7-inch AMOLED"]),
            rising("refresh_rate", &["90 Hz", "120 Hz", "144 Hz"]),
            rising("main_camera", &["13 MP", "50 MP", "64 MP", "108 MP"]),
            free("battery", &["5000 mAh", "5500 mAh", "6000 mAh"]),
            rising("charging", &["18 W", "33 W", "67 W", "100 W"]),
            free("warranty", &["1 year"]),
        ],
        openings: &[
            "The {brand} {model} is a 5G smartphone with a {display} display that refreshes at {refresh_rate}.",
            "With {ram} of RAM and {storage} of storage, the {brand} {model} keeps up with work, games and photos.",
            "A bright {display} screen and a slim {~color} body make the {brand} {model} pleasant to use all day.",
        ],
        details: &[
            "Its {main_camera} main camera takes sharp pictures by day and by night.",
            "The {battery} battery lasts more than a day and charges at up to {charging}.",
            "Two SIM cards, a fingerprint reader and stereo speakers are on board.",
            "Apps open quickly thanks to {ram} of RAM, and {storage} leaves room for years of photos.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Phones", "Feature Phones"],
        title: "{brand} {model} Dual SIM Keypad Phone ({color})",
        brands: PHONE_BRANDS,
        models: &["Talk #", "Easy #", "Classic #"],
        price_rupees: (1_099, 3_499),
        traits: &[
            free("color", DARK_COLORS),
            rising("network", &["2G", "4G VoLTE"]),
            rising("display", &["1.8-inch", "2.4-inch", "2.8-inch"]),
            rising("battery", &["1000 mAh", "1450 mAh", "2500 mAh"]),
            free("warranty", &["1 year"]),
        ],
        openings: &[
            "The {brand} {model} is a simple phone for calls and messages with a {display} display.",
            "Large keys and a clear {display} screen make the {brand} {model} easy for everybody.",
        ],
        details: &[
            "The {battery} battery runs for days on one charge.",
            "It takes two SIM cards and connects over {network}.",
            "A torch, FM radio and a headphone socket are built in.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Phones", "Phone Cases"],
        title: "{brand} {material} Phone Case for {compatible_with} ({color})",
        brands: ADD_ON_BRANDS,
        models: &[],
        price_rupees: (249, 1_799),
        traits: &[
            free("color", &["Black", "Grey", "Navy", "Maroon", "Olive"]),
            rising("material", &["Silicone", "TPU", "Polycarbonate", "Vegan Leather"]),
            free("compatible_with", &["Nimbus A52", "Nimbus Note 30", "Kestrix Edge 44", "Orvane M21", "Voltara A70"]),
            rising("drop_protection", &["1 m", "1.5 m", "3 m"]),
            free("warranty", &["6 months"]),
        ],
        openings: &[
            "A slim case of {~material} made to fit the {compatible_with}.",
            "This {brand} case wraps the {compatible_with} in soft-touch {~material}.",
        ],
        details: &[
            "Raised edges guard the screen and the camera, tested for drops from {drop_protection}.",
            "The cut-outs leave every button and port within reach.",
            "It stays thin enough for wireless charging.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Phones", "Chargers"],
        title: "{brand} {model} {power} {ports} Fast Charger ({color})",
        brands: ADD_ON_BRANDS,
        models: &["Volt #", "Snap #", "Plug #"],
        price_rupees: (499, 4_499),
        traits: &[
            free("color", &["White", "Black"]),
            rising("power", &["20 W", "33 W", "45 W", "65 W", "100 W"]),
            rising("ports", &["USB-C", "USB-C and USB-A", "2-port USB-C", "4-port"]),
            free("cable", &["1 m USB-C cable", "1.5 m braided cable", "not included"]),
            free("warranty", &["1 year", "18 months"]),
        ],
        openings: &[
            "A compact wall charger that delivers up to {power} to phones, tablets and earbuds.",
            "Charge faster with the {brand} {model}, rated at {power}.",
        ],
        details: &[
            "It senses what is connected and gives each device the current it asks for.",
            "Protection against overheating, overcharging and short circuits is built in.",
            "The plug suits Indian sockets and the body stays cool at full load.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Phones", "Power Banks"],
        title: "{brand} {model} {capacity} Power Bank ({output}, {color})",
        brands: ADD_ON_BRANDS,
        models: &["Charge #", "Boost #", "Go #"],
        price_rupees: (799, 4_999),
        traits: &[
            free("color", DARK_COLORS),
            rising("capacity", &["5000 mAh", "10000 mAh", "20000 mAh", "27000 mAh"]),
            rising("output", &["12 W", "18 W", "22.5 W", "65 W"]),
            free("ports", &["1 USB-C, 1 USB-A", "2 USB-C, 1 USB-A", "1 USB-C, 2 USB-A"]),
            free("warranty", &["6 months", "1 year"]),
        ],
        openings: &[
            "The {brand} {model} carries {capacity} for days away from a socket.",
            "Keep phones and earbuds alive with {capacity} and {output} of fast charging.",
        ],
        details: &[
            "It charges several devices at once over {ports}.",
            "Four lights show how much is left.",
            "The {~color} shell resists scratches in a crowded bag.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Audio", "Headphones"],
        title: "{brand} {model} {connection} {fit} Headphones ({color})",
        brands: AUDIO_BRANDS,
        models: &["Studio #", "Quiet #", "Flow #", "H#"],
        price_rupees: (899, 29_999),
        traits: &[
            free("color", COLORS),
            rising("connection", &["Wired", "Wireless", "Wireless"]),
            free("fit", &["Over-Ear", "On-Ear"]),
            rising("drivers", &["32 mm", "40 mm", "50 mm"]),
            rising("noise_control", &["passive isolation", "noise cancelling", "adaptive noise cancelling"]),
            rising("microphone", &["a microphone", "two microphones", "four microphones"]),
            free("warranty", &["1 year", "2 years"]),
        ],
        openings: &[
            "The {brand} {model} are {~fit} headphones with {drivers} drivers and a warm, balanced sound.",
            "Built for long sessions, the {brand} {model} pair soft cushions with {noise_control}.",
        ],
        details: &[
            "With {noise_control}, trains and offices fade into the background.",
            "Calls stay clear thanks to {microphone}.",
            "They fold flat into the pouch that comes with them.",
            "The {drivers} drivers keep bass tight and voices natural.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Audio", "Earbuds"],
        title: "{brand} {model} True Wireless Earbuds ({playtime}, {color})",
        brands: AUDIO_BRANDS,
        models: &["Buds #", "Air #", "Pods #"],
        price_rupees: (999, 17_999),
        traits: &[
            free("color", COLORS),
            rising("playtime", &["20 hours", "28 hours", "36 hours", "48 hours"]),
            rising("noise_control", &["passive isolation", "noise cancelling", "adaptive noise cancelling"]),
            rising("bluetooth", &["5.1", "5.2", "5.3", "5.4"]),
            rising("water_resistance", &["IPX4", "IPX5", "IPX7"]),
            free("warranty", &["1 year"]),
        ],
        openings: &[
            "The {brand} {model} are light earbuds with up to {playtime} of music from buds and case together.",
            "Small, {~color} and comfortable, the {brand} {model} connect over Bluetooth {bluetooth} as soon as the case opens.",
        ],
        details: &[
            "Sweat and rain are no trouble, as they are rated {water_resistance}.",
            "Touch controls answer calls and skip songs, and {noise_control} keeps the street out.",
            "Ten minutes in the case give two hours of listening.",
            "Three pairs of silicone tips come along for a good fit.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Audio", "Bluetooth Speakers"],
        title: "{brand} {model} {output} Portable Bluetooth Speaker ({color})",
        brands: AUDIO_BRANDS,
        models: &["Boom #", "Pebble #", "Roam #"],
        price_rupees: (899, 14_999),
        traits: &[
            free("color", &["Black", "Ocean Blue", "Red", "Teal", "Sand"]),
            rising("output", &["5 W", "10 W", "16 W", "30 W", "60 W"]),
            rising("playtime", &["8 hours", "12 hours", "18 hours", "24 hours"]),
            rising("water_resistance", &["IPX5", "IPX6", "IPX7"]),
            free("warranty", &["1 year"]),
        ],
        openings: &[
            "The {brand} {model} fills a room or a terrace with {output} of sound.",
            "Take the music along: the {brand} {model} plays for {playtime} and shrugs off water ({water_resistance}).",
        ],
        details: &[
            "Two of them pair for stereo.",
            "A strap and a rubber base keep it where it is put.",
            "It plays from Bluetooth, a memory card or a cable.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Wearables", "Smartwatches"],
        title: "{brand} {model} Smartwatch ({display}, {color} Strap)",
        brands: WORN_BRANDS,
        models: &["Watch #", "Vista #", "Active #"],
        price_rupees: (1_499, 24_999),
        traits: &[
            free("color", &["Black", "Midnight Blue", "Beige", "Olive", "Coral"]),
            rising("display", &["1.69-inch LCD", "1.85-inch LCD", "1.43-inch AMOLED", "1.96-inch AMOLED"]),
            rising("battery_life", &["5 days", "7 days", "10 days", "14 days"]),
            rising("positioning", &["phone GPS", "built-in GPS", "dual-band GPS"]),
            rising("water_resistance", &["IP67", "IP68", "5 ATM"]),
            free("warranty", &["1 year"]),
        ],
        openings: &[
            "The {brand} {model} shows calls, messages and health at a glance on its {display} display.",
            "From morning runs to late meetings, the {brand} {model} lasts up to {battery_life} on one charge.",
        ],
        details: &[
            "Heart rate, blood oxygen and sleep are followed around the clock.",
            "It takes calls on the wrist through its own speaker and microphone.",
            "More than a hundred sports are recorded, with routes by {positioning}.",
            "The case is rated {water_resistance} against water.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Wearables", "Fitness Bands"],
        title: "{brand} {model} Fitness Band ({battery_life} Battery, {color})",
        brands: WORN_BRANDS,
        models: &["Band #", "Fit #"],
        price_rupees: (999, 4_999),
        traits: &[
            free("color", &["Black", "Blue", "Orange", "Pink"]),
            rising("display", &["0.96-inch", "1.1-inch AMOLED", "1.47-inch AMOLED"]),
            rising("battery_life", &["7-Day", "14-Day", "21-Day"]),
            free("water_resistance", &["5 ATM"]),
            free("warranty", &["1 year"]),
        ],
        openings: &[
            "The {brand} {model} is a light band that counts steps, sleep and heart beats.",
            "Hardly noticed on the wrist, the {brand} {model} follows activity day and night.",
        ],
        details: &[
            "It may stay on in the pool, being rated {water_resistance}.",
            "The {display} screen is easy to read in the sun.",
            "Gentle reminders say when it is time to move.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
];
