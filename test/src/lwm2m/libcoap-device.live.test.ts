import { createSocket } from 'node:dgram';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { libcoap, missingLibcoap } from '../coap/libcoap.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';

const LINKS = ['-t', '40', '-e', '</>;rt="oma.lwm2m",</3/0>,</3303/0>'];
const VALUES = ['-t', '110', '-e', '[{"bn":"/3303/0/","n":"5700","v":21.5},{"n":"5701","vs":"K"}]'];

describe.skipIf(missingLibcoap !== null)(`an LwM2M device by hand (${missingLibcoap ?? 'libcoap'})`, () => {
  const millrace = new Millrace({ MILLRACE_COAP_PORT: '0' });
  let admin: Rest;
  let publisher: Publisher;

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    publisher = await newPublisher(admin, 'by hand');
    await admin.json('PUT', `/things/${publisher.thing}/lwm2m`, { endpoint: 'by-hand', security: 'dtls' });
  }, 120_000);
  afterAll(() => millrace.dispose(), 120_000);

  const ask = (port: number, method: string, path: string, ...words: readonly string[]) =>
    libcoap('-p', String(port), '-m', method, ...words, `${millrace.coap}${path}`);
  const auth = (): string => `auth=${publisher.key}`;

  test('registers with its key, reports, and ends', async () => {
    const port = await freeUdpPort();
    const registered = await ask(port, 'post', `/rd?ep=by-hand&lt=60&lwm2m=1.1&b=U&${auth()}`, ...LINKS);
    expect(registered.codes).toEqual(['2.01']);
    const location = /Location-Path:rd, Location-Path:([\w-]{20})/.exec(registered.text)?.[1];
    expect(location, registered.text).toBeDefined();

    expect((await ask(port, 'post', '/dp', ...VALUES)).codes).toEqual(['2.04']);
    const stored = await eventually('the reading', 30_000, async () => {
      const { messages } = await publisher.rest.json<{ messages: object[] }>(
        'GET',
        `/channels/${publisher.channel}/messages?name=${encodeURIComponent('/3303/0/5700')}`,
      );
      return messages.length > 0 && messages;
    });
    expect(stored).toMatchObject([{ subtopic: 'lwm2m', unit: 'K', value: 21.5, publisher: publisher.thing }]);

    expect((await ask(port, 'post', `/rd/${location}?lt=120`)).codes).toEqual(['4.03']);
    expect((await ask(port, 'post', `/rd/${location}?lt=120&${auth()}`)).codes).toEqual(['2.04']);
    expect(await admin.json('GET', `/things/${publisher.thing}/lwm2m/registration`)).toMatchObject({ lifetime: 120 });
    expect((await ask(port, 'delete', `/rd/${location}?${auth()}`)).codes).toEqual(['2.02']);
    expect((await ask(port, 'post', '/dp', ...VALUES)).codes).toEqual(['4.04']);
  }, 120_000);

  test('is refused without a key, with another one, and under a name that is not its own', async () => {
    const port = await freeUdpPort();
    expect((await ask(port, 'post', '/rd?ep=by-hand&lwm2m=1.1', ...LINKS)).codes).toEqual(['4.03']);
    expect((await ask(port, 'post', '/rd?ep=by-hand&lwm2m=1.1&auth=no-key-of-ours', ...LINKS)).codes).toEqual(['4.01']);
    expect((await ask(port, 'post', `/rd?ep=another&lwm2m=1.1&${auth()}`, ...LINKS)).codes).toEqual(['4.03']);
    const told = await ask(port, 'get', '/.well-known/core');
    expect(told.text).toContain('</rd>;rt="core.rd"');
  }, 120_000);
});

/** One that was free a moment ago. */
async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '0.0.0.0', resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(() => resolve()));
  return port;
}
