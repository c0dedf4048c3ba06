import { expect, test } from 'vitest';
import { networkOf } from './logins.ts';
import { isAction } from './roles.ts';

test('a network is an address of version 4, or the /64 of one of version 6, however it is written', () => {
  expect(networkOf('192.0.2.7')).toBe('192.0.2.7');
  // A socket of both versions tells one of version 4 like that.
  expect(networkOf('::ffff:192.0.2.7')).toBe('192.0.2.7');
  const same = ['2001:db8::1', '2001:0db8:0:0:ffff::', '2001:db8:0:0:1:2:3:4'];
  expect(new Set(same.map(networkOf))).toEqual(new Set(['2001:db8:0:0::/64']));
  expect(networkOf('2001:db8:0:1::1')).toBe('2001:db8:0:1::/64');
  expect(networkOf('::1')).toBe('0:0:0:0::/64');
});

test('an action is of an entity that there is', () => {
  expect(['*', 'publish', 'subscribe', 'things.*', '*.read', '*.*', 'orgs.update'].every(isAction)).toBe(true);
  expect(['', 'things', 'thing.read', 'things.', '.read', 'things.a.b', 'THINGS.read', '**'].some(isAction)).toBe(
    false,
  );
});
