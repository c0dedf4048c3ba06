import { expect, test } from 'vitest';
import type { CoapHandler, Peer } from '../contract.ts';
import { c } from '../message/message.ts';
import { createEndpoint } from './endpoint.ts';

function pair(handler: CoapHandler) {
  const server = createEndpoint(handler);
  const client = createEndpoint(() => ({ code: c(4, 4) }));
  const common = { address: '127.0.0.1', identity: null, verified: true } as const;
  const serverPeer: Peer = { ...common, key: 's', port: 5683, send: (b) => server.receive(b, clientPeer) };
  const clientPeer: Peer = { ...common, key: 'c', port: 40000, send: (b) => client.receive(b, serverPeer) };
  return { server, client, serverPeer, clientPeer };
}

test('a client endpoint is answered by a server endpoint', async () => {
  const { client, serverPeer } = pair((request) => ({
    code: c(2, 5),
    payload: Buffer.from(`${request.path.join('/')}?${request.query.join('&')}`),
  }));
  const { answer } = await client.request(serverPeer, { method: 1, path: '/a/b', query: ['x=1'] });
  expect(answer.payload.toString()).toBe('a/b?x=1');
});
