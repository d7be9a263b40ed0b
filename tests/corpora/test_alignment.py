"""Rows against a slow oracle that counts the tokens' bytes; the cache; what is refused."""

import argparse
import decimal
import heapq
import random
import statistics
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.base.errors import UserError
from microtome.corpora import AlignedText, Corpus, RandomTokens, align, rows
from tests.corpora.words import Words
from tests.tiny import WORDS, tiny_tokenizer

ENGLISH = ["the cat sat on the mat", "a dog ran to the cat and the dog sat", "naïve café, 12 times 3!"] * 20
MANUALS = (decimal, argparse, heapq, statistics, random)  # the first is too short
ODD = "ab thecat\n\t  .,é\u0301😀🏽\u200d♀️中文ﬁ㍿\u3000\u2028"
characters = st.sampled_from(ODD) | st.characters(exclude_categories=["Cs"], exclude_characters="▁")
texts = st.lists(
    st.sampled_from(["the", "cat", " ", "  ", "the cat "]) | st.text(characters, max_size=6)
).map("".join)


@pytest.fixture(scope="module")
def smollm2() -> Any:
    from microtome.models import load_tokenizer

    return load_tokenizer("embedded:smollm2-135m")


@pytest.fixture(scope="module", autouse=True)
def _one_cache_for_all(smollm2: Any, tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MICROTOME_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def fast(tokenizer: Any, **special: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@cache
def byte_level(size: int, *, within_words: bool = True, trim: bool = False) -> Any:
    """As GPT-2's; else its tokens may run over spaces, or do not count the space before them as theirs."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=within_words)
    tokenizer.decoder = decoders.ByteLevel()
    if trim:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(ENGLISH, trainer)
    return fast(tokenizer)


@cache
def byte_fallback(opens: bool = False) -> Any:
    """As Gemma's: a space is part of the token after it, and unknown characters are spelled in bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    merges = [("▁", "▁"), ("▁▁", "▁▁")]
    for word in ("▁the", "▁cat", "▁café"):
        merges += [(word[:end], word[end]) for end in range(1, len(word))]
    pieces = ["<s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁thecafé", *map("".join, merges)]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer: Any = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<s>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    if opens:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
        )
    return fast(tokenizer, bos_token="<s>")


PAIRS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "two sizes": lambda: (byte_level(260), byte_level(300)),
    "trimmed offsets": lambda: (byte_level(300, trim=True), byte_level(260)),
    "over spaces": lambda: (byte_level(300, within_words=False), byte_level(300)),
    "bytes and characters": lambda: (byte_level(300), byte_fallback()),
    "with an opening": lambda: (byte_fallback(opens=True), byte_level(300, within_words=False)),
}


def pieces(tokenizer: Any, text: str) -> list[bytes]:
    """Return the bytes that each token of a text stands for."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    byte_of = {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}

    def read(token: str) -> bytes:
        if "<0x0A>" not in tokenizer.get_vocab():
            return bytes(byte_of[character] for character in token)
        if token.startswith("<0x"):
            return bytes([int(token[3:5], 16)])
        return token.replace("▁", " ").encode()

    tokens = tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert b"".join(map(read, tokens)) == text.encode()
    return [read(token) for token in tokens]


def slow_words(text: str) -> list[tuple[int, int]]:
    """Return the first character and the one after the last of each word."""
    spaces = [True, *(character.isspace() for character in text), True]
    starts = [n for n in range(len(text)) if spaces[n] and not spaces[n + 1]]
    ends = [n for n in range(1, len(text) + 1) if not spaces[n] and spaces[n + 1]]
    return list(zip(starts, ends, strict=True))


def slow_rows(text: str, tokenizers: Sequence[Any]) -> list[tuple[tuple[int, int], list[tuple[int, int]]]]:
    """Return each row's span and its first and last token in each tokenizer, by counting bytes."""
    spelled = [pieces(tokenizer, text) for tokenizer in tokenizers]
    ends = [[sum(map(len, row[: n + 1])) for n in range(len(row))] for row in spelled]
    found = []
    for start, end in slow_words(text)[1:]:
        from_byte, to_byte = len(text[:start].encode()), len(text[:end].encode())
        if all(to_byte in row[1:] for row in ends):
            firsts = [next(n for n, one in enumerate(row) if one > from_byte) for row in ends]
            lasts = [row.index(to_byte) for row in ends]
            found.append(((start, end), list(zip(firsts, lasts, strict=True))))
    return found


@pytest.mark.parametrize("pair", PAIRS)
@given(text=texts, count=st.integers(1, 4))
def test_rows_are_those_of_the_slow_oracle(pair: str, text: str, count: int):
    tokenizers = PAIRS[pair]()
    expected = slow_rows(text, tokenizers)[:count]
    corpus = Corpus("planted", (text,))
    if len(expected) < count:
        with pytest.raises(UserError, match="has 0 documents"):
            align(corpus, tokenizers, 1, count)
        return
    aligned = align(corpus, tokenizers, 1, count)
    assert aligned.spans[0].tolist() == [list(span) for span, _ in expected]
    assert aligned.texts == (text[: expected[-1][0][1]],)
    for n, tokenizer in enumerate(tokenizers):
        opening = len(tokenizer("")["input_ids"])
        assert aligned.first[n][0].tolist() == [found[n][0] + opening for _, found in expected]
        assert aligned.positions[n][0].tolist() == [found[n][1] + opening for _, found in expected]
        ids = tokenizer("")["input_ids"] + tokenizer(text, add_special_tokens=False)["input_ids"]
        assert aligned.tokens[n][0].tolist() == ids[: aligned.positions[n][0, -1] + 1]


def check(aligned: AlignedText, tokenizers: Sequence[Any]) -> None:
    """Assert what holds of words in every tokenizer that can restore a text."""
    assert aligned.spans.dtype == aligned.documents.dtype == np.int32
    for n, tokenizer in enumerate(tokenizers):
        positions, first = aligned.positions[n], aligned.first[n]
        assert positions.shape == first.shape == aligned.spans.shape[:2] == (len(aligned), aligned.rows)
        assert positions.dtype == first.dtype == aligned.tokens[n][0].dtype == np.int32
        assert (first[:, 0] > 0).all()
        assert (first <= positions).all()
        assert (positions[:, :-1] < first[:, 1:]).all()
        for text, ids, ends, starts, spans in zip(
            aligned.texts, aligned.tokens[n], positions, first, aligned.spans, strict=True
        ):
            assert len(ids) == ends[-1] + 1
            assert tokenizer.decode(ids, skip_special_tokens=True) == text
            for start, end, (begin, stop) in zip(starts, ends, spans, strict=True):
                word = text[begin:stop]
                assert len(word.split()) == 1
                assert tokenizer.decode(ids[start : end + 1]).strip() == word
                assert tokenizer.decode(ids[: end + 1], skip_special_tokens=True) == text[:stop]


def test_words_of_real_text_in_a_real_tokenizer(smollm2: Any):
    corpus = Corpus("manuals", tuple(module.__doc__ or "" for module in MANUALS))
    tokenizers = (smollm2, byte_level(300), byte_fallback(opens=True))
    aligned = align(corpus, tokenizers, 4, 50)
    check(aligned, tokenizers)
    for index, text, spans in zip(aligned.documents, aligned.texts, aligned.spans, strict=True):
        words = corpus.documents[int(index)].split()[1:51]
        assert [text[start:end] for start, end in spans] == words
    assert aligned.dropped == aligned.documents[-1] + 1 - 4 == 1


def test_emoji_accents_and_spaces_in_a_real_tokenizer(smollm2: Any):
    text = "One  😀x 🤷🏽\u200d♀️\n\n naïve—café e\u0301 ﬁx ㍿ \t中文 12345, end"
    tokenizers = (smollm2, byte_fallback())
    aligned = align(Corpus("planted", (text,)), tokenizers, 1, 9)
    check(aligned, tokenizers)
    assert [text[start:end] for start, end in aligned.spans[0]] == text.split()[1:]


def test_a_tokenizer_of_words_aligns_with_one_of_bytes():
    text = "In that year, they said the world was small."
    aligned = align(Corpus("planted", (text,)), (tiny_tokenizer(), byte_level(300)), 1, 8)
    assert [text[start:end] for start, end in aligned.spans[0]] == text.split()[1:]
    assert aligned.positions[0][0].tolist() == [1, 3, 4, 5, 6, 7, 8, 10]  # two words end with a mark
    assert aligned.first[0][0].tolist() == [1, 2, 4, 5, 6, 7, 8, 9]


PROSE = Corpus("prose", tuple(" ".join(WORDS[n : n + 12 - n % 3]) for n in range(30)))


def test_documents_come_in_order_and_short_ones_are_counted():
    aligned = align(PROSE, (byte_level(260), byte_level(300)), 5, 10)
    assert aligned.documents.tolist() == [0, 1, 3, 4, 6]  # of 12, 11, 10, 12, 11, ... words
    assert aligned.dropped == 2
    assert len(aligned) == 5
    assert aligned.rows == 10
    assert aligned.texts[0] == " ".join(WORDS[:11])


def test_the_same_tokenizer_may_read_every_token(smollm2: Any):
    text = "A naïve 😀 reading of  the text"
    ids = smollm2(text)["input_ids"]
    aligned = align(Corpus("planted", (text,)), (smollm2, smollm2), 1, len(ids) - 1, unit="token")
    for tokens, positions, first in zip(aligned.tokens, aligned.positions, aligned.first, strict=True):
        assert tokens[0].tolist() == ids
        assert positions[0].tolist() == first[0].tolist() == list(range(1, len(ids)))
    assert aligned.texts == (text,)
    assert text[slice(*aligned.spans[0, 0])] == " na"
    with pytest.raises(UserError, match=r"has 0 documents of at least 50 rows \(tokens after the first\)"):
        align(Corpus("planted", (text,)), (smollm2,), 1, 50, unit="token")


def test_tokens_that_differ_are_refused_as_rows():
    with pytest.raises(UserError, match=r"got different ids for 'a the of .*'. Use unit 'word'"):
        align(PROSE, (byte_level(260), byte_level(300)), 1, 3, unit="token")


@pytest.mark.parametrize("unit", ["word", "token"])
def test_an_opening_shifts_the_positions_and_nothing_else(unit: Any):
    tokenizer = byte_level(300)
    plain = align(PROSE, (tokenizer, tokenizer), 4, 6, unit=unit)
    opened = align(PROSE, (tokenizer, tokenizer), 4, 6, unit=unit, openings=[[], [7, 8]])
    np.testing.assert_array_equal(opened.spans, plain.spans)
    np.testing.assert_array_equal(opened.positions[0], plain.positions[0])
    np.testing.assert_array_equal(opened.positions[1], plain.positions[1] + 2)
    np.testing.assert_array_equal(opened.first[1], plain.first[1] + 2)
    for before, after in zip(plain.tokens[1], opened.tokens[1], strict=True):
        assert after.tolist() == [7, 8, *before.tolist()]


def test_a_tokenizer_s_own_opening_is_the_default():
    tokenizers = (byte_fallback(opens=True), byte_fallback())
    aligned = align(PROSE, tokenizers, 2, 6)
    assert aligned.tokens[0][0].tolist() == [0, *aligned.tokens[1][0].tolist()]
    assert align(PROSE, tokenizers, 2, 6, openings=[[], []]).tokens[0][0][0] != 0


def test_only_the_beginning_is_tokenised_unless_its_words_do_not_align(monkeypatch: pytest.MonkeyPatch):
    lengths = list[int]()
    encode = rows.encode_with_offsets

    def counted(tokenizer: Any, given: list[str]) -> list[rows.Encoding]:
        lengths.extend(map(len, given))
        return encode(tokenizer, given)

    monkeypatch.setattr(rows, "encode_with_offsets", counted)
    long = "dog " * 10_000
    align(Corpus("long", (long,)), (byte_level(300),), 1, 4)
    assert lengths == [4 * (4 + 16) - 1]
    over = byte_level(300, within_words=False)
    late = "the cat sat on the mat" * 3 + " " + "the dog sat " * 40 + "x y z w v"
    aligned = align(Corpus("late", (late,)), (over,), 1, len(slow_rows(late, [over])))
    assert lengths[-1] == len(late)
    assert aligned.texts == (late,)


def same(one: AlignedText, other: AlignedText) -> bool:
    def plain(aligned: AlignedText) -> list[Any]:
        return [
            [[ids.tolist() for ids in row] for row in aligned.tokens],
            *[[array.tolist() for array in row] for row in (aligned.positions, aligned.first)],
            *(aligned.spans.tolist(), aligned.documents.tolist()),
            *(aligned.texts, aligned.dropped, aligned.fingerprint),
        ]

    return plain(one) == plain(other)


def test_the_cache_returns_the_same_without_tokenising(own_cache: Path, monkeypatch: pytest.MonkeyPatch):
    def make() -> AlignedText:
        corpus = Corpus("planted", (*PROSE.documents, "é 😀 \u2028" + " a" * 9))
        return align(corpus, (byte_level(300), byte_fallback(opens=True)), 21, 9)

    first = make()
    monkeypatch.setattr(rows, "encode_with_offsets", None)
    second = make()
    assert same(first, second)
    check(second, (byte_level(300), byte_fallback(opens=True)))
    assert len(list(own_cache.rglob("*.safetensors"))) == 1


@pytest.mark.parametrize("damage", [b"", b"not safetensors at all"])
def test_a_damaged_cache_is_made_anew(own_cache: Path, damage: bytes):
    first = align(PROSE, (byte_level(300),), 3, 5)
    (file,) = own_cache.rglob("*.safetensors")
    file.write_bytes(damage)
    assert same(align(PROSE, (byte_level(300),), 3, 5), first)
    assert same(align(PROSE, (byte_level(300),), 3, 5), first)


OTHERS: dict[str, Callable[[], AlignedText]] = {
    "text": lambda: align(Corpus("prose", PROSE.documents[1:]), (byte_level(300),), 3, 5),
    "vocabulary": lambda: align(PROSE, (byte_level(260),), 3, 5),
    "tokenizers": lambda: align(PROSE, (byte_level(300), byte_level(300)), 3, 5),
    "documents": lambda: align(PROSE, (byte_level(300),), 4, 5),
    "rows": lambda: align(PROSE, (byte_level(300),), 3, 6),
    "unit": lambda: align(PROSE, (byte_level(300),), 3, 5, unit="token"),
    "openings": lambda: align(PROSE, (byte_level(300),), 3, 5, openings=[[1]]),
}


@pytest.mark.parametrize("change", OTHERS)
def test_another_input_has_another_fingerprint(change: str):
    assert OTHERS[change]().fingerprint != align(PROSE, (byte_level(300),), 3, 5).fingerprint


def test_random_tokens_as_words_are_text_without_special_tokens(smollm2: Any):
    corpus = RandomTokens.of_seed(3)
    tokenizers = (smollm2, byte_level(300))
    aligned = align(corpus, tokenizers, 3, 40)
    check(aligned, tokenizers)
    (drawn,) = corpus.encode(corpus.documents[:1], smollm2)
    kept = [token for token in drawn if token not in smollm2.all_special_ids]
    assert smollm2.decode(kept).startswith(aligned.texts[0])
    assert same(align(corpus, tokenizers, 3, 40), aligned)


def test_random_tokens_as_tokens_are_those_drawn():
    corpus, tokenizer = RandomTokens.of_seed(3), byte_fallback()
    aligned = align(corpus, (tokenizer, byte_fallback(opens=True)), 2, 9, unit="token")
    drawn = corpus.encode(corpus.documents[:2], tokenizer)
    for n in range(2):
        assert aligned.tokens[0][n].tolist() == drawn[n][:10].tolist()
        assert aligned.tokens[1][n].tolist() == [0, *drawn[n][:10].tolist()]
        assert aligned.texts[n] == tokenizer.decode(drawn[n][:10])
    assert (aligned.spans == -1).all()
    assert aligned.positions[1].tolist() == [list(range(2, 11))] * 2
    with pytest.raises(UserError, match=r"the same vocabulary, got different ones. Use unit 'word'"):
        align(corpus, (tokenizer, byte_level(300)), 2, 9, unit="token")


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "documents": (lambda: align(PROSE, (byte_level(300),), 0, 5), "at least 1, got 0 and 5"),
    "rows": (lambda: align(PROSE, (byte_level(300),), 5, 0), "at least 1, got 5 and 0"),
    "too short": (
        lambda: align(PROSE, (byte_level(300),), 20, 11),
        r"'prose' has 10 documents of at least 11 rows \(words after the first\) .*expected 20. Use fewer",
    ),
    "no documents": (lambda: align(Corpus("none", ()), (byte_level(300),), 1, 1), "'none' has 0 documents"),
    "slow": (lambda: align(PROSE, (byte_level(300), Words()), 1, 1), "needs fast tokenizers .*got a Words"),
    "bare": (lambda: align(PROSE, (byte_level(300).backend_tokenizer,), 1, 1), "got a Tokenizer. Load one"),
    "no tokenizer": (lambda: align(PROSE, (), 1, 1), "at least one tokenizer"),
    "openings": (
        lambda: align(PROSE, (byte_level(300),), 1, 1, openings=[[1], [2]]),
        "got 1 tokenizers and 2 openings",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str):
    call, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        call()
