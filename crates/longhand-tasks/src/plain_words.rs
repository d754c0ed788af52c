//! Plain English words for tasks with a closed vocabulary: single, lower-case, all different.

/// Classes and their items; items begin with a consonant so that "a" always fits.
pub(crate) const CLASSES: [(&str, [&str; 16]); 10] = [
    (
        "fruit",
        [
            "pear",
            "plum",
            "peach",
            "cherry",
            "lemon",
            "mango",
            "melon",
            "fig",
            "grape",
            "banana",
            "lime",
            "papaya",
            "quince",
            "guava",
            "nectarine",
            "tangerine",
        ],
    ),
    (
        "tool",
        [
            "hammer", "chisel", "drill", "wrench", "spade", "rake", "hoe", "trowel", "mallet",
            "sickle", "shovel", "clamp", "rasp", "crowbar", "hatchet", "pickaxe",
        ],
    ),
    (
        "animal",
        [
            "horse", "cow", "goat", "sheep", "rabbit", "badger", "tiger", "camel", "donkey",
            "weasel", "lion", "squirrel", "beaver", "zebra", "fox", "wolf",
        ],
    ),
    (
        "garment",
        [
            "coat", "hat", "scarf", "shirt", "glove", "sock", "shoe", "belt", "jacket", "cape",
            "dress", "skirt", "vest", "sweater", "bonnet", "robe",
        ],
    ),
    (
        "instrument",
        [
            "piano", "violin", "flute", "drum", "harp", "trumpet", "guitar", "cello", "banjo",
            "bugle", "lute", "fiddle", "trombone", "clarinet", "tuba", "zither",
        ],
    ),
    (
        "tree",
        [
            "maple", "birch", "willow", "pine", "cedar", "beech", "poplar", "spruce", "larch",
            "hazel", "cypress", "fir", "chestnut", "rowan", "sycamore", "hemlock",
        ],
    ),
    (
        "vehicle",
        [
            "cart", "wagon", "truck", "bicycle", "tram", "train", "lorry", "van", "sled", "ferry",
            "canoe", "barge", "boat", "taxi", "bus", "tractor",
        ],
    ),
    (
        "flower",
        [
            "rose", "tulip", "lily", "daisy", "poppy", "violet", "marigold", "pansy", "lilac",
            "crocus", "dahlia", "jasmine", "bluebell", "foxglove", "peony", "primrose",
        ],
    ),
    (
        "bird",
        [
            "robin", "sparrow", "raven", "swan", "duck", "goose", "pigeon", "heron", "falcon",
            "hawk", "crow", "wren", "lark", "stork", "gull", "thrush",
        ],
    ),
    (
        "vessel",
        [
            "bowl", "cup", "jug", "kettle", "pan", "pot", "mug", "plate", "jar", "vase", "flask",
            "bucket", "tray", "basin", "goblet", "ladle",
        ],
    ),
];

/// Who does something in a sentence.
pub(crate) const SUBJECTS: [&str; 64] = [
    "baker",
    "farmer",
    "sailor",
    "teacher",
    "doctor",
    "painter",
    "miller",
    "tailor",
    "singer",
    "dancer",
    "hunter",
    "weaver",
    "potter",
    "lawyer",
    "soldier",
    "gardener",
    "carpenter",
    "builder",
    "merchant",
    "shepherd",
    "driver",
    "fisher",
    "clerk",
    "nurse",
    "student",
    "poet",
    "judge",
    "cook",
    "barber",
    "butcher",
    "cobbler",
    "porter",
    "printer",
    "plumber",
    "brewer",
    "jeweller",
    "banker",
    "pilot",
    "captain",
    "guard",
    "monk",
    "priest",
    "knight",
    "squire",
    "duke",
    "baron",
    "mayor",
    "king",
    "queen",
    "prince",
    "neighbour",
    "cousin",
    "sister",
    "brother",
    "uncle",
    "mother",
    "father",
    "stranger",
    "traveller",
    "pupil",
    "scholar",
    "writer",
    "reader",
    "visitor",
];

/// What is done, in the past tense.
pub(crate) const VERBS: [&str; 24] = [
    "saw", "found", "bought", "sold", "carried", "painted", "cleaned", "moved", "liked", "wanted",
    "drew", "kept", "hid", "lost", "took", "gave", "brought", "held", "fetched", "sketched",
    "borrowed", "dropped", "repaired", "stored",
];

/// Given names, for look-ups.
pub(crate) const PEOPLE: [&str; 96] = [
    "ada", "agnes", "albert", "alice", "amos", "anna", "arthur", "basil", "beatrice", "bernard",
    "bruno", "carla", "cecil", "clara", "conrad", "cora", "daniel", "daphne", "david", "delia",
    "dora", "edgar", "edith", "edmund", "elena", "eliza", "ella", "elsa", "emil", "emma", "ernest",
    "esther", "ethan", "eva", "felix", "fiona", "flora", "frances", "fred", "george", "gerald",
    "gilbert", "greta", "harold", "harriet", "helen", "henry", "hilda", "hugo", "ida", "irene",
    "isaac", "ivan", "jacob", "james", "jane", "jasper", "joan", "jonas", "judith", "julia",
    "karl", "laura", "leo", "lewis", "lucas", "lydia", "mabel", "marcus", "martha", "martin",
    "maud", "miles", "mira", "nadia", "nora", "oliver", "olga", "oscar", "paula", "percy", "peter",
    "philip", "rachel", "ralph", "robert", "rosa", "rupert", "ruth", "samuel", "sarah", "simon",
    "stella", "thomas", "vera", "walter",
];

/// Cities, for look-ups.
pub(crate) const PLACES: [&str; 48] = [
    "paris", "rome", "london", "madrid", "berlin", "vienna", "lisbon", "athens", "oslo", "dublin",
    "cairo", "tokyo", "delhi", "lima", "boston", "prague", "warsaw", "bern", "milan", "naples",
    "geneva", "munich", "hamburg", "zurich", "bergen", "malmo", "riga", "tunis", "quito", "bogota",
    "havana", "denver", "dallas", "miami", "toronto", "ottawa", "kyoto", "osaka", "seoul",
    "manila", "hanoi", "jakarta", "nairobi", "accra", "lagos", "dakar", "perth", "sydney",
];

/// Possessions, for look-ups.
pub(crate) const THINGS: [&str; 32] = [
    "rug",
    "lamp",
    "clock",
    "mirror",
    "ladder",
    "basket",
    "candle",
    "pillow",
    "blanket",
    "carpet",
    "curtain",
    "table",
    "chair",
    "bench",
    "desk",
    "shelf",
    "mattress",
    "cradle",
    "chest",
    "trunk",
    "wallet",
    "purse",
    "ring",
    "necklace",
    "compass",
    "telescope",
    "lantern",
    "globe",
    "puzzle",
    "kite",
    "doll",
    "drone",
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn all_words_are_single_lower_case_and_different() {
        let function_words = [
            "the", "a", "which", "and", "was", "noted", "lives", "in", "owns", "works", "for",
            "where", "does", "live", "what", "own", "who", "work", "boss", "of",
        ];
        let words: Vec<&str> = CLASSES
            .iter()
            .flat_map(|(class, items)| std::iter::once(class).chain(items))
            .chain(&SUBJECTS)
            .chain(&VERBS)
            .chain(&PEOPLE)
            .chain(&PLACES)
            .chain(&THINGS)
            .chain(&function_words)
            .copied()
            .collect();
        for word in &words {
            assert!(
                !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()),
                "{word}"
            );
        }
        let mut seen = HashSet::new();
        let repeated: Vec<_> = words.iter().filter(|word| !seen.insert(**word)).collect();
        assert!(repeated.is_empty(), "{repeated:?}");
    }
}
