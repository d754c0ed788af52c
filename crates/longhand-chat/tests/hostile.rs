//! Templates from outside that mean harm, or nothing at all.

use std::time::{Duration, Instant};

use longhand_chat::{ChatError, ChatTemplate, Message, RenderOptions};
use proptest::prelude::*;
use serde_json::Map;

fn render(source: &str) -> Result<String, ChatError> {
    let template = ChatTemplate::from_source(source, "t", Map::new())?;
    template.render(
        &[
            Message::new("user", "hello"),
            Message::new("assistant", "{{ x }}"),
        ],
        &RenderOptions::default(),
    )
}

/// The template ends in an error, and soon.
fn check(source: &str) {
    let start = Instant::now();
    let rendered = render(source);
    let took = start.elapsed();
    assert!(
        rendered.is_err(),
        "{source}: {:?} bytes",
        rendered.map(|text| text.len())
    );
    assert!(took < Duration::from_secs(2), "{source}: {took:?}");
}

#[test]
fn templates_that_never_end_end() {
    let loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    check(loops);
    check("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
    check("{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}");
    check("{% for a in [[1]] recursive %}{{ loop([[a]]) }}{% endfor %}");
    check("{% block a %}{{ self.a() }}{% endblock %}");
    check(&"{% if 1 %}".repeat(100_000));
    check(&format!("{{{{ {} }}}}", "(".repeat(100_000)));
    check(&format!("{{{{ {}1 }}}}", "-".repeat(100_000)));
    check(&format!("{{{{ {}1 }}}}", "not ".repeat(100_000)));
    check("{% include 't' %}");
    check(&format!("{{{{ 1{} }}}}", " + 1".repeat(100_000)));
    check(&format!("{{{{ 'a'{} }}}}", " | trim".repeat(100_000)));
    check(&format!(
        "{{% if 1 %}}{}{{% endif %}}",
        "{% elif 1 %}".repeat(100_000)
    ));
}

#[test]
fn templates_that_make_much_of_little_end() {
    let grow = |step: &str| {
        format!(
            "{{% set ns = namespace(x='aa', l=[1]) %}}{{% for i in range(99) %}}{{% set {step} %}}{{% endfor %}}{{{{ ns.x }}}}{{{{ ns.l }}}}"
        )
    };
    for step in [
        "ns.x = ns.x + ns.x",
        "ns.x = ns.x ~ ns.x",
        "ns.x = ns.x * 9",
        "ns.x = 9 * ns.x",
        "ns.x = ns.x | replace('a', 'aaaa')",
        "ns.x = ns.x.replace('a', 'aaaa')",
        "ns.x = ns.x.join([ns.x, ns.x, ns.x])",
        "ns.x = [ns.x, ns.x] | join(ns.x)",
        "ns.x = '%s%s' | format(ns.x, ns.x)",
        "ns.x = '{}{}'.format(ns.x, ns.x)",
        "ns.l = ns.l + ns.l",
        "ns.l = ns.l * 9",
        "ns.l = [ns.l, ns.l]",
        "ns.l = (ns.l, ns.l)",
        "ns.l = {'a': ns.l, 'b': ns.l}",
        "ns.l = dict(a=ns.l, b=ns.l)",
    ] {
        check(&grow(step));
    }
    for expression in [
        "'x' * 9999999999",
        "[1] * 99999999",
        "'%999999999d' | format(1)",
        "'{:>999999999}'.format(1)",
        "[1] | batch(999999999, 'x')",
        "range(99999) | slice(999999999)",
        "'a' | indent(999999999)",
        "'a\\na' | indent('x' * 9999999 ) | indent('x' * 9999999) * 9",
        "(range(99999) | list) * 9999",
    ] {
        check(&format!("{{{{ {expression} }}}}"));
    }
}

#[test]
fn comparing_long_texts_without_end_ends() {
    check(
        "{% set x = 'a' * 3000000 %}{% set y = 'a' * 2999999 ~ 'b' %}\
         {% for i in range(99999) %}{% if x == y or y in x %}{% endif %}{% endfor %}",
    );
}

#[test]
fn long_conversations_are_within_the_limits() {
    let source = "{% for m in messages %}{% if m.role == 'user' %}<{{ m.role }}>\
                  {{ m.content | trim }}{% else %}{{ '[' + m.content + ']' }}{% endif %}{% endfor %}";
    let template = ChatTemplate::from_source(source, "t", Map::new()).expect("a template");
    let messages: Vec<Message> = (0..4_000)
        .map(|idx| Message::new(["user", "assistant"][idx % 2], &"word ".repeat(200)))
        .collect();
    let text = template
        .render(&messages, &RenderOptions::default())
        .expect("a text");
    assert!(3_900_000 < text.len());
}

/// Pieces that random templates are put together from.
const PIECES: &[&str] = &[
    "{% ",
    "%}",
    "-%}",
    "{{ ",
    "}}",
    "{#",
    "#}",
    "for m in messages ",
    "endfor ",
    "if ",
    "endif ",
    "else ",
    "set x = ",
    "set x ",
    "endset ",
    "x",
    "m",
    "loop",
    "messages",
    ".role",
    "[0]",
    "['content']",
    "[::-1]",
    " + ",
    " ~ ",
    " * ",
    "**",
    " - ",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "'a'",
    "\"",
    "'",
    "\\",
    "1",
    "999",
    " | tojson",
    " | length",
    " | join(",
    " is ",
    "defined",
    "string",
    "generation ",
    "endgeneration ",
    "raw ",
    "endraw ",
    "macro f(a) ",
    "endmacro ",
    "f(1)",
    "call f(1) ",
    "endcall ",
    ".split(",
    ".strip(",
    "range(9)",
    "\n",
    " ",
    "é",
    "日",
    "text",
    " and ",
    " or ",
    "not ",
    " in ",
    "namespace(a=1)",
    "break ",
    "continue ",
    "with ",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_templates_neither_panic_nor_stay(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40),
    ) {
        let source = pieces.concat();
        let start = Instant::now();
        let _ = render(&source);
        prop_assert!(start.elapsed() < Duration::from_secs(2), "{source}");
    }

    #[test]
    fn random_bytes_neither_panic_nor_stay(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let source = String::from_utf8_lossy(&bytes);
        let start = Instant::now();
        let _ = render(&source);
        let _ = render(&format!("{{{{ {source} }}}}"));
        let _ = render(&format!("{{% {source} %}}"));
        prop_assert!(start.elapsed() < Duration::from_secs(2), "{source}");
    }

    /// Expressions of numbers keep their value when they are rewritten.
    #[test]
    fn guarded_arithmetic_is_arithmetic(a in -9_i64..10, b in -9_i64..10, c in 0_i64..10, d in -9_i64..10) {
        let source = format!("{{{{ {a} * {b} + ({c} - {d}) * {b} * {c} ~ '*' ~ [{a} * {d}][0] }}}}");
        // `~` binds more closely than `+`: the sum has a text at its right, as in Jinja.
        prop_assert!(render(&source).is_err());
        let source = format!("{{{{ ({a} * {b} + ({c} - {d}) * {b} * {c}) ~ '*' ~ [{a} * {d}][0] }}}}");
        let expected = format!("{}*{}", a * b + (c - d) * b * c, a * d);
        prop_assert_eq!(render(&source).map_err(|error| error.to_string()), Ok(expected));
    }
}
