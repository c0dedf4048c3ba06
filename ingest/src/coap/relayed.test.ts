import { describe, expect, test } from 'vitest';
import { FloodLimiter } from './endpoint/flood.ts';
import { Peers } from './peers.ts';
import { clientNames } from './relayed.ts';

describe('a client is called', () => {
  test.each([
    ['', '192.0.2.9', '192.0.2.9'],
    ['', '::ffff:192.0.2.9', '192.0.2.9'],
    ['10.0.0.0/8', '192.0.2.9', '192.0.2.9'],
    ['10.0.0.0/8', '10.0.0.1', '10.0.0.1#4711'],
    ['10.0.0.0/8', '::ffff:10.0.0.1', '10.0.0.1#4711'],
    ['fd00::/8', 'fd00::1', 'fd00--1#4711'],
  ])('with the balancers "%s", from %s: %s', (balancers, address, name) => {
    expect(clientNames(balancers)(address, 4711)).toBe(name);
  });
});

test('one that floods behind a balancer does not silence the others there', () => {
  for (const [balancers, others] of [
    ['10.0.0.1,fd00::1', false],
    ['', true],
  ] as const) {
    const nameOf = clientNames(balancers);
    for (const balancer of ['10.0.0.1', 'fd00::1']) {
      const flood = new FloodLimiter({ burst: 5, ratePerSecond: 1 });
      for (let count = 0; count < 50; count++) flood.penalize(nameOf(balancer, 4711), 0);
      expect(flood.isIgnored(nameOf(balancer, 4711), 1)).toBe(true);
      expect(flood.isIgnored(nameOf(balancer, 4712), 1)).toBe(others);
    }
  }
});

test('its datagrams still go where it is', () => {
  const sent: [number, string][] = [];
  const peers = new Peers(10, (_datagram, port, address) => sent.push([port, address]), clientNames('10.0.0.1'));
  const peer = peers.of('::ffff:10.0.0.1', 4711);
  expect(peer.address).toBe('10.0.0.1#4711');
  peer.send(Buffer.alloc(1));
  expect(sent).toEqual([[4711, '::ffff:10.0.0.1']]);
});
