"""What counts as prose, on planted sources; and that the installed library gives a corpus."""

import ast
import json
from pathlib import Path

import pytest

from microtome.base.errors import UserError
from microtome.corpora import docstrings as corpus
from microtome.corpora import load_corpus
from microtome.corpora.files import read_jsonl
from microtome.corpora.prose import is_prose, paragraphs, prose

SENTENCE = "This is a sentence of the kind that people write for each other."
OTHER = "There is another sentence here, and it is not the same as the first."

KEPT = {
    "plain": (SENTENCE, [SENTENCE]),
    "wrapped": ("This is a sentence of the kind\n    that people write for each other.", [SENTENCE]),
    "two": (f"{SENTENCE}\n\n{OTHER}", [SENTENCE, OTHER]),
    "markup": (
        "This is a ``sentence`` of the :py:class:`kind` that *people* write for **each** `other`.",
        [SENTENCE],
    ),
    "link": (
        "This is a [sentence](http://x.y/z) of the `kind <http://x.y>`_ that people write for each other.",
        [SENTENCE],
    ),
    "list": (f"- {SENTENCE}\n- {OTHER}", [SENTENCE, OTHER]),
    "doctest": (f"{SENTENCE}\n\n>>> This.is(a) # of the kind\n3\n", [SENTENCE]),
    "fence": (f"{SENTENCE}\n\n```\n{OTHER}\n```\n", [SENTENCE]),
    "literal": (f"{SENTENCE}\n\nSo is it done in the code of this and that::\n\n    {OTHER}\n", [SENTENCE]),
    "directive": (f"{SENTENCE}\n\n.. note::\n    {OTHER}\n\n{OTHER}", [SENTENCE, OTHER]),
    "table": (f"{SENTENCE}\n\n| {OTHER} |\n", [SENTENCE]),
    "numpy": (
        f"{SENTENCE}\n\nParameters\n----------\nx : int\n    {OTHER}\ny : int\n    The y.\n",
        [SENTENCE, OTHER],
    ),
    "numpy example": (f"Examples\n--------\n{OTHER}\n\nNotes\n-----\n{SENTENCE}\n", [SENTENCE]),
    "google": (f"{SENTENCE}\n\nArgs:\n    x (int, optional): {OTHER}\n    y: The y.\n", [SENTENCE, OTHER]),
    "google example": (f"{SENTENCE}\n\nExample:\n    {OTHER}\n\n{OTHER}\n", [SENTENCE, OTHER]),
    "field": (f":param x: {OTHER}\n\n{SENTENCE}", [SENTENCE]),
    "heading": (f"This is a title of the kind that is here\n=====\n\n{SENTENCE}", [SENTENCE]),
}


@pytest.mark.parametrize("case", KEPT)
def test_the_paragraphs_of_a_docstring(case: str):
    text, expected = KEPT[case]
    assert list(paragraphs(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Return the value.",
        "this begins in lower case but is of the right length for it.",
        "This has no end and is of the right length for it",
        "Lorem ipsum dolor sit amet consectetur adipiscing elit sed eiusmod.",
        "If x == 3 then this is the code of the kind that is not read.",
        "This is 12 34 56 78 90 12 34 56 78 90 12 34 56 78 90 of the table.",
        "",
    ],
)
def test_what_does_not_read_as_sentences_is_no_prose(text: str):
    assert not is_prose(text)


SOURCE = f'''"""{SENTENCE}"""
import this_module_does_not_exist_and_must_not_be_imported

# {OTHER.replace("another", "a commented")[:40]}
# {OTHER.replace("another", "a commented")[40:].strip()}

# {SENTENCE.replace("This", "That")}
x = """{SENTENCE.replace("This", "Assigned, this")}"""

class A:
    def f(self):
        r"""Escapes \\\\ in the code are left alone.

        {OTHER}
        """
        if x:
            def inner():
                """{SENTENCE.replace("This", "Within, this")}"""

add_docstr(A.f, """{SENTENCE.replace("This", "Added, this")}""")
'''


def test_prose_of_a_source_is_its_docstrings_and_its_long_comments():
    ast.parse(SOURCE)
    assert list(prose(SOURCE.encode())) == [
        SENTENCE,
        OTHER,
        SENTENCE.replace("This", "Within, this"),
        SENTENCE.replace("This", "Added, this"),
        OTHER.replace("another", "a commented"),
    ]


@pytest.mark.parametrize(
    "source", [b'"""' + SENTENCE.encode(), b'"""\xff"""', b'"""x\0"""', b"", b"(" * 9999]
)
def test_a_source_that_does_not_parse_gives_nothing(source: bytes):
    assert list(prose(source)) == []


@pytest.fixture
def packages(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A standard library of three modules, tests aside, in place of the installed one."""
    library = tmp_path / "library"
    (library / "tests").mkdir(parents=True)
    long = " ".join([SENTENCE] * 6)
    (library / "a.py").write_text(f'"""{long}\n\n{OTHER}"""\n')
    (library / "b.py").write_text(f'"""{long.replace("people", "robots")}\n\n{OTHER}"""\n')
    (library / "short.py").write_text(f'"""{SENTENCE}"""\n')
    (library / "tests" / "c.py").write_text(f'"""{long.replace("people", "tests")}"""\n')
    monkeypatch.setattr(corpus, "PACKAGES", ())
    monkeypatch.setattr(corpus.sysconfig, "get_path", lambda _: str(library))
    return library


def test_a_document_is_a_module_and_no_paragraph_comes_twice(packages: Path, own_cache: Path):
    found = load_corpus("docstrings")
    long = " ".join([SENTENCE] * 6)
    assert set(found.documents) == {f"{long}\n\n{OTHER}", long.replace("people", "robots")}
    (cached,) = own_cache.rglob("*.jsonl")
    assert tuple(read_jsonl(cached)) == found.documents
    assert set(json.loads(cached.read_text().splitlines()[0])) == {"text"}


def test_the_cache_is_read_until_a_version_changes(packages: Path, monkeypatch: pytest.MonkeyPatch):
    before = load_corpus("docstrings")
    (packages / "b.py").unlink()
    assert load_corpus("docstrings") == before
    monkeypatch.setattr(corpus.platform, "python_version", lambda: "3.99.0")
    after = load_corpus("docstrings")
    assert len(after.documents) == 1
    assert after.fingerprint != before.fingerprint


def test_an_interrupted_build_leaves_no_cache(
    packages: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(source: bytes):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(corpus.prose, "prose", stop)
        with pytest.raises(KeyboardInterrupt):
            load_corpus("docstrings")
    assert not list(own_cache.rglob("*.jsonl"))
    assert len(load_corpus("docstrings").documents) == 2


def test_the_installed_library_is_read_without_its_tests(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(corpus, "PACKAGES", ("networkx",))
    paths = list(corpus.sources())
    assert len(set(paths)) == len(paths) > 500
    assert list(corpus.sources()) == paths
    assert {path.parent.name for path in paths} >= {"json", "networkx", "algorithms"}
    assert not any({"tests", "idle_test"} & {*path.parts} for path in paths)
    text = " ".join(prose(Path(json.__file__).read_bytes()))
    assert "JSON" in text
    assert ">>>" not in text


@pytest.mark.usefixtures("own_cache")
def test_only_what_is_installed_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(corpus, "PACKAGES", ("a-package-that-is-not-installed",))
    monkeypatch.setattr(corpus.sysconfig, "get_path", lambda _: "/absent")
    assert list(corpus.sources()) == []
    with pytest.raises(UserError, match="'docstrings' holds no text"):
        load_corpus("docstrings")
