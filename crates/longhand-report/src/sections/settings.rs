//! The experiment file, and what another run's said differently.

use longhand_config::differences_of_texts;

use crate::html::Html;
use crate::load::Loaded;
use crate::numbers::count;
use crate::sections::Pair;

/// The differences, then the files.
pub(crate) fn section(pair: Pair<'_>) -> Html {
    let mut html = Html::new();
    html.raw("<section id=\"config\"><h2>Configuration</h2>");
    if let Some(against) = pair.against {
        differences(pair.run, against, &mut html);
    }
    for (run, _) in pair.runs() {
        html.raw("<details><summary>The resolved experiment file of ")
            .text(&run.label)
            .raw(", ");
        html.text(count(run.config.lines().count(), "line", "lines"))
            .raw("</summary><pre>\n");
        html.text(&run.config).raw("</pre></details>");
    }
    html.raw("</section>");
    html
}

fn differences(run: &Loaded, against: &Loaded, html: &mut Html) {
    html.raw("<h3>Keys that differ</h3>");
    let differences = match differences_of_texts(&run.config, &against.config) {
        Ok(differences) => differences,
        Err(error) => {
            html.raw("<p class=\"warning\">The files cannot be compared: ")
                .text(error)
                .raw(".</p>");
            return;
        }
    };
    if differences.is_empty() {
        html.raw("<p>None: both runs have the same settings.</p>");
        return;
    }
    html.raw("<div class=\"scroll\"><table class=\"words\"><thead><tr><th scope=\"col\">Key</th>");
    for run in [run, against] {
        html.wrap("<th scope=\"col\">", &run.label, "</th>");
    }
    html.raw("</tr></thead><tbody>");
    for difference in &differences {
        html.wrap(
            "<tr><th scope=\"row\"><code>",
            &difference.key,
            "</code></th>",
        );
        for value in [&difference.left, &difference.right] {
            match value {
                Some(value) => html.wrap("<td><code>", value, "</code></td>"),
                None => html.raw("<td>–</td>"),
            };
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div>");
}
