import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Program } from '../bridge/clients/program.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { counted } from './counted.ts';
import { LIBCOAP, libcoap, libcoapBody, missingLibcoap } from './libcoap.ts';

describe.skipIf(missingLibcoap !== null)(
  `libcoap's client${missingLibcoap === null ? '' : ` (${missingLibcoap})`}`,
  { timeout: 120_000 },
  () => {
    const millrace = new Millrace();
    const files = mkdtempSync(join(tmpdir(), 'millrace-libcoap-'));
    let admin: Rest;
    let publisher: Publisher;
    const uri = (rest = '', query = `?auth=${publisher.key}`): string =>
      `${millrace.coap}/channels/${publisher.channel}/messages${rest}${query}`;

    beforeAll(async () => {
      await millrace.start();
      admin = await Rest.asAdmin(millrace);
      publisher = await newPublisher(admin, 'libcoap');
    }, 120_000);
    afterAll(async () => {
      rmSync(files, { recursive: true, force: true });
      await millrace.dispose();
    }, 120_000);

    test('publishes every format, and the readings are there by REST', async () => {
      const cbor = join(files, 'pack.cbor');
      // [{0: "cbor", 2: 3}]
      writeFileSync(cbor, Buffer.from('81a2006463626f720203', 'hex'));
      const answers = [
        await libcoap('-m', 'post', '-t', '110', '-e', '[{"n":"json","u":"Cel","v":1}]', uri()),
        await libcoap('-m', 'post', '-t', '112', '-f', cbor, uri()),
        await libcoap('-m', 'put', '-t', '50', '-e', '{"plain":2}', uri()),
        await libcoap('-m', 'post', '-t', '42', '-e', 'bytes', uri('/blob')),
        await libcoap('-m', 'post', '-t', '0', '-e', 'text', uri('/blob')),
        await libcoap('-m', 'post', '-e', '[{"n":"none","v":4}]', uri()),
      ];
      expect(answers.map(({ codes }) => codes.at(-1))).toEqual(Array(6).fill('2.04'));
      const names = await eventually('the readings', 30_000, async () => {
        const { messages } = await publisher.rest.json<{ messages: { name: string; protocol: string }[] }>(
          'GET',
          `/channels/${publisher.channel}/messages?limit=100`,
        );
        return messages.length >= 4 && messages.map(({ name, protocol }) => `${name} ${protocol}`).toSorted();
      });
      expect(names).toEqual(['cbor coap', 'json coap', 'none coap', 'plain coap']);
    });

    test('publishes without confirmation, and is answered all the same', async () => {
      const { codes } = await libcoap('-N', '-m', 'post', '-t', '110', '-e', '[{"n":"non","v":1}]', uri('/non'));
      expect(codes).toEqual(['2.04']);
      expect(await libcoapBody('-m', 'get', uri('/non'))).toBe('[{"n":"non","v":1}]\n');
    });

    test.each([1_024, 512, 64])('moves 20 kB there and back in blocks of %i bytes', async (size) => {
      const [there, back] = [join(files, `there-${size}`), join(files, `back-${size}`)];
      writeFileSync(there, Buffer.from(Array.from({ length: 20_000 }, (_, index) => (index * 7 + size) & 0xff)));
      const { codes } = await libcoap('-m', 'post', '-t', '42', '-b', String(size), '-f', there, uri(`/block${size}`));
      expect(codes.at(-1)).toBe('2.04');
      await libcoap('-m', 'get', '-b', String(size), '-o', back, uri(`/block${size}`));
      expect(readFileSync(back).equals(readFileSync(there))).toBe(true);
    });

    test('observes what others publish by HTTP, and cancels', async () => {
      const before = await counted(admin, 'millrace_coap_observers');
      const lines: string[] = [];
      const observing = new Program([LIBCOAP, '-v', '0', '-w', '-s', '20', '-m', 'get', uri('/live')], (line) =>
        lines.push(line),
      );
      try {
        await eventually('the observation', 20_000, async () => {
          return (await counted(admin, 'millrace_coap_observers')) === before + 1;
        });
        for (const payload of ['one', 'two', 'three']) {
          const { status } = await publisher.rest.raw('POST', `/channels/${publisher.channel}/messages/live`, payload, {
            'content-type': 'text/plain',
          });
          expect(status).toBe(202);
        }
        await eventually('the messages', 20_000, async () => lines.filter((line) => line !== '').length === 3);
        expect(lines.filter((line) => line !== '')).toEqual(['one', 'two', 'three']);
        await eventually('the end of the observation', 30_000, async () => {
          return (await counted(admin, 'millrace_coap_observers')) === before;
        });
      } finally {
        await observing.end();
      }
    });

    test('asks with FETCH and gets SenML', async () => {
      await libcoap('-m', 'post', '-t', '110', '-e', '[{"n":"asked","v":7}]', uri('/asked'));
      const pack = await eventually('the reading', 30_000, async () => {
        const body = await libcoapBody('-m', 'fetch', '-t', '50', '-e', '{"name":"asked"}', uri());
        const records = JSON.parse(body) as unknown[];
        return records.length > 0 && records;
      });
      expect(pack).toEqual([{ n: 'asked', v: 7, t: expect.any(Number) }]);
      expect((await libcoap('-m', 'fetch', '-t', '50', '-A', '112', '-e', '{}', uri())).codes).toContain('2.05');
      expect((await libcoap('-m', 'fetch', '-t', '50', '-e', '{"what":1}', uri())).codes).toEqual(['4.22']);
    });

    test('finds what there is, and is told why it may not', async () => {
      expect(await libcoapBody('-m', 'get', `${millrace.coap}/.well-known/core`)).toContain('rt="millrace.messages"');
      expect((await libcoap('-m', 'post', '-e', 'x', uri('', ''))).codes).toEqual(['4.01']);
      expect((await libcoap('-m', 'post', '-e', 'x', uri('', '?auth=a-key-of-nobody'))).codes).toEqual(['4.01']);
      expect((await libcoap('-m', 'get', uri('/nothing'))).codes).toEqual(['4.04']);
      expect((await libcoap('-m', 'delete', uri())).codes).toEqual(['4.05']);
      expect((await libcoap('-m', 'post', '-t', '40000', '-e', 'x', uri())).codes).toEqual(['4.15']);
    });
  },
);
