import { describe, expect, test } from 'vitest';
import { changedFields, namesSecret, withoutSecrets } from './changed-fields.ts';

describe('what a change is told as', () => {
  test('names what has become another, and leaves out what was not given', () => {
    const before = { name: 'a', tags: ['x'], metadata: { b: 1, a: 2 }, version: 1 };
    expect(changedFields(before, { name: 'b', tags: undefined, metadata: { a: 2, b: 1 }, version: 2 })).toEqual({
      name: { from: 'a', to: 'b' },
    });
    expect(changedFields({}, { alias: 'hall' })).toEqual({ alias: { from: null, to: 'hall' } });
  });

  test('holds no secret, however deep', () => {
    const after = { key: 'k', externalKey: 'k', password_hash: 'h', metadata: { wifi: { password: 'p', ssid: 's' } } };
    expect(JSON.stringify(changedFields({}, after))).toBe('{"metadata":{"from":null,"to":{"wifi":{"ssid":"s"}}}}');
    expect(withoutSecrets({ list: [{ token: 't', id: 1 }], external_key: true, key_id: 'x' })).toEqual({
      list: [{ id: 1 }],
      external_key: true,
      key_id: 'x',
    });
    expect(['keySealed', 'refresh_token', 'client_secret', 'digest'].every(namesSecret)).toBe(true);
    expect(['keyboard', 'name', 'tokenizer', 'monkey'].some(namesSecret)).toBe(false);
  });

  test('tells the size of what is large', () => {
    expect(changedFields({ metadata: {} }, { metadata: { a: 'x'.repeat(5_000) } }).metadata?.to).toBe(
      '(5008 characters)',
    );
  });
});
