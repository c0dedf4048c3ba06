import { createHash } from 'node:crypto';
import { type Route, route } from '../http/route.ts';

/** The pages that links in mails lead to. Each is one form that needs nothing from elsewhere. The token stands behind the
 *  `#` of the link: the browser shows it to the page's script alone, which takes it out of the address at once. */

interface Field {
  readonly name: string;
  readonly label: string;
  readonly type: 'password' | 'email' | 'text';
  readonly autocomplete: string;
}
interface AccountPage {
  readonly title: string;
  readonly told: string;
  readonly fields: readonly Field[];
  readonly buttons: readonly { readonly action: string; readonly label: string }[];
}

const newPassword: Field = {
  name: 'password',
  label: 'New password (8 characters or more)',
  type: 'password',
  autocomplete: 'new-password',
};
const PAGES: Readonly<Record<string, AccountPage>> = {
  verify: {
    title: 'Confirm your e-mail address',
    told: 'Confirm that the address which this link was sent to is yours.',
    fields: [],
    buttons: [{ action: 'verify', label: 'Confirm' }],
  },
  reset: {
    title: 'Choose a new password',
    told: 'All your sessions end, and applications that you let in are out; log in again afterwards.',
    fields: [newPassword],
    buttons: [{ action: 'reset', label: 'Set password' }],
  },
  invitation: {
    title: 'You are invited',
    told: 'Log in with your account, or make one with the address which this link was sent to.',
    fields: [
      { name: 'email', label: 'E-mail', type: 'email', autocomplete: 'username' },
      { name: 'password', label: 'Password', type: 'password', autocomplete: 'current-password' },
    ],
    buttons: [
      { action: 'accept', label: 'Log in and accept' },
      { action: 'register', label: 'Make an account and accept' },
      { action: 'decline', label: 'Decline' },
    ],
  },
};

const STYLE =
  'body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:12vh auto;padding:0 1rem;color:#1c2430;background:#fff}h1{font-size:1.4rem}label{display:block;margin:1rem 0 .25rem}input{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;border:1px solid #8a94a3;border-radius:6px;background:#fff;color:inherit}button{font:inherit;margin:1.25rem .5rem 0 0;padding:.5rem 1rem;border:1px solid #1f5fbf;border-radius:6px;background:#1f5fbf;color:#fff;cursor:pointer}button+button{background:transparent;color:#1f5fbf}button:disabled{opacity:.5}output{display:block;margin-top:1.25rem;min-height:1.5rem}@media(prefers-color-scheme:dark){body{background:#12161c;color:#dfe5ec}input{background:#1b212a}button+button{color:#8ab4f8;border-color:#8ab4f8}}';

// Text only: nothing that a server says becomes markup.
const SCRIPT = `'use strict';
const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? '';
history.replaceState(null, '', location.pathname);
const form = document.forms[0];
const said = document.querySelector('output');
const say = (text) => { said.textContent = text; };
const send = async (path, body, authorization) => {
  const response = await fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(authorization ? { authorization: 'Bearer ' + authorization } : {}) },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  const answer = text === '' ? {} : JSON.parse(text);
  if (!response.ok) throw new Error(answer.detail ?? 'It did not work (' + response.status + ').');
  return answer;
};
const actions = {
  verify: async () => { await send('/users/verify', { token }); return 'Your address is confirmed.'; },
  reset: async ({ password }) => { await send('/password/reset', { token, password }); return 'Your password is set. Log in with it.'; },
  accept: async ({ email, password }) => {
    const session = await send('/tokens', { email, password });
    const made = await send('/invitations/accept', { token }, session.token);
    await send('/tokens/revoke', { refresh_token: session.refresh_token });
    return 'You are a member of ' + made.org_name + ' now.';
  },
  register: async ({ email, password }) => { await send('/users', { email, password, invitation: token }); return 'You are a member now. Log in with your e-mail and password.'; },
  decline: async () => { await send('/invitations/decline', { token }); return 'The invitation is declined.'; },
};
if (token === '') say('The link is not whole: copy all of it from the mail.');
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const buttons = [...form.querySelectorAll('button')];
  for (const button of buttons) button.disabled = true;
  say('…');
  try {
    say(await actions[event.submitter.value](Object.fromEntries(new FormData(form))));
    form.reset();
  } catch (error) {
    say(error.message);
    for (const button of buttons) button.disabled = false;
  }
});
`;

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'content-security-policy': `default-src 'none'; script-src ${hashOf(SCRIPT)}; style-src ${hashOf(STYLE)}; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'`,
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

const fieldHtml = ({ name, label, type, autocomplete }: Field): string =>
  `<label for="${name}">${label}</label><input id="${name}" name="${name}" type="${type}" autocomplete="${autocomplete}" required${type === 'password' ? ' minlength="8"' : ''}>`;

/** @holds only constants of this file reach the markup */
const pageHtml = ({ title, told, fields, buttons }: AccountPage): string =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title><style>${STYLE}</style></head><body><h1>${title}</h1><p>${told}</p><form>${fields.map(fieldHtml).join('')}${buttons
    .map(
      ({ action, label }) =>
        `<button type="submit" value="${action}"${action === 'decline' ? ' formnovalidate' : ''}>${label}</button>`,
    )
    .join(
      '',
    )}<output role="status"></output></form><noscript>This page needs JavaScript; the mail says how to do without.</noscript><script>${SCRIPT}</script></body></html>`;

export const accountPages: readonly Route[] = Object.entries(PAGES).map(([name, page]) =>
  route(
    {
      method: 'get',
      path: `/account/${name}`,
      tag: 'users',
      summary: page.title,
      open: true,
      hidden: true,
      answers: { 200: { description: 'A page.', type: 'text/html' } },
    },
    () => new Response(pageHtml(page), { headers: HEADERS }),
  ),
);
