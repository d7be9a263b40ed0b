"""The mathematics: pure functions of arrays; it knows no model, file, config or study.

Paired data have the layout ``[*layers, pairs, labels, d]``: one vector for every pair of operands under every
label (task), with any number of leading axes. Every function accepts those leading axes and keeps them, so
one call measures all layers, or all layers of all permutations.
"""
