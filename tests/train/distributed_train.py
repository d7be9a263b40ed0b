"""What ``torchrun`` starts as each process: train the configs of a folder, and say what came of it and was written."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from microtome.base.errors import UserError
from microtome.train.config import TrainConfig
from microtome.train.loop import train

folder = Path(sys.argv[1])
written: list[str] = []


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    writes = event in ("os.mkdir", "os.rename") or (
        event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    )
    if writes and str(arguments[0]).startswith(str(folder)):
        written.append(str(arguments[0]))


sys.addaudithook(watch)
configs = {
    file.stem: TrainConfig.model_validate(json.loads(file.read_text())) for file in folder.glob("*.json")
}
held_out = {name: train(config, folder / name).held_out for name, config in configs.items()}
again = {name: train(config, folder / name).held_out for name, config in configs.items()}
try:
    train(configs["standard"].model_copy(update={"steps": 99}), folder / "standard")
    refused = ""
except UserError as error:
    refused = str(error)
place = folder / f"process-{os.environ['RANK']}.txt"
told = json.dumps([held_out, again, refused, len(written)])
place.write_text(told)
