import { describe, expect, test, vi } from 'vitest';
import type { PeerIdentity } from '../coap/contract.ts';
import { Code, codeText, Format, Method } from '../coap/message/message.ts';
import { KEY, THING } from '../testing/gate.ts';
import { account, LINKS, openLwm2m } from './testing/open-lwm2m.ts';

const AS_THING: PeerIdentity = { kind: 'key', identity: THING, key: KEY };
const register = (query: readonly string[], payload = LINKS, format: number = Format.Link) => ({
  method: Method.Post,
  path: '/rd',
  query,
  format,
  payload: Buffer.from(payload),
});
const codeOf = async (answer: Promise<{ readonly code: number }>): Promise<string> => codeText((await answer).code);

describe('a registration', () => {
  test('is kept with what the device says of itself, at a place that nobody can guess', async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account());
    const location = await lwm2m
      .device(40_001)
      .register(['ep=ep1', 'lt=300', 'lwm2m=1.1', 'b=U', 'Q'], '</>;rt="oma.lwm2m";ct="110 112",</3/0>,</3303/0>');
    expect(location).toMatch(/^\/rd\/[\w-]{20}$/);
    expect(lwm2m.directory.registrations.get(THING)).toMatchObject({
      location: location.slice(4),
      endpoint: 'ep1',
      version: '1.1',
      binding: 'U',
      queueMode: true,
      lifetimeSeconds: 300,
      objects: ['/3/0', '/3303/0'],
      formats: [110, 112],
      address: '192.0.2.1:40001',
      secure: false,
    });
  });

  test('of 1.0 has its queue mode in the binding, and a day to live', async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account());
    await lwm2m.device(40_001).register(['ep=ep1', 'lwm2m=1.0', 'b=UQ']);
    expect(lwm2m.directory.registrations.get(THING)).toMatchObject({ queueMode: true, lifetimeSeconds: 86_400 });
  });

  test('takes the place of the earlier one', async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account());
    const device = lwm2m.device(40_001);
    const first = await device.register(['ep=ep1', 'lwm2m=1.1']);
    const second = await device.register(['ep=ep1', 'lwm2m=1.1']);
    expect(await codeOf(device.ask({ method: Method.Post, path: first }))).toBe('4.04');
    expect(await codeOf(device.ask({ method: Method.Post, path: second }))).toBe('2.04');
  });

  test.each([
    ['no endpoint', ['lt=60', 'lwm2m=1.1'], '4.00'],
    ['an endpoint with a control character', ['ep=a\u0000b', 'lwm2m=1.1'], '4.00'],
    ['a lifetime of nothing', ['ep=ep1', 'lt=0'], '4.00'],
    ['a lifetime that is no number', ['ep=ep1', 'lt=1e3'], '4.00'],
    ['a lifetime beyond 32 bits', ['ep=ep1', 'lt=4294967296'], '4.00'],
    ['a binding that is none', ['ep=ep1', 'b=X'], '4.00'],
    ['a version of the future', ['ep=ep1', 'lwm2m=2.0'], '4.12'],
    ['an endpoint that nobody knows', ['ep=nobody', 'lwm2m=1.1'], '4.03'],
    ['an endpoint that comes only by CoAPS', ['ep=safe', 'lwm2m=1.1'], '4.03'],
    ['the key of nobody', ['ep=ep1', 'lwm2m=1.1', 'auth=not-a-key-of-ours'], '4.01'],
    ['the key of a disabled thing', ['ep=ep1', 'lwm2m=1.1', 'auth=disabled-key'], '4.03'],
    ['the key of another thing', ['ep=ep1', 'lwm2m=1.1', 'auth=many-others'], '4.03'],
  ])('with %s is refused', async (_, query, code) => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account());
    lwm2m.directory.accounts.set('safe', account({ endpoint: 'safe', security: 'dtls' }));
    expect(await codeOf(lwm2m.device(40_001).ask(register(query)))).toBe(code);
    expect(lwm2m.directory.registrations.size).toBe(0);
  });

  test.each([
    ['no list', '', Format.Link, '4.00'],
    ['a list that is none', '3303', Format.Link, '4.00'],
    ['another format', LINKS, Format.Json, '4.15'],
    ['more links than are taken', '</3303/0>,'.repeat(5).slice(0, -1), Format.Link, '4.00'],
  ])('with %s is refused', async (_, payload, format, code) => {
    await using lwm2m = await openLwm2m({ MILLRACE_LWM2M_LINKS_MAX: '4' });
    lwm2m.directory.accounts.set('ep1', account());
    expect(await codeOf(lwm2m.device(40_001).ask(register(['ep=ep1'], payload, format)))).toBe(code);
  });

  test('over plain CoAP is taken with the key of its thing, and so is an update, which nobody makes without it', async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account({ security: 'dtls' }));
    const device = lwm2m.device(40_001);
    const location = await device.register(['ep=ep1', 'lwm2m=1.1', `auth=${KEY}`]);
    const update = { method: Method.Post, path: location };
    expect(await codeOf(device.ask(update))).toBe('4.03');
    expect(await codeOf(device.ask({ ...update, query: [`auth=${KEY}`] }))).toBe('2.04');
    expect(await codeOf(device.ask({ ...update, query: ['auth=many-others'] }))).toBe('4.03');
  });

  test('over CoAPS is for whoever the session proves, under the names of that thing only', async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account({ security: 'dtls' }));
    lwm2m.directory.accounts.set('other', account({ endpoint: 'other', thing: 'many-others' }));
    const device = lwm2m.device(40_001, AS_THING);
    expect(await codeOf(device.ask(register(['ep=other', 'lwm2m=1.1'])))).toBe('4.03');
    const location = await device.register(['ep=ep1', 'lwm2m=1.1']);
    expect(lwm2m.directory.registrations.get(THING)?.secure).toBe(true);
    const others = lwm2m.device(40_002, { kind: 'key', identity: 'many-others', key: 'many-others' });
    // TestGate knows one thing by its id.
    expect(await codeOf(others.ask({ method: Method.Post, path: location }))).not.toBe('2.04');
    expect(await codeOf(device.ask({ method: Method.Post, path: location }))).toBe('2.04');
    // Without a name it is the thing's.
    await device.register(['lwm2m=1.1']);
  });

  test('is no business of who has only a bootstrap key', async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account());
    const device = lwm2m.device(40_001, { kind: 'bootstrap', thing: THING, externalId: 'ep1' });
    expect(await codeOf(device.ask(register(['ep=ep1'])))).toBe('4.03');
  });

  test('waits for the registry: 5.03 while that is away', async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account());
    const { MillraceError } = await import('@millrace/core');
    lwm2m.directory.failure = new MillraceError('REGISTRY_UNREACHABLE', 'later');
    expect(await codeOf(lwm2m.device(40_001).ask(register(['ep=ep1'])))).toBe('5.03');
  });

  test('said again and again at once takes no places of others', async () => {
    await using lwm2m = await openLwm2m({ MILLRACE_LWM2M_REQUESTS_MAX: '20' });
    lwm2m.directory.accounts.set('ep1', account());
    lwm2m.directory.accounts.set('ep2', account({ endpoint: 'ep2', thing: 'many-2' }));
    let open = (): void => {};
    const kept = lwm2m.directory.register.bind(lwm2m.directory);
    const gate = new Promise<void>((resolve) => (open = resolve));
    lwm2m.directory.register = async (registration) => {
      if (registration.thing === THING) await gate;
      await kept(registration);
    };
    const device = lwm2m.device(40_001);
    const codes = Array.from({ length: 100 }, () => codeOf(device.ask(register(['ep=ep1', 'lwm2m=1.1']))));
    await lwm2m.device(40_002).register(['ep=ep2', 'auth=many-2']);
    open();
    const all = await Promise.all(codes);
    expect(all.filter((code) => code === '2.01').length).toBeGreaterThan(0);
    expect(all.filter((code) => code === '4.29').length).toBeGreaterThan(50);
  });

  test('finds no room on a node that is full, but for those who are there', async () => {
    await using lwm2m = await openLwm2m({ MILLRACE_LWM2M_REGISTRATIONS_MAX: '1' });
    lwm2m.directory.accounts.set('ep1', account());
    lwm2m.directory.accounts.set('ep2', account({ endpoint: 'ep2', thing: 'many-2' }));
    await lwm2m.device(40_001).register(['ep=ep1']);
    expect(await codeOf(lwm2m.device(40_002).ask(register(['ep=ep2', 'auth=many-2'])))).toBe('5.03');
    await lwm2m.device(40_001).register(['ep=ep1']);
  });
});

describe('an update', () => {
  test('changes what it says and keeps the rest', async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account());
    const device = lwm2m.device(40_001);
    const location = await device.register(['ep=ep1', 'lt=300', 'lwm2m=1.1', 'b=U', 'Q']);
    const update = { method: Method.Post, path: location };
    await device.ask({ ...update, query: ['lt=600'] });
    const secure = lwm2m.device(40_002, AS_THING);
    await secure.ask(update);
    expect(lwm2m.directory.registrations.get(THING)).toMatchObject({ secure: true });
    await device.ask({ ...update, query: ['lt=600'] });
    expect(lwm2m.directory.registrations.get(THING)).toMatchObject({ secure: false });
    expect(lwm2m.directory.registrations.get(THING)).toMatchObject({ lifetimeSeconds: 600, queueMode: true });
    await device.ask({ ...update, format: Format.Link, payload: Buffer.from('</3/0>') });
    expect(lwm2m.directory.registrations.get(THING)).toMatchObject({ objects: ['/3/0'], lifetimeSeconds: 600 });
  });

  test('finds its registration after a restart, or on another node, and is observed anew there', async () => {
    await using first = await openLwm2m();
    first.directory.accounts.set('ep1', account({ observe: [{ path: '/3303/0/5700', attributes: '' }] }));
    const location = await first.device(40_001).register(['ep=ep1', 'lwm2m=1.1']);
    await using second = await openLwm2m({}, { directory: first.directory });
    const device = second.device(40_001);
    expect(await codeOf(device.ask({ method: Method.Post, path: location }))).toBe('2.04');
    await vi.waitFor(() => expect(device.asked).toContain('GET /3303/0/5700'));
  });

  test.each(['/rd/nothing', '/rd/AAAAAAAAAAAAAAAAAAAA', '/rd/%00'])('of %s is 4.04', async (path) => {
    await using lwm2m = await openLwm2m();
    expect(await codeOf(lwm2m.device(40_001).ask({ method: Method.Post, path }))).toBe('4.04');
  });

  test('is the end of neither method: others are not allowed', async () => {
    await using lwm2m = await openLwm2m();
    expect(await codeOf(lwm2m.device(40_001).ask({ method: Method.Get, path: '/rd/x' }))).toBe('4.05');
    expect(await codeOf(lwm2m.device(40_001).ask({ method: Method.Get, path: '/rd' }))).toBe('4.05');
    expect(await codeOf(lwm2m.device(40_001).ask({ method: Method.Post, path: '/rd/a/b' }))).toBe('4.04');
    expect(await codeOf(lwm2m.device(40_001).ask({ method: Method.Get, path: '/dp' }))).toBe('4.05');
    expect(await codeOf(lwm2m.device(40_001).ask({ method: Method.Get, path: '/bs' }))).toBe('4.05');
  });
});

describe('the end of a registration', () => {
  test('is what the device says', async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account());
    const device = lwm2m.device(40_001);
    const location = await device.register(['ep=ep1']);
    expect(await codeOf(device.ask({ method: Method.Delete, path: location }))).toBe('2.02');
    expect(lwm2m.directory.registrations.size).toBe(0);
    expect(await codeOf(device.ask({ method: Method.Post, path: location }))).toBe('4.04');
  });

  test('comes when its lifetime is over', async () => {
    await using lwm2m = await openLwm2m();
    lwm2m.directory.accounts.set('ep1', account());
    await lwm2m.device(40_001).register(['ep=ep1', 'lt=1']);
    const registrations = async (): Promise<number> =>
      (await lwm2m.metrics.registry.getSingleMetric('millrace_lwm2m_registrations')?.get())?.values[0]?.value ?? -1;
    expect(await registrations()).toBe(1);
    await vi.waitFor(async () => expect(await registrations()).toBe(0), 20_000);
  });
});

test('what anybody sends to /rd, /dp and /bs is answered, and is never a fault', async () => {
  await using lwm2m = await openLwm2m();
  lwm2m.directory.accounts.set('ep1', account());
  const device = lwm2m.device(40_001);
  const queries = [
    [],
    ['ep'],
    ['ep='],
    ['='],
    ['ep=ep1', 'ep=ep2'],
    ['lt=-1', 'ep=ep1'],
    ['__proto__=1', 'ep=ep1'],
    ['auth='],
  ];
  for (const path of ['/rd', '/rd/x', '/dp', '/bs']) {
    for (const method of [Method.Post, Method.Put, Method.Delete]) {
      for (const query of queries) {
        const { code } = await device.ask({ method, path, query, payload: Buffer.of(0xff, 0x3c) });
        expect([2, 4], `${path} ${query.join('&')}: ${codeText(code)}`).toContain(code >> 5);
      }
    }
  }
  expect(Code.InternalServerError >> 5).toBe(5);
});
