//! Which store the parts of a data directory belong to and how far they were known to reach, so that nothing missing,
//! foreign or outdated is taken for a shop.
//!
//! `souk.identity` names the journal's store, the fingerprint of the keys that accounts were written with, the account
//! at the payment provider, and a position that the log has reached. It is compared at each start, and written again
//! while the shop runs. Without it, a directory whose journal is not mounted would start as an empty shop, one whose
//! journal or keys come from elsewhere with accounts that nobody can log in to, and one with an old copy of its journal
//! without the orders since then; and with the key of another account at the provider no payment would be found.
//!
//! Depends on `storage`, `payments` and `domain`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::OpenShopError;
use crate::{
    clock::Clock,
    config::layout::{CONTROL, FILE_MODE, JOURNAL, LEDGER, STORE_IDENTITY},
    domain::entity::Timestamp,
    payments::{Answer, Unknown, guard::Accounts},
    storage::{Journal, Position},
};

/// The file's name until it is whole.
pub(super) const DRAFT: &str = "souk.identity.new";
/// What only a shop makes, and none makes before its journal: without a journal they prove that it was lost.
const PROOFS: [&str; 5] = [STORE_IDENTITY, "identity/secret.key", "search/meta.json", LEDGER, CONTROL];
/// How often the file is written while the log grows. So much of the log could go missing unnoticed.
const WRITE_EVERY: Duration = Duration::from_secs(60);
/// How far the clock may be behind the last time that the shop was seen to run, in milliseconds, before a start warns:
/// more than the steps in which a clock is usually corrected.
const CLOCK_SLACK_MS: u64 = 1_000;
/// Stands in the place of an account that is not known.
const NO_ACCOUNT: &str = "-";

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoreIdentity {
    /// The id of the journal's store.
    pub(super) store: u64,
    /// The fingerprint of the keys that accounts were written with.
    pub(super) keys: u128,
    /// A position that the log has reached.
    pub(super) log: Position,
    /// How many bytes the built-in fake provider's ledger had; 0 where there is none.
    pub(super) ledger: u64,
    /// The account at the provider that the shop is paid through; `None` until it is known.
    pub(super) account: Option<String>,
    /// When the shop was last known to run.
    pub(super) at: Timestamp,
}

/// What proves that a shop was here, if its journal is missing or empty.
pub(super) fn shop_without_journal(data: &Path) -> Option<PathBuf> {
    if Journal::is_present(&data.join(JOURNAL)) {
        return None;
    }
    PROOFS.iter().map(|proof| data.join(proof)).find(|proof| proof.exists())
}

/// Whether there is a shop in the directory, or what is left of one.
pub(super) fn is_in(data: &Path) -> bool {
    Journal::is_present(&data.join(JOURNAL)) || shop_without_journal(data).is_some()
}

impl StoreIdentity {
    /// What the data directory's file says; `None` where there is none.
    pub(super) fn read(data: &Path) -> Result<Option<Self>, OpenShopError> {
        let path = data.join(STORE_IDENTITY);
        match fs::read(&path) {
            Ok(text) => {
                let parsed = Self::parse(&String::from_utf8_lossy(&text));
                parsed.map(Some).ok_or(OpenShopError::IdentityDamaged(path))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(OpenShopError::Directory { directory: path, source }),
        }
    }

    /// Compares the journal that was found with the one that is named.
    pub(super) fn check_journal(&self, data: &Path, journal: &Journal) -> Result<(), OpenShopError> {
        let (directory, file, end) = (data.join(JOURNAL), data.join(STORE_IDENTITY), journal.durable());
        if journal.store() != self.store {
            return Err(OpenShopError::OtherJournal { journal: directory, file });
        }
        if end < self.log {
            return Err(OpenShopError::OlderJournal { journal: directory, file, known: self.log.0, end: end.0 });
        }
        Ok(())
    }

    /// Warns where the clock is behind the time at which the shop was last seen to run.
    pub(super) fn check_clock(&self, clock: &Clock) {
        let behind_ms = self.at.0.saturating_sub(clock.now().0);
        if behind_ms > CLOCK_SLACK_MS {
            tracing::warn!(
                behind_seconds = behind_ms / 1_000,
                "the clock is behind the time at which this shop last ran: set it right and start again, \
                 or tokens and deadlines are wrong"
            );
        }
    }

    /// Writes the file, whole or not at all, also where the power fails meanwhile.
    pub(super) fn write(&self, data: &Path) -> io::Result<()> {
        let draft = data.join(DRAFT);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&draft)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, data.join(STORE_IDENTITY))?;
        File::open(data)?.sync_all()
    }

    /// The checksum tells a damaged file from that of another shop.
    fn text(&self) -> String {
        let Self { store, keys, log: Position(log), ledger, account, at: Timestamp(at) } = self;
        let account = account.as_deref().unwrap_or(NO_ACCOUNT);
        let body = format!(
            "store {store:016x}\nkeys {keys:032x}\nlog {log}\nledger {ledger}\naccount {account}\nat_ms {at}\n"
        );
        let checksum = crc32c::crc32c(body.as_bytes());
        format!("{body}crc32c {checksum:08x}\n")
    }

    /// `None` unless the text is exactly as it was written.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let parsed = Self {
            store: u64::from_str_radix(field("store")?, 16).ok()?,
            keys: u128::from_str_radix(field("keys")?, 16).ok()?,
            log: Position(field("log")?.parse().ok()?),
            ledger: field("ledger")?.parse().ok()?,
            account: Some(field("account")?).filter(|account| *account != NO_ACCOUNT).map(str::to_owned),
            at: Timestamp(field("at_ms")?.parse().ok()?),
        };
        (parsed.text() == text).then_some(parsed)
    }
}

/// Keeps the file of a running shop up to date.
#[derive(Clone)]
pub(super) struct IdentityWriter(Arc<Kept>);

struct Kept {
    data: PathBuf,
    journal: Journal,
    keys: u128,
    ledger: Option<PathBuf>,
    clock: Clock,
    account: Mutex<Option<String>>,
    written: Mutex<Written>,
}

/// What the file says.
struct Written {
    identity: Option<StoreIdentity>,
    /// Whether the shop has ended: the file may be another shop's from now on.
    is_last: bool,
}

impl IdentityWriter {
    /// Of the shop in `data`, whose file says `found`. Writes it where it says less than there is.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn start(
        data: &Path,
        journal: &Journal,
        keys: u128,
        ledger: Option<PathBuf>,
        (clock, found): (&Clock, Option<StoreIdentity>),
    ) -> Result<Self, OpenShopError> {
        let account = Mutex::new(found.as_ref().and_then(|found| found.account.clone()));
        let (data, journal, clock) = (data.to_owned(), journal.clone(), clock.clone());
        let written = Mutex::new(Written { identity: found, is_last: false });
        let identity_writer = Self(Arc::new(Kept { data, journal, keys, ledger, clock, account, written }));
        let failed =
            |source| OpenShopError::Directory { directory: identity_writer.0.data.join(STORE_IDENTITY), source };
        identity_writer.write().map_err(failed)?;
        Ok(identity_writer)
    }

    /// The identity with a log that ends here.
    pub(super) fn up_to(&self, log: Position) -> StoreIdentity {
        let Kept { journal, keys, ledger, clock, account, .. } = &*self.0;
        let ledger = ledger.as_ref().and_then(|ledger| fs::metadata(ledger).ok()).map_or(0, |ledger| ledger.len());
        let account = account.lock().clone();
        StoreIdentity { store: journal.store(), keys: *keys, log, ledger, account, at: clock.now() }
    }

    /// Writes the file if there is something new to say.
    pub(super) fn write(&self) -> io::Result<()> {
        self.write_unless_ended(&mut self.0.written.lock())
    }

    fn write_unless_ended(&self, written: &mut Written) -> io::Result<()> {
        let now = self.up_to(self.0.journal.durable());
        let says_so = |known: &StoreIdentity| *known == StoreIdentity { at: known.at, ..now.clone() };
        if written.identity.as_ref().is_some_and(says_so) || written.is_last {
            return Ok(());
        }
        now.write(&self.0.data)?;
        written.identity = Some(now);
        Ok(())
    }

    /// Writes the account down where none is known, and compares it where one is.
    fn remember_account(&self, account: &str) -> Result<(), Unknown> {
        let known = self.0.account.lock().get_or_insert_with(|| account.to_owned()).clone();
        if known != account {
            let file = self.0.data.join(STORE_IDENTITY);
            tracing::error!(
                file = %file.display(), known, account,
                "the provider's key is of another account than payments were made with: nothing is asked of it; \
                 put the right key back. If the account was changed on purpose, settle what is open first, \
                 then stop, delete the file, and start"
            );
            return Err(Unknown::new(format!("the key is of account {account}, payments were made with {known}")));
        }
        // Before the first payment: after a crash nobody would know.
        self.write().map_err(|error| Unknown::new(format!("the provider's account cannot be written down: {error}")))
    }

    /// Writes it for the last time, after a write that is under way. Afterwards another shop may open the directory.
    pub(super) async fn end(&self) {
        let identity_writer = self.clone();
        warn_if_failed(tokio::task::spawn_blocking(move || {
            let mut written = identity_writer.0.written.lock();
            let outcome = identity_writer.write_unless_ended(&mut written);
            written.is_last = true;
            outcome
        }))
        .await;
    }

    /// Writes it from a thread that may block, and warns where it cannot.
    async fn write_or_warn(&self) {
        let identity_writer = self.clone();
        warn_if_failed(tokio::task::spawn_blocking(move || identity_writer.write())).await;
    }

    /// Writes it again and again; never ends.
    pub(super) async fn run(self) {
        loop {
            tokio::time::sleep(WRITE_EVERY).await;
            self.write_or_warn().await;
        }
    }
}

async fn warn_if_failed(writing: JoinHandle<io::Result<()>>) {
    if let Ok(Err(error)) = writing.await {
        tracing::warn!(%error, file = STORE_IDENTITY, "how far the log reaches cannot be written down");
    }
}

impl Accounts for IdentityWriter {
    fn remember(&self, account: String) -> Answer<'_, ()> {
        let identity_writer = self.clone();
        let remembering = tokio::task::spawn_blocking(move || identity_writer.remember_account(&account));
        async move { remembering.await.unwrap_or_else(|error| Err(Unknown::new(error.to_string()))) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{
            Config,
            layout::{IDENTITY, SEARCH},
        },
        domain::{account::Role, ids::SellerId, product},
        identity::{IdentityError, keys::KeyError},
        shop::{
            OpenShopError, SearchStatus, Shop,
            import::{Listing, SetStock, Terms},
        },
    };

    async fn open(data: &Path) -> Result<Shop, OpenShopError> {
        Shop::open(Config { data_dir: data.into(), ..Config::default() }).await
    }

    async fn two_shops() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let (ours, other) = (directory.path().join("ours"), directory.path().join("other"));
        for shop in [&ours, &other] {
            open(shop).await.unwrap().close().await.unwrap();
        }
        (directory, ours, other)
    }

    fn swap(part: &str, ours: &Path, other: &Path) {
        let kept = ours.with_extension("kept");
        fs::rename(ours.join(part), &kept).unwrap();
        fs::rename(other.join(part), ours.join(part)).unwrap();
        fs::rename(&kept, other.join(part)).unwrap();
    }

    #[tokio::test]
    async fn a_missing_or_empty_journal_is_refused_where_anything_proves_a_shop() {
        let (_directory, ours, other) = two_shops().await;
        let kept = ours.join("journal.kept");
        fs::rename(ours.join(JOURNAL), &kept).unwrap();
        for _ in 0..2 {
            let refused = open(&ours).await.unwrap_err();
            assert!(matches!(refused, OpenShopError::JournalMissing { .. }), "{refused}");
            assert!(
                refused.to_string().contains("ours/journal") && refused.to_string().contains("mounted"),
                "{refused}"
            );
            // A forgotten mount leaves an empty directory.
            fs::create_dir_all(ours.join(JOURNAL)).unwrap();
        }
        fs::remove_dir(ours.join(JOURNAL)).unwrap();
        fs::create_dir(other.join(CONTROL)).unwrap();
        for proof in [STORE_IDENTITY, IDENTITY, SEARCH, CONTROL] {
            let bare = ours.with_extension(proof);
            fs::create_dir(&bare).unwrap();
            fs::rename(other.join(proof), bare.join(proof)).unwrap();
            let refused = open(&bare).await.unwrap_err();
            assert!(matches!(refused, OpenShopError::JournalMissing { .. }), "{proof}: {refused}");
        }
        fs::rename(&kept, ours.join(JOURNAL)).unwrap();
        open(&ours).await.unwrap().close().await.unwrap();
    }

    #[tokio::test]
    async fn a_journal_or_keys_of_another_shop_are_refused() {
        let (_directory, ours, other) = two_shops().await;
        for part in ["journal", "identity"] {
            swap(part, &ours, &other);
            let refused = open(&ours).await.unwrap_err();
            let right = match part {
                "journal" => matches!(refused, OpenShopError::OtherJournal { .. }),
                _ => matches!(refused, OpenShopError::OtherKeys { .. }),
            };
            assert!(right && refused.to_string().contains(part), "{part}: {refused}");
            swap(part, &ours, &other);
            open(&ours).await.unwrap().close().await.unwrap();
        }
        // Also where no file names the store that they belong to.
        for part in ["journal", "identity"] {
            swap(part, &ours, &other);
            let _ = fs::remove_file(ours.join(STORE_IDENTITY));
            let refused = open(&ours).await.unwrap_err().to_string();
            assert!(refused.contains("secret.key is the key of another shop: restore it"), "{refused}");
            swap(part, &ours, &other);
        }
        open(&ours).await.unwrap().close().await.unwrap();
    }

    #[tokio::test]
    async fn a_journal_with_data_is_refused_without_keys_even_where_nothing_names_them() {
        let (_directory, ours, _) = two_shops().await;
        let lose_keys = || {
            fs::remove_dir_all(ours.join(IDENTITY)).unwrap();
            fs::remove_file(ours.join(STORE_IDENTITY)).unwrap();
        };
        // Nobody has an account yet: this is a first start that was cut short.
        lose_keys();
        let shop = open(&ours).await.unwrap();
        shop.ensure_account("asha@example.com", "correct horse battery".into(), Role::Customer).await.unwrap();
        shop.close().await.unwrap();
        lose_keys();
        for _ in 0..2 {
            let refused = open(&ours).await.unwrap_err();
            let missing =
                matches!(refused, OpenShopError::Identity(IdentityError::Keys(KeyError::SecretMissing { .. })));
            assert!(missing, "{refused}");
        }
    }

    #[test]
    fn what_is_written_reads_back_and_each_changed_byte_is_damage() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(STORE_IDENTITY);
        assert_eq!(StoreIdentity::read(data.path()).unwrap(), None);
        let (store, keys, log) = (0x0123_4567_89ab_cdef, 0xfeed, Position(4_096));
        let at = Timestamp(1_790_000_000_000);
        for account in [None, Some("acct_1:live".to_owned())] {
            let written = StoreIdentity { store, keys, log, ledger: 17, account, at };
            written.write(data.path()).unwrap();
            assert_eq!(StoreIdentity::read(data.path()).unwrap(), Some(written));
        }
        let damaged = |text: &[u8]| {
            fs::write(&path, text).unwrap();
            matches!(StoreIdentity::read(data.path()), Err(OpenShopError::IdentityDamaged(_)))
        };
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[place] ^= 1 << bit;
                assert!(damaged(&changed), "byte {place}, bit {bit}");
            }
            assert!(damaged(&whole[..place]), "cut at {place}");
        }
    }

    #[tokio::test]
    async fn a_dropped_shop_writes_the_file_before_it_releases_the_directory_and_never_again() {
        let data = tempfile::tempdir().unwrap();
        let shop = open(data.path()).await.unwrap();
        shop.ensure_account("asha@example.com", "correct horse battery".into(), Role::Customer).await.unwrap();
        let (known, identity_writer) = (shop.journal().durable(), shop.0.identity_writer.clone());
        drop(shop);
        let next = open(data.path()).await.unwrap();
        let written = identity_writer.0.written.lock().identity.clone().unwrap();
        assert!(written.log >= known, "it knew of byte {}, and the log had reached {}", written.log.0, known.0);
        next.ensure_account("ravi@example.com", "correct horse battery".into(), Role::Customer).await.unwrap();
        fs::remove_file(data.path().join(STORE_IDENTITY)).unwrap();
        identity_writer.0.written.lock().identity = None;
        identity_writer.write().unwrap();
        assert_eq!(StoreIdentity::read(data.path()).unwrap(), None, "the file is the next shop's");
        next.close().await.unwrap();
    }

    #[tokio::test]
    async fn an_older_copy_of_the_journal_is_refused_until_an_operator_agrees() {
        let (_directory, ours, _) = two_shops().await;
        let older = ours.with_extension("older");
        let copied = std::process::Command::new("cp").arg("-a").args([ours.join(JOURNAL), older.clone()]).status();
        assert!(copied.unwrap().success());
        let shop = open(&ours).await.unwrap();
        shop.ensure_account("asha@example.com", "correct horse battery".into(), Role::Customer).await.unwrap();
        shop.close().await.unwrap();
        fs::remove_dir_all(ours.join(JOURNAL)).unwrap();
        fs::rename(&older, ours.join(JOURNAL)).unwrap();
        for _ in 0..2 {
            let refused = open(&ours).await.unwrap_err();
            assert!(matches!(refused, OpenShopError::OlderJournal { .. }), "{refused}");
        }
        fs::remove_file(ours.join(STORE_IDENTITY)).unwrap();
        open(&ours).await.unwrap().close().await.unwrap();
    }

    #[tokio::test]
    async fn a_search_index_of_another_shop_or_age_is_moved_aside_and_rebuilt() {
        let (_directory, ours, other) = two_shops().await;
        let register = async |data: &Path, name: &str| {
            let shop = open(data).await.unwrap();
            let email = format!("{name}@example.com");
            let seller = shop.ensure_account(&email, "correct horse battery".into(), Role::Seller).await.unwrap();
            let details = product::Details { title: name.into(), ..product::Details::default() };
            let listing = Listing { id: name.parse().unwrap(), details, stock: None, keep: Vec::new() };
            let editor = product::Editor::Seller(SellerId::of(seller));
            let terms = Terms { by: editor, set_stock: SetStock::Once, dry_run: false };
            shop.import_products(terms, vec![listing]).await.map(drop).unwrap();
            shop.close().await.unwrap();
        };
        register(&ours, "asha").await;
        register(&other, "ravi").await;
        swap("search", &ours, &other);
        let aside = ours.join("search.damaged");
        let shop = open(&ours).await.unwrap();
        assert_eq!(shop.search_status(), SearchStatus::Rebuilding);
        assert!(aside.is_dir(), "it was moved aside");
        for _ in 0..1_000 {
            if shop.search_status() == SearchStatus::Ready {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(shop.search_status(), SearchStatus::Ready);
        shop.close().await.unwrap();
        fs::remove_dir_all(&aside).unwrap();
        open(&ours).await.unwrap().close().await.unwrap();
        assert!(!aside.exists(), "the rebuilt index is this shop's");
    }
}
