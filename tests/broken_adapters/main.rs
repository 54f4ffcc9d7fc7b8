//! The suite notices: adapters that are each broken in one way, and the cases that must say so. Every case
//! has one.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used)]

mod broken;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use broken::{Broken, How, SECRET};
use persist::testing::{Suite, case, case_names, run_all};
use tokio::runtime;

const ALL: &[(How, &[&str])] = &[
    (How::DisplayHasTwoLines, &["display_is_one_line_without_secrets"]),
    (How::DisplayNamesAUser, &["display_is_one_line_without_secrets"]),
    (How::DebugShowsTheSecret, &["display_is_one_line_without_secrets"]),
    (How::DebugShowsKeys, &["display_is_one_line_without_secrets"]),
    (How::DebugShowsContent, &["display_is_one_line_without_secrets"]),
    (How::PutAnswersAnotherVersion, &["put_is_seen_at_once", "head_agrees_with_put_and_get"]),
    (How::PutStoresAsItGoes, &["put_shows_nothing_before_it_is_done", "put_dropped_changes_nothing"]),
    (How::PutBeginsUnasked, &["put_dropped_before_it_was_polled_changes_nothing"]),
    (How::PutMakesAFileBeside, &["put_shows_no_folder_before_it_is_done"]),
    (How::PutIsDatedWhenItBegan, &["put_is_dated_when_it_is_seen"]),
    (How::PutAnswersAnotherTime, &["head_agrees_with_put_and_get"]),
    (How::PutDroppedInItsCommitBlocksTheKey, &["put_dropped_behind_its_body_is_all_or_nothing"]),
    (How::PutKeepsTheFirst, &["put_overwrites"]),
    (How::PutCutsLargeStreams, &["put_stores_large_bodies_of_unknown_length"]),
    (How::PutRefusesEmptyBodies, &["put_stores_empty_bodies"]),
    (
        How::PutTakesAnyLength,
        &["put_with_a_wrong_length_changes_nothing", "put_checks_the_length_in_every_mode"],
    ),
    (How::PutKeepsHalfABody, &["put_with_a_failing_body_changes_nothing"]),
    (How::PutRenamesErrorsOfBodies, &["put_gives_a_bodys_error_back_in_every_mode"]),
    (How::PutForgetsMetadata, &["put_keeps_metadata"]),
    (How::ConditionsForgetMetadata, &["put_keeps_metadata_in_every_mode"]),
    (How::ConditionsForgetTags, &["put_keeps_metadata_in_every_mode"]),
    (How::PutDropsBadMetadata, &["put_refuses_bad_metadata"]),
    (How::PutForgetsTheTier, &["put_keeps_the_tier_or_refuses_it"]),
    (How::PutKeepsOldTags, &["put_inherits_no_tags_and_no_tier"]),
    (How::TagsAreIgnored, &["put_keeps_tags_or_refuses_them"]),
    (
        How::VersionsAreSizes,
        &[
            "put_gives_every_write_its_own_version",
            "replace_never_takes_a_recreated_object_for_the_old_one",
            "delete_never_takes_a_recreated_object_for_the_old_one",
        ],
    ),
    (How::CreateOverwrites, &["create_on_a_taken_key_is_already_exists"]),
    (
        How::CreateIsTwoSteps,
        &[
            "create_race_has_one_winner",
            "create_race_of_large_bodies_has_one_winner",
            "create_race_with_overwrites_is_lost_to_them",
        ],
    ),
    (How::CreateTakesEqualBytesForItsOwn, &["create_of_equal_bytes_is_no_own_attempt"]),
    (How::CreateRemembersRemovedKeys, &["create_works_again_after_delete"]),
    (How::ReplaceIgnoresTheVersion, &["replace_with_another_version_is_conflict"]),
    (How::ReplaceCreates, &["replace_of_a_missing_key_is_conflict"]),
    (How::ReplaceIsAlwaysAConflict, &["replace_with_the_current_version_works", "replace_loses_no_update"]),
    (
        How::ReplaceIsTwoSteps,
        &[
            "replace_race_has_one_winner",
            "replace_race_of_large_bodies_has_one_winner",
            "delete_race_with_replaces_has_one_winner",
        ],
    ),
    (How::ConditionsHoldForSmallBodies, &["conditions_hold_for_large_streams"]),
    (How::ConditionsAreIgnoredWhereUnsupported, &["replace_with_another_version_is_conflict"]),
    (How::MissingIsUnavailable, &["get_of_a_missing_key_is_not_found", "head_of_a_missing_key_is_not_found"]),
    (
        How::GetReadsAnyVersion,
        &[
            "get_body_is_of_one_version",
            "get_body_is_of_one_version_when_deleted",
            "put_shows_readers_whole_versions",
        ],
    ),
    (How::GetSharesItsPlace, &["get_gives_bodies_that_do_not_disturb_each_other"]),
    (How::GetIgnoresTheRange, &["get_gives_ranges"]),
    (How::GetCutsRangesToNothing, &["get_refuses_ranges_that_hold_nothing"]),
    (How::GetIgnoresTheVersion, &["get_checks_versions"]),
    (How::DeleteOfNothingFails, &["delete_of_a_missing_key_is_ok"]),
    (How::DeleteDoesNothing, &["delete_is_seen_at_once"]),
    (How::DeleteTakesTheFolder, &["delete_leaves_neighbours_alone"]),
    (How::DeleteIgnoresTheVersion, &["delete_checks_the_version"]),
    (
        How::DeleteLosesToAnother,
        &["delete_race_beside_a_put_leaves_all_or_nothing", "create_race_with_deletes_leaves_all_or_nothing"],
    ),
    (How::KeysAreUnescaped, &["keys_of_any_kind_come_back_unchanged"]),
    (How::KeysAreShort, &["keys_of_full_length_work"]),
    (How::ListIsReversed, &["list_is_in_byte_order"]),
    (How::ListIncludesStartAfter, &["list_agrees_with_the_model"]),
    (How::ListStopsAtAPage, &["list_gives_pages_of_any_length", "list_gives_pages_of_folders"]),
    (How::ListTakesThePrefixForAFolder, &["list_agrees_with_the_model"]),
    (How::ListForgetsTheSize, &["list_gives_size_and_version"]),
    (How::ListIgnoresASlash, &["list_of_nothing_is_empty"]),
    (How::ListCounts, &["list_gives_every_lasting_object_once_while_others_change"]),
    (
        How::SetTierKeepsTheContentAlone,
        &["set_tier_keeps_the_content_or_is_unsupported", "set_tier_keeps_everything_else"],
    ),
];

/// Each on a runtime with one thread, where who yields lets the others go on in turn: a race that an adapter
/// loses is lost there in each run, however many cores the machine has and whatever else it does.
#[test]
fn each_broken_adapter_is_caught_by_the_cases_for_it() {
    let rows = AtomicUsize::new(0);
    thread::scope(|scope| {
        // Most of a run is waiting for a clock.
        for _ in 0..16 {
            scope.spawn(|| {
                while let Some((how, cases)) = ALL.get(rows.fetch_add(1, Ordering::SeqCst)) {
                    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(caught(*how, cases));
                }
            });
        }
    });
    let shown: BTreeSet<_> = ALL.iter().flat_map(|(_, cases)| *cases).copied().collect();
    assert_eq!(
        shown,
        case_names().collect(),
        "cases of which nothing shows that they can fail, or unknown ones"
    );
}

async fn caught(how: How, cases: &[&str]) {
    // One of them never comes to an end.
    let limit = Duration::from_secs(if how == How::ReplaceIsAlwaysAConflict { 10 } else { 300 });
    let suite = || async move {
        Suite::new(Broken::new(how)).large(200_000).objects(60).racers(6).patience(limit).secret(SECRET)
    };
    let report = run_all(suite).await;
    let failed: BTreeSet<_> =
        report.cases.iter().filter(|case| case.failure.is_some()).map(|case| case.name).collect();
    for case in cases {
        assert!(failed.contains(case), "{how:?} was not caught by {case}, but by {failed:?}");
    }
    // One that fails everywhere shows nothing.
    assert!(failed.len() * 2 < report.cases.len(), "{how:?} breaks more than one thing: {failed:?}");
}

/// The storage is a user's: nothing writes to it once the case has said that it failed and has cleared away
/// what it wrote.
#[tokio::test(flavor = "multi_thread")]
async fn a_case_that_fails_leaves_no_writers() {
    let adapter = Broken::new(How::ReplaceIsAlwaysAConflict);
    let puts = adapter.puts.clone();
    let suite = Suite::new(adapter).racers(4).patience(Duration::from_millis(300));
    case("replace_loses_no_update", suite).await.unwrap_err();
    // One that is at work at this moment may come to its next step.
    let mut before = puts.load(Ordering::SeqCst);
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = puts.load(Ordering::SeqCst);
        if now == before {
            return;
        }
        before = now;
    }
    panic!("writers go on: {before} puts");
}
