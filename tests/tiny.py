"""Tiny random models of every family, with a tokenizer that knows English words and single digits."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

WORDS = tuple(
    """
    a the of and to in is it that was for on are as with his they at be this from or had by not but
    what some we can out other were all there when up use your how said an each she which do their
    time if will way about many then them write would like so these her long make thing see him two
    has look more day could go come did number sound no most people my over know water than call
    first who may down side been now find any new work part take get place made live where after
    back little only round man year came show every good me give our under name very through just
    form sentence great think say help low line differ turn cause much mean before move right boy
    old too same tell does set three want air well also play small end put home read hand port large
    spell add even land here must big high such follow act why ask men change went light kind off
    need house picture try us again animal point mother world near build self earth father plus
    minus equals times answer question sum one four five six seven eight nine ten
    """.split()  # noqa: SIM905 (a list of words reads best as words)
)
PUNCTUATION = (*".,:;?!()+-*/='\"<>", "\n")
CHAT = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"


def tiny_tokenizer() -> Any:
    """A word-level tokenizer: each common word, letter, digit and punctuation mark is one token.

    ``12`` is two tokens, and a word that is not in the list falls apart into letters, so that no text of
    plain English is unknown. Spaces belong to the token after them, as in GPT-2, so decoding restores text.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = [*"0123456789", *letters, *[c.upper() for c in letters], *PUNCTUATION, *WORDS]
    pieces += [word.capitalize() for word in WORDS]
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3}
    for piece in pieces:
        vocabulary.setdefault(piece, len(vocabulary))
        vocabulary.setdefault(f"▁{piece}", len(vocabulary))
    scores = [(piece, -1.0 if len(piece) > 2 else -4.0) for piece in vocabulary]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=0, byte_fallback=False))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("▁", "merged_with_next"), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<unk>", "<s>", "</s>")])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    fast.chat_template = CHAT
    return fast


ENDS = {"bos_token_id": 1, "eos_token_id": 2}
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
GROUPED = {**SIZES, "num_key_value_heads": 2}
GEMMA = {
    **GROUPED,
    "head_dim": 16,
    "query_pre_attn_scalar": 24,
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "pad_token_id": 0,
}
BANDS = {**SIZES, "band_widths": (14, 10, 8), "band_hidden": (20, 16, 12)}
SOFTCAPS = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0}


def _config(name: str, **entries: Any) -> Callable[[int], Any]:
    def config(vocabulary: int) -> Any:
        import transformers

        from microtome.models import architectures

        home = architectures if name.startswith(("Standard", "Band")) else transformers
        return getattr(home, name)(vocab_size=vocabulary, **ENDS, **entries)

    return config


FAMILIES: Mapping[str, Callable[[int], Any]] = MappingProxyType(
    {
        "gpt2": _config("GPT2Config", n_positions=128, n_embd=32, n_layer=3, n_head=4),
        "gpt_neox": _config("GPTNeoXConfig", use_parallel_residual=True, **SIZES),
        "gpt_neox_sequential": _config("GPTNeoXConfig", use_parallel_residual=False, **SIZES),
        "llama": _config("LlamaConfig", attention_bias=True, **GROUPED),
        "mistral": _config("MistralConfig", sliding_window=8, **GROUPED),
        "qwen2": _config("Qwen2Config", **GROUPED),
        "qwen3": _config("Qwen3Config", head_dim=16, **GROUPED),
        "gemma2": _config("Gemma2Config", **SOFTCAPS, **GEMMA),
        "gemma3": _config("Gemma3TextConfig", **GEMMA),
    }
)
"""The configuration of each tiny family for a vocabulary's size: 3 layers, 4 heads, d_model 32."""

OWN: Mapping[str, Callable[[int], Any]] = MappingProxyType(
    {
        "standard": _config("StandardConfig", **SIZES),
        "band": _config("BandConfig", partition=tuple(reversed(range(32))), **BANDS),
        "band_wormhole": _config("BandConfig", wormhole="published", **BANDS),
        "band_complementary": _config("BandConfig", wormhole="complementary", **BANDS),
        "band_filter_bank": _config("BandConfig", filter_bank=True, **BANDS),
    }
)
"""The same of microtome's own architectures."""

EVERY = MappingProxyType({**FAMILIES, **OWN})


def save_tiny(family: str, folder: Path, seed: int = 0) -> Path:
    """Write a random model of a family into a folder: weights large enough that every part matters.

    Weights are drawn from a normal distribution of standard deviation 0.2, norms around 1 and biases around
    0, so that no bias or norm is at the trivial value that initialisation gives it.
    """
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = tiny_tokenizer()
    model = AutoModelForCausalLM.from_config(EVERY[family](len(tokenizer)))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.2
            ones = parameter.ndim == 1 and name.endswith("weight") and bool((parameter == 1).all())
            parameter.copy_(noise + 1 if ones else noise)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
