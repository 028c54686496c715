//! A search against plain tantivy, over the same products and the same queries.
//!
//! Both return the best 20 with the fields of a list, and the exact total, on one thread, in turns. Souk finds products
//! with any of the words if too few have all of them. tantivy is measured with the same rule, and with all words only,
//! which is less work. The real catalogue and the logged queries of `../shared/data` are used if they exist, otherwise
//! the demo catalogue and words of its titles.
//!
//! Depends on `support`, on the rooms `catalogue` and `search` of `souk` and on `tantivy`.

use std::{path::Path, time::Instant};

use souk::internals::{
    catalogue::{
        demo::DemoCatalogue,
        entry::{Entry, Row},
        read::{Options, Reader},
    },
    search::{ALL_WORDS_PRODUCTS_MIN, PAGE_PRODUCTS_DEFAULT, Search, SearchRequest, Sort},
};
use tantivy::{
    Index, IndexReader, TantivyDocument,
    collector::{Count, TopDocs},
    query::QueryParser,
    schema::{Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions, Value},
};

use crate::support::{self, median};

const CATALOGUE: &str = "../shared/data/products_icecat.jsonl";
const QUERIES: &str = "../shared/data/queries_load.csv";
const DEMO_PRODUCTS: usize = 20_000;
/// How often the two take turns; the median of their rates counts.
const TURNS: usize = 5;

/// Builds both indexes, lets them take turns and prints the ratio.
pub(crate) async fn run() {
    support::ask(
        "how many searches a second does one thread answer, against tantivy with its own tokenizer, parser and collectors?",
        ">= 70 % of it",
    );
    let (entries, queries) = if Path::new(CATALOGUE).exists() { real() } else { demo() };
    println!("            {} products, {} queries", entries.len(), queries.len());
    let raw = Raw::of(&entries);
    let (shop, _directory) = support::empty_shop().await;
    support::import(&shop, entries.into_iter()).await;
    let mut rates = [const { Vec::new() }; 3];
    for _ in 0..TURNS {
        rates[0].push(rate(&queries, |query| find(souk::internals::search_index(&shop), query)));
        rates[1].push(rate(&queries, |query| raw.find(query)));
        rates[2].push(rate(&queries, |query| raw.find_all_words(query)));
    }
    let rate = |rates: &Vec<(f64, usize)>| median(rates.iter().map(|(rate, _)| *rate).collect());
    let [ours, theirs, less] = rates.each_ref().map(rate);
    for (name, rates) in ["Souk", "tantivy, by the same rule", "tantivy, all words only"].iter().zip(&rates) {
        println!("            {name:<26} {:>7.0}/s   {} products found in all", rate(rates), rates[0].1);
    }
    println!(
        "Result:     {:.0} % of tantivy, {:.0} % of it with less to do",
        100.0 * ours / theirs,
        100.0 * ours / less
    );
    shop.close().await.expect("the shop closes");
}

fn real() -> (Vec<Entry>, Vec<String>) {
    let reader = Reader::open(Path::new(CATALOGUE), Options::default()).expect("the catalogue opens");
    let entries = reader.filter_map(|(_, parsed)| parsed.ok()).flat_map(Row::into_entries).collect();
    let mut queries = csv::Reader::from_path(QUERIES).expect("the queries open");
    let queries = queries.records().filter_map(|row| Some(row.ok()?.get(1)?.to_owned())).collect();
    (entries, queries)
}

fn demo() -> (Vec<Entry>, Vec<String>) {
    let entries: Vec<Entry> = DemoCatalogue::new(1, DEMO_PRODUCTS).collect();
    let words = |entry: &Entry| entry.details.title.split(' ').skip(2).take(2).collect::<Vec<_>>().join(" ");
    let queries = entries.iter().step_by(97).map(words).collect();
    (entries, queries)
}

/// Repeats all queries until the time is over. Returns queries per second, and the number of hits of the first round.
fn rate(queries: &[String], mut find: impl FnMut(&str) -> usize) -> (f64, usize) {
    let found = queries.iter().map(|query| find(query)).sum();
    let (began, until, mut asked) = (Instant::now(), support::deadline(), 0_u64);
    while Instant::now() < until {
        queries.iter().for_each(|query| {
            std::hint::black_box(find(query));
        });
        asked += queries.len() as u64;
    }
    (asked as f64 / began.elapsed().as_secs_f64(), found)
}

fn find(search: &Search, query: &str) -> usize {
    let request = SearchRequest {
        text: Some(query.to_owned()),
        sort: Sort::Relevance,
        limit: PAGE_PRODUCTS_DEFAULT,
        ..SearchRequest::default()
    };
    search.find(&request).map_or(0, |page| page.total)
}

/// tantivy as in its documentation: four fields, stemmed, the title weighted higher.
struct Raw {
    reader: IndexReader,
    all_words: QueryParser,
    any_word: QueryParser,
    shown: [Field; 3],
}

impl Raw {
    fn of(entries: &[Entry]) -> Self {
        let mut schema = Schema::builder();
        let indexing =
            TextFieldIndexing::default().set_tokenizer("en_stem").set_index_option(IndexRecordOption::WithFreqs);
        let text = TextOptions::default().set_indexing_options(indexing);
        let id = schema.add_text_field("id", STRING | STORED);
        let [title, brand] = ["title", "brand"].map(|name| schema.add_text_field(name, text.clone() | STORED));
        let [category, description] = ["category", "description"].map(|name| schema.add_text_field(name, text.clone()));
        let price = schema.add_u64_field("price", STORED);
        let index = Index::create_in_ram(schema.build());
        let mut writer = index.writer_with_num_threads(1, 64 << 20).expect("a writer");
        for Entry { id: product, details, .. } in entries {
            let mut document = TantivyDocument::default();
            document.add_text(id, product.as_str());
            document.add_text(title, &details.title);
            document.add_text(brand, details.brand.as_deref().unwrap_or_default());
            document.add_text(category, details.category.join(" "));
            document.add_text(description, &details.description);
            document.add_u64(price, details.price.map_or(0, |price| price.minor));
            writer.add_document(document).expect("it is added");
        }
        writer.commit().expect("it is committed");
        let mut any_word = QueryParser::for_index(&index, vec![title, brand, category, description]);
        any_word.set_field_boost(title, 3.0);
        let mut all_words = any_word.clone();
        all_words.set_conjunction_by_default();
        Self { reader: index.reader().expect("a reader"), all_words, any_word, shown: [id, title, brand] }
    }

    fn find(&self, query: &str) -> usize {
        let total = self.find_all_words(query);
        if total >= ALL_WORDS_PRODUCTS_MIN { total } else { self.search(&self.any_word, query) }
    }

    fn find_all_words(&self, query: &str) -> usize {
        self.search(&self.all_words, query)
    }

    fn search(&self, parser: &QueryParser, query: &str) -> usize {
        let searcher = self.reader.searcher();
        let (query, _) = parser.parse_query_lenient(query);
        let collectors = (TopDocs::with_limit(PAGE_PRODUCTS_DEFAULT).order_by_score(), Count);
        let (best, total) = searcher.search(&query, &collectors).expect("it is searched");
        for (_, address) in best {
            let document: TantivyDocument = searcher.doc(address).expect("it is stored");
            let shown =
                self.shown.map(|field| document.get_first(field).and_then(|value| value.as_str().map(str::len)));
            std::hint::black_box(shown);
        }
        total
    }
}
