//! Which lines are refused and why, and that the lines around them are read all the same.

use std::io::{self, BufRead, BufReader, Read};

use crate::{
    catalogue::{
        read::{Format, LINE_BYTES_MAX, Options, Reader},
        tests::{product, read, reason, written},
    },
    domain::product::{DESCRIPTION_BYTES_MAX, Picture, TITLE_BYTES_MAX},
};

const GOOD: &str = r#"{"id":"a","title":"A"}"#;

/// A valid line with these fields added.
fn with(fields: &str) -> String {
    format!(r#"{{"id":"a","title":"A",{fields}}}"#)
}

#[test]
fn a_bad_line_is_refused_with_its_reason() {
    let table = [
        ("{\"id\":\"a\",\"title\":\"A\"", "the row ends too early; the file may be cut off"),
        ("# a comment", "the row is not JSON: expected value, at byte 1"),
        ("{\"id\":\"a\" \"title\":\"A\"}", "the row is not JSON: expected `,` or `}`, at byte 11"),
        ("7", "the row must be a JSON object such as {\"id\": …}, not the number 7"),
        (
            "[",
            "the row must be a JSON object such as {\"id\": …}, not a list; write one object a line, without [ and ]",
        ),
        ("{}", "id is missing"),
        (r#"{"id":"a","title":" "}"#, "title is missing"),
        (r#"{"id":"a","title":null}"#, "title is missing"),
        (r#"{"id":5,"title":"A"}"#, "id must be a text, not the number 5"),
        (
            r#"{"id":"a/b","title":"A"}"#,
            "id \"a/b\" is not a valid product id: 1 to 64 characters of A-Z a-z 0-9 . _ : - beginning with a letter or digit",
        ),
        (r#"{"id":"a","title":"A","id":"b"}"#, "id is given twice"),
    ];
    for (line, expected) in table {
        assert_eq!(reason(line), expected, "{line}");
    }
}

#[test]
fn a_bad_field_is_refused_with_its_name() {
    let table = [
        (r#""pric_minor":5"#, "pric_minor is not a field of a catalogue row"),
        (r#""price_minor":5"#, "price_minor is given without currency"),
        (r#""currency":"INR""#, "currency is given without price_minor"),
        (r#""currency":"INR","price_minor":null"#, "currency is given without price_minor"),
        (r#""currency":"inr","price_minor":5"#, "currency must be an ISO 4217 code such as INR, not \"inr\""),
        (r#""currency":"INR","price_minor":-5"#, "price_minor must be a whole number from 0, not the number -5"),
        (r#""currency":"INR","price_minor":5.5"#, "price_minor must be a whole number from 0, not the number 5.5"),
        (r#""currency":"INR","price_minor":"5""#, "price_minor must be a whole number from 0, not the text \"5\""),
        (
            r#""currency":"INR","price_minor":9007199254740992"#,
            "price_minor must be smaller, not the number 9007199254740992",
        ),
        (r#""stock":-1"#, "stock must be a whole number from 0, not the number -1"),
        (r#""stock":1e3"#, "stock must be a whole number from 0, not the number 1000.0"),
        (r#""rating":5.1,"rating_count":1"#, "rating must be between 0 and 5, not the number 5.1"),
        (r#""rating":"4","rating_count":1"#, "rating must be a number, not the text \"4\""),
        (r#""rating":4,"rating_count":4294967296"#, "rating_count must be smaller, not the number 4294967296"),
        (r#""brand":7"#, "brand must be a text, not the number 7"),
        (
            r#""category":7"#,
            "category must be a list of texts or a text such as \"Audio > Headphones\", not the number 7",
        ),
        (r#""category":["A",7]"#, "category must be a list of texts, not the number 7"),
        (r#""category":"A > > B""#, "category must have names of 1 to 1000 bytes"),
        (r#""category":["1","2","3","4","5","6","7","8","9","10","11"]"#, "category must have at most 10 levels"),
        (r#""attributes":{"a":{}}"#, "attributes.a must be a text, a number or a flag, not an object"),
        (r#""attributes":{"a":1,"a":2}"#, "attributes.a is given twice"),
        (
            r#""attributes":{"a":12345678901234567890123}"#,
            "attributes.a must be a text where the number is that large, not the number 1.2345678901234568e+22",
        ),
        (r#""attributes":[["a"]]"#, "attributes must be an object, or a list of [name, value], not a list"),
        (r#""attributes":{"color":"red"},"color":"blue""#, "color is given twice"),
        (r#""ean":"5""#, "ean must be a list of texts, not the text \"5\""),
        (r#""is_book":1"#, "is_book must be true or false, not the number 1"),
        (r#""source":1"#, "source must be a text, not the number 1"),
        (
            r#""images":["http://a/1","http://a/2","http://a/3","http://a/4","http://a/5","http://a/6","http://a/7","http://a/8","http://a/9","http://a/10","http://a/11","http://a/12","http://a/13","http://a/14","http://a/15","http://a/16","http://a/17","http://a/18","http://a/19","http://a/20","http://a/21"]"#,
            "images must be at most 20",
        ),
        (r#""image_alt":"A""#, "image_alt is given without a picture"),
        (r#""image_alt":"A","images":[{"url":"u","alt":"B"}]"#, "image_alt is given twice"),
        (r#""images":[1]"#, "images must be a list of addresses, or of objects of url and alt, not the number 1"),
        (r#""images":[{"alt":"A"}]"#, "url is missing"),
        (r#""images":[{"url":"u","text":"A"}]"#, "text is not a field of a picture"),
        (r#""thumbnail_url":1"#, "thumbnail_url must be an address, or an object of url and alt, not the number 1"),
        (r#""variants":{}"#, "variants must be a list of objects, not an object"),
        (r#""variants":[7]"#, "variant 1: the row must be a JSON object such as {\"id\": …}, not the number 7"),
        (r#""variants":[{}]"#, "variant 1: sku or id is missing"),
        (r#""variants":[{"sku":"S","colour":"x"}]"#, "variant 1 (S): colour is not a field of a variant"),
        (r#""variants":[{"sku":"S","price_minor":5}]"#, "variant 1 (S): price_minor is given without currency"),
        (
            r#""variants":[{"sku":"S"},{"sku":"S"}]"#,
            "the id a:S occurs twice in this row; give each variant its own sku",
        ),
        (r#""variants":[{"sku":"S","size":"S","options":{"size":"M"}}]"#, "variant 1 (S): size is given twice"),
        (
            r#""variants":[{"product":"p","stock":1}]"#,
            "variant 1 (p): stock is not a field of a variant that refers to a product by its id",
        ),
        (r#""variants":[{"sku":"S"}],"variant_of":"b""#, "variants cannot have variants themselves"),
    ];
    for (fields, expected) in table {
        assert_eq!(reason(&with(fields)), expected, "{fields}");
    }
}

#[test]
fn texts_over_their_limits_are_refused() {
    let long = |field: &str, bytes: usize| format!(r#"{{"id":"a","{field}":"{}"}}"#, "x".repeat(bytes));
    assert_eq!(reason(&long("title", TITLE_BYTES_MAX + 1)), "title must be at most 2000 bytes");
    let description = with(&format!(r#""description":"{}""#, "x".repeat(DESCRIPTION_BYTES_MAX + 1)));
    assert_eq!(reason(&description), "description must be at most 32768 bytes");
    let image = with(&format!(r#""image_url":"{}""#, "x".repeat(1_001)));
    assert_eq!(reason(&image), "images must be absolute http or https URLs of 1 to 1000 bytes");
    let pairs: Vec<String> = (0..201).map(|name| format!(r#""{name}":null"#)).collect();
    let attributes = with(&format!(r#""attributes":{{{}}}"#, pairs.join(",")));
    assert_eq!(reason(&attributes), "attributes must be at most 200 names and values, not 201");
    let many: Vec<String> = (0..501).map(|sku| format!(r#"{{"sku":"{sku}"}}"#)).collect();
    assert_eq!(reason(&with(&format!(r#""variants":[{}]"#, many.join(",")))), "variants must be at most 500");
}

#[test]
fn what_a_row_may_leave_out_or_say_differently() {
    let entry = product(
        r#"{"id":"a","title":"A","description":null,"brand":"","category":"Audio > Headphones","bullets":["One","Two"],
            "price_minor":0,"currency":"INR","image_url":"http://a/1","image_alt":"One","images":[{"url":"http://a/2","alt":"Two"},"http://a/1"," "],"color":"red","rating":4.456,
            "rating_count":3,"stock":0,"attributes":{"z":1.50,"b":true,"n":null,"a":2},"ean":["01","02"],"source":"x"}"#,
    );
    let details = entry.details;
    assert_eq!(details.description, "• One\n• Two");
    assert_eq!((details.brand, details.price.unwrap().minor, entry.stock), (None, 0, Some(0)));
    assert_eq!(details.category, ["Audio", "Headphones"]);
    let first = Picture { alt: Some("One".into()), ..Picture::at("http://a/1") };
    assert_eq!(details.thumbnail.as_ref(), Some(&first));
    assert_eq!(details.pictures, [first, Picture { alt: Some("Two".into()), ..Picture::at("http://a/2") }]);
    assert_eq!(details.imported_rating.unwrap().average_hundredths, 446);
    let pairs = [("color", "red"), ("z", "1.5"), ("b", "true"), ("a", "2"), ("ean", "01, 02")];
    let attributes: Vec<_> = details.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(attributes, pairs, "in the order of the file");
}

/// A CSV file is refused for it, because a conversion has damaged it; what the shop has must come back as it is.
#[test]
fn json_keeps_the_character_that_stands_for_a_lost_one() {
    let entry = product("{\"id\":\"a\",\"title\":\"M\u{fffd}ller\"}");
    assert_eq!(entry.details.title, "M\u{fffd}ller");
    assert_eq!(read(&written(std::slice::from_ref(&entry)), Format::JsonLines).0, [entry]);
}

#[test]
fn a_sku_that_makes_no_id_is_made_one() {
    let row = with(
        r#""variants":[{"sku":"Größe 5/6"},{"sku":"Größe 5 6"},{"sku":"0123456789012345678901234567890123456789012345678901234567890123"}]"#,
    );
    let entries = crate::catalogue::row::parse(&row).unwrap();
    let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    assert!(ids[1].starts_with("a:Gr--e-5-6-") && ids[2].starts_with("a:Gr--e-5-6-"), "{ids:?}");
    assert_ne!(ids[1], ids[2]);
    assert_eq!(ids[3].len(), 64);
}

#[test]
fn the_lines_around_a_bad_one_are_read() {
    let long = format!(r#"{{"id":"a","title":"{}"}}"#, "x".repeat(LINE_BYTES_MAX));
    let other = GOOD.replacen("\"a\"", "\"b\"", 1);
    let file = format!("\u{feff}{GOOD}\r\n\r\n  \n{long}\nnonsense\n{other}\n{}", &GOOD[..10]);
    let (entries, refused) = read(file.as_bytes(), Format::JsonLines);
    assert_eq!(entries.len(), 2);
    let too_long = "4: the row is longer than 1048576 bytes";
    let nonsense = "5: the row is not JSON: a word that is not true, false or null, at byte 2";
    assert_eq!(refused, [too_long, nonsense, "7: the row ends too early; the file may be cut off"]);

    let (entries, refused) =
        read(b"{\"id\":\"a\",\"title\":\"\xff\"}\n{\"id\":\"a\",\"title\":\"A\"}", Format::JsonLines);
    assert_eq!((entries.len(), refused), (1, vec!["1: the row is not UTF-8 text".into()]));
}

#[test]
fn a_line_of_just_the_longest_length_is_read() {
    let pad = " ".repeat(LINE_BYTES_MAX - GOOD.len());
    let (entries, refused) = read(format!("\u{feff}{GOOD}{pad}\r\n").as_bytes(), Format::JsonLines);
    assert_eq!((entries.len(), refused.len()), (1, 0));
    let (entries, refused) = read(format!("{GOOD}{pad} \n").as_bytes(), Format::JsonLines);
    assert_eq!((entries.len(), refused.len()), (0, 1));
}

/// A source that yields an endless line, and fails if the reader keeps it in memory.
struct Endless(u64);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("the disk is gone"));
        }
        self.0 -= 1;
        buffer.fill(b'x');
        Ok(buffer.len())
    }
}

#[test]
fn a_source_that_fails_is_the_last_item() {
    let mut reader = Reader::new(BufReader::new(Endless(10_000)), Format::JsonLines);
    let (line, row) = reader.next().unwrap();
    assert_eq!((line, row.unwrap_err().to_string().as_str()), (1, "the file cannot be read: the disk is gone"));
    assert!(reader.next().is_none());
    assert_eq!(reader.bytes_read(), 10_000 * 8_192);
}

#[test]
fn csv_says_the_same_as_json() {
    let csv = "id,title,category,price_minor,currency,images,rating,rating_count,is_book,attribute.material,variant_of,sku,size,option.fit,stock\r\n\
               p,\"A \"\"good\"\" shirt,\nreally\",Fashion > Men,129900,INR,http://a/1|http://a/2,4.5,12,false,cotton,,,,,\r\n\
               p-1,Shirt of its own,,,,,,,,,p,P1,S,slim,3\r\n\
               ,,,139900,,,,,,,p,P2,M,slim,4\r\n\
               \r\n\
               q,Book,,,,,,,true,,,,,,0";
    let (entries, refused) = read(csv.as_bytes(), Format::Csv);
    // As in JSON, a variant without an id of its own is identified by its sku.
    assert_eq!(refused, Vec::<String>::new());
    let json = concat!(
        r#"{"id":"p","title":"A \"good\" shirt,\nreally","category":["Fashion","Men"],"price_minor":129900,"currency":"INR","#,
        r#""images":["http://a/1","http://a/2"],"rating":4.5,"rating_count":12,"attributes":{"material":"cotton"},"variants":["#,
        r#"{"id":"p-1","title":"Shirt of its own","sku":"P1","size":"S","options":{"fit":"slim"},"stock":3},"#,
        r#"{"price_minor":139900,"sku":"P2","size":"M","options":{"fit":"slim"},"stock":4}]}"#,
        "\n",
        r#"{"id":"q","title":"Book","is_book":true,"stock":0}"#
    );
    assert_eq!(entries, read(json.as_bytes(), Format::JsonLines).0);
    assert_eq!(entries[2].id.as_str(), "p:P2");
}

const QUOTE_OPEN: &str = "3: a quote opens a cell that does not end in its row: up to line 4 it would take in 2 lines; \
    the rows after this line are read on their own. Write a quote inside a cell twice, and the cell between quotes";
const LINES_JOINED: &str = "3: a quote in this row is not closed where its cell ends, so what belongs to the row cannot be \
    told: nothing is taken up to line 4. Write a quote inside a cell twice, and the cell between quotes";

#[test]
fn bad_csv_is_refused_with_its_reason() {
    let table = [
        (
            "id,name\n",
            "1: the header names a column \"name\", which a catalogue file does not have; the name of a product is title",
        ),
        ("id,title,id\n", "1: the header names the column \"id\" twice"),
        ("id,brand\n", "1: the header lacks the column title; the first line of a CSV file names its columns"),
        ("id,title\na\n", "2: the row has 1 cells, the header has 2"),
        ("id,title\n\na,\"A\nB,B\n", QUOTE_OPEN),
        ("id,title\n\na,\"A\nB\n", LINES_JOINED),
        // Without the end of its last line a file may be cut off, and that line may belong to the cell.
        ("id,title\n\na,\"A\nB,B", LINES_JOINED),
        ("id,title\n,A\n", "2: id is missing"),
        ("id,title\na,\u{0}\n", "2: title contains a NUL character, which is not allowed"),
        ("id,title,stock\na,A,many\n", "2: stock must be a whole number from 0, not the text \"many\""),
        (
            "id,title,price_minor,currency\na,A,12.50,INR\n",
            "2: price_minor must be a whole number from 0, not the number 12.5",
        ),
        ("id,title,is_book\na,A,yes\n", "2: is_book must be true or false, not the text \"yes\""),
        ("id,title,option.size\na,A,S\n", "2: options is not a field of a catalogue row"),
        ("id,title,variant_of\na,A,b\n", "2: its parent \"b\" is not in this file"),
    ];
    for (file, expected) in table {
        let (_, refused) = read(file.as_bytes(), Format::Csv);
        assert_eq!(refused.join("; "), expected, "{file:?}");
    }
    let endless = format!("id,title\na,\"A\n{}b,B\n", "c,C\n".repeat(LINE_BYTES_MAX / 4));
    let (entries, refused) = read(endless.as_bytes(), Format::Csv);
    assert!(refused[0].contains("nothing is taken up to line 262147"), "{refused:?}");
    assert_eq!((entries.len(), refused.len()), (0, 1), "what may stand inside a cell is never a row");
}

#[test]
fn the_form_is_told_by_name_or_first_byte() {
    let of = |name: &str| Format::of_path(name.as_ref());
    assert_eq!(of("x.JSONL"), Some(Format::JsonLines));
    assert_eq!((of("x.csv"), of("x.txt"), of("x")), (Some(Format::Csv), None, None));
    let sniffed = |bytes: &[u8]| Reader::sniffing(BufReader::new(bytes)).unwrap().count();
    assert_eq!(sniffed(b"\xef\xbb\xbf \n{}\n{}\n"), 2);
    assert_eq!(sniffed(b"id,title\na,A\nb,B\nc,C\n"), 3);
    assert_eq!(sniffed(b""), 0);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalogue");
    std::fs::write(&path, "id,title\na,A\n").unwrap();
    assert_eq!(Reader::open(&path, Options::default()).unwrap().count(), 1);
}

/// Even if a `BufRead` returns single bytes, the lines are the same.
#[test]
fn lines_do_not_depend_on_the_chunks_they_come_in() {
    let with_id = |id: &str| GOOD.replacen("\"a\"", &format!("\"{id}\""), 1);
    let file = format!("\u{feff}{}\r\n{}\n{}\r{GOOD}", with_id("x"), with_id("y"), with_id("z"));
    let input: Box<dyn BufRead> = Box::new(BufReader::with_capacity(1, file.as_bytes()));
    let lines: Vec<u64> = Reader::new(input, Format::JsonLines).map(|(line, row)| row.map(|_| line).unwrap()).collect();
    assert_eq!(lines, [1, 2, 3, 4]);
}
