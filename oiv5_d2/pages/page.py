"""A page from its template: the base, the style and the script are the same for all pages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from oiv5_d2.drawing.colours import PALETTE, on_paper, to_hex
from oiv5_d2.files import whole_file


def write_page(path: Path, package: str, template: str, content: Mapping[str, Any]) -> None:
    """Write a page; the same content gives the same bytes.

    Args:
        path: the HTML file.
        package: as in `render_page`, like the rest.
        template: its file name.
        content: what the template names.
    """
    text = render_page(package, template, content)
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def render_page(package: str, template: str, content: Mapping[str, Any]) -> str:
    """Return a page as HTML.

    Args:
        package: where the template is, which extends ``base.html.jinja``.
        template: its file name.
        content: what the template names; ``title`` among it.
    """
    loaders = [jinja2.PackageLoader(name, "") for name in (package, __package__)]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["palette"] = [(to_hex(one), to_hex(on_paper(one))) for one in PALETTE]
    return environment.get_template(template).render(content)
