//! Crashes and damage: the index goes on from its last commit, or begins anew and says so.

use std::{fs, io, os::unix::fs::FileExt, path::PathBuf, thread, time::Duration};

use super::{Fixture, delisted, listed, titled};
use crate::{
    actors::projection::Projection,
    search::{Damage, IndexProjection, Search, SearchRequest, Status},
    storage::{Position, Record},
};

/// How long it takes until a projection that failed is started again.
const RESTART: Duration = Duration::from_millis(200);

fn records(range: std::ops::Range<u64>) -> Vec<Record> {
    range.map(|number| listed(&format!("p-{number}"), titled("Lamp"), number)).collect()
}

fn lamps(search: &Search) -> usize {
    search.find(&SearchRequest { text: Some("lamp".into()), ..SearchRequest::default() }).unwrap().total
}

impl Fixture {
    fn path(&self) -> PathBuf {
        self.directory.path().join("index")
    }

    /// Ends without a word to the index, as `kill -9` does, and starts again.
    fn crash_and_reopen(self) -> Self {
        let Self { directory, search, projection, position } = self;
        drop((search, projection));
        let search = Search::open(&directory.path().join("index")).unwrap();
        let projection = IndexProjection::new(search.clone()).unwrap();
        Self { directory, search, projection, position }
    }
}

#[test]
fn what_was_committed_survives_and_the_rest_is_read_again() {
    let mut shop = Fixture::open();
    assert_eq!((shop.projection.position(), shop.search.status()), (Position(0), Status::Rebuilding));
    shop.projection.apply(&records(0..10)).unwrap();
    assert_eq!(lamps(&shop.search), 0, "not committed");
    shop.projection.commit(Position(10)).unwrap();
    shop.search.caught_up();
    shop.projection.apply(&records(5..20)).unwrap();
    let mut shop = shop.crash_and_reopen();
    assert_eq!((shop.projection.position(), lamps(&shop.search)), (Position(10), 10));
    assert_eq!(shop.search.status(), Status::Ready);
    shop.projection.apply(&records(5..20)).unwrap();
    shop.projection.commit(Position(20)).unwrap();
    assert_eq!(lamps(&shop.search), 20);
}

#[test]
fn positions_without_changes_are_written_now_and_then() {
    let mut shop = Fixture::open();
    shop.take(&records(0..1));
    for position in 2..=200 {
        shop.projection.commit(Position(position)).unwrap();
        assert_eq!(shop.projection.position(), Position(position));
    }
    let shop = shop.crash_and_reopen();
    assert!((100..=200).contains(&shop.projection.position().0), "{:?}", shop.projection.position());
    assert_eq!(lamps(&shop.search), 1);
}

#[test]
fn a_second_writer_is_refused_and_leaves_the_index_alone() {
    let mut shop = Fixture::open();
    shop.take(&records(0..3));
    let refused = IndexProjection::new(shop.search.clone());
    assert!(refused.is_err());
    assert_eq!(lamps(&shop.search), 3);
    drop(shop.projection);
    let again = IndexProjection::new(shop.search.clone()).unwrap();
    assert_eq!(again.position(), Position(1));
}

#[test]
fn a_leftover_lock_file_blocks_nobody() {
    let mut shop = Fixture::open();
    shop.take(&records(0..3));
    let locks = [".tantivy-writer.lock", ".tantivy-meta.lock"].map(|name| shop.path().join(name));
    let Fixture { directory, search, projection, .. } = shop;
    drop((search, projection));
    for lock in locks {
        fs::write(lock, b"left behind").unwrap();
    }
    let search = Search::open(&directory.path().join("index")).unwrap();
    assert_eq!(IndexProjection::new(search.clone()).unwrap().position(), Position(1));
    assert_eq!(lamps(&search), 3);
}

#[test]
fn an_index_of_another_log_or_a_later_copy_of_it_begins_anew() {
    let any = |_| true;
    let up_to_two = |position| position <= Position(2);
    for (store, can_follow, status) in [
        (0, &any as &dyn Fn(Position) -> bool, Status::Ready),
        (1, &any, Status::Rebuilding),
        (0, &up_to_two, Status::Rebuilding),
    ] {
        let mut shop = Fixture::open();
        shop.projection.apply(&records(0..3)).unwrap();
        shop.projection.commit(Position(3)).unwrap();
        let path = shop.path();
        let Fixture { directory: _directory, search, projection, .. } = shop;
        drop((search, projection));
        let search = Search::open_for(&path, store, can_follow).unwrap();
        assert_eq!(search.status(), status);
        assert_eq!(path.with_extension("damaged").exists(), status == Status::Rebuilding);
        let expected = if status == Status::Ready { (Position(3), 3) } else { (Position(0), 0) };
        assert_eq!((IndexProjection::new(search.clone()).unwrap().position(), lamps(&search)), expected);
    }
}

/// Ways to damage a file of the index.
type Harm = fn(&PathBuf);

#[test]
fn a_damaged_index_is_moved_aside_and_built_again() {
    let garbage: Harm = |path| fs::write(path, b"{ not what it was }").unwrap();
    let emptied: Harm = |path| fs::write(path, b"").unwrap();
    let removed: Harm = |path| fs::remove_file(path).unwrap();
    let flipped: Harm = |path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let halved: Harm = |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    let mut damaged = 0;
    for harm in [garbage, emptied, removed, flipped, halved] {
        for which in 0.. {
            let mut shop = Fixture::open();
            shop.take(&records(0..50));
            shop.take(&[delisted("p-1")]);
            let path = shop.path();
            let mut files: Vec<PathBuf> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.retain(|file| file.extension().is_none_or(|extension| extension != "lock"));
            // Segments have random names; their kinds do not.
            files.sort_by_key(|file| (file.extension().map(ToOwned::to_owned), file.clone()));
            let Some(file) = files.get(which) else { break };
            let Fixture { directory, search, projection, .. } = shop;
            drop((search, projection));
            harm(file);
            let search = Search::open(&path).unwrap();
            let mut projection = IndexProjection::new(search.clone()).unwrap();
            match (search.status(), projection.position()) {
                (Status::Rebuilding, Position(0)) => {
                    damaged += 1;
                    assert!(path.with_extension("damaged").exists());
                    projection.apply(&records(0..50)).unwrap();
                    projection.apply(&[delisted("p-1")]).unwrap();
                    projection.commit(Position(2)).unwrap();
                }
                // What does no harm, such as a list of files to be deleted some day, may pass.
                (Status::Ready, Position(2)) => {}
                other => panic!("{} leaves {other:?}", file.display()),
            }
            assert_eq!(lamps(&search), 49, "{}", file.display());
            drop(directory);
        }
    }
    assert!(damaged >= 30, "only {damaged} damages were noticed");
}

#[test]
fn an_index_of_another_version_is_built_again() {
    let mut shop = Fixture::open();
    shop.take(&records(0..3));
    let meta = shop.path().join("meta.json");
    let text = fs::read_to_string(&meta).unwrap();
    assert!(text.contains(r#"\"schema_version\":1"#));
    fs::write(&meta, text.replace(r#"\"schema_version\":1"#, r#"\"schema_version\":0"#)).unwrap();
    let shop = shop.crash_and_reopen();
    assert_eq!((shop.search.status(), shop.projection.position()), (Status::Rebuilding, Position(0)));
}

#[test]
fn damage_while_running_is_noticed_and_one_kept() {
    let mut shop = Fixture::open();
    shop.take(&records(0..3));
    assert!(shop.search.verify().is_ok());
    let path = shop.path();
    let mut files = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
    let store = files.find(|file| file.extension().is_some_and(|extension| extension == "store")).unwrap();
    // In place, as a failing disk does it; the file is mapped into memory.
    let file = fs::OpenOptions::new().write(true).open(&store).unwrap();
    file.write_at(b"\xff", 3).unwrap();
    assert!(matches!(shop.search.verify(), Err(Damage::Checksums(files)) if files.len() == 1));
    fs::write(path.join("meta.json"), b"no").unwrap();
    drop(shop.projection);
    for _ in 0..2 {
        fs::write(path.join("meta.json"), b"no").unwrap();
        let mut projection = IndexProjection::new(shop.search.clone()).unwrap();
        assert_eq!((projection.position(), shop.search.status()), (Position(0), Status::Rebuilding));
        projection.apply(&records(0..4)).unwrap();
        projection.commit(Position(4)).unwrap();
        assert_eq!(lamps(&shop.search), 4);
    }
    let beside = fs::read_dir(shop.directory.path()).unwrap().count();
    assert_eq!(beside, 2, "the index and one that was damaged");
}

#[test]
fn an_index_on_a_disk_of_its_own_is_made_there_and_stays_there_when_it_is_damaged() {
    let place = tempfile::tempdir().unwrap();
    let (disk, path) = (place.path().join("disk"), place.path().join("index"));
    fs::create_dir_all(disk.join("lost+found")).unwrap();
    std::os::unix::fs::symlink(&disk, &path).unwrap();
    for damages in 0..3 {
        let search = Search::open(&path).unwrap();
        assert_eq!((search.status(), disk.join("damaged").exists()), (Status::Rebuilding, damages > 0));
        let mut projection = IndexProjection::new(search.clone()).unwrap();
        projection.apply(&records(0..4)).unwrap();
        projection.commit(Position(4)).unwrap();
        assert_eq!(lamps(&search), 4);
        drop((search, projection));
        fs::write(disk.join("meta.json"), b"no").unwrap();
    }
    assert!(path.is_symlink() && disk.join("lost+found").is_dir());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "nothing beside it");
}

#[test]
fn a_commit_that_failed_can_be_made_again() {
    let mut shop = Fixture::open();
    shop.take(&records(0..9));
    let (meta, aside) = (shop.path().join("meta.json"), shop.path().join("aside"));
    for position in 2..6 {
        // Nothing new comes: it is the same change that has to be made, again and again.
        let change = [delisted("p-0"), listed(&format!("p-{position}"), titled("Lantern"), position)];
        for _ in 0..3 {
            shop.projection.apply(&change).unwrap();
            // A file cannot take the place of a directory, so the commit gets as far as it can and fails at its last
            // step.
            fs::rename(&meta, &aside).unwrap();
            fs::create_dir(&meta).unwrap();
            let failed = shop.projection.commit(Position(position)).unwrap_err();
            assert!(!failed.problem.contains("AlreadyExists"), "{failed}");
            fs::remove_dir(&meta).unwrap();
            fs::rename(&aside, &meta).unwrap();
            let search = shop.search.clone();
            drop(shop.projection);
            // As the root does; the threads of the writer that failed end a little later, and what they know of is not
            // removed.
            thread::sleep(RESTART);
            shop.projection = IndexProjection::new(search).unwrap();
            assert_eq!(shop.projection.position(), Position(position - 1));
        }
        shop.projection.apply(&change).unwrap();
        shop.projection.commit(Position(position)).unwrap();
    }
    assert_eq!(lamps(&shop.search), 4);
}

#[test]
fn what_the_system_lacks_says_nothing_about_the_index() {
    let damage = |error: io::Error| Damage::from(tantivy::TantivyError::from(error));
    let too_many_files = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
    for error in [io::ErrorKind::StorageFull.into(), io::ErrorKind::QuotaExceeded.into(), too_many_files] {
        assert!(matches!(damage(error), Damage::Refused(_)));
    }
    for kind in [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied, io::ErrorKind::InvalidData] {
        assert!(matches!(damage(kind.into()), Damage::Unreadable(_)), "{kind}");
    }
}
