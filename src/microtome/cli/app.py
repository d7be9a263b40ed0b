"""The commands by name; each is imported only when it is called."""

from importlib.metadata import version

from cyclopts import App

COMMANDS = {
    "studies": ("microtome.cli.studies:studies", "List the studies."),
    "show": (
        "microtome.cli.show:show",
        "Show a study: question, options, predictions, published rules, controls.",
    ),
    "run": (
        "microtome.cli.run:app",
        "Run a study; the same command again goes on, or shows the finished run.",
    ),
    "runs": ("microtome.cli.runs:runs", "List the runs in a store."),
    "report": ("microtome.cli.report:report", "Write the page of a run and print its path."),
    "compare": ("microtome.cli.compare:compare", "Write a page that lays two runs side by side."),
    "verify": ("microtome.cli.verify:verify", "Check the files of a run against their checksums."),
    "power": ("microtome.cli.power:app", "Estimate how often a study finds what is there, and what is not."),
    "demo": ("microtome.cli.demo:demo", "Run every study at a small size and write one page of all."),
    "models": ("microtome.cli.models:app", "List the models at hand, or check one."),
}

app = App(
    name="microtome",
    help="A laboratory for falsifiable experiments on the insides of transformers.",
    help_epilogue="Start with `microtome studies`. Each command says more with --help.",
    help_format="plaintext",
    version=lambda: version("microtome"),
    print_error=False,
    exit_on_error=False,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
for order, (name, (path, text)) in enumerate(COMMANDS.items()):
    app.command(path, name=name, help=text, sort_key=order)
