"""``microtome view``: a window on a store, in the browser or as a folder of files."""

from pathlib import Path

from microtome.cli.parameters import STORE, Switch


def view(
    store: Path = STORE, /, *, export: Path | None = None, port: int = 0, no_browser: Switch = False
) -> None:
    """Open a store in the browser: all runs, each run, two side by side, a prediction over runs.

    Args:
        store: Folder of all runs.
        export: Write the pages into this folder instead, for a web server or to be opened as files.
        port: Port on 127.0.0.1; 0 takes one that is free.
        no_browser: Print the address and open nothing.
    """
    from microtome import face
    from microtome.cli.console import say

    if export is not None:
        say(f"Page: {face.export_view(store, export)}")
    else:
        face.view(store, port=port, browser=not no_browser)
