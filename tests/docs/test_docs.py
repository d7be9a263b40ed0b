"""What the README and the pages in docs/ tell a reader to type is right."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from tests.studies.bands.conftest import SHORT as SHORT_BANDS
from tests.studies.head_spectra.conftest import SHORT as SHORT_SPECTRA
from tests.studies.stability.conftest import SHORT as SHORT_STABILITY
from tests.studies.stability.conftest import SHORT as SHORT_TUNING
from tests.studies.task_vectors.conftest import SHORT
from tests.studies.universality.conftest import SHORT as SHORT_PAIR
from tests.tiny import WORDS, tiny_tokenizer

import microtome as package
from microtome import face, originals
from microtome.cli import main
from microtome.lab import registry
from microtome.lab.config import build_config
from microtome.lab.run import Run
from microtome.lab.verdict import Outcome
from microtome.models.embedded import EMBEDDED

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUNNABLE = "runnable"
"""The word after ``python`` that marks a block which is run here."""
STUDY = "task-vectors"
TRAINED = "models/standard"
"""The folder that the page of training trains into from Python."""


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    marks: tuple[str, ...]
    text: str


def fenced(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for found in re.finditer(r"^```(\w+)([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        language, marks, body = found.groups()
        yield Block(page.name, text.count("\n", 0, found.start()) + 1, language, tuple(marks.split()), body)


BLOCKS = [block for page in PAGES for block in fenced(page)]


def of(*languages: str) -> list[Any]:
    return [pytest.param(b, id=f"{b.page}:{b.line}") for b in BLOCKS if b.language in languages]


def commands() -> Iterator[Any]:
    """Yield every command line of the pages: in shell blocks, and in text between backticks."""
    for block in BLOCKS:
        if block.language in ("bash", "console"):
            for line in block.text.splitlines():
                if words := shlex.split(line.removeprefix("$ "), comments=True):
                    yield pytest.param(words, id=f"{block.page}:{' '.join(words)}")
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for line in sorted(set(re.findall(r"`((?:microtome|make) [^`]+)`", prose))):
            yield pytest.param(shlex.split(line), id=f"{page.name}:{line}")


def save_layers(folder: Path, layers: int, seed: int) -> Path:
    """Write a tiny random model of so many layers."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def twelve_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model that is deep enough for the layers that the pages name."""
    return save_layers(tmp_path_factory.mktemp("twelve-layers"), layers=12, seed=0)


@pytest.fixture(scope="module")
def store(twelve_layers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store holds two small finished runs of one study, and another store with one of each other."""
    folder = tmp_path_factory.mktemp("pages")
    small = {**SHORT, "model": str(twelve_layers), "layers": (4, 8)}
    for permutations in (19, 39):
        package.run(STUDY, store=folder / "store", threads=1, **{**small, "permutations": permutations})
    others = {**SHORT_SPECTRA, "model": (str(twelve_layers),)}
    package.run("head-spectra", store=folder / "others", threads=1, **others)
    words = folder / "words.txt"
    words.write_text("\n\n".join(" ".join(WORDS[i : i + 40]) for i in range(80)))
    a, b = (str(save_layers(folder / side, layers=2, seed=seed)) for seed, side in enumerate("ab"))
    pair = {**SHORT_PAIR, "model_a": a, "model_b": b, "corpus": f"file:{words}"}
    package.run("universality", store=folder / "others", threads=1, **pair)
    quick = {
        "runs": 1,
        "treatments": ("optimised", "noop"),
        "tunings": ("full/float32",),
        "optimizers": ("adamw",),
    }
    stability = {**SHORT_STABILITY, **quick, "models": (a,), "corpus": f"file:{words}"}
    package.run("stability", store=folder / "others", threads=1, **stability)
    bands = {**SHORT_BANDS, "dataset": f"file:{words}", "tokenizer": a, "reference_model": a}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MICROTOME_CACHE", str(folder / "cache"))
        package.run("bands", store=folder / "others", threads=1, **bands)
    tuning = {
        **SHORT_TUNING,
        "runs": 1,
        "tunings": ("full/float32",),
        "models": (a,),
        "corpus": f"file:{words}",
    }
    package.run("stability", store=folder / "others", threads=1, **tuning)
    return folder


@pytest.fixture
def small(store: Path, twelve_layers: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Let each run be the small finished one of its study; its arguments are checked against the real config."""
    monkeypatch.chdir(store)
    done = package.runs("store")
    of_study = {run.study.name: run for run in (*package.runs("others"), *done)}
    load, real_plan, real_power = package.load_model, face.plan, face.power

    def load_tiny(reference: str, **options: Any) -> Any:
        assert reference in {TRAINED, *(model.reference for model in EMBEDDED)}
        return load(str(twelve_layers), **options)

    def check(study: str, config_file: Path | str | None = None, **options: Any) -> None:
        config = build_config(registry.load(study), options, Path(config_file) if config_file else None)
        assert config.model_dump()

    def run(
        study: str,
        *,
        store: Any = "",
        workers: int = 1,
        threads: Any = None,
        engine: str = "local",
        address: str | None = None,
        shared_store: bool = False,
        retries: int | None = None,
        again: bool = False,
        command: str = "",
        **options: Any,
    ) -> Run:
        assert engine == "ray" or not (address or shared_store or retries)
        check(study, **options)
        return of_study[study]

    def plan(study: str, *, store: Any = "", workers: int = 1, **options: Any) -> Any:
        check(study, **options)
        return real_plan(study, store="store", **of_study[study].record.given)

    def power(study: str, *, draws: int, root_seed: int, alpha: float, **options: Any) -> Any:
        check(study, **options)
        given = of_study[study].record.given
        return real_power(study, draws=1, root_seed=root_seed, alpha=alpha, **given)

    def extract_spectra(model: str, out: Path, **options: Any) -> Path:
        check("head-spectra", model=(model,), **options)
        return out

    def train(
        model: str, output: Any, *, preset: str | None = None, config_file: Any = None, **options: Any
    ) -> Any:
        assert face._train_config(model, preset, config_file, options).model == model
        numbers = {"parameters": 1, "step": 1, "tokens": 1, "held_out": 1.0, "tokens_per_second": 1.0}
        return SimpleNamespace(folder=Path(output), **numbers)

    def stability_experiment(
        model: str, cell: str, output: Path, *, store: Path, workers: int, **settings: Any
    ) -> list[Path]:
        study: Any = registry.load("stability")
        check("stability", **study.experiment(model, cell, **settings))
        return []

    def stability_priority(
        number: int, output: Path, *, store: Path, workers: int, **settings: Any
    ) -> list[Path]:
        study: Any = registry.load("stability")
        for options in study.priority(number, **settings):
            check("stability", **options)
        return []

    def analyse_stability(priority: int, results: Path, output: Path, **options: Any) -> Any:
        assert results.parts[:2] == output.parts[:2] == ("experiments", "results")
        return SimpleNamespace(problems=(), verdicts=(), summary=(), files=(), page=output / "report.html")

    monkeypatch.setattr("microtome.models.load_model", load_tiny, raising=False)
    for function in (stability_experiment, stability_priority, analyse_stability):
        monkeypatch.setattr(originals, function.__name__, function)
    for function in (run, plan, power, extract_spectra, train):
        monkeypatch.setattr(face, function.__name__, function)
    return done


@pytest.mark.parametrize("block", of("python"))
def test_python_is_right(block: Block, small: list[Run]) -> None:
    code = compile(block.text, f"{block.page}:{block.line}", "exec")
    if RUNNABLE in block.marks:
        exec(code, {"__name__": "__main__"})


def test_most_python_is_run() -> None:
    blocks = [block for block in BLOCKS if block.language == "python"]
    assert len(blocks) >= 5
    assert all(RUNNABLE in block.marks for block in blocks)


@pytest.mark.parametrize("block", of("toml"))
def test_config_files_are_right(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(block.text)
    assert build_config(registry.load(STUDY), {}, file).model_dump(exclude_unset=True)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("words", list(commands()))
def test_command_lines_are_right(
    words: list[str], small: list[Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    match words:
        case ["make", target]:
            assert target in targets()
        case ["source", place]:
            assert place == ".venv/bin/activate"
        case ["pip", "install", *rest]:
            assert rest in (["."], ["microtome[ray]"]) or " ".join(words) == EMBEDDED[0].remedy
        case ["ray", "start", "--head", "--port", port] | ["ray", "start", "--address", port]:
            assert port.removeprefix("HOST:") == "6379"
        case ["microtome", *rest] | ["torchrun", "--nproc-per-node", "2", "-m", "microtome.cli", *rest]:
            (Path.cwd() / "study.toml").write_text("\n".join(b.text for b in BLOCKS if b.language == "toml"))
            runs = {"RUN": small[0].id, "OTHER": small[1].id}
            code = main([runs.get(word, word) for word in rest])
            said = capsys.readouterr()
            assert (code, said.err) == (0, "")
            assert said.out
        case _:
            pytest.fail(f"no test knows the command {words[0]!r}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        assert link.startswith("https://") or (page.parent / link).exists(), link


def words_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_every_page_can_be_reached_from_the_readme() -> None:
    for page in PAGES[1:]:
        assert f"(docs/{page.name})" in words_of("README.md")


def test_every_study_has_a_page_and_a_line_in_the_readme() -> None:
    for name in registry.names():
        assert f"[`{name}`](docs/{name}.md) | {registry.load(name).question}" in words_of("README.md")


@pytest.mark.parametrize("page", ["README.md", "docs/verdicts.md"])
def test_every_outcome_is_explained(page: str) -> None:
    assert all(str(outcome) in words_of(page) for outcome in Outcome)


@pytest.mark.parametrize("name", registry.names())
def test_the_page_of_a_study_explains_all_of_it(name: str, store: Path) -> None:
    page, study = words_of(f"docs/{name}.md"), registry.load(name)
    run = next(
        run for place in ("store", "others") for run in package.runs(store / place) if run.study.name == name
    )
    named = [*(p.id for p in study.predictions), *(c.name for c in study.controls), *run.figures()]
    assert [name for name in named if f"`{name}`" not in page] == []
    shared = set.intersection(*(set(prediction.controls) for prediction in study.predictions))
    for prediction in study.predictions:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{prediction.id}` |"))
        own = [name for name in prediction.controls if name not in shared]
        assert re.findall(r"`([^`]+)`", row)[1:] in (list(prediction.controls), own)


def test_the_page_of_files_names_every_file_of_a_run(store: Path) -> None:
    page = words_of("docs/files.md")
    (tree,) = (
        block.text.splitlines() for block in BLOCKS if block.page == "files.md" and block.language == "text"
    )

    def general(path: str) -> str:
        path = re.sub(r"^units/[^/]+/", "units/<unit id>/", path)
        return re.sub(r"^(tables|exports|figures)/[^.]+", r"\1/<name>", path)

    runs = [run for place in ("store", "others") for run in package.runs(store / place)]
    files = {
        general(file.relative_to(run.path).as_posix())
        for run in runs
        for file in run.path.rglob("*")
        if file.is_file()
    }
    described = {line.strip() for line in tree}
    assert {path.removeprefix("units/<unit id>/") for path in files} <= described
    assert all(path.split("/")[-1] in page for path in files)
