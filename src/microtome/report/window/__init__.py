"""A window on a store: one site of pages and data, served to this machine or written out as static files."""

from microtome.report.window.export import export
from microtome.report.window.server import WindowServer, serve

__all__ = ["WindowServer", "export", "serve"]
