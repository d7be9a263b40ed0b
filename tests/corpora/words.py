"""A tokenizer of one id a word, made for these tests."""

from collections.abc import Mapping, Sequence


class Words:
    """Gives each word of a fixed vocabulary its place in it, and every other word 0."""

    def __init__(self, vocabulary: str = "the a cat dog sat ran on mat") -> None:
        self.vocabulary = {"?": 0} | {word: place for place, word in enumerate(vocabulary.split(), start=1)}
        self.texts = 0

    def encode(self, text: str) -> list[int]:
        self.texts += 1
        return [self.vocabulary.get(word, 0) for word in text.split()]

    def __call__(self, texts: Sequence[str], *, add_special_tokens: bool) -> dict[str, list[list[int]]]:
        assert not add_special_tokens
        return {"input_ids": [self.encode(text) for text in texts]}

    def get_vocab(self) -> Mapping[str, int]:
        return self.vocabulary
