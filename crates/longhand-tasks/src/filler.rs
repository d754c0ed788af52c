//! Plain English filler: sentences without names or numbers, endless by combination.

use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{Paragraph, names::pick};

/// A paragraph that matters to no question, of as many sentences as a fact with its surroundings.
pub(crate) fn filler_paragraph(context_sentences: usize, rng: &mut ChaCha8Rng) -> Paragraph {
    let fact = filler_sentence(rng);
    surrounded(&fact, context_sentences, rng)
}

/// A paragraph with `fact` at a random place among `context_sentences` of filler, under a title
/// that gives nothing away. A fact without surroundings stands alone, without a title.
pub(crate) fn surrounded(fact: &str, context_sentences: usize, rng: &mut ChaCha8Rng) -> Paragraph {
    if context_sentences == 0 {
        return Paragraph {
            text: fact.to_owned(),
            ..Paragraph::default()
        };
    }
    Paragraph {
        title: format!("The {} {}", pick(&ADJECTIVES, rng), pick(&NOUNS, rng)),
        text: with_filler(fact, context_sentences, rng),
        ..Paragraph::default()
    }
}

/// `fact` at a random place among `n_sentences` of filler.
pub(crate) fn with_filler(fact: &str, n_sentences: usize, rng: &mut ChaCha8Rng) -> String {
    let mut sentences: Vec<String> = (0..n_sentences).map(|_| filler_sentence(rng)).collect();
    sentences.push(fact.to_owned());
    sentences.shuffle(rng);
    sentences.join(" ")
}

fn filler_sentence(rng: &mut ChaCha8Rng) -> String {
    let (adjective, noun) = (pick(&ADJECTIVES, rng), pick(&NOUNS, rng));
    let (verb, preposition) = (pick(&VERBS, rng), pick(&PREPOSITIONS, rng));
    let (other_adjective, other_noun) = (pick(&ADJECTIVES, rng), pick(&NOUNS, rng));
    let time = pick(&TIMES, rng);
    match rng.random_range(..4_u32) {
        0 => format!("The {adjective} {noun} {verb} {preposition} the {other_noun}."),
        1 => format!("{time}, the {noun} {verb} {preposition} the {other_adjective} {other_noun}."),
        2 => {
            format!("Nobody knew why the {adjective} {noun} {verb} {preposition} the {other_noun}.")
        }
        _ => format!("The {noun} was {adjective}, and the {other_noun} {verb} {preposition} it."),
    }
}

const ADJECTIVES: [&str; 40] = [
    "ancient", "broken", "bright", "calm", "cheerful", "clever", "cold", "crooked", "damp",
    "dusty", "faded", "famous", "foggy", "gentle", "grand", "heavy", "hollow", "humble", "lonely",
    "lucky", "muddy", "narrow", "noisy", "pale", "patient", "plain", "polite", "quiet", "restless",
    "rusty", "shy", "silent", "sleepy", "slow", "small", "steep", "strange", "tired", "warm",
    "weary",
];

const NOUNS: [&str; 60] = [
    "attic",
    "bakery",
    "balcony",
    "barn",
    "bench",
    "bridge",
    "canal",
    "cart",
    "cat",
    "cellar",
    "chapel",
    "chimney",
    "cloud",
    "coach",
    "corridor",
    "cottage",
    "courtyard",
    "crowd",
    "dog",
    "donkey",
    "engine",
    "farm",
    "fence",
    "ferry",
    "field",
    "fountain",
    "garden",
    "goose",
    "harbour",
    "hedge",
    "hill",
    "horse",
    "island",
    "kitchen",
    "lane",
    "library",
    "market",
    "meadow",
    "mill",
    "moon",
    "museum",
    "orchard",
    "owl",
    "path",
    "pond",
    "porch",
    "river",
    "roof",
    "school",
    "shadow",
    "shop",
    "square",
    "stable",
    "station",
    "stream",
    "theatre",
    "tower",
    "train",
    "valley",
    "wagon",
];

const VERBS: [&str; 24] = [
    "appeared", "changed", "creaked", "drifted", "echoed", "glowed", "grew", "hummed", "leaned",
    "lingered", "moved", "paused", "rattled", "rested", "sank", "settled", "shone", "stayed",
    "stood", "trembled", "turned", "vanished", "waited", "woke",
];

const PREPOSITIONS: [&str; 10] = [
    "above",
    "behind",
    "below",
    "beside",
    "beyond",
    "close to",
    "far from",
    "in front of",
    "near",
    "opposite",
];

const TIMES: [&str; 16] = [
    "After the rain",
    "All summer long",
    "As so often",
    "At dawn",
    "At dusk",
    "Before breakfast",
    "Every evening",
    "For a moment",
    "In the autumn",
    "Late at night",
    "Long ago",
    "Now and then",
    "On market days",
    "Once a year",
    "That winter",
    "Towards noon",
];
