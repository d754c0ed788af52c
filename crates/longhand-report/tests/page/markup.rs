//! A small reader of tags, enough to tell a whole page from a broken one.

/// Elements without an end.
const VOID: [&str; 2] = ["meta", "link"];
/// Everything a page is made of.
const KNOWN: &[&str] = &[
    "html",
    "head",
    "meta",
    "link",
    "title",
    "style",
    "script",
    "body",
    "main",
    "header",
    "nav",
    "section",
    "figure",
    "figcaption",
    "div",
    "p",
    "span",
    "small",
    "b",
    "h1",
    "h2",
    "h3",
    "h4",
    "ul",
    "ol",
    "li",
    "dl",
    "dt",
    "dd",
    "a",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "pre",
    "code",
    "svg",
    "g",
    "path",
    "line",
    "text",
    "circle",
];

/// Tags in their order: name, attributes, whether it closes, whether it is empty.
fn tags(page: &str) -> Vec<(String, String, bool, bool)> {
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').expect("a tag has its end");
        let inside = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if inside.starts_with('!') {
            continue;
        }
        let closes = inside.starts_with('/');
        let inside = inside.trim_start_matches('/');
        let (name, attributes) = inside.split_once(' ').unwrap_or((inside, ""));
        let (name, empty) = (name.trim_end_matches('/'), inside.ends_with('/'));
        tags.push((name.to_owned(), attributes.to_owned(), closes, empty));
        if !closes && (name == "style" || name == "script") {
            let close = rest.find(&format!("</{name}>")).expect("it has its end");
            rest = &rest[close..];
        }
    }
    tags
}

/// Every element is closed, in the right order, and headings do not skip a level.
pub(crate) fn check_closed(page: &str) {
    let mut open: Vec<String> = Vec::new();
    let mut level = 0;
    for (name, _, closes, empty) in tags(page) {
        if let Some(digit) = name
            .strip_prefix('h')
            .and_then(|rest| rest.parse::<u32>().ok())
            && !closes
        {
            assert!(digit <= level + 1, "h{digit} after h{level}");
            level = digit;
        }
        if closes {
            assert_eq!(
                open.pop().as_deref(),
                Some(name.as_str()),
                "closed inside {open:?}"
            );
        } else if !empty && !VOID.contains(&name.as_str()) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

/// No element but those a page is made of, none that runs anything, all quotes paired.
pub(crate) fn check_tags(page: &str) {
    for (name, attributes, _, _) in tags(page) {
        assert!(KNOWN.contains(&name.as_str()), "<{name} {attributes}>");
        assert!(
            attributes.matches('"').count().is_multiple_of(2),
            "<{name} {attributes}>"
        );
        // What stands between quotes is no attribute's name.
        let names: String = attributes.split('"').step_by(2).collect();
        for forbidden in [" on", " src", " style", " srcdoc"] {
            assert!(
                !format!(" {names}").contains(forbidden),
                "<{name} {attributes}>"
            );
        }
    }
    for chart in page.split("role=\"img\"").skip(1) {
        assert!(
            chart.trim_start().starts_with("aria-label=\""),
            "a chart says nothing"
        );
    }
}

#[test]
#[should_panic(expected = "closed inside")]
fn a_crossed_element_is_seen() {
    check_closed("<p><b></p></b>");
}

#[test]
#[should_panic(expected = "left open")]
fn an_open_element_is_seen() {
    check_closed("<div><p></p>");
}

#[test]
#[should_panic(expected = "onclick")]
fn a_handler_is_seen() {
    check_tags("<p class=\"a\" onclick=\"b\">");
}
