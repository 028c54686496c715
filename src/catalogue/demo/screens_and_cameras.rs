//! Demo products: televisions, what is connected to them, and cameras.
//!
//! Depends on its neighbour `recipe`.

use super::recipe::{Recipe, free, rising};

const SCREEN_BRANDS: &[&str] = &["Lumevo", "Vistaro", "Nimbus", "Halcyra"];
const CAMERA_BRANDS: &[&str] = &["Pixelume", "Obscura Works", "Veyron Optics"];
const CLOSINGS: &[&str] = &[
    "It comes with a warranty of {warranty}.",
    "Covered by a {brand} warranty of {warranty}.",
    "All cables needed for a start are in the box.",
];

pub(super) const RECIPES: [Recipe; 5] = [
    Recipe {
        category: ["Electronics", "TV & Video", "Televisions"],
        title: "{brand} {model} {display} {resolution} Smart TV",
        brands: SCREEN_BRANDS,
        models: &["Vivid #", "Cinema #", "Frame #"],
        price_rupees: (10_999, 139_999),
        traits: &[
            rising("display", &["32-inch", "43-inch", "50-inch", "55-inch", "65-inch"]),
            rising("resolution", &["HD Ready LED", "Full HD LED", "4K LED", "4K QLED", "4K OLED"]),
            rising("refresh_rate", &["60 Hz", "60 Hz", "120 Hz"]),
            rising("sound", &["20 W", "24 W", "30 W", "40 W"]),
            rising("hdmi_ports", &["2", "3", "4"]),
            free("warranty", &["1 year", "2 years"]),
        ],
        openings: &[
            "The {brand} {model} is a {display} television with a {resolution} panel and narrow edges.",
            "Films and cricket come alive on the {display} screen of the {brand} {model}.",
        ],
        details: &[
            "Streaming apps, voice search and screen sharing are built in.",
            "Its speakers deliver {sound} of clear sound.",
            "Consoles and set-top boxes plug into {hdmi_ports} HDMI ports.",
        ],
        closings: &["It comes with a warranty of {warranty}.", "A wall mount and a table stand are in the box."],
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "TV & Video", "Streaming Players"],
        title: "{brand} {model} {resolution} Streaming Player",
        brands: SCREEN_BRANDS,
        models: &["Stream #", "Cast #"],
        price_rupees: (1_999, 8_999),
        traits: &[
            rising("resolution", &["Full HD", "4K", "4K HDR"]),
            rising("storage", &["8 GB", "16 GB", "32 GB"]),
            free("wireless", &["Wi-Fi 5", "Wi-Fi 6"]),
            free("warranty", &["1 year"]),
        ],
        openings: &[
            "The {brand} {model} turns any television with HDMI into a smart one.",
            "Plug in the {brand} {model} and stream in {resolution} within minutes.",
        ],
        details: &[
            "The remote listens, and its buttons open favourite apps directly.",
            "With {storage} of storage there is room for many apps.",
            "It stays connected over {wireless}, even far from the router.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Audio", "Soundbars"],
        title: "{brand} {model} {channels} Channel Soundbar ({output}, {subwoofer})",
        brands: &["Auralune", "Basswerk", "Halcyra"],
        models: &["Bar #", "Stage #", "Theatre #"],
        price_rupees: (3_499, 49_999),
        traits: &[
            free("color", &["Black"]),
            rising("channels", &["2.0", "2.1", "3.1", "5.1"]),
            rising("output", &["60 W", "120 W", "220 W", "400 W", "600 W"]),
            rising("subwoofer", &["Built-In Subwoofer", "Wired Subwoofer", "Wireless Subwoofer"]),
            free("inputs", &["HDMI ARC, optical and Bluetooth", "HDMI eARC, USB and Bluetooth"]),
            free("warranty", &["1 year"]),
        ],
        openings: &[
            "The {brand} {model} lifts television sound with {output} over {channels} channels.",
            "Voices are clear and explosions deep with the {brand} {model}.",
        ],
        details: &[
            "It connects over {inputs}.",
            "Modes for films, music and news are one button away.",
            "Place it under the screen or hang it on the wall.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Cameras", "Mirrorless Cameras"],
        title: "{brand} {model} {resolution} Mirrorless Camera ({kit})",
        brands: CAMERA_BRANDS,
        models: &["X#", "Z#", "Alto #"],
        price_rupees: (44_999, 219_999),
        traits: &[
            free("color", &["Black", "Silver"]),
            rising("sensor", &["Micro Four Thirds", "APS-C", "full-frame"]),
            rising("resolution", &["20 MP", "24 MP", "33 MP", "45 MP"]),
            rising("video", &["4K at 30 fps", "4K at 60 fps", "4K at 120 fps"]),
            free("kit", &["Body Only", "with 16-50 mm Lens", "with 28-70 mm Lens"]),
            free("warranty", &["2 years"]),
        ],
        openings: &[
            "The {brand} {model} puts a {resolution} {sensor} sensor into a compact {~color} body.",
            "For travel, portraits and video, the {brand} {model} records {resolution} photos and {video}.",
        ],
        details: &[
            "Autofocus follows eyes of people and animals.",
            "Stabilisation in the body keeps pictures sharp in low light.",
            "The screen turns to the front for recordings of oneself.",
            "Seals keep dust and light rain out.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Cameras", "Action Cameras"],
        title: "{brand} {model} Waterproof Action Camera ({video})",
        brands: CAMERA_BRANDS,
        models: &["Rush #", "Trail #"],
        price_rupees: (4_999, 44_999),
        traits: &[
            free("color", &["Black", "Grey"]),
            rising("video", &["4K 30 fps", "4K 60 fps", "5.3K 60 fps"]),
            rising("waterproof_to", &["5 m", "10 m", "15 m"]),
            rising("battery_life", &["70 minutes", "90 minutes", "150 minutes"]),
            free("warranty", &["1 year"]),
        ],
        openings: &[
            "Mount the {brand} {model} on a helmet or handlebar and record in {video}.",
            "The {brand} {model} is a rugged camera that dives to {waterproof_to} without a case.",
        ],
        details: &[
            "Stabilisation smooths bumpy trails.",
            "One battery records for about {battery_life}.",
            "Two screens, front and back, make framing easy.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
];
