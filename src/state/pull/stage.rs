//! Which nodes take a release, stage by stage.

use crate::state::hash;
use crate::wire::minisign::{Release, Stage};

/// Whether a node takes a release at its stage. A node that takes it at one stage takes it at each later one, and every
/// release has other nodes first.
pub(super) fn takes(node: &str, release: Release) -> bool {
    let drawn = hash::mix(hash::bytes(node.as_bytes()) ^ hash::mix(release.serial)) >> 32;
    // Below 2^32 parts of the whole.
    drawn * u64::from(Stage::ALL.millionths()) < u64::from(release.stage.millionths()) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::minisign::Signature;

    fn release(serial: u64, stage: &str) -> Release {
        let comment = format!("serial={serial} stage={stage}");
        let letters = "A".repeat(84);
        // Of the right form, which is all that is looked at here.
        let text = format!(
            "untrusted comment: x\nRUQ{}A=\ntrusted comment: {comment}\n{letters}AA==\n",
            "A".repeat(95)
        );
        Signature::read(text.as_bytes()).unwrap().release
    }

    #[test]
    fn a_stage_is_a_share_of_the_nodes_grows_and_begins_elsewhere_each_time() {
        let nodes: Vec<String> = (0..10_000).map(|number| format!("edge-{number}")).collect();
        let taking = |serial, stage: &str| {
            let release = release(serial, stage);
            nodes.iter().map(|node| takes(node, release)).collect::<Vec<bool>>()
        };
        let count = |taking: &[bool]| taking.iter().filter(|takes| **takes).count();
        for (stage, wanted) in
            [("0%", 0..=0), ("1%", 70..=130), ("10%", 900..=1_100), ("100%", 10_000..=10_000)]
        {
            assert!(wanted.contains(&count(&taking(7, stage))), "{stage}: {}", count(&taking(7, stage)));
        }
        let (one, ten, other) = (taking(7, "1%"), taking(7, "10%"), taking(8, "1%"));
        assert!(one.iter().zip(&ten).all(|(one, ten)| !one || *ten));
        let both: Vec<bool> = one.iter().zip(&other).map(|(a, b)| *a && *b).collect();
        assert!(count(&both) <= 10, "{}", count(&both));
    }

    /// A promise: nodes of different versions are one fleet. The numbers are those of a second implementation, in another language.
    #[test]
    fn who_is_first_is_the_same_for_every_version() {
        let first = |serial, stage: &str| {
            let release = release(serial, stage);
            (0..24).filter(|number| takes(&format!("edge-{number}"), release)).collect::<Vec<u32>>()
        };
        assert_eq!(first(7, "25%"), [13, 15, 17]);
        assert_eq!(first(7, "50%"), [3, 6, 8, 9, 13, 15, 16, 17, 18, 23]);
        assert_eq!(first(8, "25%"), [5, 9, 12, 17, 18, 19]);
    }

    /// Serials that were computed so that `edge-1` stands at the beginning, in the middle and at the end of all nodes.
    #[test]
    fn a_share_ends_before_the_node_that_stands_at_its_end() {
        for (serial, not_yet, takes_it) in [
            (17_426_582_775_073_063_702, "0%", "0.0001%"),
            (17_224_450_385_663_435_988, "50%", "50.0001%"),
            (16_851_940_165_000_008_527, "99.9999%", "100%"),
        ] {
            let taken = [not_yet, takes_it].map(|stage| takes("edge-1", release(serial, stage)));
            assert_eq!(taken, [false, true], "{serial}");
        }
    }
}
