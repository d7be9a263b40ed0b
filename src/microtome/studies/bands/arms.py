"""The arms of the experiment: what is trained, and what each comparison holds fixed."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microtome.studies.bands.config import BandsConfig
    from microtome.train.config import TrainConfig

ARMS = ("baseline", "bands-only", "rates-only", "full", "no-wormhole")
"""The original's five: its baseline and its four ablations."""
CONTROL_ARMS = (
    "equal-widths",
    "random-partition",
    "reversed-rates",
    "shuffled-rates",
    "equal-rates",
    "filter-bank",
)
"""What else could explain a difference: variants of no-wormhole, whose bands and rates are all that they change, but
for equal-rates, which is the full model with one rate (no-wormhole with one rate is bands-only)."""
TIMELINE = ("baseline", "full")
"""Arms whose weights on the way are kept, to see when features appear."""

DESCRIPTIONS = {
    "baseline": "a standard transformer",
    "bands-only": "bands, one rate, no cross-band attention",
    "rates-only": "the standard transformer, with the bands' rates on slices of its MLPs",
    "full": "bands, a rate for each, cross-band attention",
    "no-wormhole": "bands, a rate for each, no cross-band attention",
    "equal-widths": "no-wormhole with bands of equal width",
    "random-partition": "no-wormhole with bands of dimensions drawn at random",
    "reversed-rates": "no-wormhole with the bands' rates in reverse",
    "shuffled-rates": "no-wormhole with the bands' rates in a random order",
    "equal-rates": "the full model with one rate",
    "filter-bank": "bands that are ranges of frequencies along the tokens by construction, a rate for each",
}


def train_config(config: "BandsConfig", arm: str, seed: int, scale: float) -> "TrainConfig":
    """Return what trains one model of an arm."""
    from microtome.lab.config import build
    from microtome.lab.seeds import stream
    from microtome.train.config import TrainConfig

    rates = config.band_lrs
    own: dict[str, Any] = {
        "baseline": {"model": "standard"},
        "rates-only": {"model": "standard", "band_lrs": rates},
        "bands-only": {},
        "no-wormhole": {"band_lrs": rates},
        "full": {"band_lrs": rates, "wormhole": config.wormhole},
        "equal-widths": {"band_lrs": rates, "band_dims": equal_widths(config)},
        "random-partition": {"band_lrs": rates, "partition": "random"},
        "reversed-rates": {"band_lrs": rates[::-1]},
        "shuffled-rates": {
            "band_lrs": tuple(stream(config.seed, "shuffled rates").permutation(rates).tolist())
        },
        "equal-rates": {"wormhole": config.wormhole},
        "filter-bank": {"band_lrs": rates, "filter_bank": True},
    }[arm]
    every = evaluation_steps(config)[1]
    standard = own.get("model") == "standard"
    entries: dict[str, Any] = {
        "model": "band", "hidden_dim": config.hidden_dim, "num_layers": config.num_layers,
        "num_heads": config.num_heads, "sequence_length": config.sequence_length, "dropout": config.dropout,
        "num_bands": len(rates), "band_dims": config.band_dims, "match": "none" if standard else config.match,
        "learning_rate": config.learning_rate, "lr_scale": scale, "warmup_steps": config.warmup_steps,
        "weight_decay": config.weight_decay, "steps": config.steps, "batch_size": config.batch_size,
        "dataset": config.dataset, "documents": config.documents, "held_out": config.held_out,
        "tokenizer": config.tokenizer, "seed": seed, "precision": config.precision, "device": config.device,
        "eval_every": every, "log_every": max(1, config.steps // 100), "save_every": max(500, every),
        "milestones": evaluation_steps(config) if keeps_milestones(config, arm, scale) else (),
    }  # fmt: skip
    return build(TrainConfig, entries | own, subject=f"arm {arm}")


def keeps_milestones(config: "BandsConfig", arm: str, scale: float) -> bool:
    """Whether a model's weights are kept at each evaluation: of some arms, at the middle scale."""
    return arm in TIMELINE and scale == config.lr_scales[len(config.lr_scales) // 2]


def evaluation_steps(config: "BandsConfig") -> tuple[int, ...]:
    """Return the steps at which models are evaluated, the first and the last among them."""
    every = max(1, config.steps // config.evaluations)
    return tuple(dict.fromkeys([*range(0, config.steps, every), config.steps]))


def equal_widths(config: "BandsConfig") -> tuple[int, ...]:
    """Return as many bands of widths as equal as whole numbers allow."""
    share, rest = divmod(config.hidden_dim, len(config.band_dims))
    return tuple(share + (i < rest) for i in range(len(config.band_dims)))


def band_neurons(train: "TrainConfig", shape: Any) -> list[tuple[int, int]]:
    """Return where each band's hidden neurons start and stop in a layer of the model.

    Args:
        train: what trained it.
        shape: the model's own configuration.
    """
    from itertools import accumulate, pairwise

    from microtome.models.architectures.standard import shares

    if train.model == "standard":
        return shares(shape.intermediate_size, train.band_dims)
    return list(pairwise(accumulate(shape.band_hidden, initial=0)))
