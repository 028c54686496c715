//! CSV as spreadsheets write it: delimiters, empty columns and rows, encodings, quotes, and damaged cells.
//!
//! Depends on its neighbours.

use std::path::PathBuf;

use crate::catalogue::{
    entry::Row,
    read::{Format, Options, Reader},
    tests::read,
};

fn ids(text: &str) -> (String, Vec<String>) {
    let (entries, refused) = read(text.as_bytes(), Format::Csv);
    (entries.iter().map(|entry| entry.id.to_string()).collect::<Vec<_>>().join(" "), refused)
}

/// Reads a file of these bytes.
fn read_file(bytes: &[u8], encoding: Option<&str>) -> (Vec<String>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("x.csv");
    std::fs::write(&path, bytes).unwrap();
    let (mut titles, mut refused) = (Vec::new(), Vec::new());
    for (line, row) in Reader::open(&path, Options { encoding, ..Options::default() }).unwrap() {
        match row {
            Ok(row) => titles.extend(row.into_entries().into_iter().map(|entry| entry.details.title)),
            Err(error) => refused.push(format!("{line}: {error}")),
        }
    }
    (titles, refused)
}

#[test]
fn the_header_tells_the_delimiter() {
    for delimiter in [",", ";", "\t", "|"] {
        for end in ["\n", "\r\n", "\r"] {
            let rows = [
                "id,title,brand,price_minor,currency,stock",
                "a,A,X,100,EUR,5",
                ",,,,,",
                "b,\"B; C, D\",,200,EUR,",
                "",
            ];
            let (entries, refused) = read(rows.join(end).replace(',', delimiter).as_bytes(), Format::Csv);
            assert_eq!((entries.len(), refused), (2, Vec::new()), "{delimiter:?} {end:?}");
            assert_eq!(entries[0].stock, Some(5));
        }
    }
    assert_eq!(ids("sep=;\r\nid;title\r\na;A, B\r\n"), ("a".into(), Vec::new()));
    let (entries, _) = read(b"id;title;rating;rating_count\na;A;4,5;2\n", Format::Csv);
    assert_eq!(entries[0].details.imported_rating.unwrap().average_hundredths, 450);
}

#[test]
fn empty_cells_columns_and_rows_are_ignored() {
    assert_eq!(
        ids(" ID , Title ,Price_Minor,CURRENCY,,\n a1 , One ,100, EUR ,,\n,,,,,\n   \n b1,Two,100,EUR,,,,\n"),
        ("a1 b1".into(), Vec::new())
    );
    let (_, refused) = ids("id,title,\na,A,x\nb,B,,y\n");
    assert_eq!(
        refused,
        ["2: the cell \"x\" stands in a column without a name", "3: the row has 4 cells, the header has 3"]
    );
}

#[test]
fn a_stray_quote_only_refuses_its_own_row() {
    let header = "id,title,price_minor,currency,stock\n";
    let good = "z-1,Plain,100,EUR,1\n";
    for (row, taken) in [
        ("q-1,Monitor 24\" wide,100,EUR,1\n", true),
        ("q-1,24\",100,EUR,1\n", true),
        ("q-1,\"24\"\" monitor\",100,EUR,1\n", true),
        ("q-1,\"two\nlines\",100,EUR,1\n", true),
        ("q-1,\"24\" monitor\",100,EUR,1\n", false),
        ("q-1,\"24 monitor,100,EUR,1\n", false),
    ] {
        let file = format!("{header}{row}{good}q-3,Monitor 27\" wide,100,EUR,1\nq-4,\"a, b\",100,EUR,1\n");
        let (found, refused) = ids(&file);
        let wanted = if taken { "q-1 z-1 q-3 q-4" } else { "z-1 q-3 q-4" };
        assert_eq!(found, wanted, "{row:?} {refused:?}");
        assert_eq!(refused.len(), usize::from(!taken), "{row:?} {refused:?}");
        assert!(refused.iter().all(|reason| reason.starts_with("2: ")), "{refused:?}");
    }
    // A quote that opens a cell, and rows behind it that have quotes themselves, also over several lines.
    let (found, refused) = ids(&format!(
        "{header}q-1,\"24 monitor,100,EUR,1\n{good}q-3,\"a\nb, c\",100,EUR,1\nq-4,\"24\" monitor\",100,EUR,1\nq-5,E,1,EUR,1\n"
    ));
    assert_eq!((found.as_str(), refused.len()), ("z-1 q-3 q-5", 2), "{refused:?}");
    assert!(refused[0].starts_with("2: a quote opens a cell that does not end in its row"), "{refused:?}");
}

#[test]
fn a_cell_over_several_lines_is_one_cell() {
    // Each line would be a whole row by itself, and the second even one of a legal id.
    let (entries, refused) =
        read(b"id,title,description\np1,Lamp,\"Warm light\noak, brass, linen\"\np2,B,\n", Format::Csv);
    assert_eq!(refused, Vec::<String>::new());
    assert_eq!((entries.len(), entries[0].details.description.as_str()), (2, "Warm light\noak, brass, linen"));
    for end in ["\n", "\r\n", "\r"] {
        let file = ["id,title,description,brand", "a,\"A, B", "C\",\"1,2,3,4", "", "5,6,7,8\",X", "b,B,,"].join(end);
        let (entries, refused) = read(file.as_bytes(), Format::Csv);
        assert_eq!((entries.len(), refused), (2, Vec::new()), "{end:?}");
        assert_eq!(entries[0].details.description, format!("1,2,3,4{end}{end}5,6,7,8"));
    }
}

#[test]
fn nothing_of_a_refused_row_is_taken() {
    let header = "id,title,description,brand\n";
    for (row, last) in [
        ("p1,Lamp,\"Warm light\noak, brass, 5\" wide, linen\",X\n", 3),
        ("p1,Lamp,\"Warm light\noak,brass,5\" wide\nlinen,wool,silk,fur\",X\n", 4),
        ("p1,Lamp,\"Warm\noak,brass,linen,wool\nash,\"elm\",fir,yew\",X\n", 4),
    ] {
        let (found, refused) = ids(&format!("{header}{row}z-1,Plain,,Y\n"));
        assert!(refused[0].starts_with("2: a quote in this row is not closed where its cell ends"), "{refused:?}");
        assert!(refused[0].contains(&format!("nothing is taken up to line {last}.")), "{refused:?}");
        assert!(found.ends_with("z-1") && !found.contains("p1") && !found.contains("oak"), "{row:?}: {found}");
    }
}

#[test]
fn nothing_inside_a_cell_is_read_as_a_row() {
    let lines = |count: usize| ("x".repeat(199) + "\n").repeat(count);
    for (row, reason) in [
        // Longer than a row may be, and rightly quoted.
        (format!("a,A,\"{}evil,Injected,text\n{}\"\n", lines(6_000), lines(10)), "longer than 1048576 bytes"),
        (format!("a,A,\"{}evil,Injected,text\n\"\n", "x,y,z\n".repeat(200_000)), "longer than 1048576 bytes"),
        (format!("a,A,\"{}\nevil,Injected,text\n\"\n", "x".repeat(1_100_000)), "longer than 1048576 bytes"),
        // Quotes that are not written twice.
        ("a,A,\"the \"best\" table:\nevil,T1,D1\nend\"\n".into(), "nothing is taken up to line 4"),
        ("a,A,\"the \"best\" table:\nevil,T1,D1\nevil2,T2,D2\"\n".into(), "nothing is taken up to line 4"),
    ] {
        for end in ["\n", "\r\n"] {
            let file = format!("id,title,description\n{row}b,B,\"a, b\"\n").replace('\n', end);
            let (found, refused) = ids(&file);
            assert_eq!((found.as_str(), refused.len()), ("b", 1), "{refused:?}");
            assert!(refused[0].starts_with("2: ") && refused[0].contains(reason), "{refused:?}");
        }
    }
    // A quote that is wrong in its own line only, also twice, with a cell between quotes below.
    let file = "id,title,stock\na,\"Vintage\" lamp,5\nb,B,1\nc,\"Old\" lamp,6\nd,\"D, E\",3\ne,E,1\n";
    let (found, refused) = ids(file);
    assert_eq!((found.as_str(), refused.len()), ("b d e", 2), "{refused:?}");
}

/// Each line opens a cell that the next one closes too early, so that the first record goes on to the end of the file.
#[test]
fn a_file_of_quotes_takes_no_longer_than_its_length() {
    let mut file = String::from("id,title\n");
    for number in 0..60_000 {
        file.push_str(&format!("a{number}\"b,\"\n"));
    }
    file.push_str("z,Z\n");
    let begun = std::time::Instant::now();
    let rows = Reader::new(file.as_bytes(), Format::Csv).count();
    assert!(rows < 60_000, "{rows}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn a_header_has_a_limit_of_columns() {
    let empty = ",".repeat(16_382);
    assert_eq!(ids(&format!("id,title{empty}\na,A{empty}\n")), ("a".into(), Vec::new()), "as wide as a sheet");
    let attributes: Vec<String> = (0..2_000).map(|number| format!("attribute.{number}")).collect();
    let (_, refused) = ids(&format!("id,title,{}\na,A\n", attributes.join(",")));
    assert_eq!(refused, ["1: the header names 2002 columns, of which 2000 are read at most"]);
}

#[test]
fn a_stated_delimiter_is_one_that_separates_cells() {
    for stated in [";", ",", "\t", "|"] {
        let file = format!("\u{feff}sep={stated}\r\nid,title\r\na,A\r\n").replace("d,t", &format!("d{stated}t"));
        assert_eq!(ids(&file.replace("a,A", &format!("a{stated}A"))), ("a".into(), Vec::new()), "{stated:?}");
    }
    assert_eq!(ids("\"sep=;\"\nid;title\na;A\n"), ("a".into(), Vec::new()));
    for stated in ["\"", "x", "", ";;", "0"] {
        let (found, refused) = ids(&format!("sep={stated}\nid,title\na,A\n"));
        assert_eq!(found, "");
        assert!(refused[0].starts_with("1: the file states \""), "{refused:?}");
    }
}

/// What Excel writes as "CSV (Macintosh)" and "CSV (MS-DOS)" reads as Windows-1252, too, but not as words.
#[test]
fn encodings_that_look_like_windows_1252_are_refused_with_their_name() {
    let german = "id;title\na;Möbel für den Garten\nb;Schöne Möbel für draußen, größer als üblich\n";
    let french = "id;title\na;Théière\nb;Élégante théière en fonte émaillée, très légère\n";
    let high: Vec<u8> = (0x80..=0xff).collect();
    let in_table = |text: &str, table: Vec<char>| -> Vec<u8> {
        let byte = |c: char| table.iter().position(|known| *known == c).map(|at| high[at]);
        text.chars().map(|c| byte(c).or_else(|| u8::try_from(c).ok()).unwrap()).collect()
    };
    for text in [german, french] {
        let wanted: Vec<String> = text.lines().skip(1).map(|line| line[2..].to_owned()).collect();
        let mac = in_table(text, encoding_rs::MACINTOSH.decode(&high).0.chars().collect());
        let dos = in_table(text, crate::catalogue::dos::CP850.chars().collect());
        for (bytes, guess, name) in [(mac, "Mac Roman", "macintosh"), (dos, "MS-DOS", "cp850")] {
            let (titles, refused) = read_file(&bytes, None);
            assert!(titles.is_empty() && refused[0].contains(guess), "{titles:?} {refused:?}");
            assert_eq!(read_file(&bytes, Some(name)), (wanted.clone(), Vec::new()));
        }
        assert_eq!(read_file(&encoding_rs::WINDOWS_1252.encode(text).0, None), (wanted, Vec::new()));
    }
    let plain = "id;title\na;L’Oréal Café – 5 €, 24″, Müller® §5 A–B\n".replace('″', "\"");
    assert_eq!(read_file(&encoding_rs::WINDOWS_1252.encode(&plain).0, None).1, Vec::<String>::new());
    let utf_32: Vec<u8> = "id,title\na,A\n".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
    for bytes in [utf_32.clone(), [&[0xff, 0xfe, 0, 0][..], &utf_32].concat()] {
        assert!(read_file(&bytes, None).1[0].contains("UTF-32"));
    }
}

#[test]
fn an_empty_file_is_refused_and_a_ctrl_z_at_the_end_ignored() {
    for bytes in [&b""[..], b"\xef\xbb\xbf", b"\xff\xfe", b"\n\n", b"\x1a"] {
        assert_eq!(read_file(bytes, None).1, ["1: the file has no rows; it is empty"]);
    }
    for bytes in [&b"id,title\r\na,A\r\n\x1a"[..], b"id,title\na,A\x1a"] {
        assert_eq!(read_file(bytes, None), (vec!["A".to_owned()], Vec::new()));
    }
    let unseen = "id,title\na,\u{200b}\n";
    assert_eq!(read_file(unseen.as_bytes(), None).1, ["2: title is missing"]);
}

#[test]
fn barcodes_and_truth_values_are_read_as_spreadsheets_write_them() {
    let (entries, refused) = read(b"id,title,ean,is_book\na,A,5901234123457.0,WAHR\nb,B,,FAUX\n", Format::Csv);
    assert_eq!(refused, Vec::<String>::new());
    let attributes = &entries[0].details.attributes;
    assert!(attributes.contains(&("ean".into(), "5901234123457".into())), "{attributes:?}");
    assert!(attributes.contains(&("is_book".into(), "true".into())) && entries[1].details.attributes.is_empty());
    let (found, refused) =
        ids("id,title,ean\na,VERDADERO,\nb,Err:502,\nc,C,n/a\nd,D,5901230000000\ne,E,5.90123E12\nf,F,\n");
    assert_eq!((found.as_str(), refused.len()), ("f", 5), "{refused:?}");
}

#[test]
fn the_same_id_twice_is_reported() {
    let (found, refused) = ids("id,title\na,A\nb,B\na,C\n");
    assert_eq!((found.as_str(), refused.len()), ("a b", 1));
    assert_eq!(refused[0], "4: the id a is given twice in this file, first in line 2; this row is not taken");
}

#[test]
fn cells_damaged_by_a_spreadsheet_are_refused_with_their_line() {
    for (column, cell, reason) in [
        ("ean", "5.90123E+12", "in scientific notation"),
        ("ean", "36000291452", "lost its leading zeros"),
        ("sku", "1-Mar", "is a date"),
        ("size", "2-Mar", "is a date"),
        ("option.fit", "Mar-04", "is a date"),
        ("mpn", "TRUE", "is a truth value"),
        ("brand", "#REF!", "is the error of a formula"),
        ("attribute.weight", "#N/A", "is the error of a formula"),
        ("brand", "M\u{fffd}ller", "was lost in a conversion"),
        ("stock", "-5", "not the number -5"),
        ("stock", "1e3", "not the text \"1e3\""),
        ("stock", "1.5", "not the number 1.5"),
        ("price_minor", "12,50", "not the text \"12,50\""),
    ] {
        let (found, refused) = ids(&format!("id;title;{column}\na;A;{cell}\nb;B;\n"));
        assert_eq!(found, "b", "{column}");
        assert!(refused[0].starts_with("2: ") && refused[0].contains(reason), "{refused:?}");
    }
    let (found, refused) = ids("id,title,sku,ean,is_book\na,A,\"=\"\"0012\"\"\",5901234123457|0306406152,TRUE\n");
    assert_eq!((found.as_str(), refused), ("a", Vec::new()));
}

#[test]
fn files_in_other_encodings_are_read_or_refused_with_the_encoding() {
    let text = "id;title;brand\r\na;Größe für Männer;Müller & Söhne\r\nb;Crème brûlée – 5 €;Café\r\n";
    let utf_16: Vec<u8> = std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let big_endian: Vec<u8> = std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    let windows = encoding_rs::WINDOWS_1252.encode(text).0;
    for bytes in [text.as_bytes(), &utf_16, &big_endian, &windows, format!("\u{feff}{text}").as_bytes()] {
        let (titles, refused) = read_file(bytes, None);
        assert_eq!(refused, Vec::<String>::new());
        assert_eq!(titles, ["Größe für Männer", "Crème brûlée – 5 €"]);
    }
    let russian = "id;title\r\na;Чайник электрический белый\r\nb;Кружка синяя большая\r\n";
    let bytes = encoding_rs::WINDOWS_1251.encode(russian).0;
    let (titles, refused) = read_file(&bytes, None);
    assert_eq!(titles, Vec::<String>::new());
    assert!(refused[0].contains("the file is not UTF-8; it looks like windows-1251"), "{refused:?}");
    assert_eq!(read_file(&bytes, Some("windows-1251")).0, ["Чайник электрический белый", "Кружка синяя большая"]);
    assert!(read_file(b"PK\x03\x04...", None).1[0].contains("an Excel workbook"));
    let (titles, refused) = read_file(b"id,title\na,\xc3\xa9t\xc3\xa9\nb,\xff\n", None);
    assert_eq!((titles, refused), (vec!["été".into()], vec!["3: the row is not UTF-8 text".into()]), "one bad row");
}

#[test]
fn a_file_of_changes_has_no_titles() {
    let rows: Vec<_> = Reader::new(&b"ID,Quantity\na,5\nb,\nc,-1\na,6\n"[..], Format::Csv).collect();
    let Row::Change(change) = rows[0].1.as_ref().unwrap() else { panic!("{rows:?}") };
    assert_eq!((change.id.as_str(), change.price, change.stock), ("a", None, Some(5)));
    let reasons: Vec<String> = rows[1..].iter().map(|(_, row)| row.as_ref().unwrap_err().to_string()).collect();
    assert_eq!(reasons[0], "neither a price nor a stock is given");
    assert_eq!(reasons[1], "stock must be a whole number from 0, not the number -1");
    assert!(reasons[2].starts_with("the id a is given twice"));
}

#[test]
fn a_header_again_is_passed_over_and_numbers_of_other_countries_are_refused() {
    assert_eq!(ids("id,title\na,A\n ID ,Title\nb,B\n"), ("a b".into(), Vec::new()), "two files joined");
    let rows: Vec<_> = Reader::new(&b"id;quantity\na;5\nid;quantity\nb;6\n"[..], Format::Csv).collect();
    assert!(rows.len() == 2 && rows.iter().all(|(_, row)| row.is_ok()), "{rows:?}");
    for cell in [
        "1.234,50", "1,234.50", "1'234.50", "1.000", "1 000", "€5", "5 EUR", "1E+3", "10+", "in stock", "1-Mar",
        "\u{0}5",
    ] {
        for column in ["price_minor", "stock"] {
            let (found, refused) = ids(&format!("id\ttitle\t{column}\na\tA\t{cell}\nb\tB\t\n"));
            assert_eq!((found.as_str(), refused.len()), ("b", 1), "{cell} {refused:?}");
            assert!(refused[0].starts_with(&format!("2: {column} ")), "{refused:?}");
        }
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_is_refused_without_being_kept_in_memory() {
    let long = std::io::Read::take(std::io::repeat(b'x'), 100_000_000);
    let input = std::io::Read::chain(std::io::Read::chain(&b"id,title\na,A\nb,"[..], long), &b"\nc,C\n"[..]);
    let rows: Vec<_> = Reader::new(std::io::BufReader::new(input), Format::Csv).collect();
    let mut lines: Vec<(u64, bool)> = rows.iter().map(|(line, row)| (*line, row.is_ok())).collect();
    lines.sort_unstable();
    assert_eq!(lines, [(2, true), (3, false), (4, true)]);
}
