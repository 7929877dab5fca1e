"""The page to explore an album with."""

from oiv5_d2.exploring.album import Album
from oiv5_d2.pages.page import render_page

TEMPLATE = "explore.html.jinja"


def render(album: Album) -> str:
    """Return the page as HTML; images and annotations come later, when it asks for them."""
    parts = ", ".join(f"{one.part.name} {len(one.part):,}" for one in album.parts)
    runs = " and ".join(run.name for run in album.runs)
    content = {
        "title": f"{album.name}: {runs}" if runs else album.name,
        "note": f"images: {parts}",
        "facets": album.facets(),
    }
    return render_page(__package__, TEMPLATE, content)
