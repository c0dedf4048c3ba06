import { describe, expect, test, vi } from 'vitest';
import type { PeerIdentity } from '../coap/contract.ts';
import { codeText, Format, Method } from '../coap/message/message.ts';
import { KEY, THING } from '../testing/gate.ts';
import { writeCbor } from './formats/cbor.ts';
import { account, type OpenLwm2m, openLwm2m, type TestDevice } from './testing/open-lwm2m.ts';

const AS_THING: PeerIdentity = { kind: 'key', identity: THING, key: KEY };
const send = (device: TestDevice, payload: Buffer | string, format: number = Format.SenmlJson, query: string[] = []) =>
  device
    .ask({ method: Method.Post, path: '/dp', format, payload: Buffer.from(payload), query })
    .then(({ code }) => codeText(code));
const ONE = '[{"n":"/3303/0/5700","v":21.5}]';

async function registered(
  lwm2m: OpenLwm2m,
  fields: Parameters<typeof account>[0] = {},
  identity?: PeerIdentity,
): Promise<TestDevice> {
  lwm2m.directory.accounts.set('ep1', account(fields));
  const device = lwm2m.device(40_001, identity);
  await device.register(['ep=ep1', 'lwm2m=1.1']);
  return device;
}

describe('a Send', () => {
  test('in SenML JSON or CBOR becomes one message of the thing', async () => {
    await using lwm2m = await openLwm2m();
    const device = await registered(lwm2m);
    const pack =
      '[{"bn":"/3303/0/","bt":1700000000,"n":"5700","v":21.5},{"n":"5701","vs":"Cel"},{"n":"5850","vb":true}]';
    expect(await send(device, pack)).toBe('2.04');
    const cbor = writeCbor([
      new Map<unknown, unknown>([
        [0, '/5/0/0'],
        [8, Buffer.of(0xfb, 0xff)],
      ]),
    ]);
    expect(await send(device, cbor, Format.SenmlCbor)).toBe('2.04');
    expect(lwm2m.published().map(({ subtopic, records }) => [subtopic, records])).toEqual([
      [
        'lwm2m',
        [
          { n: '/3303/0/5700', u: 'Cel', v: 21.5, t: 1_700_000_000 },
          { n: '/3303/0/5701', vs: 'Cel', t: 1_700_000_000 },
          { n: '/3303/0/5850', vb: true, t: 1_700_000_000 },
        ],
      ],
      ['lwm2m', [{ n: '/5/0/0', vd: '-_8' }]],
    ]);
  });

  test('is answered only once it is durable', async () => {
    await using lwm2m = await openLwm2m();
    const device = await registered(lwm2m);
    lwm2m.log.stalled = true;
    let answered = false;
    const answer = send(device, ONE).then((code) => {
      answered = true;
      return code;
    });
    await vi.waitFor(() => expect(lwm2m.log.count).toBe(1), { timeout: 20_000 });
    expect(answered).toBe(false);
    lwm2m.log.commit();
    expect(await answer).toBe('2.04');
  });

  test('of nobody who is registered is 4.04', async () => {
    await using lwm2m = await openLwm2m();
    expect(await send(lwm2m.device(40_009), ONE)).toBe('4.04');
    lwm2m.directory.accounts.set('ep1', account());
    expect(await send(lwm2m.device(40_009, AS_THING), ONE)).toBe('4.04');
  });

  test("of an address that two things claim is nobody's, until one shows that it was told something there", async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account());
    lwm2m.directory.accounts.set('ep2', account({ endpoint: 'ep2', thing: 'many-2' }));
    const device = lwm2m.device(40_001);
    const location = await device.register(['ep=ep1', 'lwm2m=1.1']);
    expect(await send(device, ONE)).toBe('2.04');
    // Whoever makes the address up is told nothing there: however often it registers, and though it has moved there
    // with a location that it was told elsewhere.
    const stranger = ['ep=ep2', 'lwm2m=1.1', 'auth=many-2'];
    for (let count = 0; count < 3; count++) await device.register(stranger);
    expect(await send(device, ONE)).toBe('4.04');
    const elsewhere = await lwm2m.device(40_002).register(stranger);
    for (let count = 0; count < 3; count++) {
      await device.ask({ method: Method.Post, path: elsewhere, query: ['auth=many-2'] });
    }
    expect(await send(device, ONE)).toBe('4.04');
    await device.ask({ method: Method.Post, path: location });
    expect(await send(device, ONE)).toBe('2.04');
    expect(lwm2m.published().map(({ publisher }) => publisher)).toEqual([THING, THING]);
  });

  test('comes by another session of the same thing, also after a restart', async () => {
    await using lwm2m = await openLwm2m();
    await registered(lwm2m, { security: 'dtls' }, AS_THING);
    expect(await send(lwm2m.device(50_001, AS_THING), ONE)).toBe('2.04');
    await using restarted = await openLwm2m({}, { directory: lwm2m.directory });
    expect(await send(restarted.device(50_002, AS_THING), ONE)).toBe('2.04');
    expect(await send(restarted.device(50_003), ONE, Format.SenmlJson, [`auth=${KEY}`])).toBe('2.04');
  });

  test.each([
    ['what is no SenML', '{', Format.SenmlJson, '4.00'],
    ['a name that is no path', '[{"n":"temperature","v":1}]', Format.SenmlJson, '4.00'],
    ['TLV', 'x', Format.Tlv, '4.15'],
    ['more values than are taken', `[${Array(5).fill('{"n":"/3/0/9","v":1}').join(',')}]`, Format.SenmlJson, '4.00'],
  ])('of %s is refused', async (_, payload, format, code) => {
    await using lwm2m = await openLwm2m({ MILLRACE_LWM2M_VALUES_MAX: '4' });
    expect(await send(await registered(lwm2m), payload, format)).toBe(code);
    expect(lwm2m.log.count).toBe(0);
  });

  test('that is too large is 4.13', async () => {
    await using lwm2m = await openLwm2m({ MILLRACE_LWM2M_PAYLOAD_BYTES_MAX: '1024' });
    const large = JSON.stringify([{ n: '/3/0/0', vs: 'x'.repeat(2_000) }]);
    expect(await send(await registered(lwm2m), large)).toBe('4.13');
  });

  test('is 4.03 where nobody said which channel, or the gate says no, and 5.03 when the log is full', async () => {
    await using lwm2m = await openLwm2m();
    expect(await send(await registered(lwm2m, { channel: null }), ONE)).toBe('4.03');
    expect(await send(await registered(lwm2m, { channel: 'secret' }), ONE)).toBe('4.03');
    const device = await registered(lwm2m);
    lwm2m.log.refusal = 'LOG_FULL';
    expect(await send(device, ONE)).toBe('5.03');
    lwm2m.log.refusal = null;
    expect(await send(device, ONE)).toBe('2.04');
  });

  test('of a thing whose key is void since is not taken', async () => {
    await using lwm2m = await openLwm2m();
    const device = await registered(lwm2m, {}, AS_THING);
    expect(await send(device, ONE)).toBe('2.04');
    lwm2m.gate.identify = () => ({ kind: 'refused', reason: 'disabled' });
    lwm2m.gate.revoke(KEY);
    expect(await send(device, ONE)).toBe('4.03');
    expect(lwm2m.log.count).toBe(1);
  });

  test('counts what became of it', async () => {
    await using lwm2m = await openLwm2m();
    const device = await registered(lwm2m);
    await send(device, ONE);
    await send(device, '{');
    await send(device, '[]');
    const { values } = (await lwm2m.metrics.registry.getSingleMetric('millrace_lwm2m_reports_total')?.get()) ?? {
      values: [],
    };
    const counts = values.map(({ labels, value }) => `${labels.source} ${labels.outcome} ${value}`);
    expect(counts.sort()).toEqual(['send empty 1', 'send malformed 1', 'send published 1']);
  });
});
