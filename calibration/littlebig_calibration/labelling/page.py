"""The labelling page: one HTML file with everything in it, or with a folder of pictures where they are many."""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template


@dataclass(frozen=True)
class Question:
    """One picture to label.

    Attributes:
        file: its name in the table.
        choices: both models' classes, in the order in which they are shown, which says nothing about the models.
    """

    file: str
    choices: tuple[int, int]


def shown_names(names: Sequence[str] | None, classes: int) -> list[str]:
    """A name per class, each once: a class without one is `class 7`, classes of the same name get their number.

    Args:
        names: one per class, or None where they are not known.
        classes: number of classes.
    """
    plain = [name.strip() for name in names or ()] + [""] * (classes - len(names or ()))
    times = Counter(plain)
    return [
        name if name and times[name] == 1 else f"{name} (class {label})" if name else f"class {label}"
        for label, name in enumerate(plain)
    ]


def question(file: str, answers: tuple[int, int], names: Sequence[str]) -> Question:
    """Put both answers into the order of their names, so that the order does not tell which model gave which."""
    first, second = sorted(answers, key=lambda label: (names[label].casefold(), label))
    return Question(file, (first, second))


def embedded(picture: bytes) -> str:
    """A JPEG as an address that needs no file."""
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode()


def labelling_page(questions: Sequence[Question], addresses: Sequence[str], names: Sequence[str], data_set: str) -> str:
    """The page's HTML text.

    Args:
        questions: the pictures, in labelling order.
        addresses: where the page finds each of them: `data:` addresses, or paths relative to the page.
        names: one per class, each once, see `shown_names`.
        data_set: the images' name, for the title.
    """
    listed = [[question.file, question.choices] for question in questions]
    content = {
        "key": hashlib.sha256(json.dumps([listed, list(names)]).encode()).hexdigest()[:16],
        "classes": {"count": len(names), "names": list(names)},
        "pictures": [
            {"file": each.file, "src": address, "choices": each.choices}
            for each, address in zip(questions, addresses, strict=True)
        ],
    }
    template = Template(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        count=len(questions),
        data=escape(data_set),
        classes=f"{len(names):,}",
        # No name can end the script element that holds the text.
        content=json.dumps(content).replace("<", "\\u003c"),
    )
