//! Variants in CSV: in any order, and a product with one that cannot be read is refused whole.
//!
//! Depends on its neighbours.

use crate::catalogue::{read::Format, tests::read};

const HEADER: &str = "id,title,price_minor,currency,stock,variant_of,sku,size\n";

fn rows(text: &str) -> (Vec<String>, Vec<String>) {
    let (entries, refused) = read(format!("{HEADER}{text}").as_bytes(), Format::Csv);
    (entries.iter().map(|entry| entry.id.to_string()).collect(), refused)
}

#[test]
fn variants_may_stand_anywhere() {
    let product = "h1,Hoodie,100,EUR,,,,\n";
    let [a, b, c] = [",,,,4,h1,A,S\n", ",,,,5,h1,B,M\n", ",,,,6,h1,C,L\n"];
    let hat = "h2,Hat,100,EUR,3,,,\n";
    for text in [[product, a, b, c, hat], [a, b, product, hat, c], [hat, c, b, a, product], [product, a, hat, b, c]] {
        let (mut found, refused) = rows(&text.concat());
        found.sort();
        assert_eq!((found, refused), (["h1", "h1:A", "h1:B", "h1:C", "h2"].map(str::to_owned).into(), Vec::new()));
    }
}

#[test]
fn a_product_with_a_row_that_cannot_be_read_is_refused_whole() {
    let (first, last) = ("h1,Hoodie,100,EUR,,,,\n,,,,5,h1,B,M\n", "h2,Hat,100,EUR,3,,,\n");
    for (row, reason) in [
        (",,,,4,h1,A,S,Red,,x", "the row has 11 cells, the header has 8"),
        (",,,,4,h1,A", "the row has 7 cells, the header has 8"),
        (",,,,4,h1,A,10-Dez", "is a date"),
        (",\"The \"A\" one\",,,4,h1,A,S", "holds a quote itself"),
    ] {
        for text in [format!("{first}{row}\n{last}"), format!("{row}\n{first}{last}")] {
            let (found, refused) = rows(&text);
            assert_eq!((found, refused.len()), (vec!["h2".to_owned()], 2), "{refused:?}");
            assert!(refused.iter().any(|refusal| refusal.contains(reason)), "{refused:?}");
            let line = if text.starts_with("h1") { 4 } else { 2 };
            let product = format!("the row in line {line}, which may belong to this product, cannot be read");
            assert!(refused.iter().any(|refusal| refusal.contains(&product)), "{refused:?}");
        }
    }
    let (found, refused) = rows("h1,Hoodie,x,EUR,,,,\n,,,,5,h1,B,M\nh2,#REF!,,,,,,\n,,,,5,h2,B,M\n,,,,5,h3,B,M\n");
    assert_eq!(found, Vec::<String>::new());
    let reasons = [
        "2: price_minor must be",
        "4: title \"#REF!\"",
        "5: its parent \"h2\" is refused, see line 4",
        "6: its parent \"h3\"",
    ];
    assert_eq!(refused.len(), reasons.len(), "{refused:?}");
    assert!(refused.iter().zip(reasons).all(|(refusal, reason)| refusal.starts_with(reason)), "{refused:?}");
}

#[test]
fn the_line_at_fault_is_the_one_that_is_named() {
    let text =
        "h1,Hoodie,100,EUR,,,,\n,,,,5,h1,A,S\n,,,,x,h1,B,M\nh2,Hat,100,EUR,3,,,\n,,,,5,h2,S 1,S\n,,,,5,h2,S 1,M\n";
    let (found, refused) = rows(text);
    assert_eq!(found, Vec::<String>::new());
    assert!(refused[0].starts_with("4: variant 2 (B): stock must be a whole number"), "{refused:?}");
    assert_eq!(refused[1], "7: the id S 1 occurs twice in this row; give each variant its own sku");
    let (_, refused) = rows("h1,Hoodie,100,EUR,,,,\n,,,,5,h1,A,S\n,,,,5,h1,B,S\n");
    assert_eq!(refused, ["4: variant B has the same options as another one: S"]);
}
