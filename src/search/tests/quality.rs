//! How good and how fast search is on the judged queries of two real catalogues, where the data is: in the directory
//! that `TEST_DATA_DIR` names, or in `../shared/data`.
//!
//! The figures to beat are those of a plain BM25 on the same data (its README). Speed is only printed: it belongs to
//! the machine and to the build.

use std::{
    collections::HashMap,
    fs,
    hint::black_box,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tantivy::{
    TantivyDocument, Term,
    collector::{Count, TopDocs},
    query::{BooleanQuery, Occur, Query, TermQuery},
    schema::IndexRecordOption,
};

use crate::{
    actors::projection::Projection,
    domain::{
        entity::Timestamp,
        ids::{ProductId, SellerId},
        money::Money,
        product::{Details, Event, Picture},
    },
    search::{ANALYZER, IndexProjection, Search, SearchRequest},
    skipped::data_file,
    storage::Position,
};

/// NDCG@10 of the plain BM25 on ESCI, unjudged products counted as bad.
const ESCI_REFERENCE: f64 = 0.599;
/// The same on Icecat.
const ICECAT_REFERENCE: f64 = 0.733;
/// How long speed is measured.
const MEASURED: Duration = Duration::from_secs(2);

/// The directory of the test data.
fn data() -> Option<PathBuf> {
    data_file("products_esci.jsonl").and_then(|file| Some(file.parent()?.to_owned()))
}

fn details(line: &Value) -> Details {
    let text = |name: &str| line[name].as_str().map(str::to_owned).filter(|text| !text.trim().is_empty());
    let list = |name: &str| line[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let price = |minor: u64| Money { minor, currency: line["currency"].as_str().unwrap().parse().unwrap() };
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut attributes: Vec<(String, String)> = Vec::new();
    for (name, value) in line["attributes"].as_object().into_iter().flatten() {
        attributes.push((name.clone(), shown(value)));
    }
    for name in ["color", "mpn"] {
        attributes.extend(text(name).map(|value| (name.to_owned(), value)));
    }
    attributes.extend(list("ean").map(|value| ("ean".to_owned(), value)));
    let paragraphs: Vec<String> = text("description").into_iter().chain(list("bullets")).collect();
    Details {
        title: text("title").unwrap(),
        description: paragraphs.join("\n"),
        brand: text("brand"),
        category: list("category").collect(),
        price: line["price_minor"].as_u64().map(price),
        thumbnail: text("image_url").map(Picture::at),
        pictures: Vec::new(),
        attributes,
        imported_rating: None,
        variant_of: None,
        variants: Vec::new(),
    }
}

/// A catalogue, indexed.
struct Catalogue {
    _directory: tempfile::TempDir,
    search: Search,
    products: usize,
}

fn catalogue(data: &std::path::Path, file: &str) -> Catalogue {
    let directory = tempfile::tempdir().unwrap();
    let search = Search::open(&directory.path().join("index")).unwrap();
    let mut projection = IndexProjection::new(search.clone()).unwrap();
    let text = fs::read_to_string(data.join(file)).unwrap();
    let change = |(line, at): (&str, u64)| {
        let line: Value = serde_json::from_str(line).unwrap();
        let id = line["id"].as_str().unwrap().parse().unwrap();
        (id, Event::Listed { details: Arc::new(details(&line)), seller: SellerId(1), at: Timestamp(at) })
    };
    let changes: Vec<(ProductId, Event)> = text.lines().zip(0..).map(change).collect();
    let begun = Instant::now();
    for (id, event) in &changes {
        projection.apply_event(id, event).unwrap();
    }
    projection.commit(Position(1)).unwrap();
    eprintln!("{file}: {} products indexed in {} ms", changes.len(), begun.elapsed().as_millis());
    assert_eq!(search.products(), changes.len() as u64);
    Catalogue { _directory: directory, search, products: changes.len() }
}

fn queries(data: &std::path::Path, set: &str) -> Vec<(String, String)> {
    let mut reader = csv::Reader::from_path(data.join(format!("queries_{set}.csv"))).unwrap();
    reader.records().map(|row| row.unwrap()).map(|row| (row[0].to_owned(), row[1].to_owned())).collect()
}

/// The mean NDCG@10 with unjudged products counted as bad, and with them left out.
fn ndcg(search: &Search, data: &std::path::Path, set: &str, gain: impl Fn(&csv::StringRecord) -> f64) -> (f64, f64) {
    let mut judged: HashMap<String, HashMap<String, f64>> = HashMap::new();
    for row in csv::Reader::from_path(data.join(format!("judgments_{set}.csv"))).unwrap().records() {
        let row = row.unwrap();
        judged.entry(row[0].to_owned()).or_default().insert(row[1].to_owned(), gain(&row));
    }
    let dcg = |gains: &mut dyn Iterator<Item = f64>| -> f64 {
        gains.take(10).zip(2_u32..).map(|(gain, place)| gain / f64::from(place).log2()).sum()
    };
    let (mut plain, mut condensed, mut counted) = (0.0, 0.0, 0.0);
    for (id, text) in queries(data, set) {
        let gains = &judged[&id];
        let mut best: Vec<f64> = gains.values().copied().collect();
        best.sort_by(|left, right| right.total_cmp(left));
        let ideal = dcg(&mut best.into_iter());
        if ideal == 0.0 {
            continue;
        }
        let page = search.find(&SearchRequest { text: Some(text), limit: 100, ..SearchRequest::default() }).unwrap();
        let known = |hit: &crate::search::Hit| gains.get(hit.product.as_str()).copied();
        plain += dcg(&mut page.hits.iter().map(|hit| known(hit).unwrap_or(0.0))) / ideal;
        condensed += dcg(&mut page.hits.iter().filter_map(known)) / ideal;
        counted += 1.0;
    }
    (plain / counted, condensed / counted)
}

#[test]
fn esci_is_at_least_as_good_as_the_reference() {
    let Some(data) = data() else { return };
    let catalogue = catalogue(&data, "products_esci.jsonl");
    let (plain, condensed) = ndcg(&catalogue.search, &data, "esci", |row| row[4].parse().unwrap());
    eprintln!("ESCI: NDCG@10 {plain:.3} ({condensed:.3} condensed), reference {ESCI_REFERENCE}");
    assert!(plain >= ESCI_REFERENCE);
    let counts = catalogue.search.categories().unwrap();
    let clothing = counts.iter().find(|count| count.path == ["Clothing, Shoes & Jewelry"]).unwrap();
    assert_eq!(clothing.count, 1_871);
}

#[test]
fn icecat_is_at_least_as_good_as_the_reference() {
    let Some(data) = data() else { return };
    let catalogue = catalogue(&data, "products_icecat.jsonl");
    let gain = |row: &csv::StringRecord| 2_f64.powi(row[2].parse().unwrap()) - 1.0;
    let (plain, condensed) = ndcg(&catalogue.search, &data, "icecat", gain);
    eprintln!("Icecat: NDCG@10 {plain:.3} ({condensed:.3} condensed), reference {ICECAT_REFERENCE}");
    assert!(plain >= ICECAT_REFERENCE);

    let find = |text: &str| {
        let request = SearchRequest { text: Some(text.to_owned()), ..SearchRequest::default() };
        catalogue.search.find(&request).unwrap()
    };
    for (text, part) in [
        ("hp 80", "HP 80"),
        ("c4872a", "HP 80"),
        ("brother tn-2110 toner", "TN-2110"),
        ("wireless headphones", "headphone"),
        ("hdmi cable", "HDMI"),
    ] {
        let first = &find(text).hits[0];
        assert!(first.title.to_lowercase().contains(&part.to_lowercase()), "{text}: {}", first.title);
    }
    assert!(find("laptop").total < catalogue.products / 2);
    compare_speed(&catalogue.search, &data);
}

/// Prints searches per second of one thread beside tantivy's own union over the same index. They take turns, so that
/// whatever else the machine does slows all of them.
fn compare_speed(search: &Search, data: &std::path::Path) {
    let texts: Vec<String> = queries(data, "icecat").into_iter().map(|(_, text)| text).collect();
    let snapshot = search.snapshot();
    let fields = *search.fields();
    let raw = |text: &str| -> BooleanQuery {
        let mut words: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        ANALYZER.with_borrow_mut(|analyzer| {
            analyzer.each_word(text, |word| {
                let term = Term::from_field_text(fields.words, word);
                words.push((Occur::Should, Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))));
            });
        });
        BooleanQuery::new(words)
    };
    let top = || TopDocs::with_limit(20).order_by_score();
    let read = |found: Vec<(f32, tantivy::DocAddress)>| {
        for (_, address) in found {
            black_box(snapshot.searcher.doc::<TantivyDocument>(address).unwrap());
        }
    };
    let find = |text: Option<&str>| {
        let request = SearchRequest { text: text.map(str::to_owned), ..SearchRequest::default() };
        black_box(search.find(&request).unwrap());
    };
    type Contender<'a> = (&'a str, Box<dyn Fn(&str) + 'a>);
    let contenders: [Contender<'_>; 4] = [
        ("this room, 20 hits with cards and the exact total", Box::new(|text| find(Some(text)))),
        ("this room, browsing everything", Box::new(|_| find(None))),
        (
            "tantivy, 20 hits with stored fields",
            Box::new(|text| read(snapshot.searcher.search(&raw(text), &top()).unwrap())),
        ),
        (
            "tantivy, the same with the exact total",
            Box::new(|text| read(snapshot.searcher.search(&raw(text), &(top(), Count)).unwrap().0)),
        ),
    ];
    let mut spent = [Duration::ZERO; 4];
    let (begun, mut searches) = (Instant::now(), 0_u32);
    while begun.elapsed() < MEASURED {
        for text in &texts {
            for ((_, one), spent) in contenders.iter().zip(&mut spent) {
                let begun = Instant::now();
                one(text);
                *spent += begun.elapsed();
            }
            searches += 1;
        }
    }
    for ((name, _), spent) in contenders.iter().zip(spent) {
        eprintln!("{name}: {:.0} searches/s", f64::from(searches) / spent.as_secs_f64());
    }
}
