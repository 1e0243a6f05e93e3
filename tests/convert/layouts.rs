// SPDX-License-Identifier: MPL-2.0

//! Made-up sets in the layouts of UCF-101 and HMDB-51.

use std::fs;
use std::path::Path;

use gstsparseadv::dataset;

use crate::common::guarded;
use crate::data::{convert, converted, data, expect};

/// The test clips of a set, as the tree that was made of it has them.
fn held_out(tree: &Path, layout: dataset::Layout) -> Vec<String> {
    let options = dataset::Options { layout: None, split: 1, splits: None, test_groups: Vec::new() };
    let set = dataset::open(tree, &options).expect("a set");
    assert_eq!(set.layout, layout);
    let clips = set.clips.iter().filter(|clip| clip.held_out);
    let below = clips.map(|clip| clip.path.strip_prefix(tree).expect("a path below"));
    below.map(|path| path.display().to_string()).collect()
}

/// Lists as their archive unpacks: beside the clips' folder.
#[test]
fn ucf101() {
    guarded(300, || {
        let data = data();
        let root = data.dir.path().join("ucf");
        let (set, lists) = (root.join("UCF-101"), root.join("ucfTrainTestlist"));
        let clip = |class: &str, group| format!("{class}/v_{class}_g{group:02}_c01.avi");
        for (class, folder) in [("JumpingJack", "jack"), ("WalkingWithDog", "walk")] {
            fs::create_dir_all(set.join(class)).expect("a folder");
            for (group, name) in [(1, "a"), (8, "b")] {
                let from = data.clip(&format!("{folder}/{name}_{folder}.avi"));
                fs::copy(from, set.join(clip(class, group))).expect("a clip");
            }
        }
        let (jack, walk) = ("JumpingJack", "WalkingWithDog");
        let train = format!("{} 1\r\n{} 2\r\n", clip(jack, 8), clip(walk, 8));
        let test = format!("{}\r\n{}\r\n", clip(jack, 1), clip(walk, 1));
        fs::create_dir_all(&lists).expect("a folder");
        let classes = format!("1 {jack}\r\n2 {walk}\r\n");
        for (name, text) in [("classInd.txt", classes), ("trainlist01.txt", train), ("testlist01.txt", test)] {
            fs::write(lists.join(name), text).expect("a list");
        }
        let wanted = [clip(jack, 1), clip(walk, 1)];
        let tree = data.dir.path().join("ucf-attacked");
        expect(0, &convert(&set, &tree, &["--side", "test"]));
        assert_eq!(converted(&tree), wanted);
        assert_eq!(held_out(&tree, dataset::Layout::Ucf101), wanted);
        // The tool itself finds them too.
        let again = data.dir.path().join("ucf-again");
        expect(0, &convert(&tree, &again, &["--side", "test"]));
        assert_eq!(converted(&again), wanted);
    });
}

/// Lists inside the set, with the names and spaces that they have.
#[test]
fn hmdb51() {
    guarded(300, || {
        let data = data();
        let set = data.dir.path().join("hmdb51_org");
        let lists = set.join("testTrainMulti_7030_splits");
        fs::create_dir_all(&lists).expect("a folder");
        let mut wanted = Vec::new();
        for (class, folder) in [("jumping_jack", "jack"), ("walk", "walk")] {
            fs::create_dir_all(set.join(class)).expect("a folder");
            let clip = |take| format!("#20_(HQ)_Rhythm_{class}_f_nm_np1_fr_goo_{take}.avi");
            for (take, name) in ["a", "b", "b"].into_iter().enumerate() {
                let from = data.clip(&format!("{folder}/{name}_{folder}.avi"));
                fs::copy(from, set.join(class).join(clip(take))).expect("a clip");
            }
            let list = format!("{} 2 \n{} 1 \n{} 0 \n", clip(0), clip(1), clip(2));
            let name = format!("{class}_test_split1.txt");
            fs::write(lists.join(name), list).expect("a list");
            wanted.push(format!("{class}/{}", clip(0)));
        }
        let tree = data.dir.path().join("hmdb-attacked");
        expect(0, &convert(&set, &tree, &["--side", "test"]));
        assert_eq!(converted(&tree), wanted);
        assert_eq!(held_out(&tree, dataset::Layout::Hmdb51), wanted);
    });
}
