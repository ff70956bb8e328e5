"""How the report looks: light and dark, on a phone and on paper."""

STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1b1f24; --soft: #57606a;
  --line: #d0d7de; --panel: #f6f8fa; --accent: #0b5cad; --warn: #fff4d6; --muted: #eceef0; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171b; --ink: #e6e8eb; --soft: #a6adb5;
  --line: #3a4048; --panel: #1c2026; --accent: #7db8f5; --warn: #3a3016; --muted: #2a2f36; } }
* { box-sizing: border-box; }
html { font: 16px/1.5 system-ui, sans-serif; background: var(--ground); color: var(--ink);
  -webkit-text-size-adjust: 100%; }
body { max-width: 88rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 .5rem; padding-top: .5rem;
  border-top: 2px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 .5rem; color: var(--accent); }
a { color: var(--accent); }
nav ul, .legend { display: flex; flex-wrap: wrap; gap: .1rem .9rem; list-style: none;
  margin: .5rem 0; padding: 0; }
.note, figcaption, caption { color: var(--soft); font-size: .875rem; }
.note { max-width: 60rem; }
.missing { background: var(--warn); padding: .5rem .75rem; border-radius: .4rem; }
.missing ul { margin: 0; padding-left: 1.2rem; }
.runs { display: grid; gap: 1rem; grid-template-columns:
  repeat(auto-fit, minmax(min(100%, 34rem), 1fr)); }
.runs > article, .cards > div { background: var(--panel); border: 1px solid var(--line);
  border-radius: .5rem; padding: .75rem; min-width: 0; }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0; }
.cards dt { color: var(--accent); font-weight: 600; }
.cards dd { display: inline-block; margin: 0 1rem 0 0; color: var(--soft); font-size: .875rem; }
.cards b { display: block; font-size: 1.6rem; line-height: 1.2; color: var(--ink); }
.wide { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
caption { text-align: left; padding-bottom: .35rem; }
th, td { padding: .25rem .55rem; text-align: right; vertical-align: top; font-weight: 400;
  border-bottom: 1px solid var(--line); overflow-wrap: normal; }
thead th { color: var(--soft); vertical-align: bottom; }
tbody th { text-align: left; min-width: 6rem; }
thead th:first-child, thead th.text, td.text { text-align: left; }
tr.disco > * { font-weight: 700; }
tr.reference > * { color: var(--soft); font-style: italic; }
.heat { border-collapse: separate; border-spacing: 2px; }
.heat th, .heat td { border: 0; padding: .2rem .3rem; }
.heat td { min-width: 2.6rem; text-align: center; border-radius: .2rem; background: var(--muted); }
.heat td:empty { background: none; }
.heat td.mark { outline: 2px solid var(--accent); outline-offset: 1px; font-weight: 700; }
.heat thead span { display: inline-block; writing-mode: vertical-rl; transform: rotate(180deg);
  white-space: nowrap; }
.heat thead th { text-align: center; padding: 0; }
figure { margin: 0; }
svg { display: block; width: 100%; max-width: 40rem; height: auto; }
.legend { font-size: .875rem; }
.legend i { display: inline-block; width: 1.2rem; margin-right: .35rem; vertical-align: middle;
  border-top: 3px solid; }
.legend i.dashed { border-top-style: dashed; }
pre { white-space: pre-wrap; background: var(--ground); border: 1px solid var(--line);
  border-radius: .4rem; padding: .5rem; margin: .5rem 0; font-size: .8125rem; }
summary { cursor: pointer; padding: .25rem 0; }
@media print {
  @page { margin: 12mm; }
  :root { color-scheme: light; --ground: #fff; --ink: #000; --soft: #444; --line: #bbb;
    --panel: #fff; --accent: #0b5cad; --warn: #fff4d6; --muted: #eceef0; }
  html { font-size: 10.5px; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { max-width: none; padding: 0; }
  nav { display: none; }
  .wide { overflow: visible; }
  .runs { grid-template-columns: 1fr; }
  figure, tr, table.heat, .cards > div { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
  svg { max-width: 24rem; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
}
"""
