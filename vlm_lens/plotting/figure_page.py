"""A figure as a page of its own, which needs no network: plotly's script lies beside it."""

import plotly.graph_objects as go
import plotly.offline

SCRIPT = "plotly.min.js"
"""What the script is called beside the pages."""


def figure_page(figure: go.Figure) -> str:
    """The page, as HTML; it reads `SCRIPT` in its own folder, so that twenty figures keep one copy."""
    return str(figure.to_html(include_plotlyjs="directory", full_html=True))


def figure_script() -> str:
    """The script, some 5 MB."""
    return str(plotly.offline.get_plotlyjs())
