"""How much of the effective rank that an attack took, healing gave back."""


def recovery(rank: float, original: float, collapsed: float) -> float | None:
    """Return ``100 (R - R_c) / (R_o - R_c)``, in per cent of the rank that was lost; None where none was."""
    return 100 * (rank - collapsed) / (original - collapsed) if collapsed < original else None
