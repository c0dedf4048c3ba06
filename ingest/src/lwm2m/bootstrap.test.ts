import { describe, expect, test, vi } from 'vitest';
import type { PeerIdentity } from '../coap/contract.ts';
import { Code, codeText, Format, Method } from '../coap/message/message.ts';
import { KEY, THING } from '../testing/gate.ts';
import { bundledObjects, Definitions } from './definitions/definitions.ts';
import { readValues } from './formats/formats.ts';
import { parsePath, pathText } from './path.ts';
import { account, openLwm2m, type TestDevice } from './testing/open-lwm2m.ts';

const definitions = new Definitions(bundledObjects());
const AS_THING: PeerIdentity = { kind: 'key', identity: THING, key: KEY };
const BY_BOOTSTRAP_KEY: PeerIdentity = { kind: 'bootstrap', thing: THING, externalId: 'sensor-7' };
const OPEN_SERVER = { shortId: 123, uri: 'coap://192.0.2.9:5683', lifetimeSeconds: 300, binding: 'U' };
const SAFE_SERVER = { shortId: 124, uri: 'coaps://192.0.2.9:5684', lifetimeSeconds: 600, binding: 'U' };

const ask = (device: TestDevice, query: readonly string[]) =>
  device.ask({ method: Method.Post, path: '/bs', query }).then(({ code }) => codeText(code));

/** Answers as a client in its bootstrap does. */
function bootstrapped(device: TestDevice, discovery: string | null = null): void {
  device.answer = ({ method }) => {
    if (method === Method.Get) {
      if (discovery === null) return { code: Code.MethodNotAllowed };
      return { code: Code.Content, format: Format.Link, payload: Buffer.from(discovery) };
    }
    return { code: method === Method.Delete ? Code.Deleted : Code.Changed };
  };
}
const finished = (device: TestDevice) =>
  vi.waitFor(() => expect(device.asked.at(-1)).toBe('POST /bs'), { timeout: 20_000 });

function written(device: TestDevice, path: string): Record<string, unknown> {
  const request = device.requests.find((each) => `/${each.path.join('/')}` === path && each.method === Method.Put);
  if (request === undefined) throw new Error(`nothing was written to ${path}`);
  const read = readValues(request.payload, request.format, {
    base: parsePath(path),
    typeOf: (object, resource) => definitions.typeOf(object, resource),
    valuesMax: 100,
    nowS: 0,
  });
  if (read.kind !== 'values') throw new Error(JSON.stringify(read));
  return Object.fromEntries(
    read.values.map(({ path: at, value }) => [pathText(at), Buffer.isBuffer(value) ? value.toString() : value]),
  );
}

describe('a bootstrap', () => {
  test('deletes what there was, writes the servers, and finishes', async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account({ bootstrap: { servers: [OPEN_SERVER] } }));
    const device = lwm2m.device(40_001);
    bootstrapped(device);
    expect(await ask(device, ['ep=ep1'])).toBe('2.04');
    await finished(device);
    expect(device.asked).toEqual(['GET /', 'DELETE /', 'PUT /0/1', 'PUT /1/0', 'POST /bs']);
    expect(written(device, '/0/1')).toEqual({
      '/0/1/0': 'coap://192.0.2.9:5683',
      '/0/1/1': false,
      '/0/1/2': 3,
      '/0/1/3': '',
      '/0/1/4': '',
      '/0/1/5': '',
      '/0/1/10': 123,
    });
    expect(written(device, '/1/0')).toEqual({ '/1/0/0': 123, '/1/0/1': 300, '/1/0/6': false, '/1/0/7': 'U' });
  });

  test('keeps the device while it lasts, however many other addresses come', async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account({ bootstrap: { servers: [OPEN_SERVER] } }));
    const device = lwm2m.device(40_001);
    const counts: (number | undefined)[] = [];
    device.answer = () => {
      counts.push(lwm2m.kept.get('192.0.2.1|40001'));
      return { code: Code.Changed };
    };
    expect(await ask(device, ['ep=ep1'])).toBe('2.04');
    await finished(device);
    await vi.waitFor(() => expect(lwm2m.kept.get('192.0.2.1|40001')).toBe(0), { timeout: 20_000 });
    expect(new Set(counts)).toEqual(new Set([1]));
  });

  test("over CoAPS tells a server's own identity and key, else those of the thing", async () => {
    await using lwm2m = await openLwm2m();
    const own = { ...SAFE_SERVER, shortId: 125, identity: 'other', key: 'secret of another server' };
    lwm2m.directory.accounts.set('ep1', account({ security: 'dtls', bootstrap: { servers: [SAFE_SERVER, own] } }));
    lwm2m.keys.set(THING, ['newest key', 'older key']);
    const device = lwm2m.device(40_001, AS_THING);
    bootstrapped(device);
    expect(await ask(device, ['ep=ep1', 'pct=112'])).toBe('2.04');
    await finished(device);
    expect(written(device, '/0/1')).toMatchObject({ '/0/1/2': 0, '/0/1/3': THING, '/0/1/5': 'newest key' });
    expect(written(device, '/0/2')).toMatchObject({ '/0/2/3': 'other', '/0/2/5': 'secret of another server' });
    expect(device.requests.find(({ method }) => method === Method.Put)?.format).toBe(112);
  });

  test("leaves alone the instance of the device's own bootstrap server", async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set(
      'ep1',
      account({ bootstrap: { servers: [OPEN_SERVER, { ...OPEN_SERVER, shortId: 124 }] } }),
    );
    const device = lwm2m.device(40_001);
    bootstrapped(device, 'lwm2m=1.1,</0/0>;ssid=5;uri="coap://a",</0/1>,</1/0>;ssid=5,</3/0>');
    await ask(device, ['ep=ep1']);
    await finished(device);
    expect(device.asked.filter((each) => each.startsWith('PUT /0'))).toEqual(['PUT /0/0', 'PUT /0/2']);
  });

  test('is given to who comes with the bootstrap key of the thing', async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account({ security: 'dtls', bootstrap: { servers: [SAFE_SERVER] } }));
    lwm2m.keys.set(THING, ['its key']);
    const device = lwm2m.device(40_001, BY_BOOTSTRAP_KEY);
    bootstrapped(device);
    expect(await ask(device, ['ep=sensor-7'])).toBe('2.04');
    await finished(device);
    expect(written(device, '/0/1')).toMatchObject({ '/0/1/5': 'its key' });
  });

  test.each([
    ['no name', [], '4.00', undefined],
    ['a name that nobody has', ['ep=nobody'], '4.03', undefined],
    ['a thing that has no bootstrap', ['ep=none'], '4.03', undefined],
    ['a plain connection, where there are keys', ['ep=safe'], '4.03', undefined],
    ['the wrong key', ['ep=ep1', 'auth=not-a-key-of-ours'], '4.01', undefined],
    ["another thing's bootstrap key", ['ep=others'], '4.03', BY_BOOTSTRAP_KEY],
  ] as const)('is refused to %s', async (_, query, code, identity) => {
    await using lwm2m = await openLwm2m();
    const { accounts } = lwm2m.directory;
    accounts.set('ep1', account({ bootstrap: { servers: [OPEN_SERVER] } }));
    accounts.set('none', account({ endpoint: 'none' }));
    accounts.set('safe', account({ endpoint: 'safe', bootstrap: { servers: [SAFE_SERVER] } }));
    accounts.set('others', account({ endpoint: 'others', thing: 'many-2', bootstrap: { servers: [OPEN_SERVER] } }));
    const device = lwm2m.device(40_001, identity);
    expect(await ask(device, query)).toBe(code);
    expect(device.asked).toEqual([]);
  });

  test('that the device breaks off is not finished', async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account({ bootstrap: { servers: [OPEN_SERVER] } }));
    const device = lwm2m.device(40_001);
    device.answer = ({ method }) => ({ code: method === Method.Put ? Code.BadRequest : Code.Deleted });
    await ask(device, ['ep=ep1']);
    await vi.waitFor(() => expect(device.asked.at(-1)).toBe('PUT /0/1'), { timeout: 20_000 });
    bootstrapped(device);
    device.asked.length = 0;
    expect(await ask(device, ['ep=ep1'])).toBe('2.04');
    await finished(device);
    expect(device.asked.filter((each) => each === 'POST /bs')).toHaveLength(1);
  });
});
