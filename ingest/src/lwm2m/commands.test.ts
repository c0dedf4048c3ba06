import { MillraceError } from '@millrace/core';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { CoapRequest, CoapResponse } from '../coap/contract.ts';
import { Code, Format, Method, Option } from '../coap/message/message.ts';
import { CHANNEL, THING } from '../testing/gate.ts';
import { FORMAT_NUMBERS } from './formats/formats.ts';
import { account, type OpenLwm2m, openLwm2m, type TestDevice } from './testing/open-lwm2m.ts';

const WAIT = { timeout: 20_000 };
const senml = (...records: unknown[]): CoapResponse => ({
  code: Code.Content,
  format: Format.SenmlJson,
  payload: Buffer.from(JSON.stringify(records)),
});

let lwm2m: OpenLwm2m;
let device: TestDevice;
beforeEach(() => async () => lwm2m[Symbol.asyncDispose]());

async function open(
  fields: Parameters<typeof account>[0] = {},
  query: readonly string[] = ['lwm2m=1.1', 'b=U'],
  settings: Readonly<Record<string, string>> = {},
): Promise<string> {
  lwm2m = await openLwm2m(settings);
  lwm2m.directory.accounts.set('ep1', account(fields));
  device = lwm2m.device(40_001);
  device.answer = (request) =>
    answers.get(`${request.method} /${request.path.join('/')}`)?.(request) ?? { code: Code.NotFound };
  answers.clear();
  return device.register(['ep=ep1', ...query]);
}
const answers = new Map<string, (request: CoapRequest) => CoapResponse>();
const on = (method: number, path: string, answer: CoapResponse | ((request: CoapRequest) => CoapResponse)): void => {
  answers.set(`${method} ${path}`, typeof answer === 'function' ? answer : () => answer);
};
const records = () => lwm2m.published().flatMap((message) => message.records);

describe('a read', () => {
  test('tells values with their names and units, and publishes them as the thing', async () => {
    await open();
    on(Method.Get, '/3303/0', senml({ bn: '/3303/0/', n: '5700', v: 21.5 }, { n: '5750', vs: 'kitchen' }));
    expect(await lwm2m.commanded('lwm2m.read', { path: '/3303/0' })).toEqual({
      state: 'done',
      result: {
        code: '2.05',
        values: [
          { path: '/3303/0/5700', value: 21.5, unit: 'Cel', name: 'Sensor Value' },
          { path: '/3303/0/5750', value: 'kitchen', name: 'Application Type' },
        ],
      },
    });
    expect(lwm2m.published()).toEqual([
      {
        publisher: THING,
        channel: CHANNEL,
        subtopic: 'lwm2m',
        contentType: 'application/senml+json',
        records: [
          { n: '/3303/0/5700', u: 'Cel', v: 21.5 },
          { n: '/3303/0/5750', vs: 'kitchen' },
        ],
      },
    ]);
  });

  test('goes by the unit that the device says of its sensor', async () => {
    await open();
    on(Method.Get, '/3303/0', senml({ bn: '/3303/0/', n: '5701', vs: 'K' }, { n: '5700', v: 294 }));
    await lwm2m.commanded('lwm2m.read', { path: '/3303/0' });
    on(Method.Get, '/3303/0/5700', senml({ n: '/3303/0/5700', v: 295 }));
    await lwm2m.commanded('lwm2m.read', { path: '/3303/0/5700' });
    expect(records()).toContainEqual({ n: '/3303/0/5700', u: 'K', v: 295 });
  });

  test('asks for the format that is wished, and for SenML CBOR of who says that it has it', async () => {
    await open();
    on(Method.Get, '/3/0/9', { code: Code.Content, payload: Buffer.from('90') });
    await lwm2m.commanded('lwm2m.read', { path: '/3/0/9', format: 'text' });
    await lwm2m.commanded('lwm2m.read', { path: '/3/0/9' });
    expect(device.requests.map(({ accept }) => accept)).toEqual([0, null]);
    await device.register(['ep=ep1', 'lwm2m=1.1'], '</>;rt="oma.lwm2m";ct="112",</3/0>');
    await lwm2m.commanded('lwm2m.read', { path: '/3/0/9' });
    expect(device.requests.at(-1)?.accept).toBe(112);
    expect(records()).toContainEqual({ n: '/3/0/9', u: '%', v: 90 });
  });

  test('that the device refuses fails with its code', async () => {
    await open();
    on(Method.Get, '/3/0/9', { code: Code.MethodNotAllowed, payload: Buffer.from('no') });
    expect(await lwm2m.commanded('lwm2m.read', { path: '/3/0/9' })).toEqual({
      state: 'failed',
      detail: 'Method Not Allowed: no',
      result: { code: '4.05' },
    });
  });

  test('of what cannot be read fails, and publishes nothing', async () => {
    await open();
    on(Method.Get, '/3303/0', { code: Code.Content, format: Format.SenmlJson, payload: Buffer.from('[{') });
    expect(await lwm2m.commanded('lwm2m.read', { path: '/3303/0' })).toMatchObject({ state: 'failed' });
    expect(lwm2m.published()).toEqual([]);
  });

  test("never publishes a server's keys", async () => {
    await open();
    on(Method.Get, '/0/0', senml({ bn: '/0/0/', n: '0', vs: 'coaps://x' }, { n: '5', vd: 'c2VjcmV0' }));
    await lwm2m.commanded('lwm2m.read', { path: '/0/0' });
    expect(lwm2m.published()).toEqual([]);
  });
});

describe('a write', () => {
  test('of one value is text, by PUT', async () => {
    await open();
    on(Method.Put, '/3303/0/5750', { code: Code.Changed });
    expect(await lwm2m.commanded('lwm2m.write', { path: '/3303/0/5750', value: 'kitchen' })).toEqual({
      state: 'done',
      result: { code: '2.04' },
    });
    const [request] = device.requests;
    expect([request?.format, request?.payload.toString()]).toEqual([Format.Text, 'kitchen']);
  });

  test('of several is a POST where it updates, in the format that the device reads', async () => {
    await open();
    on(Method.Post, '/1/0', { code: Code.Changed });
    await lwm2m.commanded('lwm2m.write', { path: '/1/0', values: { '1': 300, '6': true }, mode: 'update' });
    const [request] = device.requests;
    expect(request?.format).toBe(FORMAT_NUMBERS.tlv);
    expect(request?.payload.toString('hex')).toBe('c201012cc10601');
  });

  test('of firmware goes in blocks', async () => {
    await open();
    on(Method.Put, '/5/0/0', { code: Code.Changed });
    const firmware = Buffer.alloc(20_000, 7);
    await lwm2m.commanded('lwm2m.write', { path: '/5/0/0', value: { base64: firmware.toString('base64') } });
    const [request] = device.requests;
    expect(request?.format).toBe(Format.OctetStream);
    expect(request?.payload.equals(firmware)).toBe(true);
  });

  test('of attributes alone changes how it is observed', async () => {
    await open();
    on(Method.Put, '/3303/0/5700', { code: Code.Changed });
    await lwm2m.commanded('lwm2m.write', { path: '/3303/0/5700', attributes: 'pmin=5&gt=30' });
    expect(device.asked).toEqual(['PUT /3303/0/5700?pmin=5&gt=30']);
  });

  test.each([
    [{ path: '/3303/0/5700', value: 'warm' }, 'type float'],
    [{ path: '/1/0/6', value: 1 }, 'type boolean'],
    [{ path: '/5/0/0', value: 'AAAA' }, 'type opaque'],
    [{ path: '/3303', values: { '0/5750': 'x' } }, 'cannot be written'],
    [{ path: '/1/0' }, 'No value'],
    [{ path: '/1/0', values: { '/2/0/1': 1 } }, 'no resource below'],
    [{ path: '/1/0', values: { '../1': 1 } }, 'no resource below'],
    [{ path: 'x', value: 1 }, 'path is none'],
    [{ path: '/1/0/1', value: 1, format: 'xml' }, 'no such format'],
    [{ path: '/1/0', values: { '1': 1, '2': 2 }, format: 'text' }, 'cannot hold'],
  ])('of %j is refused before the device hears of it', async (args, detail) => {
    await open();
    const outcome = await lwm2m.commanded('lwm2m.write', args);
    expect(outcome).toMatchObject({ state: 'failed', detail: expect.stringContaining(detail) });
    expect(device.asked).toEqual([]);
  });
});

describe('other commands', () => {
  test('execute, with arguments', async () => {
    await open();
    on(Method.Post, '/5/0/2', { code: Code.Changed });
    expect(await lwm2m.commanded('lwm2m.execute', { path: '/5/0/2', arguments: "0='now'" })).toMatchObject({
      state: 'done',
    });
    expect(device.requests[0]?.payload.toString()).toBe("0='now'");
    expect(await lwm2m.commanded('lwm2m.execute', { path: '/5/0/2', arguments: 'now' })).toMatchObject({
      state: 'failed',
    });
  });

  test('create tells where the instance is', async () => {
    await open();
    on(Method.Post, '/3303', {
      code: Code.Created,
      options: [
        [Option.LocationPath, Buffer.from('3303')],
        [Option.LocationPath, Buffer.from('7')],
      ],
    });
    expect(await lwm2m.commanded('lwm2m.create', { path: '/3303', values: { '5750': 'x' } })).toEqual({
      state: 'done',
      result: { code: '2.01', path: '/3303/7' },
    });
    expect(device.requests[0]?.payload.toString('hex')).toBe('e1167678');
    await lwm2m.commanded('lwm2m.create', { path: '/3303/4', values: { '5750': 'x' } });
    expect(device.requests[1]?.payload.toString('hex')).toBe('0404e1167678');
  });

  test('delete, of an instance only', async () => {
    await open();
    on(Method.Delete, '/3303/1', { code: Code.Deleted });
    expect(await lwm2m.commanded('lwm2m.delete', { path: '/3303/1' })).toMatchObject({ state: 'done' });
    expect(await lwm2m.commanded('lwm2m.delete', { path: '/3303' })).toMatchObject({ state: 'failed' });
  });

  test('discover tells paths and attributes', async () => {
    await open();
    on(Method.Get, '/3303/0', {
      code: Code.Content,
      format: Format.Link,
      payload: Buffer.from('</3303/0>;pmin=10,</3303/0/5700>'),
    });
    expect(await lwm2m.commanded('lwm2m.discover', { path: '/3303/0' })).toEqual({
      state: 'done',
      result: {
        code: '2.05',
        links: [
          { path: '/3303/0', attributes: { pmin: '10' } },
          { path: '/3303/0/5700', attributes: {} },
        ],
      },
    });
  });

  test('come to a device whose root is elsewhere', async () => {
    await open();
    await device.register(['ep=ep1', 'lwm2m=1.1'], '</lwm2m>;rt="oma.lwm2m",</lwm2m/3/0>');
    await lwm2m.commanded('lwm2m.read', { path: '/3/0/9' });
    expect(device.asked).toEqual(['GET /lwm2m/3/0/9']);
  });

  test('are carried out one after the other, in their order', async () => {
    await open();
    let underWay = 0;
    let most = 0;
    const release: (() => void)[] = [];
    device.answer = () => {
      most = Math.max(most, ++underWay);
      return new Promise((resolve) => {
        release.push(() => {
          underWay--;
          resolve({ code: Code.Changed });
        });
      });
    };
    const ids = await Promise.all(
      ['a', 'b', 'c'].map((value) => lwm2m.command('lwm2m.write', { path: '/3303/0/5750', value })),
    );
    for (let turn = 0; turn < 3; turn++) {
      await vi.waitFor(() => expect(release.length).toBe(turn + 1), WAIT);
      release[turn]?.();
    }
    await Promise.all(ids.map((id) => lwm2m.commands.end(id)));
    expect(most).toBe(1);
    expect(device.requests.map(({ payload }) => payload.toString())).toEqual(['a', 'b', 'c']);
  });
});

describe('an observation', () => {
  test('reports each notification, until it is cancelled', async () => {
    await open();
    on(Method.Get, '/3303/0/5700', senml({ n: '/3303/0/5700', v: 20 }));
    on(Method.Put, '/3303/0/5700', { code: Code.Changed });
    const observed = await lwm2m.commanded('lwm2m.observe', { path: '/3303/0/5700', attributes: 'pmin=1&pmax=30' });
    expect(observed).toMatchObject({ state: 'done', result: { values: [{ value: 20, unit: 'Cel' }] } });
    expect(device.asked).toEqual(['PUT /3303/0/5700?pmin=1&pmax=30', 'GET /3303/0/5700']);
    await vi.waitFor(() => expect(device.observers.size).toBe(1), WAIT);
    device.observers.get('/3303/0/5700')?.notify(senml({ n: '/3303/0/5700', v: 21, t: 1_700_000_000 }));
    await vi.waitFor(
      () =>
        expect(records()).toEqual([
          { n: '/3303/0/5700', u: 'Cel', v: 20 },
          { n: '/3303/0/5700', u: 'Cel', v: 21, t: 1_700_000_000 },
        ]),
      WAIT,
    );
    const ended = vi.fn();
    const observer = device.observers.get('/3303/0/5700');
    if (observer !== undefined) observer.onEnd = ended;
    expect(await lwm2m.commanded('lwm2m.cancel', { path: '/3303/0/5700' })).toMatchObject({ state: 'done' });
    await vi.waitFor(() => expect(ended).toHaveBeenCalled(), WAIT);
    expect(await lwm2m.commanded('lwm2m.cancel', { path: '/3303/0/5700' })).toMatchObject({ state: 'failed' });
  });

  test('of what the account says begins with the registration, and again with the next one', async () => {
    await open({
      observe: [
        { path: '/3303/0/5700', attributes: 'pmax=60' },
        { path: '/3/0/9', attributes: '' },
      ],
    });
    const wanted = ['PUT /3303/0/5700?pmax=60', 'GET /3/0/9'];
    await vi.waitFor(() => expect(device.asked).toEqual(wanted), WAIT);
    on(Method.Put, '/3303/0/5700', { code: Code.Changed });
    await device.register(['ep=ep1', 'lwm2m=1.1']);
    await vi.waitFor(() => expect(device.asked).toEqual([...wanted, wanted[0], 'GET /3303/0/5700', wanted[1]]), WAIT);
  });

  test('follows a device that speaks from elsewhere', async () => {
    const location = await open({ observe: [{ path: '/3303/0/5700', attributes: '' }] });
    await vi.waitFor(() => expect(device.asked).toEqual(['GET /3303/0/5700']), WAIT);
    const elsewhere = lwm2m.device(50_002);
    elsewhere.answer = () => senml({ n: '/3303/0/5700', v: 1 });
    await elsewhere.ask({ method: Method.Post, path: location });
    await vi.waitFor(() => expect(elsewhere.asked).toEqual(['GET /3303/0/5700']), WAIT);
  });

  test('of more paths than are taken is refused', async () => {
    await open({}, [], { MILLRACE_LWM2M_OBSERVATIONS_PER_DEVICE_MAX: '1' });
    device.answer = (request) => senml({ n: `/${request.path.join('/')}`, v: 1 });
    expect(await lwm2m.commanded('lwm2m.observe', { path: '/3303/0/5700' })).toMatchObject({ state: 'done' });
    expect(await lwm2m.commanded('lwm2m.observe', { path: '/3303/1/5700' })).toMatchObject({ state: 'failed' });
    // The same one again takes no more room.
    expect(await lwm2m.commanded('lwm2m.observe', { path: '/3303/0/5700' })).toMatchObject({ state: 'done' });
  });
});

describe('a device in queue mode', () => {
  /** Signs of life until the command is done: on a machine that is slow its time awake may be over after one. */
  const signs = (id: string, sign: () => Promise<unknown>): Promise<void> =>
    vi.waitFor(async () => {
      await sign();
      expect(lwm2m.commands.kept.get(id)?.state).toBe('done');
    }, WAIT);

  test('gets its commands when it speaks, and none while it sleeps', async () => {
    const location = await open({}, ['lwm2m=1.1', 'Q'], { MILLRACE_LWM2M_AWAKE_MS: '1000' });
    on(Method.Post, '/3/0/4', { code: Code.Changed });
    await new Promise((resolve) => setTimeout(resolve, 1_250));
    const id = await lwm2m.command('lwm2m.execute', { path: '/3/0/4' });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(device.asked).toEqual([]);
    expect(lwm2m.commands.taken).toBe(0);
    await signs(id, () => device.ask({ method: Method.Post, path: location }));
  });

  test('is woken by a Send as well', async () => {
    await open({}, ['lwm2m=1.1', 'Q'], { MILLRACE_LWM2M_AWAKE_MS: '1000' });
    on(Method.Post, '/3/0/4', { code: Code.Changed });
    await new Promise((resolve) => setTimeout(resolve, 1_250));
    const id = await lwm2m.command('lwm2m.execute', { path: '/3/0/4' });
    await signs(id, () =>
      device.ask({
        method: Method.Post,
        path: '/dp',
        format: Format.SenmlJson,
        payload: Buffer.from('[{"n":"/3303/0/5700","v":1}]'),
      }),
    );
  });
});

describe('a device that does not answer', () => {
  test('is asked again when it is heard, with what can be asked twice', async () => {
    const location = await open();
    device.deaf = true;
    const id = await lwm2m.command('lwm2m.read', { path: '/3/0/9' });
    await vi.waitFor(() => expect(lwm2m.commands.taken).toBe(1), WAIT);
    await vi.waitFor(
      async () =>
        expect((await lwm2m.metrics.registry.getSingleMetric('millrace_lwm2m_commands_total')?.get())?.values).toEqual([
          expect.objectContaining({ labels: { kind: 'lwm2m.read', outcome: 'asleep' }, value: 1 }),
        ]),
      WAIT,
    );
    on(Method.Get, '/3/0/9', { code: Code.Content, payload: Buffer.from('90') });
    device.deaf = false;
    await device.ask({ method: Method.Post, path: location });
    expect(await lwm2m.commands.end(id)).toMatchObject({ state: 'done' });
  });

  test('is not asked twice to execute: nobody knows whether it has', async () => {
    await open();
    device.deaf = true;
    expect(await lwm2m.commanded('lwm2m.execute', { path: '/3/0/4' })).toMatchObject({
      state: 'failed',
      detail: expect.stringContaining('not known'),
    });
  });
});

test('commands are carried out by the node that the device speaks to, and by no other', async () => {
  const location = await open();
  await using other = await openLwm2m({}, { directory: lwm2m.directory, commands: lwm2m.commands });
  const moved = other.device(40_001);
  moved.answer = () => ({ code: Code.Changed });
  await moved.ask({ method: Method.Post, path: location });
  expect(await lwm2m.commanded('lwm2m.execute', { path: '/3/0/4' })).toMatchObject({ state: 'done' });
  expect(moved.asked).toEqual(['POST /3/0/4']);
  expect(device.asked).toEqual([]);
});

test('a command that waited for the device is carried out when it registers', async () => {
  lwm2m = await openLwm2m();
  lwm2m.directory.accounts.set('ep1', account());
  const id = await lwm2m.command('lwm2m.execute', { path: '/3/0/4' });
  device = lwm2m.device(40_001);
  device.answer = () => ({ code: Code.Changed });
  await device.register(['ep=ep1', 'lwm2m=1.1']);
  expect(await lwm2m.commands.end(id)).toMatchObject({ state: 'done' });
});

test('what was called off before it began is not begun, and what was done is told when the registry is back', async () => {
  lwm2m = await openLwm2m();
  lwm2m.directory.accounts.set('ep1', account());
  device = lwm2m.device(40_001);
  device.answer = () => ({ code: Code.Changed });
  const off = await lwm2m.command('lwm2m.execute', { path: '/3/0/4' });
  const kept = lwm2m.commands.kept.get(off);
  // As if somebody had called it off between its taking and its beginning.
  const settle = vi.spyOn(lwm2m.commands, 'settle').mockImplementationOnce(async () => {
    if (kept !== undefined) kept.state = 'cancelled';
    return false;
  });
  const done = await lwm2m.command('lwm2m.write', { path: '/3303/0/5750', value: 'x' });
  lwm2m.commands.failures.push(new MillraceError('REGISTRY_UNREACHABLE', 'later'));
  await device.register(['ep=ep1', 'lwm2m=1.1']);
  expect(await lwm2m.commands.end(done)).toMatchObject({ state: 'done' });
  expect(device.asked).toEqual(['PUT /3303/0/5750']);
  expect(settle).toHaveBeenCalledTimes(3);
});

test('a registration that somebody ended is over at once, also while the device sleeps', async () => {
  await open({}, ['lwm2m=1.1', 'Q'], { MILLRACE_LWM2M_AWAKE_MS: '100' });
  await new Promise((resolve) => setTimeout(resolve, 250));
  lwm2m.directory.registrations.clear();
  await lwm2m.command('lwm2m.read', { path: '/3/0/9' });
  const send = { method: Method.Post, path: '/dp', format: Format.SenmlJson, payload: Buffer.from('[]') };
  await vi.waitFor(async () => expect((await device.ask(send)).code).toBe(Code.NotFound), WAIT);
});
