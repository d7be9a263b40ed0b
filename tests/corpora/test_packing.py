"""Packing against a loop over single tokens; the cache; what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.base.errors import UserError
from microtome.corpora import Corpus, PackedTokens, RandomTokens, load_corpus, pack
from microtome.corpora.encoding import tokenizer_fingerprint
from tests.corpora.words import Words

pytestmark = pytest.mark.usefixtures("own_cache")

CORPUS = Corpus("planted", ("the cat sat on the mat", "a dog ran", "the dog", "cat cat cat cat cat"))
texts = st.lists(st.text("ab ", max_size=12), min_size=1, max_size=6).filter(
    lambda rows: "".join(rows).strip()
)


@pytest.fixture(scope="module", autouse=True)
def _one_cache_for_hypothesis(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MICROTOME_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def slow_pack(
    documents: list[str], tokenizer: Words, length: int, bos: int | None, separator: int | None
) -> tuple[list[list[int]], list[list[int]], int]:
    """Return tokens, documents and the number dropped, one token at a time."""
    tokens, owners = [[]], [[]]
    for index, document in enumerate(documents):
        ids = tokenizer.encode(document) + ([] if separator is None else [separator])
        for token in ids:
            if len(tokens[-1]) == length:
                tokens.append([])
                owners.append([])
            if not tokens[-1] and bos is not None:
                tokens[-1].append(bos)
                owners[-1].append(index)
            tokens[-1].append(token)
            owners[-1].append(index)
    short = len(tokens[-1]) < length
    dropped = len(tokens[-1]) - (bos is not None) if short and tokens[-1] else 0
    return (tokens[:-1], owners[:-1], dropped) if short else (tokens, owners, 0)


@given(
    documents=texts,
    length=st.integers(2, 5),
    bos=st.none() | st.just(7),
    separator=st.none() | st.just(8),
)
def test_packing_is_the_slow_loop(documents: list[str], length: int, bos: int | None, separator: int | None):
    tokenizer = Words("a b aa")
    tokens, owners, dropped = slow_pack(documents, tokenizer, length, bos, separator)
    corpus = Corpus("planted", tuple(documents))
    if not tokens:
        with pytest.raises(UserError, match="fewer than 1 blocks"):
            pack(corpus, tokenizer, length, bos=bos, separator=separator)
        return
    packed = pack(corpus, tokenizer, length, bos=bos, separator=separator)
    assert packed.tokens.tolist() == tokens
    assert packed.documents.tolist() == owners
    assert packed.dropped == dropped


def test_a_block_holds_the_end_of_one_document_and_the_start_of_the_next():
    packed = pack(CORPUS, Words(), 4, separator=9)
    assert packed.tokens.tolist() == [[1, 3, 5, 7], [1, 8, 9, 2], [4, 6, 9, 1], [4, 9, 3, 3], [3, 3, 3, 9]]
    assert packed.documents.tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 2], [2, 2, 3, 3], [3, 3, 3, 3]]
    assert np.argwhere(packed.starts).tolist() == [[0, 0], [1, 3], [2, 3], [3, 2]]
    assert packed.dropped == 0
    assert pack(CORPUS, Words(), 3, separator=9).dropped == 2


@pytest.mark.parametrize("blocks", [1, 2, 3, 4])
def test_fewer_blocks_are_the_first_of_all(blocks: int):
    every = pack(CORPUS, Words(), 4)
    few = pack(CORPUS, Words(), 4, blocks=blocks)
    np.testing.assert_array_equal(few.tokens, every.tokens[:blocks])
    np.testing.assert_array_equal(few.documents, every.documents[:blocks])


def test_only_the_documents_needed_are_tokenised():
    corpus = Corpus("long", tuple("the cat sat" for _ in range(1000)))
    tokenizer = Words()
    assert len(pack(corpus, tokenizer, 3, blocks=5)) == 5
    assert tokenizer.texts <= 128


def test_the_cache_returns_the_same_without_tokenising(own_cache: Path):
    first = pack(CORPUS, Words(), 3, bos=9)
    tokenizer = Words()
    second = pack(CORPUS, tokenizer, 3, bos=9)
    assert tokenizer.texts == 0
    assert first.fingerprint == second.fingerprint
    assert first.dropped == second.dropped
    assert second.tokens.dtype == second.documents.dtype == np.int32
    np.testing.assert_array_equal(first.tokens, second.tokens)
    np.testing.assert_array_equal(first.documents, second.documents)
    assert len(list(own_cache.rglob("*.safetensors"))) == 1


@pytest.mark.parametrize("damage", [b"", b"not safetensors at all"])
def test_a_damaged_cache_is_made_anew(own_cache: Path, damage: bytes):
    first = pack(CORPUS, Words(), 3)
    (file,) = own_cache.rglob("*.safetensors")
    file.write_bytes(damage)
    np.testing.assert_array_equal(pack(CORPUS, Words(), 3).tokens, first.tokens)
    np.testing.assert_array_equal(pack(CORPUS, Words(), 3).tokens, first.tokens)


OTHERS = {
    "text": lambda: pack(Corpus("planted", (*CORPUS.documents[:-1], "dog")), Words(), 3),
    "order": lambda: pack(Corpus("planted", CORPUS.documents[::-1]), Words(), 3),
    "vocabulary": lambda: pack(CORPUS, Words("a the cat dog sat ran on mat"), 3),
    "length": lambda: pack(CORPUS, Words(), 4),
    "bos": lambda: pack(CORPUS, Words(), 3, bos=1),
    "separator": lambda: pack(CORPUS, Words(), 3, separator=1),
    "blocks": lambda: pack(CORPUS, Words(), 3, blocks=2),
}


@pytest.mark.parametrize("change", OTHERS)
def test_another_input_has_another_fingerprint(change: str):
    assert OTHERS[change]().fingerprint != pack(CORPUS, Words(), 3).fingerprint


def test_the_name_of_the_corpus_plays_no_part():
    other = Corpus("file:elsewhere.txt", CORPUS.documents)
    assert pack(other, Words(), 3).fingerprint == pack(CORPUS, Words(), 3).fingerprint


@pytest.mark.parametrize("size", [1, 2, 4, 9])
def test_batches_hold_every_block_once(size: int):
    packed = pack(CORPUS, Words(), 3)
    plain = list(packed.batches(size))
    np.testing.assert_array_equal(np.concatenate(plain), packed.tokens)
    assert [len(batch) for batch in plain[:-1]] == [size] * (len(plain) - 1)
    assert {batch.dtype for batch in plain} == {np.dtype(np.int64)}
    shuffled = np.concatenate(list(packed.batches(size, np.random.default_rng(0))))
    assert sorted(shuffled.tolist()) == sorted(packed.tokens.tolist())
    again = np.concatenate(list(packed.batches(size, np.random.default_rng(0))))
    np.testing.assert_array_equal(shuffled, again)


def test_a_shuffle_changes_the_order():
    packed = pack(load_corpus("random-tokens"), 100, 8, blocks=64)
    shuffled = np.concatenate(list(packed.batches(5, np.random.default_rng(0))))
    assert shuffled.tolist() != packed.tokens.tolist()


REFUSED = {
    "length": (lambda: pack(CORPUS, Words(), 0), "room for at least one token"),
    "length with bos": (lambda: pack(CORPUS, Words(), 1, bos=9), "got a length of 1"),
    "no blocks": (lambda: pack(CORPUS, Words(), 2, blocks=0), "at least 1, got 0"),
    "no documents": (lambda: pack(Corpus("none", ()), Words(), 2), "'none' has no documents"),
    "less than a block": (lambda: pack(CORPUS, Words(), 50), "has 16 tokens, fewer than 1 blocks of 50"),
    "too few blocks": (lambda: pack(CORPUS, Words(), 5, blocks=4), "16 tokens, fewer than 4 blocks of 5"),
    "text by size": (
        lambda: pack(CORPUS, 100, 4),
        "is text and needs a tokenizer, got the vocabulary size 100",
    ),
    "no vocabulary": (lambda: pack(RandomTokens.of_seed(0), 0, 4), "at least one token, got a size of 0"),
    "batch": (lambda: list(pack(CORPUS, Words(), 2).batches(0)), "at least one block, got a size of 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str):
    call, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        call()


def random_blocks(seed: int = 0, vocabulary: int = 50) -> PackedTokens:
    return pack(load_corpus(f"random-tokens:{seed}"), vocabulary, 100, blocks=200)


def test_random_tokens_are_uniform_over_the_vocabulary():
    counts = np.bincount(random_blocks().tokens.ravel(), minlength=50)
    assert len(counts) == 50
    expected = 100 * 200 / 50
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 94  # the 1 - 1e-4 quantile with 49 degrees of freedom is 93.6


def test_random_tokens_depend_on_seed_and_vocabulary_size_only(own_cache: Path):
    tokens = random_blocks().tokens
    assert (tokens != random_blocks(seed=1).tokens).mean() > 0.9
    tokenizer = Words(" ".join(f"w{number}" for number in range(49)))
    np.testing.assert_array_equal(
        tokens, pack(load_corpus("random-tokens"), tokenizer, 100, blocks=200).tokens
    )


def real_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel(Words().vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    return tokenizer


def test_libraries_tokenizers_give_what_the_words_give():
    from transformers import PreTrainedTokenizerFast

    plain = real_tokenizer()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=real_tokenizer(), model_max_length=3)
    expected = pack(CORPUS, Words(), 3).tokens
    np.testing.assert_array_equal(pack(CORPUS, plain, 3).tokens, expected)
    np.testing.assert_array_equal(pack(CORPUS, wrapped, 3).tokens, expected)


def test_the_last_call_s_truncation_is_no_part_of_a_tokenizer():
    tokenizer = real_tokenizer()
    before = tokenizer_fingerprint(tokenizer)
    tokenizer.enable_truncation(5)
    assert tokenizer_fingerprint(tokenizer) == before
    tokenizer.add_tokens(["extra"])
    assert tokenizer_fingerprint(tokenizer) != before
