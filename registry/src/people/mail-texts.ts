import type { Mail } from './postman.ts';

/** What the mails of accounts say. Pure. Tokens stand behind the `#` of links: browsers keep that part to themselves, so
 *  it reaches no server's log. */

/** Names in mails are others' words: one line, short, and no link. */
const told = (name: string): string =>
  name
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' ')
    // Taken out as a whole, what is left could be one again.
    .replaceAll('://', ' ')
    .slice(0, 100);

const curl = (url: string, path: string, body: Readonly<Record<string, string>>): string =>
  // An address may hold a quote, which would end the shell's.
  `  curl -H 'Content-Type: application/json' -d '${JSON.stringify(body).replaceAll("'", `'\\''`)}' ${url}${path}`;

export const verifyMail = (url: string, to: string, token: string): Mail => ({
  to,
  subject: 'Confirm your e-mail address',
  text: `Somebody, probably you, uses this address for an account at ${url}.

Confirm that it is yours:

  ${url}/account/verify#token=${token}

or at a command line:

${curl(url, '/users/verify', { token })}

This holds for 24 hours. If it was not you, do nothing.
`,
});

export const resetMail = (url: string, to: string, token: string): Mail => ({
  to,
  subject: 'Choose a new password',
  text: `Somebody, probably you, asked for a new password for the account of ${to} at ${url}.

Choose one:

  ${url}/account/reset#token=${token}

or at a command line:

${curl(url, '/password/reset', { token, password: '<new password>' })}

This holds for one hour and can be used once. If it was not you, do nothing: your password stays as it is.
`,
});

export const passwordChangedMail = (url: string, to: string): Mail => ({
  to,
  subject: 'Your password was changed',
  text: `The password of ${to} at ${url} was changed, and all sessions were ended.

If it was not you, ask for a new one at once:

${curl(url, '/password/reset-request', { email: to })}
`,
});

export const addressChangingMail = (url: string, to: string, next: string): Mail => ({
  to,
  subject: 'Your e-mail address is being changed',
  text: `The account of ${to} at ${url} is about to get another e-mail address: ${told(next)}.
It takes effect when that address is confirmed.

If it was not you, change your password at once: who asked for this knew it.
`,
});

export const invitationMail = (
  url: string,
  to: string,
  invitation: { readonly token: string; readonly org: string; readonly role: string; readonly inviter: string },
): Mail => ({
  to,
  subject: `Invitation to ${told(invitation.org)}`,
  text: `${told(invitation.inviter)} invites you to the organisation "${told(invitation.org)}" at ${url}, as ${told(invitation.role)}.

Accept or decline:

  ${url}/account/invitation#token=${invitation.token}

or at a command line, without an account yet:

${curl(url, '/users', { email: to, password: '<password>', invitation: invitation.token })}

This holds for 7 days. If you do not know what it is about, do nothing.
`,
});
