import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missingOpenssl } from '../bridge/clients/certificates.ts';
import { Program } from '../bridge/clients/program.ts';
import { counted } from '../coap/counted.ts';
import { eventually } from '../millrace.ts';
import { ask, CoapsNode, type Libcoap, missingLibcoaps } from './coaps-node.ts';

const missing = missingLibcoaps ?? missingOpenssl;
const PACK = ['-m', 'post', '-t', '110', '-e', '[{"n":"temperature","v":21.5}]'];

describe.skipIf(missing !== null)(`CoAPS${missing === null ? '' : ` (${missing})`}`, () => {
  let node: CoapsNode;
  const psk = (key = node.publisher.key, identity = node.publisher.thing): string[] => ['-k', key, '-u', identity];

  beforeAll(async () => {
    node = await CoapsNode.start();
  }, 120_000);
  afterAll(async () => {
    await node?.dispose();
  }, 120_000);

  describe.each<Libcoap>(['coap-client-openssl', 'coap-client-gnutls'])('%s', (program) => {
    test('publishes with its key, which stands in no request', async () => {
      const { codes } = await ask(program, ...psk(), ...PACK, node.messages(`/${program}`));
      expect(codes.at(-1)).toBe('2.04');
      const read = await ask(program, ...psk(), '-m', 'get', node.messages(`/${program}`));
      expect(read.codes.at(-1)).toBe('2.05');
      const stored = await eventually('the reading', 30_000, async () => {
        const { messages } = await node.publisher.rest.json<{ messages: { publisher: string; protocol: string }[] }>(
          'GET',
          `/channels/${node.publisher.channel}/messages?subtopic=${program}`,
        );
        return messages.length > 0 && messages;
      });
      expect(stored).toMatchObject([{ publisher: node.publisher.thing, protocol: 'coap' }]);
    });
    test('moves 20 kB in blocks', async () => {
      const body = 'x'.repeat(20_000);
      const { codes } = await ask(program, ...psk(), '-m', 'post', '-t', '0', '-e', body, node.messages('/large'));
      expect(codes.at(-1)).toBe('2.04');
      const read = await ask(program, ...psk(), '-m', 'get', node.messages('/large'));
      expect(read.codes.at(-1)).toBe('2.05');
    });
    test('gets nowhere with another key, or as nobody', async () => {
      const wrong = await ask(program, ...psk('another key'), '-B', '5', ...PACK, node.messages());
      const unknown = await ask(program, ...psk(node.publisher.key, 'nobody'), '-B', '5', ...PACK, node.messages());
      expect([wrong.codes, unknown.codes]).toEqual([[], []]);
    });
    test('may not publish where it has no right to', async () => {
      const { id } = await node.admin.json<{ id: string }>('POST', '/channels', { name: 'another' });
      const { codes } = await ask(program, ...psk(), ...PACK, `${node.url}/channels/${id}/messages`);
      expect(codes.at(-1)).toBe('4.03');
    });
  });

  test('both keys let in while the old one overlaps the new one', async () => {
    const { id, key } = await node.admin.json<{ id: string; key: string }>('POST', '/things', { name: 'rotated' });
    await node.admin.json('POST', '/connect', { channel_ids: [node.publisher.channel], thing_ids: [id] });
    const rotated = await node.admin.json<{ key: string }>('PATCH', `/things/${id}/key`, { overlap_seconds: 600 });
    for (const each of [key, rotated.key]) {
      const { codes } = await ask('coap-client-openssl', ...psk(each, id), ...PACK, node.messages());
      expect(codes.at(-1)).toBe('2.04');
    }
  });

  test('a certificate stands for its thing, until it is revoked', async () => {
    const issued = await node.admin.json<{ serial: string; certificate: string; private_key: string }>(
      'POST',
      '/certs',
      { thing_id: node.publisher.thing, ttl: '1d' },
    );
    const files = node.maker.keep(issued.certificate, issued.private_key);
    const shown = ['-c', files.certFile, '-j', files.keyFile, '-C', node.root.certFile];
    const first = await ask('coap-client-openssl', ...shown, ...PACK, node.messages('/certified'));
    expect(first.codes.at(-1)).toBe('2.04');
    await node.admin.json('POST', `/certs/${issued.serial}/revoke`, {});
    const second = await ask('coap-client-openssl', ...shown, '-B', '5', ...PACK, node.messages('/certified'));
    expect(second.codes).toEqual([]);
  });

  test('without a certificate of its own, where that is optional, a request says who asks', async () => {
    const { codes } = await ask(
      'coap-client-openssl',
      ...['-C', node.root.certFile],
      ...PACK,
      `${node.messages()}?auth=${node.publisher.key}`,
    );
    expect(codes.at(-1)).toBe('2.04');
  });

  test('an observation ends, and its session with it, when the key is another', async () => {
    const { id, key } = await node.admin.json<{ id: string; key: string }>('POST', '/things', { name: 'observer' });
    await node.admin.json('POST', '/connect', { channel_ids: [node.publisher.channel], thing_ids: [id] });
    const there = async (): Promise<[observers: number, sessions: number]> => [
      await counted(node.admin, 'millrace_coap_observers'),
      await counted(node.admin, 'millrace_coaps_sessions'),
    ];
    const [observers, sessions] = await there();
    const watch = ['-v', '0', '-s', '100', '-k', key, '-u', id, '-m', 'get', node.messages('/observed')];
    const observing = new Program(['coap-client-openssl', ...watch], () => {});
    try {
      await eventually('the observation', 30_000, async () => {
        const [now, nowSessions] = await there();
        return now === observers + 1 && nowSessions === sessions + 1;
      });
      await node.admin.json('PATCH', `/things/${id}/key`, {});
      await eventually('their end', 30_000, async () => {
        const [now, nowSessions] = await there();
        return now === observers && nowSessions === sessions;
      });
    } finally {
      await observing.end();
    }
  }, 90_000);

  test.each([
    'PSK-AES128-CCM8',
    'PSK-AES128-CCM',
    'PSK-AES128-GCM-SHA256',
    'ECDHE-ECDSA-AES128-CCM8',
    'ECDHE-ECDSA-AES128-CCM',
    'ECDHE-ECDSA-AES128-GCM-SHA256',
  ])('openssl s_client speaks %s', async (cipher) => {
    const text = await sClient(node, cipher);
    expect(text).toContain(`Cipher is ${cipher}`);
    expect(text).toContain('Secure Renegotiation IS supported');
    expect(text).toContain('Extended master secret: yes');
  });

  test('openssl s_client without a common cipher suite is told so', async () => {
    expect(await sClient(node, 'ECDHE-ECDSA-AES256-GCM-SHA384')).toMatch(/handshake failure/i);
  });
});

/** All that OpenSSL's own client says of a handshake. */
function sClient(node: CoapsNode, cipher: string): Promise<string> {
  const { thing, key } = node.publisher;
  const words = ['s_client', '-dtls1_2', '-connect', `127.0.0.1:${node.port}`, '-cipher', `${cipher}:@SECLEVEL=0`];
  const psk = ['-psk_identity', thing, '-psk', Buffer.from(key).toString('hex')];
  const child = spawn('openssl', [...words, ...(cipher.startsWith('PSK') ? psk : [])]);
  const timer = setTimeout(() => child.kill('SIGKILL'), 25_000);
  let text = '';
  const done = (): boolean => /Extended master secret|alert|error/i.test(text);
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      if (done()) child.stdin.end('Q\n');
    });
  child.stdin.on('error', () => {});
  return new Promise((resolve) =>
    child.once('close', () => {
      clearTimeout(timer);
      resolve(text);
    }),
  );
}
