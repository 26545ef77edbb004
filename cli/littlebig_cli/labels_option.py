"""The option that names the labels of a folder of pictures, for every command that takes labelled ones."""

from pathlib import Path

import click

labels_option = click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Labels of --data, where that is one folder of pictures: a CSV of file,label, ImageNet's val.txt, or Kaggle's "
    "LOC_val_solution.csv.",
)
