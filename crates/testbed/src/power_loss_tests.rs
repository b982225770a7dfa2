use std::collections::BTreeSet;

use super::*;

const SEEDS: std::ops::Range<u64> = 0..300;

fn path() -> PathBuf {
    PathBuf::from("/folder/file")
}

/// All states a power loss at the end of this run may leave.
fn left(medium: &Medium<()>) -> BTreeSet<Option<Vec<u8>>> {
    let recording = medium.recording();
    let last = recording.cuts().last().unwrap();
    SEEDS.map(|seed| last.image(seed).content(&path()).map(<[u8]>::to_vec)).collect()
}

#[test]
fn what_was_synced_with_its_name_stays() {
    let medium = Medium::new(&Image::default());
    let file = medium.open(&path());
    medium.write_at(file, &[7; 5000], 0).unwrap();
    medium.sync(file);
    medium.sync_folder(Path::new("/folder"));
    assert_eq!(left(&medium), BTreeSet::from([Some(vec![7; 5000])]));
}

#[test]
fn a_name_without_a_sync_of_its_folder_may_be_lost_with_everything_in_it() {
    let medium = Medium::new(&Image::default());
    let file = medium.open(&path());
    medium.write_at(file, &[7; 100], 0).unwrap();
    medium.sync(file);
    assert_eq!(left(&medium), BTreeSet::from([None, Some(vec![7; 100])]));
    medium.sync_everything();
    assert_eq!(left(&medium), BTreeSet::from([Some(vec![7; 100])]));
}

#[test]
fn what_was_not_synced_is_there_or_not_or_torn_and_the_later_without_the_earlier() {
    let before = Image { files: BTreeMap::from([(path(), vec![1; 8192])]) };
    let medium = Medium::new(&before);
    let file = medium.open(&path());
    medium.write_at(file, &[2; 4096], 0).unwrap();
    medium.write_at(file, &[3; 4096], 4096).unwrap();
    let left = left(&medium);
    let whole = |first: u8, second: u8| Some([vec![first; 4096], vec![second; 4096]].concat());
    for expected in [whole(1, 1), whole(2, 1), whole(1, 3), whole(2, 3)] {
        assert!(left.contains(&expected), "each write on its own");
    }
    let torn = left.iter().flatten().filter(|content| content[..4096].contains(&1) && content[..4096].contains(&2));
    assert!(torn.count() > 10, "in parts");
    assert!(left.iter().flatten().all(|content| content.len() == 8192), "nobody changed the length");
}

#[test]
fn a_length_without_its_bytes_reads_zeros_or_rubbish() {
    let medium = Medium::new(&Image { files: BTreeMap::from([(path(), vec![])]) });
    let file = medium.open(&path());
    medium.set_length(file, 3).unwrap();
    assert_eq!(left(&medium), BTreeSet::from([Some(vec![]), Some(vec![0; 3]), Some(vec![0xa5; 3])]));
}

#[test]
fn a_sync_covers_nothing_that_came_after_it_began() {
    let medium = Medium::new(&Image { files: BTreeMap::from([(path(), vec![1])]) });
    let file = medium.open(&path());
    let covers = medium.state().log.len();
    medium.write_at(file, &[2], 0).unwrap();
    medium.state().log.push(Op::Synced(Synced::File(file), covers));
    assert_eq!(left(&medium), BTreeSet::from([Some(vec![1]), Some(vec![2])]));
}

#[test]
fn a_rename_that_was_not_synced_leaves_one_of_both_names() {
    let medium: Medium<()> = Medium::new(&Image { files: BTreeMap::from([(PathBuf::from("/folder/new"), vec![1])]) });
    medium.rename(Path::new("/folder/new"), &path()).unwrap();
    assert_eq!(left(&medium), BTreeSet::from([None, Some(vec![1])]));
    assert_eq!(medium.content(&path()), Some(vec![1]), "the living see it at once");
    medium.sync_folder(Path::new("/folder"));
    medium.remove(&path()).unwrap();
    assert_eq!(left(&medium), BTreeSet::from([None, Some(vec![1])]), "so does a removal");
}

#[test]
fn every_moment_is_a_cut_and_the_same_seed_loses_the_same() {
    let medium = Medium::new(&Image::default());
    let file = medium.open(&path());
    medium.write_at(file, &[5; 2000], 0).unwrap();
    medium.sync(file);
    medium.elsewhere("told");
    let recording = medium.recording();
    let cuts: Vec<_> = recording.cuts().collect();
    assert_eq!(cuts.len(), 5, "four operations have five gaps");
    assert_eq!(cuts.iter().map(|cut| cut.events().count()).collect::<Vec<_>>(), [0, 0, 0, 0, 1]);
    assert!(cuts.iter().all(|cut| cut.image(4) == cut.image(4)));
}
