"""The published part against the original's loops: models of every layout, all anchors, spectra of unequal rank."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from microtome.lab.run import Run
from microtome.lab.runner import execute
from microtome.models import load_model
from microtome.studies.head_spectra import STUDY
from microtome.studies.head_spectra.config import HeadSpectraConfig
from microtome.studies.head_spectra.protocol import stability_words, verdict_words
from tests.studies.head_spectra.conftest import SHORT
from tests.studies.head_spectra.original import Numbers, metrics, published

SMALL = {**SHORT, "length": 12, "draws": 19}
CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-6}


def run(store: Path, **options: Any) -> Run:
    return execute(STUDY, HeadSpectraConfig(**{**SMALL, **options}), store=store, threads=1)


def by_head(finished: Run, column: str) -> np.ndarray:
    heads = finished.tables["heads"].filter(role="model")
    return heads[column].to_numpy().reshape(heads["layer"].n_unique(), -1)


def assert_as_the_original(finished: Run, expected: Numbers) -> None:
    """Compare every number that the original prints."""
    layers = finished.tables["layers"].filter(role="model")
    rows = finished.tables["summary"].filter(role="model")
    found = dict(zip(rows["quantity"], rows["value"], strict=True))
    np.testing.assert_allclose(by_head(finished, "T"), expected.T, **CLOSE)
    np.testing.assert_allclose(by_head(finished, "spectral_residual"), expected.residual, **CLOSE)
    for column, values in {
        "mean_residual": expected.residual.mean(1),
        "max_residual": expected.residual.max(1),
        "mean_T": expected.T.mean(1),
        "cosine_across_heads": expected.cosine_by_layer,
    }.items():
        np.testing.assert_allclose(layers[column].to_numpy(), values, err_msg=column, **CLOSE)
    for quantity, value in {
        "anchor layer": expected.anchor,
        "mean cosine of shapes over layers": expected.cosine_by_head.mean(),
        "deviation of that cosine over heads": expected.cosine_by_head.std(),
        "least cosine of a head": expected.cosine_by_head.min(),
        "largest cosine of a head": expected.cosine_by_head.max(),
        "mean residual": expected.residual.mean(),
        "max residual": expected.residual.max(),
        "share below .10": (expected.residual < 0.10).mean(),
        "share below .20": (expected.residual < 0.20).mean(),
        "correlation of T with entropy": expected.corr_T,
        "correlation of operator norm with entropy": expected.corr_norm,
    }.items():
        assert found[quantity] == pytest.approx(value, abs=1e-6), quantity
    assert finished.published["verdict"].outcome == verdict_words(float(expected.residual.mean()))
    shape = finished.published["shape of spectra"].outcome
    assert shape.endswith(stability_words(float(expected.cosine_by_head.mean())))


@pytest.mark.parametrize("anchor", ["last", "middle", "best"])
@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "gemma3"])
def test_every_number_is_the_originals(
    family: str, anchor: str, tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = tmp_path_factory.getbasetemp() / f"published-{family}"  # what anchors share is measured once
    folder = str(tiny_model(family))
    finished = run(store, model=(folder,), anchor=anchor)
    model = load_model(folder, device="cpu")
    rank = model.anatomy.d_head
    sigma = [
        [np.linalg.svd(one, compute_uv=False)[:rank] for one in row] for row in metrics(model.module, family)
    ]
    assert_as_the_original(finished, published(sigma, by_head(finished, "entropy"), anchor))


@pytest.mark.parametrize("anchor", ["last", "middle", "best"])
def test_a_file_with_spectra_of_unequal_rank_reads_as_the_original_reads_it(
    anchor: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    sigma = [[-np.sort(-rng.exponential(size=int(rng.integers(2, 9)))) for _ in range(3)] for _ in range(10)]
    entropy = rng.random((10, 3))
    file = tmp_path / "spectra.json"
    file.write_text(
        json.dumps(
            {
                "num_layers": 10,
                "num_heads": 3,
                "static": [{"metric_singvals_per_head": [list(s) for s in row]} for row in sigma],
                "dynamic": [{"mean_attention_entropy_per_head": list(row)} for row in entropy],
            }
        )
    )
    finished = run(tmp_path / "store", input=(str(file),), anchor=anchor)
    assert_as_the_original(finished, published(sigma, entropy, anchor))
    reasons = {verdict.prediction: verdict.reason for verdict in finished.verdicts}
    assert "the option d_model" in reasons["spectral-copy"]
    assert "holds no operators" in reasons["operator-copy"]
    wide = run(tmp_path / "store", input=(str(file),), anchor=anchor, d_model=24)
    assert wide.verdicts[0].estimate.value is not None
    assert isinstance(wide.tables["null"], pl.DataFrame)
    assert len(wide.tables["null"]) == SMALL["draws"]
