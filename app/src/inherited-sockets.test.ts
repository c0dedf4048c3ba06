import { expect, test } from 'vitest';
import { inheritedSockets } from './inherited-sockets.ts';

test('takes the sockets that a service manager opened for this process, by their name', () => {
  const environment = { LISTEN_PID: '42', LISTEN_FDS: '3', LISTEN_FDNAMES: 'http:coap:coap' };
  expect(inheritedSockets('coap', environment, 42)).toEqual([4, 5]);
  expect(inheritedSockets('http', environment, 42)).toEqual([3]);
});

test('takes all where none has the name', () => {
  expect(inheritedSockets('coap', { LISTEN_PID: '42', LISTEN_FDS: '2' }, 42)).toEqual([3, 4]);
  const unnamed = { LISTEN_PID: '42', LISTEN_FDS: '1', LISTEN_FDNAMES: 'millrace-coap@1.socket' };
  expect(inheritedSockets('coap', unnamed, 42)).toEqual([3]);
});

test('leaves alone what was meant for another process, or is no number', () => {
  expect(inheritedSockets('coap', { LISTEN_PID: '41', LISTEN_FDS: '1' }, 42)).toEqual([]);
  expect(inheritedSockets('coap', { LISTEN_FDS: '1' }, 42)).toEqual([]);
  for (const count of ['0', '-1', '1.5', 'x', '9999999', undefined]) {
    expect(inheritedSockets('coap', { LISTEN_PID: '42', LISTEN_FDS: count }, 42)).toEqual([]);
  }
});
