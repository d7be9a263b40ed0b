"""The picture of several runs: what each square says, and that nothing stands on anything else."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from tests.report.fakes import fake

from microtome.lab.verdict import Outcome
from microtome.report.content import content
from microtome.report.overview import CONTROLLED, NO, SILENT, SPLIT, YES, overview, published


def test_every_prediction_has_its_two_squares_and_its_name(tmp_path: Path) -> None:
    page = content(fake(tmp_path))
    figure = overview([page, page]).draw()
    (ax,) = figure.axes
    said = [text.get_text() for text in ax.texts]
    for answer in page.answers:
        assert said.count(answer.prediction.id) == 2
    legend = len({YES, NO, SPLIT, SILENT}) + len(CONTROLLED)
    assert len(ax.patches) == 4 * len(page.answers) + legend
    FigureCanvasAgg(figure).draw()
    edges = figure.bbox
    for text in ax.texts:
        box = text.get_window_extent()
        assert edges.contains(*box.min), text.get_text()
        assert edges.contains(*box.max), text.get_text()


def test_rules_that_contradict_each_other_are_told_from_those_that_do_not_decide(tmp_path: Path) -> None:
    chips = {answer.prediction.id: (published(answer), answer) for answer in content(fake(tmp_path)).answers}
    for chip, answer in chips.values():
        claims = [rule.reading.claims for rule in answer.published]
        said = (True in claims, False in claims)
        assert (
            chip == {(False, False): SILENT, (True, False): YES, (False, True): NO, (True, True): SPLIT}[said]
        )
    assert {SILENT, YES} <= {chip for chip, _ in chips.values()}


def test_each_outcome_has_a_sign_and_a_colour_of_its_own() -> None:
    assert set(CONTROLLED) == set(Outcome)
    assert (
        len({chip[0] for chip in CONTROLLED.values()}) == len({chip[1] for chip in CONTROLLED.values()}) == 5
    )
