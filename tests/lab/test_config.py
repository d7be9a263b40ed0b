"""Configs from options and files: what merges, and what each mistake is told."""

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, field_validator
from tests.lab.toy import STUDY, Toy, ToyConfig

from microtome.base.errors import UserError
from microtome.lab.config import build, build_config
from microtome.lab.study import StudyConfig


class Steering(BaseModel, extra="forbid"):
    site: Literal["resid_post", "mlp_out"] = "resid_post"
    alphas: tuple[float, ...] = (0.0, 1.0)


class FullConfig(StudyConfig):
    model: str = Field(description="Model reference.")
    templates: tuple[str, ...] = ("{a}",)
    batch_size: int = Field(default=8, ge=1)
    steering: Steering = Steering()

    @field_validator("templates")
    @classmethod
    def _have_fields(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if "{a}" not in template:
                raise ValueError(f"expected the field {{a}}, got '{template}'")
        return templates


class Full(Toy):
    name = "full"
    config = FullConfig


def test_options_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "toy.toml"
    file.write_text('size = 5\nshift = 2.5\nseeds = [4, 5, 6]\ntrouble = ""\n')
    config = build_config(STUDY, {"shift": 3.0}, file)
    assert config == ToyConfig(size=5, shift=3.0, seeds=(4, 5, 6))
    assert config.model_dump(exclude_unset=True).keys() == {"size", "shift", "seeds", "trouble"}
    assert build_config(STUDY, {}) == ToyConfig()


def test_hyphens_and_tables_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "full.toml"
    file.write_text('model = "m"\nbatch-size = 4\n[steering]\nsite = "mlp_out"\n')
    assert build_config(Full(), {}, file) == FullConfig(
        model="m", batch_size=4, steering=Steering(site="mlp_out")
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"model": "m", "tempaltes": ("x",)},
            "unknown option 'tempaltes' for study full. Did you mean 'templates'? "
            "Options: model, templates, batch_size, steering",
        ),
        ({}, "option 'model' is required for study full"),
        (
            {"model": "m", "batch_size": "many"},
            "option 'batch_size': expected a valid integer, unable to parse string as an integer; "
            "got 'many' (str)",
        ),
        (
            {"model": "m", "batch_size": 0},
            "option 'batch_size': expected greater than or equal to 1; got 0 (int)",
        ),
        (
            {"model": "m", "templates": ("{a}", "{b}")},
            "option 'templates': expected the field {a}, got '{b}'",
        ),
        (
            {"model": "m", "steering": {"site": "resid_pots"}},
            "option 'steering.site': expected 'resid_post' or 'mlp_out'; got 'resid_pots' (str)",
        ),
        (
            {"model": "m", "steering": {"alpha": (1,)}},
            "unknown option 'steering.alpha' for study full. Did you mean 'alphas'? Options: site, alphas",
        ),
        (
            {"model": "m", "steering": {"alphas": (1, "x")}},
            "option 'steering.alphas.1': expected a valid number, unable to parse string as a number; "
            "got 'x' (str)",
        ),
    ],
)
def test_a_mistake_says_expected_got_and_remedy(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as caught:
        build_config(Full(), options)
    assert str(caught.value) == told


def test_all_mistakes_are_told_at_once_and_the_file_is_named_for_its_own(tmp_path: Path) -> None:
    file = tmp_path / "toy.toml"
    file.write_text("sizes = 3\nshift = 'far'\n")
    with pytest.raises(UserError) as caught:
        build_config(STUDY, {"seeds": "one"}, file)
    lines = sorted(str(caught.value).splitlines())
    assert lines[0].startswith("option 'seeds': expected a valid tuple; got 'one' (str)")
    assert lines[1].startswith(f"option 'shift' in {file}: expected a valid number")
    assert lines[2].startswith(f"unknown option 'sizes' in {file} for study toy. Did you mean 'size'?")


def test_yaml_says_the_same_as_toml(tmp_path: Path) -> None:
    file = tmp_path / "full.yaml"
    file.write_text(
        "model: m\nbatch-size: 4\nsteering:\n  alphas: [1e-5, 2]  # text to YAML, a number to us\n"
    )
    assert build_config(Full(), {}, file) == FullConfig(
        model="m", batch_size=4, steering=Steering(alphas=(1e-5, 2.0))
    )


def test_an_empty_file_leaves_all_as_it_is(tmp_path: Path) -> None:
    for file in (tmp_path / "toy.toml", tmp_path / "toy.yml"):
        file.write_text("# nothing yet\n")
        assert build_config(STUDY, {}, file) == ToyConfig()


@pytest.mark.parametrize(
    ("text", "told"), [("a: [1", "while parsing"), ("- 1", "got a list"), ("x", "got a str")]
)
def test_a_file_that_is_not_yaml(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=rf"config file '.*toy\.yaml' is not YAML: .*{told}"):
        build_config(STUDY, {}, file)


def test_a_base_gives_way_to_the_file_and_the_file_to_options(tmp_path: Path) -> None:
    file = tmp_path / "full.toml"
    file.write_text('model = "file"\nbatch_size = 4\n')
    base = {"model": "base", "batch_size": 2, "templates": ("{a}!",)}
    built = build(FullConfig, {"batch_size": 8}, file, subject="anything", base=base)
    assert built == FullConfig(model="file", batch_size=8, templates=("{a}!",))
    with pytest.raises(UserError, match="unknown option 'sice' for anything"):
        build(FullConfig, {"sice": 1}, subject="anything", base=base)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "config file '{file}' does not exist"),
        ("size = ", "config file '{file}' is not TOML: "),
        (b"\xff\xfe", "config file '{file}' cannot be read: "),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: str | bytes | None, told: str) -> None:
    file = tmp_path / "toy.toml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        build_config(STUDY, {}, file)
    assert str(caught.value).startswith(told.format(file=file))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read: .*Is a directory"):
        build_config(STUDY, {}, tmp_path)
