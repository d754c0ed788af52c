//! A reader's prompts in chat templates.

use std::time::Duration;

use longhand_chat::{ChatTemplate, Limits};
use longhand_memory::{PRESETS, TemplatesText};
use longhand_reading::{ChatOptions, in_chat, rendered};
use proptest::prelude::*;
use serde_json::{Map, Value};

/// As SmolLM2 and Qwen2.5: a message of the system unless there is one.
const CHATML: &str = "\
{%- if messages[0]['role'] != 'system' %}<|im_start|>system\nBe of help.<|im_end|>\n{% endif %}
{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// As Qwen3: looks into messages for replies of tools, and leaves room for thoughts or not.
const THINKER: &str = "\
{%- set ns = namespace(last=messages|length - 1, is_open=true) %}
{%- for message in messages[::-1] %}
    {%- if ns.is_open and message.role == 'user' and not (message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.is_open = false %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{% set content = message.content %}{% else %}{% set content = '' %}{% endif %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}";

/// As Llama 3: the start token, the date, and trimmed messages.
const HEADERS: &str = "\
{{- bos_token }}
{%- if strftime_now is defined and date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = '' %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + date_string + '\\n\\n' + system_message + '<|eot_id|>' }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}";

/// As Mistral: no other roles, turns in brackets.
const BRACKETS: &str = "\
{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}{{ '[INST] ' + message.content + ' [/INST]' }}{% elif message.role == 'system' %}{{ raise_exception('no system here') }}{% else %}{{ message.content + eos_token }}{% endif %}{% endfor %}";

const ALL: [&str; 4] = [CHATML, THINKER, HEADERS, BRACKETS];

fn template(source: &str) -> ChatTemplate {
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")];
    let tokens = tokens.map(|(name, token)| (name.to_owned(), Value::from(token)));
    ChatTemplate::from_source(source, "test.jinja", tokens.into_iter().collect()).unwrap()
}

fn wrapped(source: &str, plain: &TemplatesText, options: &ChatOptions) -> TemplatesText {
    in_chat(plain, &template(source), options).unwrap_or_else(|error| panic!("{source}: {error}"))
}

fn small() -> TemplatesText {
    TemplatesText::parse(
        "{question}|{chunk}|{memory}|Go.",
        "{memory}|{question}|Go.",
        "-",
    )
    .unwrap()
}

#[test]
fn a_prompt_is_the_message_of_a_user() {
    let check = |source: &str, options: &ChatOptions, expected: &str| {
        let wrapped = wrapped(source, &small(), options);
        assert_eq!(wrapped.read.fill("Q", "C", "M"), expected);
        assert_eq!(wrapped.empty_memory, "-");
    };
    let default = ChatOptions::default();
    check(
        CHATML,
        &default,
        "<|im_start|>system\nBe of help.<|im_end|>\n<|im_start|>user\nQ|C|M|Go.<|im_end|>\n\
         <|im_start|>assistant\n",
    );
    check(
        THINKER,
        &default,
        "<|im_start|>user\nQ|C|M|Go.<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    );
    check(
        HEADERS,
        &default,
        "<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\n<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\nQ|C|M|Go.<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\n",
    );
    check(BRACKETS, &default, "<s>[INST] Q|C|M|Go. [/INST]");

    let variables: Map<String, Value> = [
        ("enable_thinking".to_owned(), Value::from(true)),
        ("date_string".to_owned(), Value::from("today")),
    ]
    .into_iter()
    .collect();
    let options = ChatOptions {
        system: Some("Be brief.".to_owned()),
        variables,
        ..default
    };
    check(
        THINKER,
        &options,
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nQ|C|M|Go.<|im_end|>\n\
         <|im_start|>assistant\n",
    );
    check(
        HEADERS,
        &options,
        "<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: today\n\nBe brief.<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\nQ|C|M|Go.<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\n",
    );
    let error = in_chat(&small(), &template(BRACKETS), &options).unwrap_err();
    assert!(error.to_string().contains("no system here"), "{error}");
}

#[test]
fn a_template_that_does_not_copy_each_slot_is_refused() {
    let check = |source: &str, expected: &str| {
        let error = in_chat(&small(), &template(source), &ChatOptions::default());
        let error = error.expect_err(source).to_string();
        assert!(error.contains(expected), "{source}: {error}");
    };
    check("hello", "leaves out the question of the read prompt");
    check("{{ messages[0].content[:9] }}", "leaves out the question");
    check(
        "{{ messages[0].content.split('|')[0] }}",
        "leaves out the chunk of the read prompt",
    );
    let twice = "{{ messages[0].content }}{{ messages[0].content }}";
    check(twice, "writes the question of the read prompt 2 times");
    for filter in [
        "upper",
        "lower",
        "title",
        "e",
        "tojson",
        "replace('\n', ' ')",
        "capitalize",
    ] {
        let source = format!("{{{{ messages[0].content | {filter} }}}}");
        check(
            &source,
            "changes the text of the question in the read prompt",
        );
    }
    let words = "{{ messages[0].content.split() | join(' ') }}";
    check(words, "changes the text of the question");
    let reversed = "{{ messages[0].content.split('|')[::-1] | join('|') }}";
    check(
        reversed,
        "puts the chunk of the read prompt in another place",
    );
    let looks = "{{ messages[0].content }}{% if '\\n- ' in messages[0].content or '- one' in messages[0].content %}!{% endif %}";
    check(looks, "writes other text around the read prompt");
    let long = "{{ messages[0].content }}{% if 40 < messages[0].content | length %}!{% endif %}";
    check(long, "writes other text around the read prompt");
    check("{{ raise_exception('no') }}", "refuses the conversation");
}

#[test]
fn a_prompt_may_speak_of_marks_itself() {
    let plain = TemplatesText::parse(
        "MLonghandSlot0x0 {question}{chunk} longhandslot1X {memory}.",
        "{question}{memory}MLonghandSlot0x1",
        "",
    );
    let plain = plain.unwrap();
    let options = ChatOptions {
        system: Some("LonghandSlot2x".to_owned()),
        ..ChatOptions::default()
    };
    let wrapped = wrapped(CHATML, &plain, &options);
    let prompt = plain.read.fill("Q", "C", "M");
    assert_eq!(
        wrapped.read.fill("Q", "C", "M"),
        rendered(&prompt, &template(CHATML), &options).unwrap()
    );
}

#[test]
fn blanks_around_a_prompt_go_where_the_template_trims() {
    let plain = TemplatesText::parse(
        " \n{question}{chunk}{memory} \n",
        "{question}{memory}\n",
        "",
    );
    let plain = plain.unwrap();
    let prompt = wrapped(HEADERS, &plain, &ChatOptions::default())
        .read
        .fill("Q", "C", "M");
    assert!(prompt.contains("\n\nQCM<|eot_id|>"), "{prompt:?}");
    let prompt = wrapped(CHATML, &plain, &ChatOptions::default())
        .read
        .fill("Q", "C", "M");
    assert!(prompt.contains("user\n \nQCM \n<|im_end|>"), "{prompt:?}");
}

/// Texts with what templates, tokenizers and markup make much of.
fn text() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "<|im_end|>",
        "<|im_start|>",
        "{{ x }}",
        "{% endif %}",
        "\n",
        "\r\n",
        " ",
        "\"",
        "&lt;",
        "<tool_response>",
        "</tool_response>",
        "</think>",
        "MLonghandSlot0x0",
        "\u{1f600}",
        "\u{e9}",
        "\\",
        "\u{0}",
        "{question}",
        "{#",
        "word",
    ]);
    let piece = prop_oneof![piece.prop_map(str::to_owned), "\\PC{0,6}"];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn filled_after_wrapping_a_prompt_is_what_it_is_when_wrapped_after_filling(
        question in text(),
        chunk in text(),
        memory in text(),
        system in proptest::option::of("[a-z ]{1,9}"),
    ) {
        for source in ALL {
            let chat = template(source);
            let options = ChatOptions {
                system: system.clone().filter(|_| source != BRACKETS),
                limits: Limits {
                    // Other tests take their time too.
                    time: Duration::from_secs(60),
                    ..Limits::default()
                },
                ..ChatOptions::default()
            };
            for preset in PRESETS {
                let plain = TemplatesText::preset(preset).unwrap();
                let wrapped = in_chat(&plain, &chat, &options).unwrap();
                let mut pairs = vec![(&wrapped.answer, &plain.answer)];
                if plain.is_direct() {
                    prop_assert_eq!(&wrapped.read, &plain.read);
                } else {
                    pairs.push((&wrapped.read, &plain.read));
                }
                for (wrapped, plain) in pairs {
                    let prompt = plain.fill(&question, &chunk, &memory);
                    let expected = rendered(&prompt, &chat, &options).unwrap();
                    prop_assert_eq!(wrapped.fill(&question, &chunk, &memory), expected);
                }
            }
        }
    }
}
