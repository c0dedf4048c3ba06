/** Style of the page of documentation: for light and dark, wide and narrow, and paper. */
export const DOCS_STYLE = `
:root{color-scheme:light dark;--ink:#1b2430;--dim:#5b6675;--page:#fff;--box:#f5f7fa;--line:#d9dfe7;--link:#0b5cad;
--get:#1b7f4b;--post:#0b5cad;--put:#9a5b00;--patch:#7a4bb0;--delete:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#dfe5ec;--dim:#94a0ae;--page:#12161c;--box:#1a2029;--line:#303945;
--link:#8ab4f8;--get:#5ec990;--post:#8ab4f8;--put:#e0a752;--patch:#c4a1f0;--delete:#f28b82}}
*{box-sizing:border-box}
html{scroll-padding-top:1rem}
body{margin:0;font:16px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--page);display:grid;
grid-template-columns:17rem minmax(0,1fr)}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
nav{position:sticky;top:0;height:100vh;overflow:auto;padding:1.25rem 1rem;border-right:1px solid var(--line);
background:var(--box);font-size:.9rem}
nav h1{font-size:1.1rem;margin:0 0 .75rem}
nav details{border:0;padding:0;margin:.15rem 0;background:none}
nav ul{margin:.15rem 0 .6rem;padding:0;list-style:none}
nav li{white-space:nowrap;overflow:hidden;text-overflow:ellipsis;font:12px/1.7 ui-monospace,monospace}
main{max-width:62rem;padding:1.5rem 2rem 6rem}
h2{margin:3rem 0 .25rem;padding-top:.5rem;text-transform:capitalize}
h3{font-size:.8rem;margin:1.1rem 0 .3rem;text-transform:uppercase;letter-spacing:.05em;color:var(--dim)}
.operation,.schema{margin:.45rem 0;border:1px solid var(--line);border-radius:8px;background:var(--page)}
.operation>summary,.schema>summary{padding:.5rem .8rem;list-style:none}
.operation>summary::-webkit-details-marker{display:none}
.operation[open]>summary{border-bottom:1px solid var(--line);background:var(--box);border-radius:8px 8px 0 0}
.operation:has(:target),.schema:has(:target){outline:2px solid var(--link)}
.inside{padding:.4rem 1rem 1rem;scroll-margin-top:3.5rem}
summary{cursor:pointer}
.method{display:inline-block;width:4.4rem;font:700 12px ui-monospace,monospace;text-transform:uppercase}
.get{color:var(--get)}.post{color:var(--post)}.put{color:var(--put)}.patch{color:var(--patch)}.delete{color:var(--delete)}
.path{font-weight:600}.says{color:var(--dim);margin-left:.6rem}
code,pre{font:13px/1.5 ui-monospace,monospace}
pre{background:var(--box);border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;overflow:auto;margin:.4rem 0}
table{border-collapse:collapse;width:100%}
td{padding:.25rem .9rem .25rem 0;vertical-align:top;border-top:1px solid var(--line)}td:first-child{white-space:nowrap}
small,i{color:var(--dim)}small small{font-size:inherit}small code{word-break:break-all}
ul{margin:.2rem 0;padding-left:1.2rem}
@media(max-width:56rem){body{display:block}nav{position:static;height:auto;border-right:0}main{padding:1rem}}
@media print{nav{display:none}body{display:block}}
`.replaceAll('\n', '');
