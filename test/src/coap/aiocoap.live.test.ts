import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { AiocoapClient, missingAiocoap } from './aiocoap.ts';

describe.skipIf(missingAiocoap !== null)(
  `aiocoap${missingAiocoap === null ? '' : ` (${missingAiocoap})`}`,
  { timeout: 120_000 },
  () => {
    const millrace = new Millrace();
    let client: AiocoapClient;
    let publisher: Publisher;
    const uri = (rest = ''): string =>
      `${millrace.coap}/channels/${publisher.channel}/messages${rest}?auth=${publisher.key}`;

    beforeAll(async () => {
      await millrace.start();
      publisher = await newPublisher(await Rest.asAdmin(millrace), 'aiocoap');
      client = new AiocoapClient();
      await client.ready();
    }, 120_000);
    afterAll(async () => {
      await client?.end();
      await millrace.dispose();
    }, 120_000);

    test('publishes, confirmed or not, and reads back', async () => {
      const sent = await client.request({ method: 'POST', uri: uri(), format: 110, payload: '[{"n":"t","v":1}]' });
      expect(sent.code).toBe('2.04');
      const read = await client.request({ method: 'GET', uri: uri() });
      expect([read.code, read.payload.toString(), read.format]).toEqual(['2.05', '[{"n":"t","v":1}]', 110]);
      const told = await client.request({
        method: 'PUT',
        uri: uri('/non'),
        format: 0,
        payload: 'x',
        non: true,
        accept: 50,
      });
      expect([told.code, JSON.parse(told.payload.toString())]).toEqual(['2.04', { id: expect.any(String) }]);
      expect((await client.request({ method: 'GET', uri: uri('/nothing') })).code).toBe('4.04');
      expect((await client.request({ method: 'GET', uri: uri(), accept: 112 })).code).toBe('4.06');
    });

    test('moves 20 kB there and back, with a token for each block', async () => {
      const payload = Buffer.from(Array.from({ length: 20_000 }, (_, index) => (index * 11) & 0xff));
      expect((await client.request({ method: 'POST', uri: uri('/large'), format: 42, payload })).code).toBe('2.04');
      const back = await client.request({ method: 'GET', uri: uri('/large') });
      expect(back.payload.equals(payload)).toBe(true);
    });

    test('observes small and large messages', async () => {
      const got: string[] = [];
      const first = await client.request({ method: 'GET', uri: uri('/live'), observe: true }, ({ payload }) =>
        got.push(payload.toString()),
      );
      expect(first.code).toBe('2.05');
      const large = 'x'.repeat(3_000);
      for (const payload of ['one', 'two', large]) {
        const { code } = await client.request({ method: 'POST', uri: uri('/live'), format: 0, payload });
        expect(code).toBe('2.04');
        // It may skip what a newer one has overtaken, so each is waited for.
        await eventually('the notification', 30_000, async () => got.at(-1) === payload);
      }
      expect(got).toEqual(['one', 'two', large]);
    });

    test('asks with FETCH', async () => {
      await client.request({ method: 'POST', uri: uri(), format: 110, payload: '[{"n":"asked","v":0}]' });
      const pack = await eventually('the reading', 30_000, async () => {
        const { code, payload } = await client.request({
          method: 'FETCH',
          uri: uri(),
          format: 50,
          accept: 110,
          payload: '{"name":"asked"}',
        });
        expect(code).toBe('2.05');
        const records = JSON.parse(payload.toString()) as unknown[];
        return records.length > 0 && records;
      });
      expect(pack).toEqual([{ n: 'asked', v: 0, t: expect.any(Number) }]);
    });
  },
);
