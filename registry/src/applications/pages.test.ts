import { expect, test } from 'vitest';
import { consentPage, errorPage, loginPage, pageHeaders } from './pages.ts';

const HOSTILE = `"><script>alert('x')</script><a href="javascript:1" onclick='x'>&amp;`;

test('shows what others chose as text, wherever it stands', () => {
  const pages = [
    loginPage({
      action: '/oauth/interaction/x',
      app: HOSTILE,
      email: HOSTILE,
      problem: HOSTILE,
      outside: { name: HOSTILE, url: '/login/oidc' },
    }),
    consentPage({
      action: '/oauth/interaction/x',
      app: HOSTILE,
      maker: HOSTILE,
      homepage: HOSTILE,
      email: HOSTILE,
      scopes: ['openid', 'things:read', HOSTILE],
      orgs: [{ id: HOSTILE, name: HOSTILE }],
      org: null,
      target: HOSTILE,
      problem: HOSTILE,
    }),
    errorPage(HOSTILE, HOSTILE),
  ];
  for (const page of pages) {
    expect(page).toContain('&quot;&gt;&lt;script&gt;');
    expect(page).not.toMatch(/<script|<a href="javascript|[^;]onclick='/i);
    expect(page).toContain('&amp;amp;');
  }
});

test('every field has a label, and what is wrong is told to who cannot see', () => {
  const page = loginPage({ action: '/x', app: 'A', email: '', problem: 'Wrong.', outside: null });
  for (const [, id] of page.matchAll(/<input id="(\w+)"/g)) expect(page).toContain(`<label for="${id}">`);
  expect(page).toContain('role="alert"');
  expect(page).toContain('lang="en"');
});

test('a page lets forms lead to us and to the application alone', () => {
  expect(pageHeaders()['content-security-policy']).toContain(`form-action 'self';`);
  expect(pageHeaders('https://app.example.org/cb')['content-security-policy']).toContain(
    `form-action 'self' https://app.example.org;`,
  );
  expect(pageHeaders(`https://x.example.org; script-src 'unsafe-inline'`)['content-security-policy']).not.toContain(
    'unsafe-inline',
  );
});
