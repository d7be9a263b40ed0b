"""The training loop: one update after another, with evaluations, checkpoints and curves on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from microtome.base.errors import UserError
from microtome.base.progress import progress
from microtome.lab.seeds import stream
from microtome.train import checkpoints, folder
from microtome.train.build import new_model, torch_seed
from microtome.train.config import TrainConfig
from microtome.train.curves import Curves
from microtome.train.data import Text, load_text, rows_of_step
from microtome.train.distributed import World, device_of, world
from microtome.train.evaluate import losses, nats_per_token
from microtome.train.folder import Diverged, Trained
from microtome.train.loggers import open_logger
from microtome.train.optimizer import Optimizer
from microtome.train.precision import cast, scaler
from microtome.train.schedule import rate_share

if TYPE_CHECKING:
    from microtome.models.architectures import StandardTransformer

__all__ = ["Diverged", "Observer", "Trained", "train"]

Observer = Callable[[int, "StandardTransformer", Text], Sequence[Mapping[str, Any]]]
"""Looks at the model at each evaluation; its rows are kept with the curves."""


def train(
    config: TrainConfig,
    output: Path,
    *,
    observe: Observer | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Trained:
    """Train a model into a folder; go on where an interrupted run stopped, return a finished one as it is.

    On one device, with as many threads, a run that was interrupted at any step ends with the same bits as one that was
    not.

    Args:
        config: what to train, and how.
        output: the folder; ends as one that ``load_model`` reads.
        observe: is called with the model before the first step, at every evaluation and after the last step.
        tell: takes a line at each evaluation.

    Raises:
        UserError: If the corpus, the tokenizer or the device does not fit, or another config began the folder.
        Diverged: When the loss is no longer a finite number.
    """
    processes = world(config.device)
    with torch.random.fork_rng():
        text = load_text(config)
        device = device_of(config.device)
        model = new_model(config, text.vocabulary, device)
        with processes.first_ahead():
            if done := folder.begin(output, config, text.fingerprint, _size(model)):
                return done
        run = Run(config, output, text, model, device, processes, observe, tell)
        run.resume()
        run.go()
        processes.wait()
        return folder.ended(output)


class Run:
    """A training run: its model and optimizer, how far it is, and its curves."""

    def __init__(
        self,
        config: TrainConfig,
        output: Path,
        text: Text,
        model: StandardTransformer,
        device: torch.device,
        processes: World,
        observe: Observer | None,
        tell: Callable[[str], None],
    ) -> None:
        _check(config, processes, device)
        self.config, self.output, self.text, self.model = config, output, text, model
        self.device, self.world, self.observe, self.tell = device, processes, observe, tell
        self.module = processes.wrap(model, device)
        self.forward: Any = torch.compile(self.module) if config.compile else self.module
        self.optimizer = Optimizer(config, model)
        self.scaler = scaler(config.precision, device)
        self.curves, self.step, self.seconds = Curves(), 0, 0.0
        self.recent: list[Tensor] = []
        torch.default_generator.manual_seed(torch_seed(config.seed, "dropout", processes.rank))
        if device.type == "cuda":
            torch.cuda.manual_seed(torch_seed(config.seed, "dropout", processes.rank))

    def resume(self) -> None:
        """Take over the newest whole checkpoint, if there is one."""
        if (found := checkpoints.newest(self.output)) is None:
            return
        self.model.load_state_dict(dict(found.weights))
        state = dict(found.optimizer)
        if (cpu := state.pop("generator.cpu", None)) is not None and self.world.first:
            torch.set_rng_state(cpu)
        if (cuda := state.pop("generator.cuda", None)) is not None and self.world.first:
            torch.cuda.set_rng_state(cuda, self.device)
        self.optimizer.load(state)
        if found.extra["scaler"]:
            self.scaler.load_state_dict(found.extra["scaler"])
        self.curves, self.step = Curves(found.curves), found.step
        self.seconds = self.curves.rows["timing"][-1]["seconds"] if self.curves.rows["timing"] else 0.0
        if self.world.first:
            self.tell(f"going on after step {self.step}")
        if (before := found.extra["threads"]) != (now := torch.get_num_threads()):
            self.tell(f"with {now} threads, before with {before}: the last bits of sums may differ")

    def go(self) -> None:
        """Train to the last step, then write the model."""
        config, last = self.config, self.config.steps
        self.logger = open_logger(
            config.logger if self.world.first else "none", self.output, config.model_dump(mode="json")
        )
        if self.step == 0:
            self.evaluate()
            self.milestone()
        self.model.train()
        tokens = config.batch_size * config.sequence_length
        try:
            what, left = f"Training {self.output.name}", (last - self.step) * tokens
            bar = progress(what, left, "tokens") if self.world.first else nullcontext(lambda done: None)
            with bar as advance:
                while self.step < last:
                    started = time.perf_counter()
                    self.update()
                    self.seconds += time.perf_counter() - started
                    if self.step % config.eval_every == 0 or self.step == last:
                        self.evaluate()
                    self.milestone()
                    if self.step % config.save_every == 0 and self.step < last:
                        self.save()
                    advance(tokens)
        finally:
            self.logger.close()
        if self.world.first:
            self.finish()

    def update(self) -> None:
        """Make the next update, and note what the curves want of it."""
        config, step = self.config, self.step + 1
        noted = step % config.log_every == 0 or step % config.save_every == 0 or step == config.steps
        share = rate_share(step, config.steps, config.warmup_steps, config.final_rate)
        self.optimizer.set_share(share)
        self.recent.append(self.backward(step))
        self.scaler.unscale_(self.optimizer.adam)
        gradients = self.optimizer.gradients() if noted else []
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.grad_clip)
        parts = self.optimizer.parts() if noted else []
        held = self.optimizer.held()
        self.scaler.step(self.optimizer.adam)
        self.scaler.update()
        self.optimizer.after(held)
        self.optimizer.adam.zero_grad(set_to_none=True)
        self.step = step
        # Reading a number from a GPU waits for it; on the CPU it costs nothing.
        if noted or self.device.type == "cpu":
            self.check_finite()
        if noted:
            self.note(share, float(norm), gradients, self.optimizer.moved(parts))

    def backward(self, step: int) -> Tensor:
        """Compute the gradient of the mean loss of a step's batch, part by part; return that loss."""
        config = self.config
        rows = rows_of_step(config, step, len(self.text.train))
        blocks = self.text.train[torch.from_numpy(rows)].chunk(self.world.size)[self.world.rank]
        total = torch.zeros((), device=self.device)
        parts = blocks.to(self.device, non_blocking=True).chunk(config.accumulate)
        for i, part in enumerate(parts):
            late = self.world.size > 1 and i < len(parts) - 1
            with self.module.no_sync() if late else nullcontext():
                with cast(config.precision, self.device):
                    loss = losses(self.forward, part).mean() / len(parts)
                self.scaler.scale(loss).backward()
            total += loss.detach()
        return total

    def check_finite(self) -> None:
        """Raise Diverged if one of the losses since the last row is not finite."""
        recent = self.world.mean(torch.stack(self.recent))
        finite = recent.isfinite().tolist()
        if all(finite):
            return
        step = self.step - len(finite) + 1 + finite.index(False)
        if self.world.first:
            self.diverged(step)
        raise Diverged(step, self.output)

    def diverged(self, step: int) -> None:
        """Write the curves up to here, and that the run ended at a step whose loss is not finite."""
        self.curves.write(self.output)
        folder.end(self.output, "diverged", step=step)

    def note(self, share: float, norm: float, gradients: Sequence[float], moved: Sequence[float]) -> None:
        """Add a row to the curves."""
        loss = float(self.world.mean(torch.stack(self.recent)).double().mean())
        self.recent.clear()
        tokens = self.step * self.config.batch_size * self.config.sequence_length
        self.curves.add("metrics", step=self.step, tokens=tokens, loss=loss, rate=share, grad_norm=norm)
        for band, (gradient, ratio) in enumerate(zip(gradients, moved, strict=True)):
            self.curves.add("bands", step=self.step, band=band, grad_norm=gradient, update_ratio=ratio)
        self.logger.log(self.step, {"loss": loss, "rate": share, "grad_norm": norm})

    def evaluate(self) -> None:
        """Add the losses on the held-out side, and on as much of the training side, to the curves."""
        config, step = self.config, self.step
        if self.world.first:
            sides = (self.text.held_out, self.text.train[: len(self.text.held_out)])
            held_out, train = (
                nats_per_token(
                    self.model, side, config.batch_size, self.device, cast(config.precision, self.device)
                )
                for side in sides
            )
            self.curves.add("evaluations", step=step, held_out=held_out, train=train)
            if self.observe is not None:
                for row in self.observe(step, self.model, self.text):
                    self.curves.add("observations", step=step, **row)
            speed = self.speed()
            if step:
                self.curves.add("timing", step=step, seconds=self.seconds, tokens_per_second=speed)
            self.logger.log(step, {"held_out": held_out, "train": train})
            paced = f", {speed:,.0f} tokens/s" if step else ""
            self.tell(f"step {step:,} of {config.steps:,}: held out {held_out:.4f} nats per token{paced}")
            self.sample()
        self.world.wait()

    def sample(self) -> None:
        """Show what the model writes."""
        if self.config.sample_tokens == 0:
            return
        from microtome.train.samples import sample

        generator = stream(self.config.seed, "samples", self.step)
        prompts, tokens = self.config.sample_prompts, self.config.sample_tokens
        texts = sample(self.model, self.text.tokenizer, prompts, tokens, generator)
        with (self.output / "samples.txt").open("a", encoding="utf-8") as file:
            file.writelines(f"step {self.step}\n{text}\n\n" for text in texts)

    def milestone(self) -> None:
        """Keep the weights if this step is one whose weights are asked for."""
        if self.step not in self.config.milestones or not self.world.first:
            return
        from safetensors.torch import save_file

        from microtome.base.files import atomic

        with atomic(self.output / "milestones" / f"step-{self.step:08d}.safetensors") as temporary:
            save_file({k: v.contiguous() for k, v in self.model.state_dict().items()}, temporary)

    def save(self) -> None:
        """Write a checkpoint."""
        if self.world.first:
            generators = {"generator.cpu": torch.get_rng_state()}
            if self.device.type == "cuda":
                generators["generator.cuda"] = torch.cuda.get_rng_state(self.device)
            state = checkpoints.Checkpoint(
                self.step,
                self.model.state_dict(),
                {**self.optimizer.tensors(), **generators},
                self.curves.frames(),
                {"scaler": self.scaler.state_dict(), "threads": torch.get_num_threads()},
            )
            checkpoints.save(self.output, state, self.config.keep_checkpoints)
            self.curves.write(self.output)
        self.world.wait()

    def speed(self) -> float:
        """Return the tokens trained in a second, over the whole run."""
        tokens = self.step * self.config.batch_size * self.config.sequence_length
        return tokens / self.seconds if self.seconds else float("nan")

    def finish(self) -> None:
        """Write the model, its tokenizer, the curves, and last that the run is finished."""
        from microtome.models.quiet import quiet

        held_out = self.curves.rows["evaluations"][-1]["held_out"]
        if not math.isfinite(held_out):  # the last update did it, so no later loss has shown it
            self.diverged(self.step)
            return
        self.model.eval()
        with quiet():
            self.model.save_pretrained(self.output)
            self.text.tokenizer.save_pretrained(self.output)
        self.curves.write(self.output)
        folder.end(
            self.output,
            "finished",
            step=self.step,
            tokens=self.step * self.config.batch_size * self.config.sequence_length,
            held_out=held_out,
            tokens_per_second=self.speed(),
        )


def _size(model: StandardTransformer) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _check(config: TrainConfig, processes: World, device: torch.device) -> None:
    """Refuse what the number of processes or the machine does not allow."""
    import shutil

    if config.batch_size % (processes.size * config.accumulate):
        raise UserError(
            f"Expected a batch_size that {processes.size} processes can share in {config.accumulate} parts, got "
            f"{config.batch_size}. Use a multiple of {processes.size * config.accumulate}."
        )
    if config.compile and device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++", "c++"))):
        raise UserError(
            "Expected a C++ compiler for --compile on a CPU, found none. Install g++, or leave it out."
        )
