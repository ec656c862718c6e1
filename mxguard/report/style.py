"""The style sheet of the HTML report: for a phone, a desk, the dark and paper.

Every pair of text and ground that it sets has a contrast of 4.5 or more (WCAG 2.1, 1.4.3).
"""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f3f5f7; --card: #ffffff; --band: #f3f6f8; --line: #d5dbe1;
  --text: #17202a; --soft: #53606d; --faint: #8492a0; --link: #0a58a8;
  --good: #137a3d; --bad: #c3202b; --open: #8a5a00; --ink: #ffffff;
  --good-soft: #e3f4e9; --bad-soft: #fdeaea; --open-soft: #fdf3dc;
  --code: #f1f3f5; --shadow: 0 1px 2px #1b243014, 0 6px 20px #1b24300d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0e1319; --card: #171e26; --band: #1d2630; --line: #303b47;
    --text: #e9eef3; --soft: #a7b3bf; --faint: #6d7b89; --link: #7db8f5;
    --good: #46c274; --bad: #ff7b7f; --open: #e6b24a; --ink: #0b1015;
    --good-soft: #123022; --bad-soft: #3b191d; --open-soft: #372a10;
    --code: #10161d; --shadow: none;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main, header, footer { max-width: 1180px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 28px; }
h1 { font-size: 15px; font-weight: 600; color: var(--soft); margin: 0 0 12px; }
h1 b { color: var(--text); }
h2 { font-size: 22px; line-height: 1.25; margin: 0; letter-spacing: -0.01em; }
h3 { font-size: 15px; line-height: 1.4; margin: 0; overflow-wrap: anywhere; }
h4 { font-size: 12px; text-transform: uppercase; letter-spacing: 0.06em; color: var(--soft);
  margin: 14px 0 4px; }
p { margin: 0; }
.banner { display: flex; gap: 18px; align-items: center; border-radius: 18px; padding: 20px 24px;
  border: 1px solid; }
.banner svg { flex: none; }
.banner .ink { stroke: var(--ink); }
.banner p:first-child { font-size: 24px; font-weight: 680; line-height: 1.2;
  letter-spacing: -0.015em; }
.banner p + p { color: var(--text); margin-top: 4px; }
.banner.pass { background: var(--good-soft); border-color: var(--good); color: var(--good); }
.banner.stop { background: var(--bad-soft); border-color: var(--bad); color: var(--bad); }
.banner.unknown { background: var(--open-soft); border-color: var(--open); color: var(--open); }
main { display: flex; flex-wrap: wrap; column-gap: 28px; }
section { margin: 36px 0 0; flex: 1 1 100%; min-width: 0; }
section.calm { flex-basis: min(100%, 500px); }
.peer { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 14px; }
.peer p { color: var(--soft); }
.bar { display: block; width: 100%; height: 8px; margin: 12px 0 18px; }
.bar .all { fill: var(--bad); } .bar .good { fill: var(--good); }
.ways { display: grid; gap: 20px; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 346px), 1fr)); }
article { background: var(--card); border: 1px solid var(--line); border-radius: 16px;
  padding: 18px; box-shadow: var(--shadow); min-width: 0; }
article.stop { border-top: 5px solid var(--bad); padding-top: 14px; }
article.pass { border-top: 5px solid var(--good); padding-top: 14px; }
article.unknown { border-top: 5px solid var(--open); padding-top: 14px; }
.mark { display: inline-flex; align-items: center; gap: 6px; border-radius: 99px;
  padding: 2px 11px 2px 9px; font-size: 13px; font-weight: 650; }
.mark.pass { background: var(--good-soft); color: var(--good); }
.mark.stop { background: var(--bad-soft); color: var(--bad); }
.mark.unknown { background: var(--open-soft); color: var(--open); }
.mark.plain { background: var(--band); color: var(--soft); }
.summary { margin: 6px 0 14px; }
.way { display: block; width: 100%; max-width: 352px; height: auto; margin: 0 auto; }
.way text { font: 11.5px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  fill: var(--soft); }
.way .sign { fill: none; stroke: var(--faint); stroke-width: 1.6; stroke-linejoin: round; }
.way text.name { font-size: 14.5px; font-weight: 620; fill: var(--text); }
.way text.name.stop { fill: var(--bad); }
.way text.name.beyond { font-weight: 400; fill: var(--soft); }
.way .stretch { font-size: 11px; text-anchor: end; letter-spacing: 0.04em; }
.band { fill: var(--band); }
.rail { stroke-width: 4; stroke: var(--good); }
.rail.beyond { stroke: var(--faint); stroke-width: 2; stroke-dasharray: 3 5; }
.way .pass { fill: var(--good); } .way .stop { fill: var(--bad); }
.way .unknown { fill: var(--open); }
.way g.beyond { fill: var(--band); stroke: var(--faint); stroke-width: 2; stroke-dasharray: 3 3; }
.way .ink { fill: none; stroke: var(--ink); stroke-width: 2.6; stroke-linecap: round;
  stroke-linejoin: round; }
.way text.ink { fill: var(--ink); stroke: none; font-size: 15px; font-weight: 700;
  text-anchor: middle; }
.way .halo { opacity: 0.2; }
pre { margin: 0; padding: 10px 12px; border-radius: 10px; background: var(--code);
  border: 1px solid var(--line); white-space: pre-wrap; overflow-wrap: anywhere;
  font: 12.5px/1.5 ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre + pre { margin-top: 6px; }
.trouble { margin-top: 16px; }
@media print, (min-width: 800px) {
  .ways article.stop, .ways article:only-child { grid-column: 1 / -1; display: grid;
    column-gap: 32px;
    grid-template-columns: 330px minmax(0, 1fr); grid-template-rows: auto auto 1fr; }
  .ways article.stop .way, .ways article:only-child .way { grid-column: 1;
    grid-row: 1 / span 3; margin: 0; }
  .ways article.stop > h3, .ways article:only-child > h3 { font-size: 17px; }
  .calm .ways article:only-child { grid-template-columns: 300px minmax(0, 1fr);
    column-gap: 20px; }
  .calm .ways article:only-child > h3 { font-size: 15px; }
}
.trouble pre.rule { border-left: 4px solid var(--bad); }
.trouble pre.cure, .finding pre { border-left: 4px solid var(--good); }
.place { font-size: 13px; color: var(--soft); margin-bottom: 6px; overflow-wrap: anywhere; }
.tries { list-style: none; margin: 14px 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: 6px; }
.tries .mark { margin: 0; font-weight: 500; font-size: 12.5px; }
.finding { margin-top: 14px; }
.finding .mark { margin: 0 8px 0 0; }
.finding h3 { margin: 8px 0 4px; }
.finding p { overflow-wrap: anywhere; }
.finding.accepted { box-shadow: none; }
summary { cursor: pointer; color: var(--link); margin-top: 14px; }
ul.open { padding-left: 20px; }
footer { color: var(--soft); font-size: 13px; padding-top: 36px; padding-bottom: 40px; }
@media (max-width: 480px) {
  main, header, footer { padding-left: 14px; padding-right: 14px; }
  article { padding: 14px; }
  .banner { padding: 16px; gap: 14px; }
  .banner p:first-child { font-size: 20px; }
}
@media print {
  :root {
    --page: #fff; --card: #fff; --band: #f3f6f8; --line: #aab4be; --text: #000; --soft: #444;
    --faint: #777; --good: #0c6130; --bad: #a5101b; --open: #6d4700; --ink: #fff;
    --good-soft: #e3f4e9; --bad-soft: #fdeaea; --open-soft: #fdf3dc; --code: #f6f7f8;
    --shadow: none;
  }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 11pt; }
  main, header, footer { max-width: none; padding: 0; }
  main { display: block; }
  section { margin: 20px 0; }
  footer { padding-top: 12px; }
  .ways { grid-template-columns: 1fr 1fr; gap: 12px; }
  .ways article.stop, .ways article:only-child { column-gap: 20px;
    grid-template-columns: 290px minmax(0, 1fr); }
  .way { max-width: 290px; }
  article, .banner { break-inside: avoid; }
  h2, .peer, .bar { break-after: avoid; }
}
"""
