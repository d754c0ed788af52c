//! Templates rewritten so that they can be bounded, and so that the engine knows their tags.
//!
//! Every line keeps its number: nothing is inserted or removed that holds a line break.

use minijinja::machinery::ast::{self, BinOpKind, CallArg, Expr, Stmt};
use minijinja::machinery::{Span, parse};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error, ErrorKind};

/// Charges the value inside and returns it.
pub(crate) const HOLD: &str = "__longhand_hold";
/// Multiplies two values, charging the product before it is made.
pub(crate) const MULTIPLY: &str = "__longhand_multiply";
/// Joins two values as text, charging it while it is written.
pub(crate) const JOIN: &str = "__longhand_join";
/// Looks at the clock; true.
pub(crate) const TICK: &str = "__longhand_tick";
const RESERVED: &str = "__longhand_";

/// The template with `generation` tags replaced and everything that can grow wrapped.
///
/// # Errors
///
/// A template that cannot be parsed, or that uses a name of ours.
pub(crate) fn guarded(source: &str, syntax: &SyntaxConfig) -> Result<String, Error> {
    if source.contains(RESERVED) {
        return Err(Error::new(
            ErrorKind::SyntaxError,
            format!("names that begin with {RESERVED} are reserved"),
        ));
    }
    // As Jinja reads templates.
    let source = tags(&source.replace("\r\n", "\n").replace('\r', "\n"))?;
    let parsed = parse(&source, "", syntax.clone())?;
    let mut edits = Edits {
        source: &source,
        edits: Vec::new(),
    };
    edits.statement(&parsed);
    Ok(edits.apply())
}

/// Code in one tag, strings aside; the longest of known templates has a tenth of it.
const MAX_TAG_BYTES: usize = 4_000;
/// Branches of all conditions.
const MAX_BRANCHES: usize = 2_000;

fn syntax_error(reason: &'static str) -> Error {
    Error::new(ErrorKind::SyntaxError, reason)
}

/// `generation` blocks become `with` blocks, which scope what they set in the same way; loops and macros
/// look at the clock each time they begin. Chains of operators and of branches nest the syntax tree
/// without the parser counting it, so they are bounded here, before it sees them.
fn tags(source: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(source.len() + 64);
    let mut rest = source;
    let mut n_branches = 0;
    while let Some(start) = rest.find('{') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = match rest.as_bytes().get(1) {
            Some(b'#') => rest.find("#}").map(|end| (end + 2, 0)),
            Some(b'{') => end_of_tag(rest, "}}"),
            Some(b'%') => end_of_tag(rest, "%}"),
            _ => Some((1, 0)),
        };
        let (end, n_code_bytes) = end.ok_or_else(|| syntax_error("a tag does not end"))?;
        if MAX_TAG_BYTES < n_code_bytes {
            return Err(syntax_error("a tag is too long"));
        }
        let tag = &rest[..end];
        rest = &rest[end..];
        match tag_name(tag) {
            Some("raw") => {
                out.push_str(tag);
                let end = end_of_raw(rest).unwrap_or(rest.len());
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            Some("generation") => out.push_str(&tag.replacen("generation", "with      ", 1)),
            Some("endgeneration") => {
                out.push_str(&tag.replacen("endgeneration", "endwith      ", 1));
            }
            Some("for" | "macro") => {
                // What the tag says about the white space after it is said by the last tag instead.
                let control = match tag.as_bytes()[tag.len() - 3] {
                    b'-' => "-",
                    b'+' => "+",
                    _ => "",
                };
                out.push_str(&format!("{tag}{{% if {TICK}() %}}{{% endif {control}%}}"));
            }
            Some("elif") if n_branches == MAX_BRANCHES => {
                return Err(syntax_error("too many branches"));
            }
            name => {
                n_branches += usize::from(name == Some("elif"));
                out.push_str(tag);
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Where the tag begins that ends a raw block.
fn end_of_raw(text: &str) -> Option<usize> {
    text.match_indices("{%").map(|(at, _)| at).find(|at| {
        let inside = &text[at + 2..];
        let inside = inside.strip_prefix(['-', '+']).unwrap_or(inside);
        inside.trim_start().starts_with("endraw")
    })
}

/// Bytes up to the end of a tag that begins here, over strings, and how many of them are outside strings;
/// none if it does not end.
fn end_of_tag(text: &str, end: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let (mut quote, mut depth, mut n_code_bytes) = (None, 0_usize, 0);
    let mut idx = 2;
    while idx < bytes.len() {
        n_code_bytes += usize::from(quote.is_none() && !bytes[idx].is_ascii_whitespace());
        match (quote, bytes[idx]) {
            (Some(_), b'\\') => idx += 1,
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'\'' | b'"')) => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if 0 < depth => depth -= 1,
            (None, _) if bytes[idx..].starts_with(end.as_bytes()) => {
                return Some((idx + end.len(), n_code_bytes));
            }
            _ => {}
        }
        idx += 1;
    }
    None
}

/// The word after `{%`; none for other tags.
fn tag_name(tag: &str) -> Option<&str> {
    let inside = tag.strip_prefix("{%")?.strip_suffix("%}")?;
    let inside = inside
        .strip_prefix(['-', '+'])
        .unwrap_or(inside)
        .trim_start();
    let end = inside
        .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .unwrap_or(inside.len());
    Some(&inside[..end])
}

/// What to put where, found on a template's syntax tree.
struct Edits<'s> {
    source: &'s str,
    /// Offset, bytes to leave out there, text to put there.
    edits: Vec<(usize, usize, String)>,
}

impl Edits<'_> {
    fn apply(mut self) -> String {
        // Stable: at one offset the outer expression comes first, as it was seen first.
        self.edits.sort_by_key(|edit| edit.0);
        let mut out = String::with_capacity(self.source.len() + 32 * self.edits.len());
        let mut offset = 0;
        for (at, n_left_out, text) in &self.edits {
            out.push_str(&self.source[offset..*at]);
            out.push_str(text);
            offset = at + n_left_out;
        }
        out.push_str(&self.source[offset..]);
        out
    }

    fn wrap(&mut self, span: Span, function: &str) {
        let (start, end) = (span.start_offset as usize, span.end_offset as usize);
        self.edits.push((start, 0, format!("{function}(")));
        self.edits.push((end, 0, ")".to_owned()));
    }

    fn statements(&mut self, statements: &[Stmt<'_>]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Stmt<'_>) {
        match statement {
            Stmt::Template(node) => self.statements(&node.children),
            Stmt::EmitExpr(node) => self.expression(&node.expr),
            Stmt::ForLoop(node) => {
                self.expression(&node.iter);
                self.optional(node.filter_expr.as_ref());
                self.statements(&node.body);
                self.statements(&node.else_body);
            }
            Stmt::IfCond(node) => {
                self.expression(&node.expr);
                self.statements(&node.true_body);
                self.statements(&node.false_body);
            }
            Stmt::WithBlock(node) => {
                for (_, value) in &node.assignments {
                    self.expression(value);
                }
                self.statements(&node.body);
            }
            Stmt::Set(node) => self.expression(&node.expr),
            Stmt::SetBlock(node) => {
                self.optional(node.filter.as_ref());
                self.statements(&node.body);
            }
            Stmt::AutoEscape(node) => self.statements(&node.body),
            Stmt::FilterBlock(node) => {
                self.expression(&node.filter);
                self.statements(&node.body);
            }
            Stmt::Macro(node) => self.macro_(node),
            Stmt::CallBlock(node) => {
                self.call(&node.call);
                self.macro_(&node.macro_decl);
            }
            Stmt::Do(node) => self.call(&node.call),
            Stmt::Block(node) => self.statements(&node.body),
            Stmt::Import(node) => self.expression(&node.expr),
            Stmt::FromImport(node) => self.expression(&node.expr),
            Stmt::Extends(node) => self.expression(&node.name),
            Stmt::Include(node) => self.expression(&node.name),
            Stmt::EmitRaw(_) | Stmt::Continue(_) | Stmt::Break(_) => {}
        }
    }

    fn macro_(&mut self, node: &ast::Macro<'_>) {
        for default in &node.defaults {
            self.expression(default);
        }
        self.statements(&node.body);
    }

    fn call(&mut self, node: &ast::Call<'_>) {
        self.expression(&node.expr);
        self.arguments(&node.args);
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) {
        for argument in arguments {
            match argument {
                CallArg::Pos(expr)
                | CallArg::Kwarg(_, expr)
                | CallArg::PosSplat(expr)
                | CallArg::KwargSplat(expr) => self.expression(expr),
            }
        }
    }

    fn optional(&mut self, expr: Option<&Expr<'_>>) {
        if let Some(expr) = expr {
            self.expression(expr);
        }
    }

    fn expression(&mut self, expr: &Expr<'_>) {
        match expr {
            Expr::Var(_) | Expr::Const(_) => {}
            Expr::Slice(node) => {
                self.expression(&node.expr);
                self.optional(node.start.as_ref());
                self.optional(node.stop.as_ref());
                self.optional(node.step.as_ref());
            }
            Expr::UnaryOp(node) => self.expression(&node.expr),
            Expr::BinOp(node) => {
                match node.op {
                    BinOpKind::Mul => self.operator(node.span(), '*', MULTIPLY),
                    BinOpKind::Concat => self.operator(node.span(), '~', JOIN),
                    BinOpKind::Add | BinOpKind::Rem => self.wrap(node.span(), HOLD),
                    _ => {}
                }
                self.expression(&node.left);
                self.expression(&node.right);
            }
            Expr::Compare(node) => {
                self.expression(&node.expr);
                for op in &node.ops {
                    self.expression(&op.expr);
                }
            }
            Expr::IfExpr(node) => {
                self.expression(&node.test_expr);
                self.expression(&node.true_expr);
                self.optional(node.false_expr.as_ref());
            }
            Expr::Filter(node) => {
                self.optional(node.expr.as_ref());
                self.arguments(&node.args);
            }
            Expr::Test(node) => {
                self.expression(&node.expr);
                self.arguments(&node.args);
            }
            Expr::GetAttr(node) => self.expression(&node.expr),
            Expr::GetItem(node) => {
                self.expression(&node.expr);
                self.expression(&node.subscript_expr);
            }
            Expr::Call(node) => self.call(node),
            Expr::List(node) => {
                self.bracketed(node.span());
                for item in &node.items {
                    self.expression(item);
                }
            }
            Expr::Tuple(node) => {
                self.bracketed(node.span());
                for item in &node.items {
                    self.expression(item);
                }
            }
            Expr::Map(node) => {
                self.bracketed(node.span());
                for item in node.keys.iter().chain(&node.values) {
                    self.expression(item);
                }
            }
        }
    }

    /// Wraps a list, tuple or map that stands in brackets.
    fn bracketed(&mut self, span: Span) {
        let text = &self.source[span.start_offset as usize..span.end_offset as usize];
        if text.starts_with(['[', '(', '{']) && text.ends_with([']', ')', '}']) {
            self.wrap(span, HOLD);
        }
    }

    /// Turns `left op right` into `function(left, right)`: the operator that is evaluated last is the last
    /// one outside brackets and strings.
    fn operator(&mut self, span: Span, operator: char, function: &str) {
        let start = span.start_offset as usize;
        let text = &self.source.as_bytes()[start..span.end_offset as usize];
        let (mut depth, mut quote, mut found) = (0_i64, None, None);
        let mut idx = 0;
        while idx < text.len() {
            match (quote, text[idx]) {
                (Some(_), b'\\') => idx += 1,
                (Some(open), byte) if open == byte => quote = None,
                (Some(_), _) => {}
                (None, byte @ (b'\'' | b'"')) => quote = Some(byte),
                (None, b'(' | b'[' | b'{') => depth += 1,
                (None, b')' | b']' | b'}') => depth -= 1,
                (None, b'*') if text.get(idx + 1) == Some(&b'*') => idx += 1,
                (None, byte) if depth == 0 && char::from(byte) == operator => found = Some(idx),
                _ => {}
            }
            idx += 1;
        }
        if let Some(idx) = found {
            self.wrap(span, function);
            self.edits.push((start + idx, 1, ",".to_owned()));
        }
    }
}
