//! What templates render, against what Jinja renders.

use std::fs;

use longhand_chat::{ChatError, ChatTemplate, Clock, DateTime, Message, Outcome, RenderOptions};
use serde_json::{Map, Value, json};

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::from_source(source, "test.jinja", Map::new()).expect("a template")
}

fn options() -> RenderOptions {
    RenderOptions {
        clock: Clock::Fixed(DateTime {
            year: 2025,
            month: 3,
            day: 9,
            hour: 7,
            minute: 5,
            second: 4,
        }),
        ..RenderOptions::default()
    }
}

#[test]
fn constructs_render_as_in_jinja() {
    // transformers.utils.chat_template_utils.render_jinja_template(
    //     [[{"role": "user", "content": "x"}]], chat_template=source)[0][0], at 2025-03-09 07:05:04
    for (source, expected) in [
        ("  {% if true %}\n  a\n  {% endif %}\n b\n", "  a\n b"),
        (
            "{% for m in [1, 2, 3, 4] %}{% if m == 2 %}{% continue %}{% endif %}{% if m == 4 %}{% break %}{% endif %}{{ m }},{% endfor %}",
            "1,3,",
        ),
        (
            "{{ {'b': '<é>', 'a': [1, 2.0, none, true]} | tojson }}",
            "{\"b\": \"<é>\", \"a\": [1, 2.0, null, true]}",
        ),
        (
            "{{ {'b': 1, 'a': {}} | tojson(indent=2) }}",
            "{\n  \"b\": 1,\n  \"a\": {}\n}",
        ),
        (
            "{{ {'b': 'é', 'a': []} | tojson(ensure_ascii=true, sort_keys=true, separators=(',', ':')) }}",
            "{\"a\":[],\"b\":\"\\u00e9\"}",
        ),
        (
            "{{ [1e20, 0.00001, 1e15, -0.5] | tojson }}",
            "[1e+20, 1e-05, 1000000000000000.0, -0.5]",
        ),
        (
            "{{ [true, none, 'it\\'s', 1.0] }} {{ {'k': ('a',)} }}",
            "[True, None, \"it's\", 1.0] {'k': ('a',)}",
        ),
        (
            "{{ strftime_now('%d %b %Y, %H:%M') }}",
            "09 Mar 2025, 07:05",
        ),
        (
            "{% generation %}{% set a = 1 %}x{% endgeneration %}{{ a }}",
            "x",
        ),
        (
            "a\n  {%- generation -%}\n  b\n  {%- endgeneration %}\nc",
            "abc",
        ),
        (
            "{{ '{% generation %}' }}{# {% generation %} #}{% raw %}{% generation %}{{ x }}{% endraw %}",
            "{% generation %}{% generation %}{{ x }}",
        ),
        (
            "{{ '\u{1c}  a \u{1f}' | trim }}|{{ '--a-'.strip('-') }}|{{ 'a-b-c'.rsplit('-', 1) if false else 'a.b'.split('.')[-1] }}",
            "a|a|b",
        ),
        (
            "{{ 'ab' * 3 ~ 2 * 3 }} {{ 2 * 3 * 'x' }} {{ 2 ** 3 * 2 }} {{ (1 + 2) * (3 + 4) }} {{ 1.5 * 2 }}",
            "ababab6 xxxxxx 16 21 3.0",
        ),
        ("{{ 1 ~ none ~ true ~ 1.0 ~ missing }}", "1NoneTrue1.0"),
        (
            "{% set ns = namespace(a='') %}{% for c in ['x', 'y'] %}{% set ns.a = ns.a + c %}{% endfor %}{{ ns.a }}",
            "xy",
        ),
        (
            "{% macro f(a, b='d') %}<{{ a }}{{ b }}>{% endmacro %}{{ f('x') + f('y', b=1) }}",
            "<xd><y1>",
        ),
        (
            "{{ 'abc' is sequence }} {{ {} is iterable }} {{ true is number }} {{ messages is mapping }}",
            "True True True False",
        ),
        (
            "{{ 'a\nb\n\nc\n' | indent(2) }}|{{ 'a\nb' | indent(2, first=true) }}",
            "a\n  b\n\n  c\n|  a\n  b",
        ),
        (
            "{{ ['a', 1, none] | join('-') }} {{ messages | join(',', attribute='role') }} {{ 'aXbX' | replace('X', 'yy') }}",
            "a-1-None user ayybyy",
        ),
        (
            "{%- for m in messages -%}\n  {{ loop.index0 }}{{ m.get('no', 'd') }}{{ m['role'] }}\n{%- endfor -%}\n z",
            "0duserz",
        ),
        ("{% for a in [1] +%}\n{{ a }}{% endfor %}\nend", "\n1end"),
        (
            "{{ messages[::-1][0].content }}{{ messages[-1]['content'][:1] }}{{ '%s-%03d' | format('a', 7) }}",
            "xxa-007",
        ),
        (
            "{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}{{ v }}{% endfor %}{{ {'b': 1} | length }}{{ ({'a': 1} | items | list)[0][0] }}",
            "b1a21a",
        ),
        ("a\r\n{{ 'b\r\nc' }}", "a\nb\nc"),
    ] {
        let text = template(source).render(&[Message::new("user", "x")], &options());
        assert_eq!(text.expect(source), expected, "{source}");
    }
}

/// Speaks as ChatML does; thinks, calls tools, and leaves out thoughts of earlier turns.
const THINKER: &str = "\
{%- for tool in tools or [] %}{{ 'T' ~ (tool | tojson) ~ '\\n' }}{% endfor %}
{%- set ns = namespace(last=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}
{%- endfor %}
{%- for message in messages %}
    {{- '<' + message['role'] + '>' }}
    {%- if message.reasoning_content is string and ns.last < loop.index0 %}
        {{- '(' + message.reasoning_content.strip('\\n') + ')' }}
    {%- endif %}
    {%- if message.content is string %}
        {{- message.content }}
    {%- else %}
        {%- for part in message.content or [] %}{{ part.text }}{% endfor %}
    {%- endif %}
    {%- for call in message.tool_calls or [] %}
        {%- set call = call.function or call %}
        {{- '[' + call.name + ' ' }}
        {{- call.arguments if call.arguments is string else call.arguments | tojson }}
        {{- ']' }}
    {%- endfor %}
    {{- eos_token }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<assistant>' }}{% if quick is defined and quick %}{{ '()' }}{% endif %}{% endif %}";

/// What the thinker makes of messages, with `quick` set.
fn thinker(messages: &Value, tools: Option<Vec<Value>>, prompt: bool) -> String {
    let tokens = json!({"eos_token": "$"});
    let template =
        ChatTemplate::from_source(THINKER, "t", tokens.as_object().expect("a map").clone());
    let messages: Vec<Message> = serde_json::from_value(messages.clone()).expect("messages");
    let options = RenderOptions {
        add_generation_prompt: prompt,
        tools,
        extra: Map::from_iter([("quick".to_owned(), Value::from(true))]),
        ..options()
    };
    template
        .expect("a template")
        .render(&messages, &options)
        .expect("a text")
}

#[test]
fn conversations_render_as_in_jinja() {
    // render_jinja_template([messages], chat_template=THINKER, tools=tools, eos_token="$", quick=True,
    //     add_generation_prompt=prompt)[0][0]
    for (messages, tools, prompt, expected) in [
        (
            json!([{"role": "system", "content": ""}, {"role": "user", "content": " a\n"}]),
            None,
            true,
            "<system>$<user> a\n$<assistant>()",
        ),
        (
            json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning_content": "\nwhy\n"}]),
            None,
            false,
            "<user>a$<assistant>(why)b$",
        ),
        (
            json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "thinking": "why"}, {"role": "user", "content": "c"}]),
            None,
            true,
            "<user>a$<assistant>b$<user>c$<assistant>()",
        ),
        (
            json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": null, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"z": 1, "a": ["ü", null]}}}]}, {"role": "tool", "content": "r"}]),
            Some(vec![
                json!({"type": "function", "function": {"name": "f", "parameters": {"z": 1, "a": "<é>"}}}),
            ]),
            true,
            "T{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"z\": 1, \"a\": \"<é>\"}}}\n<user>a$<assistant>[f {\"z\": 1, \"a\": [\"ü\", null]}]$<tool>r$<assistant>()",
        ),
        (
            json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}, {"name": "g", "arguments": {}}]}]),
            Some(vec![]),
            false,
            "<user>a$<assistant>[f {\"x\": 1}][g {}]$",
        ),
        (
            json!([{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": " two"}]}, {"role": "assistant", "content": "😀 日本"}]),
            None,
            false,
            "<user>one two$<assistant>😀 日本$",
        ),
    ] {
        assert_eq!(thinker(&messages, tools, prompt), expected);
    }
}

#[test]
fn the_last_message_is_continued() {
    let plain = "{% for m in messages %}<{{ m.role }}>{{ m.content }}${% endfor %}";
    let trimming = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}${% endfor %}";
    let messages = [
        Message::new("user", "a"),
        Message::new("assistant", " b \n"),
    ];
    let options = RenderOptions {
        continue_final_message: true,
        ..options()
    };
    for (source, expected) in [
        (plain, "<user>a$<assistant> b \n"),
        (trimming, "<user>a$<assistant>b"),
    ] {
        let text = template(source)
            .render(&messages, &options)
            .expect("a text");
        assert_eq!(text, expected);
    }
    let silent = template("{{ messages[0].content }}").render(&messages, &options);
    assert!(matches!(silent, Err(ChatError::Options(_))), "{silent:?}");
}

/// The error's text of a template.
fn check_error(source: &str, expected: &str) {
    let rendered = ChatTemplate::from_source(source, "dir/t.jinja", Map::new())
        .and_then(|template| template.render(&[Message::new("user", "x")], &options()));
    let error = rendered.expect_err(source).to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn errors_name_the_file_and_the_line() {
    check_error("a\n{% if %}", "dir/t.jinja:2: syntax error");
    check_error("a\n\n{{ messages.x.y }}", "dir/t.jinja:3: undefined value");
    check_error(
        "{% for m in messages %}\n{{ raise_exception('no ' + m.role) }}{% endfor %}",
        "dir/t.jinja:2: the template refuses the conversation: no user",
    );
    check_error("{{ __longhand_hold(1) }}", "reserved");
    check_error(
        "\n{{ missing | tojson }}",
        "dir/t.jinja:2: could not serialize",
    );
}

#[test]
fn messages_that_are_none_are_refused() {
    for (message, expected) in [
        (json!({"content": "x"}), "message 0: `role`"),
        (json!({"role": "user", "content": 1}), "`content`"),
        (json!({"role": "user", "content": ["x"]}), "`content`"),
        (json!({"role": "user", "tool_calls": {}}), "`tool_calls`"),
        (
            json!({"role": "user", "tool_calls": [{"arguments": 1}]}),
            "`arguments`",
        ),
        (
            json!({"role": "user", "reasoning_content": 1}),
            "`reasoning_content`",
        ),
    ] {
        let message: Message = serde_json::from_value(message).expect("an object");
        let error = template("x")
            .render(&[message], &options())
            .expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(template("x").render(&[], &options()).is_err());
}

/// What the folder's template makes of one message; files are names with texts.
fn from_folder(files: &[(&str, &str)], options: &RenderOptions) -> Result<String, ChatError> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    ChatTemplate::load(folder.path())?.render(&[Message::new("user", "x")], options)
}

#[test]
fn templates_are_found_as_hugging_face_finds_them() {
    let tools = RenderOptions {
        tools: Some(vec![json!({})]),
        ..options()
    };
    let named = RenderOptions {
        template: Some("rag".to_owned()),
        ..options()
    };
    let inline = r#"{"chat_template": "{{ bos_token }}{{ eos_token }}i", "bos_token": "B", "eos_token": {"content": "E"}}"#;
    let list = r#"{"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]}"#;
    let config = "tokenizer_config.json";
    for (files, options, expected) in [
        (vec![(config, inline)], &options(), Ok("BEi")),
        (
            vec![
                (config, inline),
                ("chat_template.jinja", "f{{ bos_token }}"),
            ],
            &options(),
            Ok("fB"),
        ),
        (
            vec![("chat_template.jinja", "{{ bos_token }}f")],
            &options(),
            Ok("f"),
        ),
        (vec![(config, list)], &options(), Ok("d")),
        (vec![(config, list)], &tools, Ok("t")),
        (vec![(config, inline)], &tools, Ok("BEi")),
        (
            vec![(config, list)],
            &named,
            Err("no chat template is named `rag`"),
        ),
        (
            vec![(config, "{}")],
            &options(),
            Err("has no chat template"),
        ),
        (vec![], &options(), Err("has no chat template")),
        (
            vec![(config, "[")],
            &options(),
            Err("tokenizer_config.json: "),
        ),
        (
            vec![(config, r#"{"chat_template": 1}"#)],
            &options(),
            Err("`chat_template` must be"),
        ),
        (
            vec![(config, r#"{"bos_token": 1}"#)],
            &options(),
            Err("`bos_token` must be"),
        ),
        (
            vec![(config, r#"{"chat_template": "{% if %}"}"#)],
            &options(),
            Err("(chat_template):1: syntax"),
        ),
    ] {
        match (from_folder(&files, options), expected) {
            (Ok(text), Ok(expected)) => assert_eq!(text, expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (other, expected) => panic!("{other:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn prefixes_are_kept_or_the_first_difference_is_shown() {
    let keeper = "{% for m in messages %}<{{ m.role }}>{{ m.content }}${% endfor %}\
                  {% if add_generation_prompt %}<assistant>{% endif %}";
    let report = template(keeper)
        .keeps_prefixes(&options())
        .expect("a report");
    assert!(report.is_kept(), "{report:?}");
    // Two texts for each of three answers.
    assert!(
        matches!(report.cases[0].outcome, Outcome::Kept { n_texts: 6 }),
        "{report:?}"
    );

    let report = template(THINKER)
        .keeps_prefixes(&options())
        .expect("a report");
    assert!(!report.is_kept());
    let [plain, _, thinks, ..] = report.cases.as_slice() else {
        panic!("{report:?}");
    };
    assert!(matches!(plain.outcome, Outcome::Kept { .. }), "{plain:?}");
    let Outcome::Broken(difference) = &thinks.outcome else {
        panic!("{thinks:?}");
    };
    assert_eq!(
        (
            difference.n_messages,
            difference.is_prompt,
            difference.n_messages_later
        ),
        (3, false, 4)
    );
    assert!(difference.common.ends_with("<assistant>"), "{difference:?}");
    assert!(
        difference.earlier.starts_with("(Light scatters.)Blue."),
        "{difference:?}"
    );
    assert!(
        difference.later.starts_with("Blue.<user>"),
        "{difference:?}"
    );

    let refuser = template("{{ raise_exception('never') }}")
        .keeps_prefixes(&options())
        .expect("a report");
    assert!(!refuser.is_kept());
    assert!(
        matches!(&refuser.cases[0].outcome, Outcome::Refused { reason } if reason.contains("never"))
    );
}
