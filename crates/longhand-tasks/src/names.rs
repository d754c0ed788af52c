//! Large vocabularies of made-up names, put together from parts, in two disjoint halves.
//!
//! Every name is a pair of parts; pairs are dealt to the splits along diagonals, so that each part
//! occurs in both splits and only their combinations are new at test time. One pair in five is
//! kept for testing.

use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Split;

/// Whether test problems use names that no train problem ever uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameSplit {
    /// Train and test draw from disjoint names: for policies that can read a name never seen.
    #[default]
    Disjoint,
    /// Both draw from all names: test problems are fresh facts over known names.
    Shared,
}

/// The names that one split may use.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    pub(crate) split: Split,
    pub(crate) name_split: NameSplit,
}

impl Names {
    /// A given name and a surname; the surname decides the split.
    pub(crate) fn person(self, rng: &mut ChaCha8Rng) -> String {
        let given = pick(&GIVEN_NAMES, rng);
        format!("{given} {}", self.surname(rng))
    }

    /// A town.
    pub(crate) fn town(self, rng: &mut ChaCha8Rng) -> String {
        self.pair(&TOWN_STARTS, &TOWN_ENDS, rng)
    }

    /// A firm, named after somebody.
    pub(crate) fn company(self, rng: &mut ChaCha8Rng) -> String {
        let surname = self.surname(rng);
        format!("{surname} {}", pick(&COMPANY_ENDS, rng))
    }

    /// A variable: five letters in turn consonant and vowel, such as `takem`.
    pub(crate) fn variable(self, rng: &mut ChaCha8Rng) -> String {
        loop {
            let parts = [
                rng.random_range(..CONSONANTS.len()),
                rng.random_range(..VOWELS.len()),
                rng.random_range(..CONSONANTS.len()),
                rng.random_range(..VOWELS.len()),
                rng.random_range(..CONSONANTS.len()),
            ];
            if self.allows(parts.iter().sum()) {
                let [a, b, c, d, e] = parts;
                return [
                    CONSONANTS[a],
                    VOWELS[b],
                    CONSONANTS[c],
                    VOWELS[d],
                    CONSONANTS[e],
                ]
                .iter()
                .collect();
            }
        }
    }

    fn surname(self, rng: &mut ChaCha8Rng) -> String {
        self.pair(&SURNAME_STARTS, &SURNAME_ENDS, rng)
    }

    fn pair(self, starts: &[&str], ends: &[&str], rng: &mut ChaCha8Rng) -> String {
        loop {
            let start_idx = rng.random_range(..starts.len());
            let end_idx = rng.random_range(..ends.len());
            if self.allows(start_idx + end_idx) {
                return format!("{}{}", starts[start_idx], ends[end_idx]);
            }
        }
    }

    fn allows(self, diagonal: usize) -> bool {
        match self.name_split {
            NameSplit::Shared => true,
            NameSplit::Disjoint => (diagonal % 5 == 4) == (self.split == Split::Test),
        }
    }
}

/// A password, an emblem and the like: a material and a thing, such as `copper lantern`.
pub(crate) fn object(rng: &mut ChaCha8Rng) -> String {
    format!("{} {}", pick(&MATERIALS, rng), pick(&OBJECTS, rng))
}

/// A thing that can be bought or carried, in the singular; its plural ends in `s`.
pub(crate) fn thing(rng: &mut ChaCha8Rng) -> &'static str {
    pick(&OBJECTS, rng)
}

/// A number of exactly `n_digits` decimal digits, 1 to 18, that does not begin with 0.
pub(crate) fn number(n_digits: u32, rng: &mut ChaCha8Rng) -> String {
    let low = 10_u64.pow(n_digits - 1);
    rng.random_range(low..low * 10).to_string()
}

/// One element of a list that is never empty.
pub(crate) fn pick<'a, const N: usize>(list: &[&'a str; N], rng: &mut ChaCha8Rng) -> &'a str {
    const { assert!(0 < N) };
    list.choose(rng).copied().unwrap_or(list[0])
}

const CONSONANTS: [char; 15] = [
    'b', 'd', 'f', 'g', 'k', 'l', 'm', 'n', 'p', 'r', 's', 't', 'v', 'w', 'z',
];

const VOWELS: [char; 5] = ['a', 'e', 'i', 'o', 'u'];

const GIVEN_NAMES: [&str; 100] = [
    "Ada", "Agnes", "Albert", "Alice", "Amos", "Anna", "Arthur", "Basil", "Beatrice", "Bernard",
    "Bruno", "Carla", "Cecil", "Clara", "Conrad", "Cora", "Daniel", "Daphne", "David", "Delia",
    "Dora", "Edgar", "Edith", "Edmund", "Elena", "Eliza", "Ella", "Elsa", "Emil", "Emma", "Ernest",
    "Esther", "Ethan", "Eva", "Felix", "Fiona", "Flora", "Frances", "Frank", "Fred", "George",
    "Gerald", "Gilbert", "Grace", "Greta", "Harold", "Harriet", "Hazel", "Helen", "Henry", "Hilda",
    "Hugo", "Ida", "Irene", "Iris", "Isaac", "Ivan", "Jacob", "James", "Jane", "Jasper", "Joan",
    "Jonas", "Judith", "Julia", "Karl", "Laura", "Leo", "Lewis", "Lily", "Lucas", "Lydia", "Mabel",
    "Marcus", "Martha", "Martin", "Maud", "Miles", "Mira", "Nadia", "Nora", "Oliver", "Olga",
    "Oscar", "Paula", "Percy", "Peter", "Philip", "Rachel", "Ralph", "Robert", "Rosa", "Rupert",
    "Ruth", "Samuel", "Sarah", "Simon", "Stella", "Thomas", "Vera",
];

const SURNAME_STARTS: [&str; 62] = [
    "Ab", "Al", "Ash", "Bar", "Bel", "Ber", "Bram", "Bran", "Brom", "Cal", "Car", "Cor", "Dal",
    "Dar", "Del", "Dun", "Er", "Fal", "Far", "Fen", "Gar", "Gil", "Gor", "Hal", "Har", "Hol",
    "Jar", "Kel", "Kin", "Lan", "Lar", "Lin", "Lor", "Mal", "Mar", "Mel", "Mor", "Nar", "Nor",
    "Orm", "Pel", "Per", "Quin", "Ral", "Ren", "Ros", "Sal", "Sed", "Sel", "Sor", "Tal", "Tar",
    "Thor", "Tor", "Val", "Ver", "Wal", "Wes", "Wil", "Yar", "Zel", "Zim",
];

const SURNAME_ENDS: [&str; 58] = [
    "adine", "ander", "anek", "ardo", "asby", "aster", "atti", "avin", "bach", "band", "beck",
    "berg", "bin", "born", "bury", "cott", "dell", "den", "dman", "dow", "eby", "eckson", "egar",
    "ellis", "emond", "enby", "erez", "eski", "evan", "field", "gate", "gren", "gust", "ham",
    "hurst", "idge", "iker", "imov", "ingsby", "inski", "ister", "kamp", "ker", "kin", "lund",
    "man", "mont", "more", "nick", "obak", "olsen", "oran", "quist", "rick", "son", "stead",
    "ulian", "vik",
];

const TOWN_STARTS: [&str; 60] = [
    "Alder", "Amber", "Apple", "Arrow", "Badger", "Barley", "Birch", "Black", "Bright", "Brook",
    "Castle", "Chapel", "Clay", "Cliff", "Cold", "Crane", "Deer", "Dry", "East", "Elder", "Fair",
    "Far", "Fern", "Flint", "Frost", "Golden", "Green", "Grey", "Hawk", "High", "Holly", "Iron",
    "King", "Lake", "Little", "Long", "Maple", "Marsh", "Mill", "Moss", "New", "North", "Oak",
    "Old", "Otter", "Pine", "Queen", "Red", "River", "Salt", "Silver", "South", "Stone", "Storm",
    "Summer", "Swan", "Thorn", "West", "White", "Winter",
];

const TOWN_ENDS: [&str; 42] = [
    "acre", "barrow", "bay", "beach", "borough", "bourne", "bridge", "cliffe", "cove", "croft",
    "cross", "dale", "down", "fall", "fell", "fold", "ford", "garth", "glen", "grove", "haven",
    "head", "heath", "holm", "hythe", "landing", "leigh", "mead", "mere", "minster", "mouth",
    "ness", "pool", "port", "ridge", "shaw", "stoke", "thorpe", "well", "wharf", "wick", "worth",
];

const COMPANY_ENDS: [&str; 24] = [
    "Bakery",
    "Bank",
    "Books",
    "Boatyard",
    "Brewery",
    "Carriers",
    "Clocks",
    "Dairy",
    "Forge",
    "Foundry",
    "Glassworks",
    "Hotels",
    "Instruments",
    "Laundry",
    "Mills",
    "Mines",
    "Nurseries",
    "Potteries",
    "Press",
    "Quarries",
    "Ropeworks",
    "Stores",
    "Tannery",
    "Toys",
];

const MATERIALS: [&str; 48] = [
    "amber", "ash", "birch", "bone", "brass", "brick", "bronze", "canvas", "cedar", "chalk",
    "clay", "copper", "coral", "cork", "cotton", "crystal", "ebony", "felt", "flint", "glass",
    "gold", "granite", "iron", "ivory", "jade", "lace", "leather", "linen", "maple", "marble",
    "oak", "onyx", "paper", "pearl", "pewter", "pine", "plaster", "rubber", "sand", "silk",
    "silver", "slate", "steel", "stone", "straw", "tin", "velvet", "wool",
];

const OBJECTS: [&str; 90] = [
    "anchor", "apron", "arrow", "barrel", "basket", "bead", "bell", "blanket", "boot", "bottle",
    "bowl", "bracelet", "bridle", "broom", "bucket", "buckle", "button", "cage", "candle",
    "carpet", "chain", "chair", "chisel", "clock", "coin", "collar", "comb", "compass", "cradle",
    "crown", "cup", "curtain", "door", "drum", "fan", "feather", "fiddle", "flag", "flute",
    "funnel", "gate", "globe", "goblet", "hammer", "harp", "helmet", "hinge", "hook", "horn",
    "jug", "kettle", "key", "kite", "ladder", "lamp", "lantern", "lever", "locket", "mask",
    "medal", "mirror", "nail", "needle", "oar", "organ", "paddle", "pebble", "pillar", "pillow",
    "pipe", "plate", "pot", "puppet", "ribbon", "ring", "rope", "saddle", "sail", "scarf",
    "shield", "shovel", "spoon", "stamp", "stool", "table", "thimble", "tray", "vase", "violin",
    "wheel",
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;

    use super::*;

    /// Two ways to the same name would let it into both splits.
    #[test]
    fn no_name_can_be_put_together_in_two_ways() {
        for (starts, ends) in [
            (&SURNAME_STARTS[..], &SURNAME_ENDS[..]),
            (&TOWN_STARTS[..], &TOWN_ENDS[..]),
        ] {
            let mut seen = HashSet::new();
            for start in starts {
                for end in ends {
                    assert!(seen.insert(format!("{start}{end}")), "{start}{end} twice");
                }
            }
            assert!(2_000 < seen.len(), "thousands of names, not {}", seen.len());
        }
        assert_eq!(
            GIVEN_NAMES.iter().collect::<HashSet<_>>().len(),
            GIVEN_NAMES.len()
        );
        assert_eq!(OBJECTS.iter().collect::<HashSet<_>>().len(), OBJECTS.len());
    }

    fn drawn(split: Split, name_split: NameSplit) -> [HashSet<String>; 3] {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let names = Names { split, name_split };
        let mut sets = [HashSet::new(), HashSet::new(), HashSet::new()];
        for _ in 0..20_000 {
            let person = names.person(&mut rng);
            sets[0].insert(
                person
                    .rsplit(' ')
                    .next()
                    .map(str::to_owned)
                    .unwrap_or_default(),
            );
            sets[1].insert(names.town(&mut rng));
            sets[2].insert(names.variable(&mut rng));
        }
        sets
    }

    #[test]
    fn splits_are_disjoint_on_request_and_both_are_large() {
        let train = drawn(Split::Train, NameSplit::Disjoint);
        let test = drawn(Split::Test, NameSplit::Disjoint);
        for (train, test) in train.iter().zip(&test) {
            assert!(train.is_disjoint(test));
            assert!(
                1_500 < train.len() && 400 < test.len(),
                "{} {}",
                train.len(),
                test.len()
            );
        }
        let shared = drawn(Split::Test, NameSplit::Shared);
        assert!(!shared[1].is_disjoint(&train[1]) && !shared[1].is_disjoint(&test[1]));
    }

    #[test]
    fn numbers_have_the_digits_asked_for() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for n_digits in [1, 5, 18] {
            for _ in 0..100 {
                let number = number(n_digits, &mut rng);
                assert_eq!(number.len(), n_digits as usize);
                assert!(!number.starts_with('0'));
            }
        }
    }
}
