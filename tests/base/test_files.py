import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.base.files import (
    TEMPORARY,
    atomic,
    cache_folder,
    canonical_json,
    digest,
    sha256_file,
    write_json,
)


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "rows.txt"
    with atomic(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.startswith(TEMPORARY)
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_inside_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("old")

    def interrupted() -> None:
        with atomic(path) as temporary:
            temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic(path):
        pass
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_data_reach_the_disk_before_the_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "rows.txt", []
    whole = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_size, path.exists()))
        whole(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic(path) as temporary:
        temporary.write_text("12345")
    assert synced == [(5, False)]


def test_two_writers_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    with atomic(path) as first, atomic(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first", "the last to finish wins"


def test_json_is_readable_and_refuses_what_json_has_no_word_for(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"größe": [1, None]})
    assert path.read_text("utf-8") == '{\n "größe": [\n  1,\n  null\n ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"x": float("nan")})
    assert json.loads(path.read_text("utf-8")) == {"größe": [1, None]}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def backwards(value: Any) -> Any:
    """The same value with the keys of every mapping in the other order."""
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    return [backwards(item) for item in value] if isinstance(value, list) else value


@given(VALUES)
def test_a_digest_is_of_the_value_not_of_the_order_of_its_keys(value: Any) -> None:
    assert canonical_json(backwards(value)) == canonical_json(value)
    assert json.loads(canonical_json(value)) == value
    assert digest(backwards(value)) == digest(value)


@given(VALUES, VALUES)
def test_different_values_have_different_digests(first: Any, second: Any) -> None:
    assert (digest(first) == digest(second)) == (canonical_json(first) == canonical_json(second))


def test_digests_are_those_of_the_bytes(tmp_path: Path) -> None:
    # printf '{"a":[1,2.5],"b":null}' | sha256sum
    expected = "f66b2c50ccae61e3f2445d2439f42efc245581b18ed184ce5d3c22fb58eed9c4"
    assert digest({"b": None, "a": (1, 2.5)}) == expected
    file = tmp_path / "file"
    file.write_text('{"a":[1,2.5],"b":null}')
    assert sha256_file(file) == expected


def test_a_digest_refuses_what_is_not_equal_to_itself() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(float("nan"))


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROTOME_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    assert cache_folder("models", "77") == tmp_path / "models" / "77"
    assert list(tmp_path.iterdir()) == [], "asking makes nothing"


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_word_the_cache_is_the_platforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    if value is None:
        monkeypatch.delenv("MICROTOME_CACHE", raising=False)
    else:
        monkeypatch.setenv("MICROTOME_CACHE", value)
    assert cache_folder("models") == tmp_path / "microtome" / "models"
