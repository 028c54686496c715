//! Product files of other programs: what their columns become, and which rows are refused.
//!
//! Depends on its neighbours and `domain`.

use std::io::{self, BufReader, Cursor, Read};

use crate::{
    catalogue::{
        entry::Entry,
        error::RowWarning,
        foreign::Layout,
        read::{Format, Options, Reader},
    },
    domain::{
        money::{Currency, Money},
        product::{Kept, Picture},
    },
};

fn eur() -> Currency {
    "EUR".parse().unwrap()
}

/// Reads a file of this name and text.
fn read(name: &str, text: &str, options: Options<'_>) -> (Vec<Entry>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    let (mut entries, mut refused) = (Vec::new(), Vec::new());
    for (line, row) in Reader::open(&path, options).unwrap() {
        match row {
            Ok(row) => entries.extend(row.into_entries()),
            Err(error) => refused.push(format!("{line}: {error}")),
        }
    }
    (entries, refused)
}

fn in_eur() -> Options<'static> {
    Options { currency: Some(eur()), ..Options::default() }
}

fn ids(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.id.as_str()).collect()
}

fn attribute<'a>(entry: &'a Entry, name: &str) -> Option<&'a str> {
    entry.details.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

const SHOPIFY: &str = "\
Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Option1 Name,Option1 Value,Variant SKU,Variant Inventory Qty,Variant Price,Variant Barcode,Image Src,Image Position,Image Alt Text,Status
shirt,Linen shirt,<p>Soft &amp; light</p><p>Cool</p>,Acme,Shirts,\"summer, linen\",true,Size,S,LS-S,4,24.99,'5901234123457,https://i.example/2.jpg,2,,active
shirt,,,,,,,,M,LS-M,-2,22.5,,https://i.example/1.jpg,1,front,
shirt,,,,,,,,,,,,,https://i.example/3.jpg,3,,
mug,Mug,,Acme,,,true,Title,Default Title,MUG,7,5,,,,,active
old,Old,,,,,true,Title,Default Title,OLD,7,5,,,,,draft
\u{442}\u{435}\u{441}\u{442},Test,,,,,true,Title,Default Title,,1,5,,,,,active
bad,Bad,,,,,true,Title,Default Title,B,1,5.001,,,,,active
";

#[test]
fn a_shopify_export_becomes_products_with_variants() {
    let (entries, refused) = read("x.csv", SHOPIFY, in_eur());
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].starts_with("6: it is not published there: Status"), "{refused:?}");
    assert!(refused[1].starts_with("8: Variant Price must be an amount"), "{refused:?}");
    assert_eq!(ids(&entries)[..4], ["shirt", "shirt:LS-S", "shirt:LS-M", "mug"]);
    let [shirt, small, medium, mug, test] = &entries[..] else { panic!("{entries:?}") };
    assert!(test.id.as_str().starts_with("p----"), "{}", test.id);
    let details = &shirt.details;
    assert!(details.description.starts_with("Soft & light\n"), "{:?}", details.description);
    assert_eq!((details.brand.as_deref(), &details.category[..]), (Some("Acme"), &["Shirts".to_owned()][..]));
    let pictures = [1, 2, 3].map(|number| Picture::at(format!("https://i.example/{number}.jpg")));
    let [first, second, third] = pictures;
    let first = Picture { alt: Some("front".into()), ..first };
    assert_eq!(details.thumbnail.as_ref(), Some(&first));
    assert_eq!(details.pictures, [first, second, third]);
    assert_eq!(details.price, Some(Money::new(2250, eur()).unwrap()), "the lowest");
    assert_eq!(attribute(shirt, "tags"), Some("summer, linen"));
    assert_eq!((small.stock, medium.stock, mug.stock), (Some(4), Some(0), Some(7)));
    assert_eq!((attribute(small, "size"), attribute(small, "ean")), (Some("S"), Some("5901234123457")));
    assert_eq!(small.details.price, Some(Money::new(2499, eur()).unwrap()));
    assert_eq!((mug.details.price, attribute(mug, "sku")), (Some(Money::new(500, eur()).unwrap()), Some("MUG")));
}

#[test]
fn without_a_currency_prices_are_left_out_and_that_is_reported_once() {
    let (entries, refused) = read("x.csv", SHOPIFY, Options::default());
    assert!(entries.iter().all(|entry| entry.details.price.is_none()));
    assert_eq!(refused.iter().filter(|reason| reason.contains("--currency")).count(), 1);
    assert!(refused[0].starts_with("1: "), "{refused:?}");
}

const WOO: &str = "\
ID,Type,SKU,Name,Published,Short description,Description,Stock,Sale price,Regular price,Date sale price ends,Categories,Images,Parent,Attribute 1 name,Attribute 1 value(s),Attribute 1 visible
12,simple,MUG-1,Blue mug,1,Small.,\"A <b>mug</b>\\nfor tea\",5,\"9,99\",12.99,,\"Home > Kitchen, Sale\",\"https://i.example/1.jpg, https://i.example/2.jpg\",,Material,Clay,1
13,variable,HOOD,Hoodie,1,,,,,,,,,,Size,\"S, M\",1
14,simple,PIN,Pin,1,,,5,1,2,2027-01-01,,,,,,
15,variation,HOOD-S,Hoodie - S,1,,,3,,40,,,,HOOD,Size,S,
16,variation,HOOD-M,Hoodie - M,1,,,4,,42,,,,id:13,Size,M,
17,variation,LOST,Lost,1,,,4,,42,,,,id:99,Size,M,
18,external,LINK,Link,1,,,,,5,,,,,,,
19,simple,HIDDEN,Hidden,-1,,,,,5,,,,,,,
20,simple,THOUSAND,Thousand,1,,,,,\"1,000\",,,,,,,
";

#[test]
fn a_woocommerce_export_becomes_products_with_variants() {
    let (entries, refused) = read("x.csv", WOO, in_eur());
    let lines: Vec<&str> = refused.iter().filter_map(|reason| reason.split(':').next()).collect();
    assert_eq!(lines, ["7", "8", "9", "10"], "{refused:?}");
    assert!(refused[0].contains("its parent \"id:99\" is not in this file"), "{refused:?}");
    assert_eq!(ids(&entries), ["MUG-1", "HOOD", "HOOD:HOOD-S", "HOOD:HOOD-M", "PIN"]);
    let [mug, hood, small, _, pin] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(mug.details.category, ["Home", "Kitchen"]);
    assert_eq!(mug.details.description, "Small.\n\nA mug for tea");
    assert_eq!((attribute(mug, "Material"), attribute(mug, "categories")), (Some("Clay"), Some("Sale")));
    assert_eq!((mug.details.price, mug.details.pictures.len()), (Some(Money::new(999, eur()).unwrap()), 2));
    assert_eq!((hood.details.price, attribute(hood, "Size")), (Some(Money::new(4000, eur()).unwrap()), None));
    assert_eq!((small.stock, attribute(small, "size")), (Some(3), Some("S")));
    assert_eq!(pin.details.price, Some(Money::new(200, eur()).unwrap()), "a sale that ends is left out");
}

#[test]
fn files_that_do_not_describe_products_are_refused_with_their_name() {
    let options = "Option1 Name,Option1 Value,Option2 Name,Option2 Value,Option3 Name,Option3 Value";
    for (header, what) in [
        (
            format!("Handle,Title,{options},SKU,HS Code,COO,Location,Available (not editable),On hand (new)"),
            "inventory",
        ),
        (format!("Handle,Title,{options},SKU,HS Code,COO,Berlin"), "inventory export of Shopify"),
        ("Name,Email,Financial Status,Lineitem quantity,Lineitem name,Vendor".into(), "orders"),
        ("Customer ID,First Name,Last Name,Email,Accepts Email Marketing,Total Spent".into(), "customers"),
        ("Name,Username,Email,Total Spend".into(), "customers"),
        ("id,price,availability".into(), "a supplemental feed of Google Merchant"),
        ("id,custom_label_0".into(), "a supplemental feed of Google Merchant"),
        ("store_code,id,quantity,price".into(), "a local inventory of Google Merchant"),
        ("sku,store_view_code,attribute_set_code,product_type,name,price".into(), "Magento"),
        ("Product ID,Active (0/1),Name *,Price tax excluded".into(), "PrestaShop"),
        ("Token,Item Name,Variation Name,SKU,Price".into(), "Square"),
    ] {
        let layouts = ["auto", "shopify", "woocommerce", "google"];
        for layout in layouts {
            let options = Options { layout: layout.parse().unwrap(), ..in_eur() };
            let (entries, refused) = read("x.csv", &format!("{header}\na,A\n"), options);
            assert_eq!((entries.len(), refused.len()), (0, 1), "{header}: {refused:?}");
            assert!(refused[0].starts_with("1: the file is ") && refused[0].contains(what), "{refused:?}");
        }
    }
}

#[test]
fn what_a_file_has_no_column_for_is_kept() {
    let keep = |header: &str| {
        let file = format!("{header}\n");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.csv");
        std::fs::write(&path, file).unwrap();
        let mut reader = Reader::open(&path, in_eur()).unwrap();
        assert!(reader.next().is_none());
        reader.keep().to_vec()
    };
    assert_eq!(keep(SHOPIFY.lines().next().unwrap()), [Kept::Rating]);
    let prices = keep("Handle,Title,Variant SKU,Variant Price");
    assert!(!prices.contains(&Kept::Price), "{prices:?}");
    for part in [Kept::Description, Kept::Brand, Kept::Category, Kept::Pictures, Kept::Attribute("ean".into())] {
        assert!(prices.contains(&part), "{prices:?}");
    }
    assert!(keep("id,title,availability").contains(&Kept::Price));
    assert!(keep("ID,Type,SKU,Name,Regular price").contains(&Kept::Description));
}

/// Otherwise the page would lose the variant of that row.
#[test]
fn a_row_with_wrong_quotes_takes_its_product_with_it() {
    let shopify = "Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Price\n\
        a,A,Size,S,A-S,5\na,,,\"M\" long,A-M,5\nb,B,Size,S,B-S,5\n";
    let woo = "ID,Type,SKU,Name,Regular price,Parent\n1,variable,A,A,,\n2,variation,A-S,S,5,A\n\
        3,variation,A-M,\"M\" long,5,A\n4,simple,b,B,5,\n";
    let google = "id,title,price,availability,item_group_id\nA-S,A,5 EUR,in_stock,a\nA-M,\"M\" long,5 EUR,in_stock,a\n\
        b,B,5 EUR,in_stock,\n";
    for file in [shopify, woo, google] {
        let (entries, refused) = read("x.csv", file, in_eur());
        assert_eq!((ids(&entries)[0], refused.len()), ("b", 2), "{refused:?}");
        assert!(refused.iter().any(|reason| reason.contains("which may belong to this product")), "{refused:?}");
    }
    let feed = "<rss xmlns:g='http://base.google.com/ns/1.0'><channel>\n\
        <item><g:id>s</g:id><title>A</title><g:item_group_id>a</g:item_group_id><g:price>5 EUR</g:price></item>\n\
        <item><g:id>m</g:id><title>&no;</title><g:item_group_id>a</g:item_group_id><g:price>5 EUR</g:price></item>\n\
        </channel></rss>";
    let (entries, refused) = read("x.xml", feed, in_eur());
    assert_eq!((entries.len(), refused.len()), (0, 1), "{refused:?}");
}

#[test]
fn what_programs_and_spreadsheets_write_around_values_is_understood() {
    let shopify = "Handle,Title,Published,Variant Price,Variant Inventory Tracker,Variant Inventory Qty,Vendor\n\
        a,A &amp; B,WAHR,\"9,99\",,0,H&M;\nb,B,FALSCH,5,shopify,1,\nc,C,FAUX,5,shopify,1,\nd,D,maybe,5,shopify,1,\n";
    let (entries, refused) = read("x.csv", shopify, in_eur());
    assert_eq!((ids(&entries), refused.len()), (vec!["a"], 3), "{refused:?}");
    let Entry { details, stock, .. } = &entries[0];
    assert_eq!((details.title.as_str(), details.price.map(|price| price.minor), *stock), ("A & B", Some(999), None));

    let woo = "ID,Type,SKU,Name,Description,In stock?,Stock,Regular price,Parent,Categories\n\
        1,simple,A,'-20% Mug,'- soft,1,'-3,\"12,9900\",,Cups &amp; Mugs\n2,variable,T,Tee,,1,12,,,\n\
        3,variation,T-S,S,,1,parent,5,T,\n4,variation,T-M,M,,1,parent,5,T,\n5,simple,B,B,,1,,5,,\n6,simple,C,C,,0,,5,,\n";
    let (entries, refused) = read("x.csv", woo, in_eur());
    assert_eq!((ids(&entries), refused), (vec!["A", "T", "T:T-S", "T:T-M", "B", "C"], Vec::new()));
    let mug = &entries[0];
    assert_eq!(
        (mug.details.title.as_str(), mug.details.description.as_str(), mug.stock),
        ("-20% Mug", "- soft", Some(0))
    );
    assert_eq!((&mug.details.category[..], mug.details.price.unwrap().minor), (&["Cups & Mugs".to_owned()][..], 1299));
    assert_eq!((entries[2].stock, entries[4].stock), (None, None));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.csv");
    std::fs::write(&path, woo).unwrap();
    let mut reader = Reader::open(&path, in_eur()).unwrap();
    assert_eq!(reader.by_ref().count(), 4);
    assert_eq!(
        reader.take_warnings(),
        [(6, RowWarning::Uncounted { rows: 1 }), (4, RowWarning::StockOfParent { rows: 2 })]
    );

    let google = "id\ttitle\tprice\tavailability\na\tA\t12,99 EUR\tin_stock\nb\tB\t1,000 EUR\tin_stock\n";
    let (entries, refused) = read("x.txt", google, Options::default());
    assert_eq!((entries[0].details.price.map(|price| price.minor), refused.len()), (Some(1299), 1), "{refused:?}");
    let yen = Options { currency: "JPY".parse().ok(), ..Options::default() };
    let file = "ID,Type,SKU,Name,Regular price\n1,simple,A,A,\"1299,00\"\n2,simple,B,B,\"12,99\"\n";
    let (entries, refused) = read("x.csv", file, yen);
    assert_eq!((entries[0].details.price.map(|price| price.minor), refused.len()), (Some(1299), 1), "{refused:?}");
    let feed = RSS.replace("http://base.google.com", "https://base.google.com");
    assert_eq!(read("x.xml", &feed, Options::default()).0.len(), 4);
    let twice = "ID,Type,SKU,Name,Regular price\n1,simple,S 1,A,5\n2,simple,S 1,B,5\n";
    let (_, refused) = read("x.csv", twice, in_eur());
    assert_eq!(refused, ["3: the id S 1 is given twice in this file, first in line 2; this row is not taken"]);
}

#[test]
fn a_variation_without_a_price_does_not_get_the_price_of_another() {
    let file = "ID,Type,SKU,Name,Regular price,Parent\n1,variable,H,Hood,9,\n2,variation,A,,40,H\n3,variation,B,,,H\n";
    let (entries, refused) = read("x.csv", file, in_eur());
    assert_eq!(refused, Vec::<String>::new());
    let prices: Vec<Option<u64>> = entries.iter().map(|entry| entry.details.price.map(|price| price.minor)).collect();
    assert_eq!(prices, [None, Some(4000), None]);
}

const GOOGLE: &str = "\
id\ttitle\tdescription\tlink\timage_link\tadditional_image_link\tprice\tavailability\tbrand\tgtin\tmpn\tgoogle_product_category\tproduct_type\titem_group_id\tsize\tcolor
a/1\tMug\tFor tea\thttps://s.example/1\thttps://i.example/1.jpg\thttps://i.example/2.jpg,https://i.example/3.jpg\t12.99 EUR\tin stock\tAcme\t5901234123457\tM1\t674\tHome > Mugs\t\t\tBlue
s1\tShirt\t\t\t\t\tJPY 1500\tout_of_stock\t\t\t\t212\t\tshirt\tS\tRed
s2\tShirt\t\t\t\t\t1400 JPY\tin_stock\t\t\t\t212\t\tshirt\tM\tRed
x\tX\t\t\t\t\t5\tin_stock\t\t\t\t\t\t\t\t
y\tY\t\t\t\t\t5 EUR\tin_stock\t\t5.90123E+12\t\t\t\t\t\t
";

#[test]
fn a_google_feed_becomes_products_with_variants() {
    let (entries, refused) = read("feed.txt", GOOGLE, Options::default());
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].starts_with("5: price must be an amount and its currency"), "{refused:?}");
    assert!(refused[1].starts_with("6: gtin \"5.90123E+12\""), "{refused:?}");
    assert_eq!(ids(&entries)[1..], ["shirt", "shirt:s1", "shirt:s2"]);
    let [mug, shirt, red, _] = &entries[..] else { panic!("{entries:?}") };
    assert!(mug.id.as_str().starts_with("a-1-"), "{}", mug.id);
    assert_eq!((mug.details.category.len(), mug.details.pictures.len(), mug.stock), (2, 3, None));
    assert_eq!((attribute(mug, "mpn"), attribute(mug, "color")), (Some("M1"), Some("Blue")));
    assert_eq!(shirt.details.price, Some(Money::new(1400, "JPY".parse().unwrap()).unwrap()));
    assert_eq!((red.stock, attribute(red, "size"), &red.details.category[..]), (Some(0), Some("S"), &[][..]));
}

#[test]
fn a_stated_layout_is_required_and_our_own_header_is_recognised() {
    let shopify = Options { layout: "shopify".parse().unwrap(), ..in_eur() };
    let (_, refused) = read("x.csv", "id,title\na,A\n", shopify);
    assert_eq!(refused, ["1: the header lacks the column handle; the first line of a CSV file names its columns"]);
    let souk = Options { layout: Layout::Souk, ..in_eur() };
    let (_, refused) = read("x.csv", WOO, souk);
    assert_eq!(refused.len(), 1, "{refused:?}");
    let (entries, refused) = read("x.csv", "id,title,sku\na,A,x\n", in_eur());
    assert_eq!((ids(&entries), refused.len()), (vec!["a"], 0));
}

#[test]
fn a_row_that_cannot_be_read_takes_its_product_with_it() {
    let shopify = "Handle,Title,Option1 Name,Option1 Value,Variant Price,Variant Inventory Qty\n\
        a,A,Size,S,5.00,1\nb,B,Size,S,5.00,1\na,,,M,#REF!,1\nb,,,M,6.00,2\nc,C,Size\nc,,,M,6.00,2\n\
        Handle,Title,Option1 Name,Option1 Value,Variant Price,Variant Inventory Qty\nd,D,,,7.00,in stock\n";
    let (entries, refused) = read("x.csv", shopify, in_eur());
    assert_eq!(ids(&entries), ["b", "b:S", "b:M"]);
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert!(refused[0].starts_with("4: variant price \"#REF!\" is the error of a formula"), "{refused:?}");
    assert_eq!(refused[1], "6: the row has 3 cells, the header has 6");
    assert!(refused[2].starts_with("9: variant inventory qty must be a whole number of pieces"), "{refused:?}");

    // Variations before their parent, and a parent that is refused.
    let woo = "ID,Type,SKU,Name,Regular price,Stock,Parent\n2,variation,S,,5,1,H\n1,variable,H,Hood,,,\n\
        4,variation,T,,5,1,G\n3,grouped,G,Group,,,\n6,variation,U,,5,10+,J\n5,variable,J,Jacket,,,\n";
    let (entries, refused) = read("x.csv", woo, in_eur());
    assert_eq!(ids(&entries), ["H", "H:S"]);
    let lines: Vec<&str> = refused.iter().filter_map(|reason| reason.split(':').next()).collect();
    assert_eq!(lines, ["5", "6"], "{refused:?}");
}

#[test]
fn ambiguous_amounts_are_refused() {
    for (amount, minor) in [
        ("12.99", Some(1299)),
        ("12", Some(1200)),
        ("12.9", Some(1290)),
        ("12.9900", Some(1299)),
        ("1.000", None),
        ("1.234", None),
        ("\"1,000\"", None),
        ("\"1.234,50\"", None),
        ("\"1,234.50\"", None),
        ("1'234.50", None),
        ("1 234.50", None),
        ("$12.99", None),
        ("12.99 €", None),
        ("1.3E+3", None),
        ("2024-03-01", None),
        ("1-Mar", None),
        ("-5", None),
        (".", None),
    ] {
        let file = format!("ID,Type,SKU,Name,Regular price\n1,simple,A,A,{amount}\n2,simple,B,B,1\n");
        let (entries, refused) = read("x.csv", &file, in_eur());
        let found = entries.iter().find(|entry| entry.id.as_str() == "A");
        assert_eq!(found.and_then(|entry| entry.details.price).map(|price| price.minor), minor, "{amount}");
        assert_eq!((ids(&entries).contains(&"B"), refused.len()), (true, usize::from(minor.is_none())), "{refused:?}");
    }
}

const RSS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE rss [<!ENTITY lol "lol"><!ENTITY lots "&lol;&lol;&lol;&lol;">]>
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title><link>https://s.example</link>
<item><g:id>m1</g:id><title>Mug &amp; saucer</title><description><![CDATA[<p>For <b>tea</b></p>]]></description>
  <link>https://s.example/m1</link><g:image_link>https://i.example/1.jpg</g:image_link>
  <g:additional_image_link>https://i.example/2.jpg</g:additional_image_link>
  <g:additional_image_link>https://i.example/3.jpg</g:additional_image_link><g:brand/>
  <g:price>12.99 EUR</g:price><g:availability>in_stock</g:availability><g:gtin>5901234123457</g:gtin>
  <g:shipping><g:country>DE</g:country><g:price>4.99 EUR</g:price></g:shipping></item>
<item><g:id>s1</g:id><title>Shirt</title><g:item_group_id>shirt</g:item_group_id><g:size>S</g:size>
  <g:price>15 EUR</g:price><g:availability>out of stock</g:availability></item>
<item><g:id>bad</g:id><title>&lots;</title><g:price>5 EUR</g:price></item>
<item><g:id>s2</g:id><title>Shirt</title><g:item_group_id>shirt</g:item_group_id><g:size>M</g:size>
  <g:price>14 EUR</g:price></item>
<item><title>Nameless</title></item>
</channel></rss>
"#;

#[test]
fn a_google_feed_in_rss_becomes_products_with_variants() {
    let utf_16: Vec<u8> = std::iter::once(0xfeff).chain(RSS.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for (name, bytes) in [("feed.xml", RSS.as_bytes()), ("feed.csv", RSS.as_bytes()), ("feed.xml", &utf_16[..])] {
        let (entries, refused) = read_bytes(name, bytes);
        assert_eq!(ids(&entries), ["m1", "shirt", "shirt:s1", "shirt:s2"], "{refused:?}");
        assert_eq!(
            refused,
            ["12: title holds &lots;, which XML does not know; write the character itself", "15: id is missing"]
        );
        let [mug, shirt, small, _] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!((mug.details.title.as_str(), mug.details.description.as_str()), ("Mug & saucer", "For tea"));
        let price = |entry: &Entry| entry.details.price.map(|price| price.minor);
        assert_eq!((price(mug), price(shirt), price(small)), (Some(1299), Some(1400), Some(1500)));
        assert_eq!(
            (mug.details.pictures.len(), attribute(mug, "ean"), small.stock),
            (3, Some("5901234123457"), Some(0))
        );
        assert_eq!(mug.details.brand, None);
    }
}

/// Reads a file of these bytes.
fn read_bytes(name: &str, bytes: &[u8]) -> (Vec<Entry>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let (mut entries, mut refused) = (Vec::new(), Vec::new());
    for (line, row) in Reader::open(&path, Options::default()).unwrap() {
        match row {
            Ok(row) => entries.extend(row.into_entries()),
            Err(error) => refused.push(format!("{line}: {error}")),
        }
    }
    (entries, refused)
}

#[test]
fn a_google_feed_in_atom_is_read_by_its_namespaces() {
    let feed = "<?xml version='1.0' encoding='ISO-8859-1'?>\n<feed xmlns='http://www.w3.org/2005/Atom' \
        xmlns:x='http://base.google.com/ns/1.0' xmlns:y='http://other.example'>\n<title>Shop</title>\n\
        <entry><id>tag:s.example,2026:1</id><x:id>k1</x:id><title>K\u{e4}nnchen</title><summary>Klein</summary>\
        <link href='https://s.example/k1'/><x:price>3.50 EUR</x:price><y:brand>Other</y:brand></entry>\n</feed>";
    let bytes: Vec<u8> = feed.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect();
    let (entries, refused) = read_bytes("feed.atom", &bytes);
    assert_eq!((ids(&entries), refused), (vec!["k1"], Vec::new()));
    let details = &entries[0].details;
    assert_eq!(
        (details.title.as_str(), details.description.as_str(), &details.brand),
        ("K\u{e4}nnchen", "Klein", &None)
    );
}

#[test]
fn xml_that_is_no_feed_or_broken_is_refused_with_its_line() {
    let (entries, refused) = read_bytes("x.xml", RSS.replace("<item><g:id>s2", "<item><<g:id>s2").as_bytes());
    assert_eq!((entries.len(), refused.len()), (0, 1), "variants of what stands before may be missing");
    assert!(refused[0].starts_with("13: the file is not XML: "), "{refused:?}");
    let (entries, refused) = read_bytes("x.xml", RSS.replace("</channel></rss>", "").as_bytes());
    assert_eq!((entries.len(), refused), (0, vec!["17: the row ends too early; the file may be cut off".into()]));
    let (_, refused) = read_bytes("x.xml", b"<html><body/></html>");
    assert!(refused[0].contains("no feed of Google Merchant"), "{refused:?}");
    let (_, refused) = read("x.xml", RSS, Options { layout: "shopify".parse().unwrap(), ..in_eur() });
    assert_eq!(refused, ["1: the file is XML; only feeds of Google Merchant are read in it"]);
    let (_, refused) = read_bytes("x.xml", &[RSS.as_bytes(), b"<!-- \xff -->"].concat());
    assert_eq!(refused, ["17: the row is not UTF-8 text"]);
    let deep = format!("<rss>{}", "<a>\n".repeat(200_000));
    assert_eq!(read_bytes("x.xml", deep.as_bytes()).1, ["100: the elements of the file are nested more than 100 deep"]);
}

/// A file that is made while it is read.
struct Pieces<I> {
    pieces: I,
    piece: Cursor<String>,
}

impl<I: Iterator<Item = String>> Read for Pieces<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.piece.read(buffer)?;
            if length > 0 {
                return Ok(length);
            }
            let Some(next) = self.pieces.next() else { return Ok(0) };
            self.piece = Cursor::new(next);
        }
    }
}

/// The ids and the refused rows of a feed of these pieces.
fn streamed(pieces: impl Iterator<Item = String>) -> (Vec<String>, Vec<String>) {
    let input = BufReader::new(Pieces { pieces, piece: Cursor::new(String::new()) });
    let (mut found, mut refused) = (Vec::new(), Vec::new());
    for (line, row) in Reader::new(input, Format::Xml) {
        match row {
            Ok(row) => found.extend(row.into_entries().into_iter().map(|entry| entry.id.to_string())),
            Err(reason) => refused.push(format!("{line}: {reason}")),
        }
    }
    (found, refused)
}

#[test]
fn a_feed_of_any_size_is_read_and_what_is_too_long_is_refused() {
    let item = |id: &str, text: &str| {
        format!("<item><g:id>{id}</g:id><title>T</title><description>{text}</description><price>5 EUR</price></item>\n")
    };
    let feed = |middle: Vec<(usize, String)>| {
        let first = "<rss xmlns:g='http://base.google.com/ns/1.0'><channel>\n".to_owned();
        let repeated = middle.into_iter().flat_map(|(times, piece)| std::iter::repeat_n(piece, times));
        std::iter::once(first).chain(repeated).chain([item("last", "short"), "</channel></rss>".to_owned()])
    };
    let comment = format!("<!-- {} -->\n", "x".repeat(1_000_000));
    assert_eq!(streamed(feed(vec![(20, comment.clone())])), (vec!["last".to_owned()], vec![]));
    // A feed without an end ends at its fault.
    let wrong = std::iter::once("<rss><channel>\n</rss>\n".to_owned()).chain(std::iter::repeat(comment));
    let refused = streamed(wrong).1;
    assert!(refused.len() == 1 && refused[0].starts_with("2: the file is not XML: "), "{refused:?}");
    let too_long = |line: u64| vec![format!("{line}: the row is longer than 1048576 bytes")];
    // An item of many short pieces, and one of many fields.
    let pieces = item("long", &"&#x1F600;".repeat(270_000));
    assert_eq!(streamed(feed(vec![(1, item("a", "b")), (1, pieces)])), (vec!["a".into(), "last".into()], too_long(3)));
    let fields = format!("<item>{}</item>\n", "<a>b</a>".repeat(30_000));
    assert_eq!(streamed(feed(vec![(1, fields)])), (vec!["last".into()], too_long(2)));
    // One piece that is too long hides what follows it, so no row is taken.
    for long in [
        item("b", &"y".repeat(2_000_000)),
        format!("<a b='{}'/>", "z".repeat(2_000_000)),
        format!("<a>{}</a>", "w".repeat(2_000_000)),
    ] {
        assert_eq!(streamed(feed(vec![(1, item("a", "b")), (1, long)])), (vec![], too_long(3)));
    }
}
