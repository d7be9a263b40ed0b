import pytest

from microtome.base.errors import did_you_mean

STUDIES = ("task-vectors", "universality", "bands")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("task-vector", " Did you mean 'task-vectors'?"),
        ("task_vectors", " Did you mean 'task-vectors'?"),
        ("universal", " Did you mean 'universality'?"),
        ("band", " Did you mean 'bands'?"),
        ("xyz", ""),
        ("", ""),
    ],
)
def test_the_nearest_name_is_suggested_and_nothing_far(name: str, text: str) -> None:
    assert did_you_mean(name, STUDIES) == text


def test_options_may_come_from_any_iterable() -> None:
    assert did_you_mean("bnads", (name for name in STUDIES)) == " Did you mean 'bands'?"
    assert did_you_mean("bands", []) == ""
