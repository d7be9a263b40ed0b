"""The commands by name; each is imported only when it is called."""

from importlib.metadata import version

from cyclopts import App

COMMANDS = {
    "studies:studies": "List the studies.",
    "show:show": "Show a study: question, predictions, published rules, controls, options.",
    "run:app": "Run a study; the same command again goes on, or shows the finished run.",
    "train:app": "Train a model, standard or in bands.",
    "runs:runs": "List the runs in a store.",
    "report:report": "Write the page of a run and print its path.",
    "compare:compare": "Write a page that lays two runs side by side.",
    "view:view": "Open a store in the browser, or write it as a site.",
    "verify:verify": "Check the files of a run against their checksums.",
    "power:app": "Simulate a study: how often it finds what is there, and what is not.",
    "demo:demo": "Run every study at a small size and write one page of all.",
    "models:app": "List the models at hand, or check one.",
    "doctor:doctor": "Check this installation: packages, devices, cache, models, extras, write access.",
    "spectra:app": "Write the singular values and attention entropies of a model's heads to a file.",
    "stability:app": "Run and analyse the published stability experiments, by the original's options.",
}
"""Where each command is, and its line in the help; a module is named like its command."""

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
for order, (path, text) in enumerate(COMMANDS.items()):
    app.command(f"microtome.cli.{path}", name=path.partition(":")[0], help=text, sort_key=order)
