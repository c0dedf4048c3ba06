import { hash } from 'node:crypto';
import { formTarget } from './redirects.ts';
import { reachesIn, wordsOf } from './scopes.ts';

/** Whether a person reads the answer. */
export const prefersPage = ({ headers }: Request): boolean => (headers.get('accept') ?? '').includes('text/html');

/** Text that is markup already. */
class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
type Part = string | number | Markup | readonly Markup[];

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const escaped = (text: string): string => text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? '');

/** Markup whose parts are escaped unless they are markup themselves. */
function html(texts: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  const shown = parts.map((part) => {
    if (part instanceof Markup) return part.text;
    return typeof part === 'object' ? part.map(({ text }) => text).join('') : escaped(String(part));
  });
  return new Markup(texts.reduce((all, text, index) => all + (shown[index - 1] ?? '') + text));
}

const STYLE = `:root{color-scheme:light dark;--ink:#1c2530;--soft:#5a6675;--line:#cfd6de;--paper:#fff;--ground:#eef2f5;--blue:#0b5cad;--on-blue:#fff;--red:#a3182a}
@media (prefers-color-scheme:dark){:root{--ink:#e8edf2;--soft:#a3b0bd;--line:#3b4753;--paper:#1b222a;--ground:#11161b;--blue:#7bb8f5;--on-blue:#0c1a28;--red:#ff9aa6}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:flex;flex-direction:column;align-items:center;justify-content:center;padding:1.5rem 1rem;background:var(--ground);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}
main{width:100%;max-width:26rem;padding:2rem;background:var(--paper);border:1px solid var(--line);border-radius:.75rem}
h1{margin:0 0 .75rem;font-size:1.375rem;line-height:1.3;overflow-wrap:anywhere}
p{margin:0 0 1rem;overflow-wrap:anywhere}.soft{color:var(--soft);font-size:.875rem}
label,legend{display:block;margin-bottom:.25rem;font-weight:600}
input[type=email],input[type=password],select{width:100%;padding:.625rem .75rem;margin-bottom:1rem;font:inherit;color:inherit;background:var(--paper);border:1px solid var(--soft);border-radius:.375rem}
fieldset{margin:0 0 1rem;padding:0;border:0}legend{padding:0}
.choice{display:flex;gap:.625rem;align-items:flex-start;padding:.375rem 0;font-weight:400}.choice input{width:1.125rem;height:1.125rem;margin:.2rem 0 0;flex:none}
button,.button{display:block;width:100%;padding:.6875rem 1rem;margin-top:.5rem;font:inherit;font-weight:600;text-align:center;text-decoration:none;cursor:pointer;border:1px solid var(--blue);border-radius:.375rem;background:var(--blue);color:var(--on-blue)}
button.other,.button.other{background:transparent;color:var(--blue)}
:focus-visible{outline:3px solid var(--blue);outline-offset:2px}
.alert{padding:.625rem .75rem;border-left:4px solid var(--red);background:var(--ground)}
code{display:block;padding:.75rem;background:var(--ground);border-radius:.375rem;overflow-wrap:anywhere;user-select:all}
footer{margin-top:1rem;color:var(--soft);font-size:.8125rem}`;
const STYLE_HASH = hash('sha256', STYLE, 'base64');

/** What goes with every page: nothing from elsewhere, no framing, nothing kept, and forms that lead only to us and to
 *  where the application said. Browsers apply form-action to redirects too.
 *  @param onward where an answer to the page's form may redirect to */
export function pageHeaders(onward: string | null = null): Record<string, string> {
  const target = onward === null ? null : formTarget(onward);
  return {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; form-action 'self'${target === null ? '' : ` ${target}`}; frame-ancestors 'none'; base-uri 'none'`,
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    // Forms must tell their origin, others must not learn the address.
    'referrer-policy': 'same-origin',
    'cache-control': 'no-store',
  };
}

function page(title: string, content: Markup): string {
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${title} · Millrace</title><style>${new Markup(STYLE)}</style></head>
<body><main>${content}</main><footer>Millrace</footer></body></html>
`.text;
}

const alert = (text: string | null): Markup =>
  text === null ? html`` : html`<p class="alert" role="alert" id="problem">${text}</p>`;

export interface LoginPage {
  readonly action: string;
  readonly app: string;
  readonly email: string;
  readonly problem: string | null;
  /** Another provider by which one may come in. */
  readonly outside: { readonly name: string; readonly url: string } | null;
}

export function loginPage({ action, app, email, problem, outside }: LoginPage): string {
  const described = problem === null ? html`` : html` aria-describedby="problem" aria-invalid="true"`;
  return page(
    'Log in',
    html`<h1>Log in</h1><p>to continue to <strong>${app}</strong></p>${alert(problem)}
<form method="post" action="${action}/login">
<label for="email">E-mail</label><input id="email" name="email" type="email" autocomplete="username" required maxlength="320" value="${email}"${described}${email === '' ? html` autofocus` : html``}>
<label for="password">Password</label><input id="password" name="password" type="password" autocomplete="current-password" required maxlength="1024"${described}${email === '' ? html`` : html` autofocus`}>
<button type="submit">Log in</button></form>
${outside === null ? html`` : html`<a class="button other" href="${outside.url}">Continue with ${outside.name}</a>`}
<form method="post" action="${action}/abort"><button class="other" type="submit">Cancel</button></form>`,
  );
}

export interface ConsentPage {
  readonly action: string;
  readonly app: string;
  /** The organisation that made the application. */
  readonly maker: string;
  readonly homepage: string | null;
  readonly email: string;
  readonly scopes: readonly string[];
  readonly orgs: readonly { readonly id: string; readonly name: string }[];
  readonly org: string | null;
  /** Where the answer goes. */
  readonly target: string;
  readonly problem: string | null;
}

export function consentPage(given: ConsentPage): string {
  const { action, app, maker, homepage, email, scopes, orgs, org, target, problem } = given;
  const choices = scopes
    .filter((scope) => scope !== 'openid')
    .map(
      (scope) =>
        html`<label class="choice"><input type="checkbox" name="scope" value="${scope}" checked><span>${wordsOf(scope)}</span></label>`,
    );
  const options = orgs.map(
    ({ id, name }) => html`<option value="${id}"${id === org ? html` selected` : html``}>${name}</option>`,
  );
  const where = scopes.some(reachesIn)
    ? html`<label for="org">In the organisation</label><select id="org" name="org">${options}</select>`
    : html``;
  return page(
    `Let ${app} in`,
    html`<h1>Let ${app} act for you?</h1>
<p class="soft">An application of ${maker}${homepage === null ? html`` : html`, ${homepage}`}. You are logged in as ${email}.</p>${alert(problem)}
<form method="post" action="${action}/consent">
${scopes.includes('openid') ? html`<p>It will know who you are.</p>` : html``}
${choices.length === 0 ? html`` : html`<fieldset><legend>This lets it</legend>${choices}</fieldset>`}
${where}<p class="soft">Never more than you may yourself. You can withdraw this at any time. You go on to ${target}.</p>
<button type="submit">Allow</button></form>
<form method="post" action="${action}/abort"><button class="other" type="submit">Refuse</button></form>`,
  );
}

export const errorPage = (error: string, description: string): string =>
  page(
    'This does not work',
    html`<h1>This does not work</h1><p>${description === '' ? 'The request can not be answered.' : description}</p><p class="soft">${error}</p>`,
  );

/** @param form made by the provider's library: markup with a secret of the session, without buttons */
export const logoutPage = (form: string): string =>
  page(
    'Log out',
    html`<h1>Log out?</h1><p>You will be logged out of Millrace in this browser.</p>${new Markup(form)}
<button form="op.logoutForm" type="submit" name="logout" value="yes" autofocus>Log out</button>
<button class="other" form="op.logoutForm" type="submit">Stay logged in</button>`,
  );

export const loggedOutPage = (app: string | undefined): string =>
  page(
    'Logged out',
    html`<h1>Logged out</h1><p>You are logged out${app === undefined ? '' : ` of ${app}`}. You may close this page.</p>`,
  );

/** Shows a code that stands for a login, to be copied. */
export const codePage = (code: string): string =>
  page(
    'Logged in',
    html`<h1>Logged in</h1><p>Copy this code to where you began. It is good once, for a minute.</p><p><code>${code}</code></p>`,
  );
