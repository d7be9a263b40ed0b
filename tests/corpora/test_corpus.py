"""References, readers of files and the hub, the split."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.base.errors import UserError
from microtome.corpora import Corpus, in_held_out, load_corpus
from microtome.corpora.hub import articles, parse

DOCUMENTS = ("One cat.\nTwo lines.", "Ein Größerer — Hund", "a third")
fractions = st.floats(0.01, 0.99)


def write(path: Path, documents: tuple[str, ...]) -> Path:
    """Write documents in the format of the path's ending."""
    if path.suffix == ".txt":
        path.write_text("\n\n".join(documents) + "\n", "utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps({"text": text, "id": 1}) for text in documents), "utf-8")
    else:
        pl.DataFrame({"id": range(len(documents)), "text": documents}).write_parquet(path)
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet", "A.TXT"])
def test_each_format_gives_its_documents(tmp_path: Path, name: str):
    path = write(tmp_path / name, DOCUMENTS) if name != "A.TXT" else write(tmp_path / "b.txt", DOCUMENTS)
    corpus = load_corpus(f"file:{path}")
    assert corpus.documents == DOCUMENTS
    assert corpus.fingerprint == Corpus("anything", DOCUMENTS).fingerprint
    assert load_corpus(f"file:{path}", limit=2).documents == DOCUMENTS[:2]


def test_a_text_file_is_split_at_lines_of_white_space_in_any_convention(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\nstill one\r\n \t\r\n\r\n\r\ntwo\r\n".encode())
    assert load_corpus(f"file:{path}").documents == ("one\nstill one", "two")


def test_a_folder_has_one_document_for_each_text_file(tmp_path: Path):
    (tmp_path / "b").mkdir()
    write(tmp_path / "b" / "x.txt", ("part one", "part two"))
    write(tmp_path / "a.txt", ("first",))
    write(tmp_path / "c.jsonl", ("not read",))
    assert load_corpus(f"file:{tmp_path}").documents == ("first\n", "part one\n\npart two\n")


def test_a_line_separator_within_a_json_string_does_not_end_the_line(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(
        '{"text": "one\u2028two"}\n\n{"text": " "}\n{"text": "three"}\n', "utf-8"
    )
    assert load_corpus(f"file:{tmp_path / 'a.jsonl'}").documents == ("one\u2028two", "three")


BAD_FILES: dict[str, tuple[str, bytes, str]] = {
    "format": ("a.csv", b"text\n", r"must end in .txt, .jsonl, .parquet, got '.csv'"),
    "not JSON": ("a.jsonl", b'{"text": "a"}\n{"text"', r"Line 2 of '.*a.jsonl' is not JSON"),
    "not an object": ("a.jsonl", b'["a"]', r'Line 1 .* must be an object like {"text": "..."}'),
    "no field": ("a.jsonl", b'{"body": "a", "id": 1}', r"no field 'text'. Its fields are: body, id"),
    "not a string": ("a.jsonl", b'{"text": 3}', r"it has 'text' holding a int"),
    "no text": ("a.txt", b" \n\n \n", r"holds no text"),
    "not UTF-8": ("a.txt", "Größe".encode("latin1"), r"not UTF-8 text \(at byte 2: .*iconv"),
    "not Parquet": ("a.parquet", b"PAR1 but no more", r"cannot be read as Parquet"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_with_its_fault(tmp_path: Path, case: str):
    name, content, message = BAD_FILES[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_corpus(f"file:{tmp_path / name}")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"body": ["a"], "id": [1]}, "no column 'text'. Its columns are: body, id"),
        ({"text": [1]}, "of type Int64"),
    ],
)
def test_a_parquet_without_text_says_what_it_has(tmp_path: Path, columns: dict[str, list], message: str):
    pl.DataFrame(columns).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=message):
        load_corpus(f"file:{tmp_path / 'a.parquet'}")


def test_a_folder_without_text_and_a_missing_file(tmp_path: Path):
    with pytest.raises(UserError, match=r"has no \.txt file"):
        load_corpus(f"file:{tmp_path}")
    with pytest.raises(UserError, match="does not exist"):
        load_corpus(f"file:{tmp_path / 'absent.txt'}")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("docstring", "Did you mean 'docstrings'"),
        ("docstrings:3", "names no corpus"),
        ("file:", "names no corpus"),
        ("wikitext", r"hub:NAME\[/CONFIG\]\[:SPLIT\]"),
        ("random-tokens:x", "whole number from 0 up, got 'x'"),
        ("random-tokens:-1", "got '-1'"),
        ("hub:a/b/c/d", "must be hub:OWNER/NAME"),
        ("hub:a b", "must be hub:OWNER/NAME"),
    ],
)
def test_a_bad_reference_says_what_is_meant(reference: str, message: str):
    with pytest.raises(UserError, match=message):
        load_corpus(reference)


def test_a_limit_below_one_is_refused():
    with pytest.raises(UserError, match="at least 1, got 0"):
        load_corpus("random-tokens", limit=0)


def test_a_random_corpus_without_a_seed_has_seed_0():
    assert load_corpus("random-tokens") == load_corpus("random-tokens:0")
    assert load_corpus("random-tokens").fingerprint != load_corpus("random-tokens:1").fingerprint
    texts = Corpus("text", load_corpus("random-tokens").documents)
    assert load_corpus("random-tokens").fingerprint != texts.fingerprint


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("ag_news", ("ag_news", None, "train")),
        ("NeelNanda/pile-10k", ("NeelNanda/pile-10k", None, "train")),
        ("a/b:test", ("a/b", None, "test")),
        ("a/b/c-1.0:validation[:10]", ("a/b", "c-1.0", "validation[:10]")),
    ],
)
def test_the_parts_of_a_hub_reference(name: str, parts: tuple[str, str | None, str]):
    assert parse(name) == parts


LINES = [
    "",
    " = First = \n",
    "",
    " It begins . \n",
    " = = Part = = \n",
    " More . \n",
    " = Second = \n",
    " End . \n",
]


def test_wikitext_s_lines_are_joined_into_articles():
    first, second = (text for text in articles(LINES) if text.strip())
    assert "First" in first
    assert "= = Part = =" in first
    assert "More" in first
    assert second == " = Second = \n End . \n"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that holds two data sets."""
    import datasets

    tables = {
        ("owner/wikitext", "raw", "test"): {"text": LINES},
        ("owner/news", None, "train"): {"text": ["one", "", "two"], "label": [0, 1, 0]},
        ("owner/labels", None, "train"): {"body": ["one"], "label": [0]},
    }

    def load(path: str, name: str | None, split: str) -> datasets.Dataset:
        return datasets.Dataset.from_dict(tables[path, name, split])

    monkeypatch.setattr(datasets, "load_dataset", load)


@pytest.mark.usefixtures("hub")
def test_a_data_set_gives_its_documents():
    assert load_corpus("hub:owner/news").documents == ("one", "two")
    assert len(load_corpus("hub:owner/wikitext/raw:test").documents) == 2
    with pytest.raises(UserError, match=r"no column 'text'. Its columns are: body, label"):
        load_corpus("hub:owner/labels")


def test_without_the_hub_the_message_says_how_to_use_a_file():
    with pytest.raises(UserError, match=r"'hub:owner/absent' cannot be loaded: .*use file:PATH"):
        load_corpus("hub:owner/absent")


@given(st.lists(st.text(max_size=5), min_size=1), st.text(max_size=5), fractions)
def test_adding_a_document_moves_no_other(documents: list[str], added: str, fraction: float):
    def sides(rows: list[str]) -> tuple[list[str], list[str]]:
        try:
            train, held_out = Corpus("planted", tuple(rows)).split(fraction)
        except UserError:  # one side is empty
            held = in_held_out(rows[0], fraction)
            return ([], rows) if held else (rows, [])
        return list(train.documents), list(held_out.documents)

    for old, new in zip(sides(documents), sides([added, *documents]), strict=True):
        assert new in (old, [added, *old])


@given(st.text(), fractions, fractions)
def test_what_is_held_out_stays_so_at_a_larger_share(document: str, one: float, other: float):
    assert in_held_out(document, min(one, other)) <= in_held_out(document, max(one, other))


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_the_share_is_held_out(share: float):
    train, held_out = Corpus("planted", tuple(f"document {n}" for n in range(5000))).split(share)
    assert len(train.documents) + len(held_out.documents) == 5000
    assert abs(len(held_out.documents) / 5000 - share) < 4 * (share * (1 - share) / 5000) ** 0.5
    assert not set(train.documents) & set(held_out.documents)
    assert train.fingerprint != held_out.fingerprint


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_share_outside_of_0_to_1_is_refused(share: float):
    with pytest.raises(UserError, match="between 0 and 1"):
        Corpus("planted", DOCUMENTS).split(share)


def test_a_split_with_an_empty_side_is_refused():
    with pytest.raises(UserError, match=r"1 documents, too few to hold out 0\.1"):
        Corpus("planted", ("alone",)).split(0.1)


def test_a_split_of_random_tokens_is_random_tokens():
    train, held_out = load_corpus("random-tokens").split(0.2)
    assert type(train) is type(held_out) is type(load_corpus("random-tokens"))


def test_importing_corpora_imports_no_heavy_library():
    heavy = {"torch", "transformers", "datasets", "polars"}
    code = f"import sys, microtome.corpora; print(*{heavy} & {{*sys.modules}})"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "\n"
    )
