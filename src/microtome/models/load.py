"""Loading: a reference in, a ready causal language model out, with its anatomy and fingerprint."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from microtome.base.errors import UserError, did_you_mean
from microtome.models.anatomies import anatomy_of
from microtome.models.anatomy import Anatomy, AttentionWeights, MLPWeights
from microtome.models.fingerprints import fingerprint_of
from microtome.models.quiet import quiet
from microtome.models.reference import Source, resolve
from microtome.models.rotary import rotary_frequencies

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float32", "bfloat16", "float16", "float64")
Attention = Literal["sdpa", "eager"]


@dataclass(frozen=True, eq=False)
class Model:
    """A causal language model that is ready to be looked into: frozen, in evaluation mode."""

    reference: str
    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    """Pads on the right, and always has a padding token."""
    anatomy: Anatomy
    fingerprint: str
    """Hash of architecture, weights and tokenizer, whatever the path, dtype or device."""
    dtype: str
    device: str
    attention: Attention

    def attention_weights(self, layer: int) -> AttentionWeights:
        """Return the attention projections of a layer, one matrix for each head."""
        return self.anatomy.attention_weights(self.module, layer)

    def mlp_weights(self, layer: int) -> MLPWeights:
        """Return the MLP projections of a layer, neurons in the order of ``mlp_post``."""
        return self.anatomy.mlp_weights(self.module, layer)

    def rotary_frequencies(self, layer: int) -> torch.Tensor | None:
        """Return a layer's inverse rotary frequencies; see ``models.rotary``."""
        return rotary_frequencies(self.module, self.anatomy, layer)

    @property
    def parameters(self) -> int:
        """How many numbers the model has learned; tied weights count once."""
        return sum(parameter.numel() for parameter in self.module.parameters())


def load_model(
    reference: str,
    *,
    dtype: str = "float32",
    device: str = "auto",
    attention: Attention = "sdpa",
    trust_remote_code: bool = False,
) -> Model:
    """Load a causal language model.

    Args:
        reference: ``embedded:NAME``, a ``.gguf`` file, a folder, or a hub id (``org/name@revision``).
        dtype: ``float32``, ``bfloat16``, ``float16`` or ``float64``.
        device: A torch device; ``auto`` takes the first CUDA device if there is one, else the CPU.
        attention: ``sdpa`` is faster; ``eager`` shows attention patterns.
        trust_remote_code: Whether code from the model's repository may run. It can do anything.

    Raises:
        UserError: If the model cannot be found, read or understood, or has weights that are not finite.
    """
    import torch

    if dtype not in DTYPES:
        raise UserError(
            f"Expected a dtype of {', '.join(DTYPES)}, got '{dtype}'.{did_you_mean(dtype, DTYPES)}"
        )
    if attention not in ("sdpa", "eager"):
        raise UserError(f"Expected attention 'sdpa' or 'eager', got '{attention}'.")
    place = device_of(device)
    source = resolve(reference, trust_remote_code=trust_remote_code)
    folder = source.folder()
    config = _config(source, folder, trust_remote_code)
    anatomy = anatomy_of(config)
    module = _weights(source, folder, config, getattr(torch, dtype), attention, trust_remote_code)
    _check_finite(module, reference)
    frozen: Any = module.requires_grad_(False).eval()
    frozen.to(place)
    tokenizer = _tokenizer(source, folder, trust_remote_code)
    return Model(reference, module, tokenizer, anatomy, fingerprint_of(source), dtype, str(place), attention)


def load_anatomy(reference: str) -> Anatomy:
    """Return a model's anatomy from its configuration, without loading its weights.

    Raises:
        UserError: As ``load_model``, except for what only the weights can show.
    """
    source = resolve(reference)
    return anatomy_of(_config(source, source.folder(), trust_remote_code=False))


def load_tokenizer(reference: str) -> PreTrainedTokenizerBase:
    """Return a model's tokenizer alone, which pads on the right and has a padding token.

    Raises:
        UserError: If the model cannot be found or has no tokenizer.
    """
    source = resolve(reference)
    return _tokenizer(source, source.folder(), trust_remote_code=False)


def device_of(name: str) -> torch.device:
    """Return the device that a name means; ``auto`` is the first CUDA device if there is one, else the CPU.

    Raises:
        UserError: If this machine has no such device.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"Expected a device that this machine has, got '{name}' ({str(error).splitlines()[0]}). "
            "Use 'auto' or 'cpu'."
        ) from error


def _config(source: Source, folder: Path, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig

    from microtome.models import architectures  # noqa: F401 (makes microtome's own models known to transformers)

    try:
        with quiet():
            return AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=trust_remote_code
            )
    except Exception as error:
        raise _unreadable(source, "configuration (config.json)", error) from error


def _weights(
    source: Source,
    folder: Path,
    config: Any,
    dtype: torch.dtype,
    attention: Attention,
    trust_remote_code: bool,
) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    reader: Any = AutoModelForCausalLM
    try:
        with quiet():
            module, report = reader.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                attn_implementation=attention,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                output_loading_info=True,
            )
    except Exception as error:
        raise _unreadable(source, "weights", error) from error
    if missing := sorted(report["missing_keys"]):
        raise UserError(
            f"Expected the weights of a whole {config.model_type} language model in '{source.reference}', "
            f"but '{missing[0]}' is missing ({len(missing)} in all). Save the model again with its head."
        )
    return module


def _tokenizer(source: Source, folder: Path, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # AutoTokenizer may put the class of the model's type in the place of the tokenizer that was saved.
    reader = PreTrainedTokenizerFast if _is_plain(folder) else AutoTokenizer
    try:
        with quiet():
            tokenizer = reader.from_pretrained(
                folder, local_files_only=True, trust_remote_code=trust_remote_code
            )
    except Exception as error:
        raise _unreadable(source, "tokenizer", error) from error
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def _is_plain(folder: Path) -> bool:
    """Tell whether the tokenizer was saved as nothing but its tokenizer.json."""
    try:
        saved = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return saved.get("tokenizer_class") == "TokenizersBackend" and (folder / "tokenizer.json").is_file()


def _unreadable(source: Source, part: str, error: Exception) -> UserError:
    text = str(error).strip() or type(error).__name__
    remote = (
        " The model needs code of its own: pass trust_remote_code=True only if you have read that code."
        if "trust_remote_code" in text
        else " Save or download the model again, or update transformers."
    )
    return UserError(
        f"Expected to read the {part} of '{source.reference}', but: {text.splitlines()[0]}.{remote}"
    )


def _check_finite(module: PreTrainedModel, reference: str) -> None:
    """Refuse NaN and infinity; the extremes of a tensor show both, in one pass and without a copy."""
    import torch

    for name, parameter in module.named_parameters():
        if parameter.numel() and not torch.stack(torch.aminmax(parameter.detach())).isfinite().all():
            count = int((~parameter.isfinite()).sum())
            raise UserError(
                f"Expected finite weights in '{reference}', got {count:,} NaN or infinite values in "
                f"'{name}'. The checkpoint is damaged, or too large for this dtype."
            )
