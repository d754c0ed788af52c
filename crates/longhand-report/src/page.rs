//! The page around the sections: one file that fetches nothing.
//!
//! The policy in its head lets a browser run the one script and use the one style sheet that are
//! part of this crate, by their digests, and load nothing from anywhere. So even markup that slipped
//! in could neither run nor call home.

use crate::html::Html;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The whole page.
pub(crate) fn page(
    title: &str,
    sections: &[(&'static str, &'static str, Html)],
    heading: &Html,
) -> String {
    let mut html = Html::new();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; ");
    html.raw("style-src 'sha256-r0dN4pddI2FQBGQkDAADVzMTiNnKVPRgogLwZaflgBc='; script-src 'sha256-rt6QYgR4bW+4N7AP+vC1EBoh53qoJ5nQF52OACooyno='; base-uri 'none'; form-action 'none'\">\n");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.raw("<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n");
    // Without this a server would be asked for an icon.
    html.raw("<link rel=\"icon\" href=\"data:,\">\n");
    html.wrap("<title>", title, "</title>\n");
    html.raw("<style>")
        .raw(STYLE)
        .raw("</style>\n</head>\n<body>\n<main>\n")
        .add(heading);
    html.raw("\n<nav aria-label=\"Sections\"><ul>");
    for (id, name, section) in sections {
        if !section.is_empty() {
            html.raw("<li><a href=\"#")
                .raw(id)
                .raw("\">")
                .raw(name)
                .raw("</a></li>");
        }
    }
    html.raw("</ul></nav>\n");
    for (_, _, section) in sections {
        html.add(section).raw("\n");
    }
    html.raw("</main>\n<script>")
        .raw(SCRIPT)
        .raw("</script>\n</body>\n</html>\n");
    html.into_string()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// Base64 of a digest, whose 32 bytes end in one padding character.
    fn base64(bytes: &[u8]) -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let three = [0, 1, 2].map(|idx| u32::from(chunk.get(idx).copied().unwrap_or(0)));
            let bits = three[0] << 16 | three[1] << 8 | three[2];
            for idx in 0..4 {
                let digit = alphabet[(bits >> (18 - 6 * idx) & 63) as usize];
                text.push(if idx <= chunk.len() {
                    char::from(digit)
                } else {
                    '='
                });
            }
        }
        text
    }

    #[test]
    fn the_policy_names_the_style_and_the_script_that_are_there() {
        // printf abc | sha256sum | xxd -r -p | base64
        let abc = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
        assert_eq!(base64(&Sha256::digest("abc")), abc);
        let page = page("", &[], &Html::new());
        for (kind, text) in [("style-src", STYLE), ("script-src", SCRIPT)] {
            let digest = base64(&Sha256::digest(text));
            let policy = format!("{kind} 'sha256-{digest}'");
            assert!(page.contains(&policy), "page.rs must say {policy}");
        }
    }
}
