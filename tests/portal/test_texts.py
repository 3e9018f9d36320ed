"""Every text of the portal is in both languages, and the catalogue holds nothing else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from gateway.portal import filters, texts
from gateway.portal.pages import NAVIGATION

PORTAL = Path(texts.__file__).parent
SAID = re.compile(r"""\b_\(\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
PLACES = re.compile(r"\{(\w+)\}")


def said() -> Iterator[str]:
    """Every English text that pages may say."""
    for template in (PORTAL / "templates").glob("*.html"):
        for found in SAID.findall(template.read_text()):
            yield ast.literal_eval(found)
    for module in PORTAL.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and _called(node) in {"say", "_", "later"} and node.args:
                yield from _texts(node.args[0])
    yield from filters.STATES.values()
    yield from (name for _, name, *_ in NAVIGATION)


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def test_the_catalogue_says_what_pages_say() -> None:
    catalogue, wanted = texts.load(), set(said())

    assert sorted(wanted - catalogue.keys()) == []
    assert sorted(catalogue.keys() - wanted) == []


def test_translations_keep_the_places_for_values() -> None:
    for english, portuguese in texts.load().items():
        assert set(PLACES.findall(english)) == set(PLACES.findall(portuguese)), english
        assert portuguese.strip()
