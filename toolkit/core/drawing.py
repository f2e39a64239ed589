"""What all charts share: colours that everybody tells apart, one style, and SVG and PNG whose bytes depend on nothing but the chart.

The colours are those of Okabe and Ito (Color Universal Design, 2008); hatches, markers and dashes say the same once more. No
dates, no random ids, and no settings of whoever runs it get into a file.
"""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#F0E442")
HATCHES = ("", "////", "----", "\\\\\\\\", "xxxx", "||||", "++++")  # seven and eight: 56 pairs; dots would make large files
MARKERS = "osD^vPX*<"
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (2, 3)))
INK, GREY, FAINT = "#1a1a1a", "#555555", "#dddddd"
DOTS = 200  # an inch of the PNG
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],  # the first comes with matplotlib
    "font.size": 9,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.7,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
}
_loading = threading.Lock()


def prepare() -> None:
    """Load what `draw` needs: a third of a second, which a thread may spend while others wait for something else."""
    with _loading:
        logging.getLogger("matplotlib").setLevel(logging.ERROR)  # a user without a home is no reason for mail from cron
        from matplotlib.artist import ArtistInspector

        setters = ArtistInspector.get_setters
        ArtistInspector.get_setters = lambda self: []  # type: ignore[method-assign] # a quarter of the time writes documentation
        try:
            import matplotlib.backends.backend_agg
            import matplotlib.backends.backend_svg
            import matplotlib.figure  # noqa: F401
        finally:
            ArtistInspector.get_setters = setters  # type: ignore[method-assign]


def draw(make: Callable[[], Figure], title: str, description: str, salt: str) -> tuple[bytes, bytes]:
    """The figure that `make` gives under the common style, as SVG and as PNG.

    The SVG keeps its text as text; `title` and `description` are for who listens. Ids in it are made with `salt`: charts of
    different salts can stand in one page.
    """
    prepare()
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # signs that the font does not have are drawn as boxes
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**STYLE, "svg.hashsalt": salt})
        figure = make()
        png, svg = io.BytesIO(), io.BytesIO()
        FigureCanvasAgg(figure).print_figure(png, format="png", dpi=DOTS, metadata={"Software": None, "Title": title})
        FigureCanvasSVG(figure).print_figure(svg, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
    return _described(svg.getvalue().decode(), description, salt).encode(), png.getvalue()


def _described(svg: str, description: str, salt: str) -> str:
    """With what a screen reader says; and without a document type, which names a file on the network."""
    svg = svg.replace("<svg ", f'<svg role="img" aria-labelledby="{salt}-title {salt}-description" ', 1)
    svg = svg[: svg.index("<!DOCTYPE")] + svg[svg.index("<svg ") :]
    begin, _, rest = svg.partition("<title>")
    title, _, rest = rest.partition("</title>")
    return f'{begin}<title id="{salt}-title">{title}</title>\n <desc id="{salt}-description">{escape(description)}</desc>{rest}'
