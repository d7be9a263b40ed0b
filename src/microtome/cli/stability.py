"""``microtome stability``: the original's three scripts, under their options' names."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from microtome.cli.parameters import STORE, Switch

app = App(
    name="stability", help="Run and analyse the published stability experiments, by the original's options."
)

RESULTS = Path("experiments/results")
Verbosity = Literal["quiet", "normal", "verbose"]
Several = Annotated[tuple[str, ...], Parameter(consume_multiple=True)]
On = Annotated[bool, Parameter(negative="--no-absolute")]


@app.command
def run(
    *,
    model: str = "70m",
    quantization: Literal["none", "fp16", "4bit", "8bit"] = "fp16",
    num_runs: int = 1,
    seed: int = 42,
    force_fft: Switch = False,
    optimizer: Literal["adamw", "sgd"] = "adamw",
    control_type: Literal["none", "random_tokens", "gaussian_noise", "random_text", "eigen_prion"] = "none",
    verbosity: Verbosity = "normal",
    output_dir: Path = RESULTS,
    steps: int = 100,
    store: Path = STORE,
    workers: int = 1,
) -> None:
    """Run one arm of the published procedure, and write its folders (run_experiment.py).

    Args:
        model: 70m, 160m, 410m, 1b, 1.4b or 2.8b of Pythia on the hub, or the reference of any model.
        quantization: fp16 tunes all weights, 8bit and 4bit a LoRA; none is fp16.
        num_runs: Repetitions; run n has the seed SEED + n.
        seed: Base seed.
        force_fft: Tune all weights, as fp16 always does; not with 8bit or 4bit.
        optimizer: adamw, which is Adafactor in the original's code, or sgd. Controls always take sgd.
        control_type: What is trained on; none and eigen_prion are the crafted input.
        verbosity: How much is printed.
        output_dir: Folder for the runs' folders.
        steps: Updates of a run.
        store: Folder of all runs, in which finished ones are found again.
        workers: Worker processes.
    """
    from microtome import originals
    from microtome.base.errors import UserError
    from microtome.cli.printing import print_experiments

    if force_fft and quantization in ("4bit", "8bit"):
        raise UserError(
            f"expected no --force-fft with {quantization}: quantised weights cannot be tuned themselves"
        )
    treatment = "eigen_prion" if control_type == "none" else control_type
    precision = "fp16" if quantization == "none" else quantization
    done = originals.stability_experiment(
        model,
        f"{treatment}/{optimizer}/{precision}",
        output_dir,
        runs=num_runs,
        seed=seed,
        steps=steps,
        store=store,
        workers=workers,
    )
    print_experiments(done, verbosity)


@app.command
def orchestrate(
    *,
    priority: int,
    num_runs: int | None = None,
    seed: int = 42,
    model: Several = (),
    output_dir: Path = RESULTS,
    verbosity: Verbosity = "normal",
    steps: int = 100,
    healing_steps: int = 500,
    store: Path = STORE,
    workers: int = 1,
) -> None:
    """Run all experiments of one priority (experiment_orchestrator.py).

    Args:
        priority: 1 scaling law, 2 placebo, 3 mechanism, 4 shield, 5 healing.
        num_runs: Runs of each experiment; 10 for priority 1, 3 for the others.
        seed: Base seed; run n has the seed SEED + n.
        model: Sizes of Pythia, or references of any models, instead of the priority's own.
        output_dir: Folder in which priorityN_NAME/raw_data is made.
        verbosity: How much is printed.
        steps: Updates of a run.
        healing_steps: Updates on text afterwards, for priority 5.
        store: Folder of all runs, in which finished ones are found again.
        workers: Worker processes.
    """
    from microtome import originals
    from microtome.cli.printing import print_experiments

    done = originals.stability_priority(
        priority,
        output_dir,
        models=model,
        runs=num_runs,
        seed=seed,
        steps=steps,
        healing_steps=healing_steps,
        store=store,
        workers=workers,
    )
    print_experiments(done, verbosity)


@app.command
def analyze(
    priority: int | None = None,
    /,
    *,
    results_dir: Path,
    output_dir: Path,
    models: Several = (),
    model: str | None = None,
    treatments: Several = ("eigen_prion", "gaussian_noise", "random_text"),
    optimizers: Several = ("adamw", "sgd"),
    precisions: Several = ("fp16", "8bit", "4bit"),
    use_absolute: On = True,
    filter_method: Literal["iqr", "zscore"] | None = None,
    filter_metric: Literal["rank_reduction", "perplexity_increase", "perplexity_post"] = "rank_reduction",
    filter_iqr_multiplier: float = 1.5,
    filter_zscore_threshold: float = 3.0,
    legacy: Switch = False,
) -> None:
    """Analyse folders of runs, the original project's or microtome's, as published and controlled.

    Args:
        priority: 1 scaling law, 2 placebo, 3 mechanism, 4 shield, 5 healing.
        results_dir: Folder of the runs, usually priorityN_NAME/raw_data.
        output_dir: Folder for tables, plots and the page.
        models: Models to compare, for priority 1.
        model: The model, for priorities 2 to 5.
        treatments: Treatments to compare, for priority 2.
        optimizers: Optimisers to compare, for priority 3.
        precisions: Precisions to compare, for priority 4.
        use_absolute: As published, take absolute values of rank reductions; --no-absolute takes them signed.
        filter_method: As published, leave out outliers, for priority 1.
        filter_metric: What makes a run an outlier.
        filter_iqr_multiplier: Interquartile ranges beyond the quartiles.
        filter_zscore_threshold: Standard deviations from the mean.
        legacy: Take the arguments of analyze_priority1.py: priority 1 without being named.
    """
    from microtome import originals
    from microtome.base.errors import UserError
    from microtome.cli.printing import print_analysis

    if priority is None and not legacy:
        raise UserError("expected a priority from 1 to 5, as in `microtome stability analyze 1`")
    if legacy and priority not in (None, 1):
        raise UserError(
            f"expected no priority but 1 with --legacy, which stands for analyze_priority1.py; got {priority}"
        )
    number = priority or 1
    filters = {
        "use_absolute": use_absolute,
        "filter_method": filter_method,
        "filter_metric": filter_metric,
        "iqr_multiplier": filter_iqr_multiplier,
        "zscore_threshold": filter_zscore_threshold,
    }
    names = {1: models, 2: treatments, 3: optimizers, 4: precisions}.get(number)
    done = originals.analyse_stability(
        number,
        results_dir,
        output_dir,
        model=model,
        names=names or None,
        **(filters if number == 1 else {}),
    )
    print_analysis(done)
