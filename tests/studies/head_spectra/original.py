"""The original's numbers as slow loops over heads and layers, in float64: the oracle of the published part."""

from typing import Any, NamedTuple

import numpy as np


def metrics(module: Any, family: str) -> list[list[np.ndarray]]:
    """Return ``W_Q' W_K`` of every head as a d x d matrix, read from the weights by hand."""
    config = module.config
    heads = config.num_attention_heads
    groups = getattr(config, "num_key_value_heads", heads)
    found = []
    for layer in _layers(module, family):
        if family == "gpt2":  # [d, 3 d]: all queries, all keys, all values
            fused = layer.attn.c_attn.weight.double().numpy().T
            d = fused.shape[1]
            q, k = fused[:d].reshape(heads, -1, d), fused[d : 2 * d].reshape(heads, -1, d)
        elif family == "gpt_neox":  # each head's query, key and value side by side
            fused = layer.attention.query_key_value.weight.double().numpy()
            by_head = fused.reshape(heads, 3, -1, fused.shape[1])
            q, k = by_head[:, 0], by_head[:, 1]
        else:
            q = layer.self_attn.q_proj.weight.double().numpy()
            k = layer.self_attn.k_proj.weight.double().numpy()
            q, k = q.reshape(heads, -1, q.shape[1]), k.reshape(groups, -1, k.shape[1])
        found.append([q[h].T @ k[h // (heads // len(k))] for h in range(heads)])
    return found


def _layers(module: Any, family: str) -> Any:
    if family == "gpt2":
        return module.transformer.h
    return module.gpt_neox.layers if family == "gpt_neox" else module.model.layers


class Numbers(NamedTuple):
    """What the original computes."""

    anchor: int
    T: np.ndarray
    residual: np.ndarray
    cosine_by_head: np.ndarray
    cosine_by_layer: np.ndarray
    corr_T: float
    corr_norm: float


def _cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.dot(x, y) / (np.linalg.norm(x) * np.linalg.norm(y)))


def published(sigma: list[list[np.ndarray]], entropy: np.ndarray, anchor: str) -> Numbers:
    """Follow the original step by step; spectra of unequal length are filled up with zeros."""
    layers, heads = len(sigma), len(sigma[0])
    longest = max(len(s) for row in sigma for s in row)
    sigma = [[np.pad(s, (0, longest - len(s))) for s in row] for row in sigma]
    shape = [[s / s.max() for s in row] for row in sigma]
    by_head = [
        np.mean([_cosine(shape[i][h], shape[j][h]) for i in range(layers) for j in range(i + 1, layers)])
        for h in range(heads)
    ]
    at = {"last": layers - 1, "middle": layers // 2}.get(anchor, 0)
    if anchor == "best":
        best = -1.0
        for candidate in range(layers):
            score = 0.0
            for h in range(heads):
                for layer in range(layers):
                    if layer != candidate:
                        score += _cosine(shape[candidate][h], shape[layer][h])
            if score > best:
                best, at = score, candidate
    T, residual = np.zeros((layers, heads)), np.zeros((layers, heads))
    for layer in range(layers):
        for h in range(heads):
            x, y = sigma[layer][h], sigma[at][h]
            T[layer, h] = np.sum(x * y) / np.sum(y * y)
            residual[layer, h] = np.linalg.norm(x - T[layer, h] * y) / np.linalg.norm(x)
    by_layer = [
        np.mean([_cosine(shape[i][g], shape[i][h]) for g in range(heads) for h in range(g + 1, heads)])
        for i in range(layers)
    ]
    norms = np.array([[s.max() for s in row] for row in sigma])
    corr_T, corr_norm = (float(np.corrcoef(x.ravel(), entropy.ravel())[0, 1]) for x in (T, norms))
    return Numbers(at, T, residual, np.array(by_head), np.array(by_layer), corr_T, corr_norm)
