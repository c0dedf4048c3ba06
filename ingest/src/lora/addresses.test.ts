import type { lookup as systemLookup } from 'node:dns';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { isPublicAddress } from '../public-address.ts';
import { guardedLookup, hostFault } from './addresses.ts';
import { askServer } from './downlink/http-client.ts';

/** A resolver that says these addresses. */
const resolver = (...addresses: string[]): typeof systemLookup =>
  ((_name: string, _options: object, callback: (error: null, all: object[]) => void) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    )) as unknown as typeof systemLookup;

function resolved(privateToo: boolean, all: boolean, ...addresses: string[]): Promise<unknown> {
  return new Promise((resolve) => {
    const lookup = guardedLookup(privateToo, resolver(...addresses));
    lookup('broker.example.org', { all }, (error, found) => resolve(error === null ? found : error.message));
  });
}

describe('addresses', () => {
  test.each([
    '127.0.0.1',
    '10.1.2.3',
    '172.31.255.255',
    '192.168.0.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '224.0.0.1',
    '255.255.255.255',
    '::1',
    '::',
    'fe80::1',
    'fd00::1',
    'ff02::1',
    '::ffff:127.0.0.1',
    '::ffff:8.8.8.8',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    '2001:db8::1',
    'no address',
  ])('%s is none of the public', (address) => expect(isPublicAddress(address)).toBe(false));

  test.each(['8.8.8.8', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '2a00:1450::1'])('%s is one', (address) =>
    expect(isPublicAddress(address)).toBe(true),
  );

  test('that are not public are left out of what a name says, and a name with no other leads nowhere', async () => {
    expect(await resolved(false, true, '10.0.0.1', '8.8.8.8')).toEqual([{ address: '8.8.8.8', family: 4 }]);
    expect(await resolved(false, false, '10.0.0.1', '8.8.8.8')).toBe('8.8.8.8');
    expect(await resolved(false, true, '10.0.0.1', '::1')).toContain('no public address');
    expect(await resolved(true, false, '10.0.0.1')).toBe('10.0.0.1');
  });

  test('in a URL are looked at too', () => {
    expect(hostFault('127.0.0.1', false)?.message).toContain('127.0.0.1');
    expect(hostFault('[::1]', false)?.message).toContain('::1');
    expect(hostFault('8.8.8.8', false)).toBeNull();
    expect(hostFault('127.0.0.1', true)).toBeNull();
    expect(hostFault('a name', false), 'it is looked up later').toBeNull();
  });
});

describe('the HTTP interface of a network server', () => {
  test('is not asked at a private address where that is off, and redirects are not followed', async () => {
    let asked = 0;
    const server = createServer((_request, response) => {
      asked++;
      response.writeHead(302, { location: 'http://169.254.169.254/' }).end('{"message":"elsewhere"}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const request = { method: 'POST', path: '/api', body: {} } as const;
    try {
      for (const host of ['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]']) {
        const api = { url: `http://${host}:${port}`, token: 'secret' };
        await expect(askServer(api, request, false), host).rejects.toThrow('no public address');
      }
      expect(asked).toBe(0);
      const answer = await askServer({ url: `http://127.0.0.1:${port}/`, token: 'secret' }, request, true);
      expect(answer).toEqual({ status: 302, body: { message: 'elsewhere' } });
      expect(asked).toBe(1);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });
});
