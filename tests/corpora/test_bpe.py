"""Byte-pair encoding: against merges counted by hand, on any text, in any process."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from microtome.base.errors import UserError
from microtome.corpora import bpe
from microtome.corpora.bpe import END, SMALLEST, train_bpe
from microtome.corpora.corpus import Corpus, RandomTokens
from microtome.corpora.encoding import tokenizer_fingerprint
from microtome.models.load import load_tokenizer

CORPUS = Corpus(
    "rhymes", ("the cat sat on the mat, the cat that sat", "the dog ran to the mat é 12 12", "then")
)

pytestmark = pytest.mark.usefixtures("own_cache")


def merges_by_hand(corpus: Corpus, count: int) -> list[str]:
    """The most frequent pair of neighbours within a word, again and again; the lower ids decide ties."""
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = Counter(word for document in corpus.documents for word, _ in cut.pre_tokenize_str(document))
    spelled = {word: list(word) for word in words}
    ids = {token: place for place, token in enumerate([END, *sorted(cut.alphabet())])}
    made = []
    for _ in range(count):
        pairs = Counter()
        for word, number in words.items():
            for pair in zip(spelled[word], spelled[word][1:], strict=False):
                pairs[pair] += number
        best = min(pairs, key=lambda pair: (-pairs[pair], ids[pair[0]], ids[pair[1]]))
        ids["".join(best)] = len(ids)
        made.append("".join(best))
        for pieces in spelled.values():
            for place in range(len(pieces) - 1, 0, -1):
                if (pieces[place - 1], pieces[place]) == best:
                    pieces[place - 1 : place + 1] = ["".join(best)]
    return made


def test_merges_are_the_most_frequent_pairs() -> None:
    tokenizer = train_bpe(CORPUS, SMALLEST + 12)
    learned = tokenizer.convert_ids_to_tokens(list(range(SMALLEST, len(tokenizer))))
    assert learned == merges_by_hand(CORPUS, 12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_and_offsets_say_where_each_token_is(text: str) -> None:
    tokenizer = train_bpe(CORPUS, 280)
    encoded = tokenizer(text, return_offsets_mapping=True)
    assert tokenizer.decode(encoded["input_ids"], clean_up_tokenization_spaces=False) == text
    covered = {place for start, stop in encoded["offset_mapping"] for place in range(start, stop)}
    assert covered == set(range(len(text)))


def test_the_end_of_a_document_is_the_first_token() -> None:
    tokenizer = train_bpe(CORPUS, 270)
    ids = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id]
    assert [*ids, tokenizer.convert_tokens_to_ids(END)] == [0] * 5
    assert (len(tokenizer), tokenizer.is_fast, tokenizer.padding_side) == (270, True, "right")


def test_a_small_corpus_gives_the_tokens_that_it_has() -> None:
    tokenizer = train_bpe(CORPUS, 50_000)
    assert SMALLEST < len(tokenizer) < 300
    assert tokenizer.tokenize("the cat") == ["the", "Ġcat"]


def test_without_room_for_merges_tokens_are_bytes() -> None:
    assert train_bpe(CORPUS, SMALLEST).tokenize("é!") == ["Ã", "©", "!"]


def test_a_saved_tokenizer_loads_beside_a_model(tmp_path: Path, tiny_model) -> None:
    tokenizer = train_bpe(CORPUS, 280)
    for file in tiny_model("gpt2").iterdir():
        if "token" not in file.name:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert tokenizer_fingerprint(loaded) == tokenizer_fingerprint(tokenizer)
    assert (loaded.eos_token, loaded.pad_token) == (END, END)


SCRIPT = """
from microtome.corpora.bpe import train_bpe
from microtome.corpora.corpus import Corpus
train_bpe(Corpus("other name", {documents!r}), 290)
"""


def test_every_process_learns_the_same_file(tmp_path: Path) -> None:
    files = []
    for number in ("0", "1"):
        cache = tmp_path / number
        environment = {**os.environ, "PYTHONHASHSEED": number, "MICROTOME_CACHE": str(cache)}
        script = SCRIPT.format(documents=CORPUS.documents)
        subprocess.run([sys.executable, "-c", script], env=environment, check=True)
        (file,) = cache.rglob("*.json")
        files.append((file.name, file.read_bytes()))
    assert files[0] == files[1]
    assert files[0][0].startswith(CORPUS.fingerprint)


def test_a_corpus_is_learned_once_for_a_size(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train_bpe(CORPUS, 280)
    learned = []
    monkeypatch.setattr(bpe, "_learn", lambda corpus, vocabulary: learned.append(vocabulary))
    again = train_bpe(Corpus("another name", CORPUS.documents), 280)
    assert tokenizer_fingerprint(again) == tokenizer_fingerprint(first)
    with pytest.raises(AttributeError):  # another size, which the stand-in does not learn
        train_bpe(CORPUS, 281)
    assert learned == [281]
    assert [file.name for file in own_cache.rglob("*.json")] == [f"{CORPUS.fingerprint}-280.json"]


@pytest.mark.parametrize(
    ("corpus", "vocabulary", "message"),
    [
        (CORPUS, 256, "Expected a vocabulary of at least 257 tokens .* got 256. Some thousands"),
        (RandomTokens.of_seed(0), 300, "got 'random-tokens:0', which is ids. Take a model's tokenizer"),
    ],
)
def test_mistakes(corpus: Corpus, vocabulary: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        train_bpe(corpus, vocabulary)
