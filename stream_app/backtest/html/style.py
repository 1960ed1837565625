"""The style sheet of the page: one column on a phone, two of figures on a desktop, black on white in print."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light; --ink: #1d1d1f; --soft: #5f6368; --line: #d9d9de; --paper: #fff; --tint: #f6f7f9; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .4rem; padding-top: .6rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; margin: .4rem 0; }
.soft, figcaption p, caption { color: var(--soft); }
.verdicts { display: grid; gap: .6rem; margin: 1rem 0; padding: 0; list-style: none; }
.verdicts li { border: 1px solid var(--line); border-left: .4rem solid var(--line); border-radius: .4rem;
  padding: .6rem .9rem; background: var(--tint); }
.verdicts .better { border-left-color: #009e73; }
.verdicts .worse { border-left-color: #d55e00; }
.verdicts strong { font-size: 1.05rem; }
.word { display: inline-block; margin-left: .4rem; padding: 0 .5rem; border: 1px solid currentColor;
  border-radius: 1rem; font-size: .85rem; white-space: nowrap; }
.figures { display: grid; gap: 1.2rem 1.6rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); }
figure { margin: .6rem 0; break-inside: avoid; max-width: 33rem; }
figcaption { margin-bottom: .3rem; }
figcaption p { margin: 0; font-size: .9rem; }
figure > svg { display: block; width: 100%; height: auto; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
.symbols { position: absolute; width: 0; height: 0; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; margin: .2rem 0; padding: 0; list-style: none;
  font-size: .9rem; }
.legend svg, .verdicts svg { width: 2.4em; height: 1em; vertical-align: -.1em; margin-right: .3em; }
.box { display: inline-block; width: 1em; height: .9em; margin-right: .35em; vertical-align: -.05em; }
.seen { background: #56b4e9; }
.new { background: repeating-linear-gradient(135deg, #e69f00 0 3px, #fff 3px 5px); }
.wide { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .2rem 0; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { vertical-align: bottom; border-bottom: 2px solid var(--soft); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tbody th { white-space: normal; min-width: 8rem; }
@media (max-width: 32rem) {
  th, td { padding: .2rem .3rem; }
  table { font-size: .82rem; }
  tbody th { min-width: 6rem; }
}
.settings td { text-align: left; white-space: normal; }
dt { font-weight: 600; margin-top: .5rem; }
dd { margin: 0 0 0 1rem; max-width: 46rem; }
details { margin: .8rem 0; }
summary { cursor: pointer; font-weight: 600; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  .figures { grid-template-columns: 1fr 1fr; }
  .wide { overflow: visible; }
  table { font-size: 8pt; }
  details::details-content { content-visibility: visible; display: block; }
  h2, caption, summary { break-after: avoid; }
  tr, .verdicts li { break-inside: avoid; }
}
"""
