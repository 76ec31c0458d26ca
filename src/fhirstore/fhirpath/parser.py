"""http://hl7.org/fhirpath/N1/#grammar: FHIRPath text -> syntax tree.

The parser reads the whole expression grammar, so it finds syntax errors and their position. Each compiler decides
which trees it supports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal

from fhirstore.fhirpath.ast import (
    EmptyLiteral,
    Expression,
    FunctionCall,
    Indexer,
    Literal,
    Member,
    OperatorExpression,
    QuantityLiteral,
    TemporalLiteral,
    TypeExpression,
    Variable,
)

# From the loosest to the tightest. The right operand of "is" and "as" is a type.
PRECEDENCE = {
    operator: rank
    for rank, operators in enumerate(
        (
            ("implies",),
            ("or", "xor"),
            ("and",),
            ("in", "contains"),
            ("=", "~", "!=", "!~"),
            ("<=", "<", ">", ">="),
            ("|",),
            ("is", "as"),
            ("+", "-", "&"),
            ("*", "/", "div", "mod"),
        )
    )
    for operator in operators
}

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<open_comment>/\*)
    |(?P<string>'(?:[^'\\]|\\.)*')
    |(?P<quoted>`(?:[^`\\]|\\.)*`)
    |(?P<date>@[0-9T][0-9T:.+Z-]*)
    |(?P<number>[0-9]+(?:\.[0-9]+)?)
    |(?P<variable>%(?:[A-Za-z_][\w-]*|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*")|\$[a-z]+)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<mark><=|>=|!=|!~|[-+*/&|=~<>().,\[\]{}])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
_UNITS = frozenset(
    unit + plural
    for unit in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
    for plural in ("", "s")
)


MAX_EXPRESSION = 10_000
"""The maximum length of an expression in characters. Each node of the tree keeps its source."""


def parse(source: str) -> Expression:
    """The syntax tree of a FHIRPath expression. Raises ValueError with the position of a syntax error, and for an
    expression that is too long or too deeply nested."""
    if len(source) > MAX_EXPRESSION:
        raise ValueError(f"{_shown(source)}: an expression has at most {MAX_EXPRESSION} characters")
    try:
        return _Parser(source).whole()
    except RecursionError:
        raise ValueError(f"{_shown(source)}: the expression is nested too deeply") from None


def _shown(source: str) -> str:
    return repr(source) if len(source) <= 500 else f"{source[:500]!r}…"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


class _Parser:
    def __init__(self, source: str):
        self.source = source
        self.tokens = self._scan()
        self.at = 0

    def whole(self) -> Expression:
        expression = self.expression(0)
        if self.here.kind != "end":
            raise self.error("the expression should end here")
        return expression

    def _scan(self) -> list[_Token]:
        tokens, at = [], 0
        while at < len(self.source):
            match = _TOKEN.match(self.source, at)
            if match is None or match.lastgroup == "open_comment":
                raise ValueError(f"{_shown(self.source)}: unexpected {self.source[at]!r} at character {at + 1}")
            at = match.end()
            if match.lastgroup and match.lastgroup != "space":
                tokens.append(_Token(match.lastgroup, match.group(), match.start(), at))
        return [*tokens, _Token("end", "", at, at)]

    # --- tokens

    @property
    def here(self) -> _Token:
        return self.tokens[self.at]

    def error(self, expected: str) -> ValueError:
        found = repr(self.here.text) if self.here.text else "its end"
        return ValueError(f"{_shown(self.source)}: {expected}, found {found} at character {self.here.start + 1}")

    def take(self) -> _Token:
        token = self.here
        self.at += 1
        return token

    def accept(self, text: str) -> bool:
        if self.here.text == text and self.here.kind in ("mark", "word"):
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.error(f"{text!r} is expected")

    def since(self, start: int) -> str:
        return self.source[start : self.tokens[self.at - 1].end]

    # --- grammar

    def expression(self, lowest: int) -> Expression:
        start = self.here.start
        left = self.signed()
        while self.here.kind in ("mark", "word") and PRECEDENCE.get(self.here.text, -1) >= lowest:
            operator = self.take().text
            if operator in ("is", "as"):
                type_name = self.type_name()
                left = TypeExpression(self.since(start), left, operator, type_name)
            else:
                right = self.expression(PRECEDENCE[operator] + 1)
                left = OperatorExpression(self.since(start), operator, left, right)
        return left

    def signed(self) -> Expression:
        start = self.here.start
        if self.here.kind == "mark" and self.here.text in "+-":
            sign = self.take().text
            operand = self.signed()
            return OperatorExpression(self.since(start), sign, None, operand)
        return self.path()

    def path(self) -> Expression:
        start = self.here.start
        left = self.term()
        while True:
            if self.accept("."):
                left = self.invocation(left, start)
            elif self.accept("["):
                index = self.expression(0)
                self.expect("]")
                left = Indexer(self.since(start), left, index)
            else:
                return left

    def term(self) -> Expression:
        token = self.here
        if self.accept("("):
            inner = self.expression(0)
            self.expect(")")
            return replace(inner, text=self.since(token.start))
        if self.accept("{"):
            self.expect("}")
            return EmptyLiteral(self.since(token.start))
        if token.kind == "string":
            return Literal(token.text, _unquoted(self.take().text))
        if token.kind == "date":
            return _temporal(self.take().text)
        if token.kind == "number":
            return self.number()
        if token.kind == "variable":
            return Variable(self.take().text, token.text[0] + _unquoted(token.text[1:]))
        if token.kind == "word" and token.text in ("true", "false"):
            return Literal(token.text, self.take().text == "true")
        return self.invocation(None, token.start)

    def number(self) -> Expression:
        start, text = self.here.start, self.take().text
        value = Decimal(text) if "." in text else int(text)
        if self.here.kind == "string" or self.here.text in _UNITS:
            unit = self.take().text
            unit = _unquoted(unit) if unit[0] == "'" else unit.removesuffix("s")
            return QuantityLiteral(self.since(start), value, unit)
        return Literal(text, value)

    def invocation(self, target: Expression | None, start: int) -> Expression:
        token = self.here
        if token.kind == "variable" and token.text.startswith("$"):
            return Variable(self.take().text, token.text)
        if token.kind not in ("word", "quoted"):
            raise self.error("a name is expected")
        name = _unquoted(self.take().text)
        if not self.accept("("):
            return Member(self.since(start), target, name)
        if name in ("is", "as", "ofType") and target is not None:
            type_name = self.type_name()
            self.expect(")")
            return TypeExpression(self.since(start), target, "is" if name == "is" else "as", type_name)
        arguments: list[Expression] = []
        while not self.accept(")"):
            if arguments:
                self.expect(",")
            arguments.append(self.expression(0))
        return FunctionCall(self.since(start), target, name, tuple(arguments))

    def type_name(self) -> str:
        """A type specifier, without its namespace (FHIR.Patient, System.String)."""
        names: list[str] = []
        while not names or self.accept("."):
            if self.here.kind not in ("word", "quoted"):
                raise self.error("a type name is expected")
            names.append(_unquoted(self.take().text))
        return names[-1]


def _temporal(text: str) -> Expression:
    value = text[1:]
    if value.startswith("T"):
        return TemporalLiteral(text, value[1:], "time")
    return TemporalLiteral(text, value.removesuffix("T"), "dateTime" if "T" in value else "date")


def _unquoted(text: str) -> str:
    if text[0] not in "'`\"":
        return text
    return _ESCAPE.sub(lambda m: _escaped(m.group(1)), text[1:-1])


def _escaped(code: str) -> str:
    return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPED.get(code, code)
