import { expect, test } from 'vitest';
import { unfolded } from './nested.ts';

test('what a flag says of a part goes beside what a file says of it', () => {
  const body = { name: 'harbour', mqtt: { url: 'mqtt://a', qos: 0 }, 'mqtt.url': 'mqtt://b', 'http.url': 'https://c' };
  expect(unfolded(body)).toEqual({ name: 'harbour', mqtt: { url: 'mqtt://b', qos: 0 }, http: { url: 'https://c' } });
});

test('a part that a file takes away comes back by a flag', () => {
  expect(unfolded({ mqtt: null, 'mqtt.url': 'mqtt://b' })).toEqual({ mqtt: { url: 'mqtt://b' } });
});
