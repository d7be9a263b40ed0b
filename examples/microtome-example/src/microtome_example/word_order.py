"""Word order: does a language model predict words better in the order in which they were written?"""

import polars as pl
from pydantic import Field

from microtome.corpora import load_corpus
from microtome.lab.prediction import Prediction, above, below
from microtome.lab.seeds import stream
from microtome.lab.study import Bench, Measurement, Original, Study, StudyConfig, Unit
from microtome.models import fingerprint, load_model


class Config(StudyConfig):
    model: str = Field(default="embedded:smollm2-135m", description="The model, by reference.")
    corpus: str = Field(default="docstrings", description="The text, by reference.")
    documents: int = Field(default=24, ge=2, description="How many documents are read.")


class Reader(Bench):
    def __init__(self, config: Config) -> None:
        self.model = load_model(config.model)

    def measure(self, unit: Unit, needed: object) -> Measurement:
        from microtome.capture import nats_per_token  # needs torch, and listing studies must not

        words = unit.spec["text"].split()[:60]
        texts = [" ".join(words), " ".join(stream(0, *words).permutation(words))]
        written, shuffled = nats_per_token(self.model, texts).tolist()
        return Measurement(pl.DataFrame({"order-helps": [shuffled - written]}))


class WordOrder(Study):
    name, version, title, config, bench = "word-order", 1, "Word order", Config, Reader
    question = "Does the model predict words better in the order in which they were written?"
    original = Original(title="Write your own study", project="microtome", summary="An example.")
    predictions = (
        Prediction(
            id="order-helps",
            claim="Shuffled words cost at least half a nat more for each token.",
            estimand="Mean over documents of the loss on their words shuffled, less that as written.",
            scale="nats per token",
            supported_if=above(0.5),
            falsified_if=below(0.5),
            source="added",
        ),
    )

    def fingerprints(self, config: Config) -> dict[str, str]:
        return {"model": fingerprint(config.model), "corpus": load_corpus(config.corpus).fingerprint}

    def units(self, config: Config, fingerprints) -> list[Unit]:
        texts = load_corpus(config.corpus, limit=config.documents).documents
        return [self.unit("loss", text[:40], {**fingerprints, "text": text}) for text in texts]

    def simulate(self, config: Config, rng, planted: bool) -> pl.DataFrame:
        return pl.DataFrame({"order-helps": rng.normal(1.0 if planted else 0.5, 0.5, config.documents)})


STUDY = WordOrder()
