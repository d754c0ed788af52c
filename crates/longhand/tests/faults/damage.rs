//! Checkpoints that lost a bit or an end: told, passed over, and never taken for whole.

use std::{fs, path::Path, path::PathBuf};

use longhand_run::RunDir;

use crate::{
    chance::Chance,
    fixture::{Place, assert_same_end, copy, files, n_rl_lines, text},
};

/// A run that was stopped between steps of its last stage.
fn stopped(place: &Place) -> PathBuf {
    let run = place.path("stopped");
    let mut running = place.train(&run, &[]);
    assert!(running.until("steps of the last stage", || 4 <= n_rl_lines(&run)));
    running.signal("TERM");
    assert_eq!(running.wait().code, Some(143));
    run
}

/// Flips a bit of one of the checkpoint's files, or cuts off its end. Returns the file's name.
fn damage(checkpoint: &Path, chance: &mut Chance) -> String {
    let names: Vec<String> = files(checkpoint).into_keys().collect();
    let name = &names[chance.below(names.len() as u64) as usize];
    let path = checkpoint.join(name);
    let mut bytes = fs::read(&path).unwrap();
    let place = chance.below(bytes.len() as u64) as usize;
    if chance.below(2) == 0 {
        bytes.truncate(place);
    } else {
        bytes[place] ^= 1 << chance.below(8);
    }
    fs::write(path, bytes).unwrap();
    name.clone()
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_leads_to_the_same_end() {
    let place = Place::new();
    let whole = place.whole(&[]);
    let stopped = stopped(&place);
    for seed in 0..8 {
        let mut chance = Chance::of(seed);
        let run = place.path(&format!("damaged-{seed}"));
        copy(&stopped, &run);
        let latest = RunDir::open(&run)
            .unwrap()
            .latest_checkpoint()
            .unwrap()
            .unwrap();
        let file = damage(&latest, &mut chance);
        let call = place.resume(&run).wait();
        let named = format!("the checkpoint {} is damaged: {file} ", latest.display());
        assert!(
            call.err.starts_with("warning: ")
                && call.err.contains(&named)
                && call.err.contains("going on from the checkpoint before it"),
            "no {named:?} in {call:?}"
        );
        call.succeeds();
        assert_same_end(&whole, &run);
    }
}

#[test]
fn a_run_whose_checkpoints_are_all_damaged_is_refused_and_left_as_it_is() {
    let place = Place::new();
    let run = stopped(&place);
    let mut chance = Chance::of(77);
    let mut damaged = Vec::new();
    for path in RunDir::open(&run).unwrap().checkpoints().unwrap() {
        let file = damage(&path, &mut chance);
        damaged.push(format!("{} is damaged: {file} ", path.display()));
    }
    assert!(3 < damaged.len());
    let contents = || {
        let mut all = files(&run);
        // Who held it last.
        all.remove("lock");
        all
    };
    let before = contents();
    let call = place.resume(&run).wait();
    call.fails(1, &[text(&run), "is whole", "put one back from a copy"]);
    for each in &damaged {
        call.fails(1, &[each]);
    }
    assert!(contents() == before, "something was changed");
}
