//! The conformance suite: the `# Behavior` bullets of [`SnapshotAdapter`](crate::SnapshotAdapter) as tests
//! that any adapter can run; all but those marked †, which cannot be seen through the trait.
//!
//! One line in a test file makes one `#[tokio::test]` of each case, so that a failure names the bullet that
//! is broken:
//!
//! ```
//! # #![allow(clippy::needless_doctest_main)]
//! use persist::{adapters::memory::MemoryAdapter, testing::Suite};
//!
//! persist::testing::conformance!(memory, || async { Suite::new(MemoryAdapter::new()) });
//! # fn main() {}
//! ```
//!
//! The calling crate needs tokio with `macros` and `rt-multi-thread` among its development dependencies.
//! [`run_all`] runs the same cases without a test harness, for a program that checks a user's own bucket.
//!
//! - Each case works below a fresh random prefix and removes what it wrote, so a shared bucket will do.
//! - What an adapter says it cannot do is not skipped: the case then asserts that asking for it is
//!   `Unsupported`.
//! - Sizes and counts are settings of the [`Suite`]: let bodies cross the size at which the adapter starts to
//!   upload in parts.
//!
//! # Layout
//! - `suite`: what is tested and how large; helpers of the cases
//! - `check`: how a case fails
//! - `report`: running all cases
//! - `cases`: the cases, one file for each subject

#[macro_use]
mod check;
mod cases;
mod report;
mod suite;

#[doc(inline)]
pub use crate::__conformance as conformance;
pub use check::{Failure, Outcome};
pub use report::{CaseReport, Report, case, case_names, run_all};
pub use suite::Suite;

/// The one list of cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($callback:ident $($arguments:tt)*) => {
        $crate::$callback! { $($arguments)*
            display_is_one_line_without_secrets
            put_is_seen_at_once
            put_shows_nothing_before_it_is_done
            put_shows_no_folder_before_it_is_done
            put_shows_readers_whole_versions
            put_is_dated_when_it_is_seen
            put_overwrites
            put_gives_every_write_its_own_version
            put_stores_large_bodies_of_unknown_length
            put_stores_empty_bodies
            put_keeps_metadata
            put_keeps_metadata_in_every_mode
            put_keeps_tags_or_refuses_them
            put_keeps_the_tier_or_refuses_it
            put_inherits_no_tags_and_no_tier
            put_refuses_bad_metadata
            put_dropped_changes_nothing
            put_dropped_before_it_was_polled_changes_nothing
            put_dropped_behind_its_body_is_all_or_nothing
            put_with_a_failing_body_changes_nothing
            put_with_a_wrong_length_changes_nothing
            put_gives_a_bodys_error_back_in_every_mode
            put_checks_the_length_in_every_mode
            conditions_hold_for_large_streams
            create_on_a_taken_key_is_already_exists
            create_of_equal_bytes_is_no_own_attempt
            create_works_again_after_delete
            create_race_has_one_winner
            create_race_of_large_bodies_has_one_winner
            create_race_with_overwrites_is_lost_to_them
            create_race_with_deletes_leaves_all_or_nothing
            replace_with_the_current_version_works
            replace_with_another_version_is_conflict
            replace_of_a_missing_key_is_conflict
            replace_never_takes_a_recreated_object_for_the_old_one
            replace_race_has_one_winner
            replace_race_of_large_bodies_has_one_winner
            replace_loses_no_update
            get_of_a_missing_key_is_not_found
            get_body_is_of_one_version
            get_body_is_of_one_version_when_deleted
            get_gives_ranges
            get_refuses_ranges_that_hold_nothing
            get_checks_versions
            get_gives_bodies_that_do_not_disturb_each_other
            head_of_a_missing_key_is_not_found
            head_agrees_with_put_and_get
            delete_of_a_missing_key_is_ok
            delete_is_seen_at_once
            delete_leaves_neighbours_alone
            delete_checks_the_version
            delete_never_takes_a_recreated_object_for_the_old_one
            delete_race_with_replaces_has_one_winner
            delete_race_beside_a_put_leaves_all_or_nothing
            keys_of_any_kind_come_back_unchanged
            keys_of_full_length_work
            list_is_in_byte_order
            list_agrees_with_the_model
            list_gives_pages_of_any_length
            list_gives_pages_of_folders
            list_gives_size_and_version
            list_of_nothing_is_empty
            list_gives_every_lasting_object_once_while_others_change
            set_tier_keeps_the_content_or_is_unsupported
            set_tier_keeps_everything_else
        }
    };
}

/// Makes a module of tests: `conformance!(name, factory)`, where `factory` is a closure without arguments
/// that gives a future of a [`Suite`] (or of an `Arc<dyn SnapshotAdapter>`). It is called once for each case.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance {
    ($name:ident, $factory:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $crate::__conformance_cases! { __conformance_tests [$factory] }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ([$factory:expr] $($case:ident)*) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() -> $crate::testing::Outcome {
                $crate::testing::case(stringify!($case), ($factory)().await).await
            }
        )*
    };
}
