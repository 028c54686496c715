//! Demo products: computers and their accessories.
//!
//! Depends on its neighbour `recipe`.

use super::recipe::{Recipe, free, rising};

const COMPUTER_BRANDS: &[&str] = &["Zenbrook", "Tessaro", "Kestrix", "Lumevo"];
const DESK_BRANDS: &[&str] = &["Tessaro", "Clackwell", "Lumevo", "Bravix"];
const NETWORK_BRANDS: &[&str] = &["Meshara", "Lumevo", "Orvane"];
const CLOSINGS: &[&str] = &[
    "It comes with a warranty of {warranty}.",
    "Drivers and manuals are on the {brand} website, and the warranty runs for {warranty}.",
    "Covered by a {brand} warranty of {warranty}.",
];

pub(super) const RECIPES: [Recipe; 8] = [
    Recipe {
        category: ["Electronics", "Computers", "Laptops"],
        title: "{brand} {model} {display} Laptop ({ram} RAM, {storage}, {color})",
        brands: COMPUTER_BRANDS,
        models: &["Swiftbook #", "Pro #", "Slate #", "Forge #"],
        price_rupees: (26_999, 159_999),
        traits: &[
            free("color", &["Silver", "Graphite", "Midnight Blue", "Sand"]),
            free("display", &["14-inch", "15.6-inch", "16-inch"]),
            rising("ram", &["8 GB", "16 GB", "16 GB", "32 GB"]),
            rising("storage", &["256 GB SSD", "512 GB SSD", "1 TB SSD", "2 TB SSD"]),
            rising("processor", &["4-core", "6-core", "8-core", "12-core", "16-core"]),
            rising("resolution", &["1920 × 1080", "1920 × 1200", "2560 × 1600"]),
            free("weight", &["1.29 kg", "1.45 kg", "1.62 kg", "1.8 kg"]),
            rising("battery_life", &["7 hours", "9 hours", "12 hours", "16 hours"]),
            free("warranty", &["1 year", "2 years"]),
        ],
        openings: &[
            "The {brand} {model} is a {display} laptop with {ram} of memory and a {storage} drive.",
            "At {weight}, the {brand} {model} goes everywhere and still brings {processor} performance along.",
        ],
        details: &[
            "The {resolution} screen is sharp and easy on the eyes.",
            "A full charge lasts up to {battery_life}.",
            "The backlit keyboard, two USB-C ports and HDMI leave the adapters at home.",
            "Its {processor} processor handles spreadsheets, code and photo editing without a pause.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Computers", "Tablets"],
        title: "{brand} {model} {display} Tablet ({ram} RAM, {storage}, {color})",
        brands: COMPUTER_BRANDS,
        models: &["Tab #", "Pad #"],
        price_rupees: (9_999, 64_999),
        traits: &[
            free("color", &["Graphite", "Silver", "Sky Blue"]),
            rising("display", &["8.7-inch", "10.4-inch", "11-inch", "12.4-inch"]),
            rising("ram", &["3 GB", "4 GB", "6 GB", "8 GB", "12 GB"]),
            rising("storage", &["32 GB", "64 GB", "128 GB", "256 GB"]),
            free("battery", &["7040 mAh", "8000 mAh", "10090 mAh"]),
            free("connectivity", &["Wi-Fi", "Wi-Fi and 5G"]),
            free("warranty", &["1 year"]),
        ],
        openings: &[
            "The {brand} {model} is a {display} tablet for films, notes and video calls.",
            "Thin and {~color}, the {brand} {model} has {storage} of storage and {connectivity}.",
        ],
        details: &[
            "Four speakers make films sound as good as they look.",
            "The {battery} battery lasts through a long flight.",
            "Split screen and {ram} of RAM keep two apps running side by side.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Computers", "Monitors"],
        title: "{brand} {model} {display} {resolution} Monitor ({refresh_rate})",
        brands: DESK_BRANDS,
        models: &["View #", "Vision #", "Canvas #"],
        price_rupees: (7_999, 59_999),
        traits: &[
            free("color", &["Black", "White"]),
            rising("display", &["22-inch", "24-inch", "27-inch", "32-inch"]),
            rising("resolution", &["Full HD", "Full HD", "QHD", "4K"]),
            rising("refresh_rate", &["75 Hz", "100 Hz", "144 Hz", "165 Hz"]),
            free("panel", &["IPS", "VA"]),
            free("ports", &["HDMI and VGA", "HDMI and DisplayPort", "HDMI, DisplayPort and USB-C"]),
            free("warranty", &["3 years"]),
        ],
        openings: &[
            "The {brand} {model} is a {display} monitor with a {resolution} {panel} panel.",
            "Work and play look smooth at {refresh_rate} on the {display} {brand} {model}.",
        ],
        details: &[
            "It connects over {ports}.",
            "The stand tilts, and a standard mount lets it hang on the wall.",
            "Low blue light and no flicker spare the eyes on long days.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Computers", "Keyboards"],
        title: "{brand} {model} {kind} Keyboard ({connection}, {color})",
        brands: DESK_BRANDS,
        models: &["Type #", "Keys #", "K#"],
        price_rupees: (599, 9_999),
        traits: &[
            free("color", &["Black", "White", "Grey", "Mint"]),
            rising("kind", &["Membrane", "Scissor-Switch", "Mechanical"]),
            free("layout", &["full-size", "tenkeyless", "75 %"]),
            rising("connection", &["USB", "2.4 GHz Wireless", "Bluetooth"]),
            rising("backlight", &["none", "white", "RGB"]),
            free("warranty", &["1 year", "2 years"]),
        ],
        openings: &[
            "The {brand} {model} is a {layout} keyboard with {~kind} keys.",
            "Comfortable for long texts, the {brand} {model} has {~kind} keys in a {layout} layout.",
        ],
        details: &[
            "The legends are moulded, so they do not wear off.",
            "Two feet set the angle, and drains let spilt tea out again.",
            "Shortcuts for volume, search and screenshots sit in the top row.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Computers", "Mice"],
        title: "{brand} {model} {connection} Mouse ({resolution}, {color})",
        brands: DESK_BRANDS,
        models: &["Glide #", "Swift #", "M#"],
        price_rupees: (349, 4_499),
        traits: &[
            free("color", &["Black", "White", "Grey", "Blue"]),
            rising("connection", &["USB", "2.4 GHz Wireless", "Bluetooth"]),
            rising("resolution", &["1200 DPI", "1600 DPI", "4000 DPI", "16000 DPI"]),
            rising("buttons", &["3 buttons", "5 buttons", "7 buttons"]),
            free("warranty", &["1 year", "3 years"]),
        ],
        openings: &[
            "The {brand} {model} is a light mouse with {buttons} and a sensor of up to {resolution}.",
            "Shaped for either hand, the {brand} {model} glides on desks and cloth alike.",
        ],
        details: &[
            "Its quiet switches do not disturb the neighbours.",
            "The wheel scrolls long pages smoothly.",
            "Software is not needed; it works as soon as it is connected.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Computers", "External Drives"],
        title: "{brand} {model} {capacity} Portable {kind} ({color})",
        brands: &["Vaultix", "Tessaro", "Lumevo"],
        models: &["Vault #", "Keep #", "Dash #"],
        price_rupees: (3_999, 24_999),
        traits: &[
            free("color", &["Black", "Silver", "Blue"]),
            rising("capacity", &["500 GB", "1 TB", "2 TB", "4 TB"]),
            rising("kind", &["Hard Drive", "SSD"]),
            free("interface", &["USB 3.2 Gen 1", "USB 3.2 Gen 2"]),
            free("warranty", &["3 years"]),
        ],
        openings: &[
            "The {brand} {model} holds {capacity} of photos, films and backups in a pocket.",
            "Carry {capacity} wherever you go with the {brand} {model}.",
        ],
        details: &[
            "It moves large files quickly over {interface}.",
            "The rubber sleeve softens falls from the desk.",
            "Files can be locked with a password.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Computers", "Printers"],
        title: "{brand} {model} {kind} Printer with {connection}",
        brands: &["Inkara", "Tessaro", "Paperlane"],
        models: &["Print #", "Office #", "Page #"],
        price_rupees: (3_999, 34_999),
        traits: &[
            rising("kind", &["Inkjet", "Ink Tank", "Monochrome Laser", "Colour Laser"]),
            rising("connection", &["USB", "Wi-Fi", "Wi-Fi and Ethernet"]),
            rising("speed", &["8 pages a minute", "15 pages a minute", "22 pages a minute", "33 pages a minute"]),
            free("functions", &["print", "print, scan and copy"]),
            free("warranty", &["1 year"]),
        ],
        openings: &[
            "The {brand} {model} turns out up to {speed} for home and small offices.",
            "Reliable and easy to refill, the {brand} {model} can {functions}.",
        ],
        details: &[
            "It connects over {connection} and prints on both sides of the paper.",
            "The tray takes 150 sheets of A4.",
            "A saving mode makes ink or toner last longer.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
    Recipe {
        category: ["Electronics", "Computers", "Wi-Fi Routers"],
        title: "{brand} {model} {standard} Router ({speed})",
        brands: NETWORK_BRANDS,
        models: &["Link #", "Mesh #", "Wave #"],
        price_rupees: (1_199, 18_999),
        traits: &[
            free("color", &["White", "Black"]),
            rising("standard", &["Wi-Fi 5", "Wi-Fi 6", "Wi-Fi 6E", "Wi-Fi 7"]),
            rising("speed", &["1200 Mbps", "1800 Mbps", "3000 Mbps", "5400 Mbps"]),
            rising("coverage", &["90 m²", "140 m²", "200 m²"]),
            free("antennas", &["4 antennas", "6 antennas"]),
            free("warranty", &["3 years"]),
        ],
        openings: &[
            "The {brand} {model} brings {standard} at up to {speed} to every room.",
            "With {antennas}, the {brand} {model} covers about {coverage}.",
        ],
        details: &[
            "An app sets it up in minutes and shows who is connected.",
            "Parents can pause the network at bedtime.",
            "Guests get a network of their own.",
            "Four wired ports serve televisions and consoles.",
        ],
        closings: CLOSINGS,
        sizes: &[],
    },
];
