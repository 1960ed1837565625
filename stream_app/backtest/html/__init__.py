"""The HTML report of a backtest: one file that a colleague can open from a mail.

page.py: its parts, top to bottom. numbers.py: report.json as arrays. verdicts.py: words. charts.py, svg.py: pictures.
tables.py, explanations.py, style.py: what their names say.
"""

from stream_app.backtest.html.page import write_html

__all__ = ["write_html"]
