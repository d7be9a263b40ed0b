"""English prose out of Python sources: what a reader would read aloud, without code and tables."""

import ast
import inspect
import re
import warnings
from collections.abc import Iterator

_UNDERLINE = re.compile(r"^\s*([-=~^*])\1{2,}\s*$")
_GOOGLE = re.compile(r"^([A-Z][A-Za-z ]{2,30})::?$")
_DROPPED = frozenset(
    ("example", "examples", "usage", "reference", "references", "see also", "methods", "citation")
)
_PARAMETERS = frozenset(
    re.findall(
        r"[^,]+",
        "args,arguments,attributes,keyword args,keyword arguments,other parameters,parameters,params,raises,"
        "receives,return value,returns,warns,yields",
    )
)
_FIELD = re.compile(r"^\s*(:\w[\w *,.\[\]|]*:|@\w+|\.\. )")
_PARAMETER = re.compile(r"^\s*\*{0,2}[\w`*.]+(?:\s*\(.*?\))?\s*(?:--?|—|:)\s+(?=[A-Z])")
_ITEM = re.compile(r"^\s*([-*+•]|\(?\d{1,2}[.)]|\(?[a-z]\))\s+")
_ROLE = re.compile(r":[a-z][a-z:+-]*:\s?`[~!]?([^`<]*?)(?:\s*<[^`>]*>)?`")
_LITERAL = re.compile(r"``([^`\n]*)``")
_LINK = re.compile(r"\[([^\]]+)\]\([^)\s]+\)|`([^`<]+?)\s*<[^`>]*>`__?")
_EMPHASIS = re.compile(r"(?<!\w)(\*{1,2}|_{1,2})(\w[^*\n]*?)\1(?!\w)")
_CODE = re.compile(r"\\[a-zA-Z]|[{}|]|==|->|=>|>>>|\w=\w|\w\(.*?\).*\w\(|^(import|from|def|class|return) ")
_COMMENT = re.compile(rb"(?:^[ \t]*#(?![!:=])[^\n]*\n){2,}", re.MULTILINE)
_WORD = re.compile(r"[A-Za-z][a-z'’-]*")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be been but by can do does for from has have if in into is it its may more "
        "must no not of on or should so such than that the then there these they this to use used was we "
        "when where which will with you ",
    )
)

MINIMUM_WORDS = 8
"""A paragraph of fewer words is a label rather than prose."""


def prose(source: bytes) -> Iterator[str]:
    """Yield the paragraphs of English prose of a Python source: first its docstrings', then its comments'.

    The source is parsed, never imported; one that does not parse yields nothing.
    """
    for docstring in _docstrings(source):
        yield from paragraphs(docstring)
    for comment in _COMMENT.findall(source):
        lines = comment.decode("utf-8", "replace").splitlines()
        yield from paragraphs("\n".join(line.strip().removeprefix("#") for line in lines))


def _docstrings(source: bytes) -> Iterator[str]:
    """Yield the texts that stand as statements, and those given to a call that is a statement.

    The second are how compiled functions are documented: ``add_docstr(torch.abs, r'''...''')``. Only
    statements are visited, in the source's order: visiting each expression as well would take twice the time.
    """
    if b'"""' not in source and b"'''" not in source:
        return
    try:
        # A source's dubious escapes are no concern of the caller, who may turn warnings into errors.
        with warnings.catch_warnings(action="ignore"):
            stack: list[ast.AST] = [ast.parse(source)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Expr):
            value = node.value
            for text in value.args if isinstance(value, ast.Call) else [value]:
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    yield text.value
        for field in ("finalbody", "orelse", "handlers", "body"):
            stack.extend(reversed(getattr(node, field, ())))


def paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of prose of one docstring, each on one line, with inline markup removed.

    Kept of lists of parameters: their descriptions, where these are sentences. Dropped: sections of examples
    and references; doctests, fenced, literal and directive blocks; tables; headings; and any paragraph that
    does not read as English sentences.
    """
    for block in _blocks(_without_sections(inspect.cleandoc(text).splitlines())):
        paragraph = _plain(" ".join(line.strip() for line in block))
        if is_prose(paragraph):
            yield paragraph


def is_prose(text: str) -> bool:
    """Say whether ``text`` reads as English sentences.

    It begins with a capital or a quotation mark, ends as a sentence does, has at least `MINIMUM_WORDS` words
    of which a fifth are common function words, is mostly letters, and shows no code.
    """
    if not re.match(r"[\"'“(]?[A-Z]", text) or not re.search(r"[.!?][\"'”)]?$", text) or _CODE.search(text):
        return False
    words = _WORD.findall(text)
    common = sum(word.lower() in _COMMON for word in words)
    letters = sum(map(len, words))
    return len(words) >= MINIMUM_WORDS and 5 * common >= len(words) and 10 * letters >= 7 * len(text)


def _plain(text: str) -> str:
    """Return ``text`` on one line without reStructuredText and Markdown inline markup."""
    text = _ROLE.sub(r"\1", text)
    text = _LITERAL.sub(r"\1", text)
    text = _LINK.sub(lambda match: match[1] or match[2], text)
    text = _EMPHASIS.sub(r"\2", text)
    text = re.sub(r"\s*\[\w+\]_", "", text)
    return " ".join(_ITEM.sub("", text).replace("`", "").split())


def _without_sections(lines: list[str]) -> Iterator[str]:
    """Yield the lines outside of dropped sections, NumPy's (underlined) or Google's (``Name:``, indented).

    In a section of parameters each one's name and type are taken off its description.
    """
    section, by_indent = "", False
    for here, line in enumerate(lines):
        following = lines[here + 1] if here + 1 < len(lines) else ""
        heading = ""
        if line.strip() and not line.startswith(" "):
            google = _GOOGLE.match(line)
            if _UNDERLINE.match(following) and not _UNDERLINE.match(line):
                heading, by_indent = line, False
            elif google and (following.startswith(" ") or not following.strip()):
                heading, by_indent = google[1], True
            elif by_indent:
                section = ""
        if heading:
            section = heading.strip().lower()
        if heading or section in _DROPPED or _UNDERLINE.match(line):
            yield ""
        elif section in _PARAMETERS and not by_indent and not line.startswith(" "):
            yield ""  # NumPy's style: a name and its type on a line of their own
        elif section in _PARAMETERS and (name := _PARAMETER.match(line)):
            yield ""
            yield " " * (len(line) - len(line.lstrip())) + line[name.end() :]
        else:
            yield line


def _blocks(lines: Iterator[str]) -> Iterator[list[str]]:
    """Group lines into paragraphs and list items; leave out code, literal blocks, directives and tables."""
    block = list[str]()
    shallow: int | None = None  # the indentation of the line that opened a literal block
    fenced = False
    for line in lines:
        bare = line.strip()
        indent = len(line) - len(line.lstrip())
        if bare and shallow is not None and indent <= shallow:
            shallow = None
        hidden = fenced or shallow is not None
        if bare.startswith(("```", "~~~")):
            fenced, hidden = not fenced, True
        if not hidden and (_FIELD.match(line) or bare.endswith("::")):
            shallow, hidden = indent, bool(_FIELD.match(line))
        if hidden or bare.startswith((">>>", "... ", "|", "+-", "#", "$ ")):
            bare = ""
        if block and (not bare or _ITEM.match(line)):
            yield block
            block = []
        if bare:
            block.append(bare)
    if block:
        yield block
