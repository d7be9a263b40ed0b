"""Shapes and types of every public function of `measure` are checked while its tests run."""

from jaxtyping import install_import_hook

install_import_hook("microtome.measure", "beartype.beartype")
