import { expect, test } from 'vitest';
import { formTarget, redirectProblem } from './redirects.ts';

test.each([
  ['web', 'https://app.example.org/cb?x=1'],
  ['web', 'http://localhost:3000/cb'],
  ['browser', 'https://app.example.org/'],
  ['native', 'com.example.app:/cb'],
  ['native', 'http://127.0.0.1/cb'],
  ['native', 'http://[::1]/cb'],
  ['native', 'https://app.example.org/claimed'],
] as const)('a %s application may be called back at %s', (kind, uri) => {
  expect(redirectProblem(kind, uri)).toBeNull();
});

test.each([
  ['web', 'http://app.example.org/cb'],
  ['web', 'com.example.app:/cb'],
  ['web', 'https://app.example.org/cb#here'],
  ['web', 'https://app.example.org/cb#'],
  ['web', 'https://user:pass@app.example.org/'],
  ['web', 'https://app.example.org\\@evil.example.org/'],
  ['web', 'https://*.example.org/'],
  ['browser', '/cb'],
  ['browser', ''],
  ['native', 'javascript:alert(1)'],
  ['native', 'data:text/html,x'],
  ['native', 'myapp://cb'],
  ['native', 'https://localhost/cb'],
] as const)('a %s application may not be called back at "%s"', (kind, uri) => {
  expect(redirectProblem(kind, uri)).not.toBeNull();
});

test('lets a form lead to an origin or a scheme, and to nothing that a policy would read as more', () => {
  expect(formTarget('https://app.example.org:8443/cb?x=1')).toBe('https://app.example.org:8443');
  expect(formTarget('com.example.app:/cb')).toBe('com.example.app:');
  expect(formTarget('https://a.example.org;script-src/')).toBeNull();
  expect(formTarget('nonsense')).toBeNull();
});
