"""microtome's own models: a standard transformer, and one whose MLP is cut into bands.

Importing this package makes both known to transformers: ``AutoModelForCausalLM.from_pretrained(folder)`` reads what
``microtome train`` wrote.
"""

from transformers import AutoConfig, AutoModelForCausalLM

from microtome.models.architectures.band import BandTransformer
from microtome.models.architectures.configs import BandConfig, StandardConfig
from microtome.models.architectures.matching import flops_per_token, matched, parameter_count
from microtome.models.architectures.standard import StandardTransformer

__all__ = [
    "BandConfig",
    "BandTransformer",
    "StandardConfig",
    "StandardTransformer",
    "flops_per_token",
    "matched",
    "parameter_count",
]

for _config, _model in ((StandardConfig, StandardTransformer), (BandConfig, BandTransformer)):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModelForCausalLM.register(_config, _model, exist_ok=True)
