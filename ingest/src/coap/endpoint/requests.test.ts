import { expect, test } from 'vitest';
import type { CoapRequest, CoapResponse } from '../contract.ts';
import { buildMessage, Code, codeText, Method, Option, Type, uintBytes } from '../message/message.ts';
import { Stage, settle, textOf, uintOf } from './testing/stage.ts';

const OK: CoapResponse = { code: Code.Content, payload: Buffer.from('fine') };
const shape = ({ type, code, messageId }: { type: number; code: number; messageId: number }) => [
  type,
  codeText(code),
  messageId,
];

test('a confirmable request is answered in its acknowledgement, with its token', () => {
  using stage = new Stage(() => OK);
  const device = stage.device();
  const answer = device.ask({ messageId: 7, token: 'abcdefgh' });
  expect(shape(answer)).toEqual([Type.Ack, '2.05', 7]);
  expect([answer.token.toString(), textOf(answer)]).toEqual(['abcdefgh', 'fine']);
});

test('a request that nobody has to confirm is answered likewise, under a number of our own', () => {
  using stage = new Stage(() => OK);
  const answer = stage.device().ask({ type: Type.Non, messageId: 7 });
  expect([answer.type, codeText(answer.code)]).toEqual([Type.Non, '2.05']);
});

test('a request that takes long is acknowledged first and answered in a message that is repeated until acknowledged', async () => {
  let finish: (response: CoapResponse) => void = () => {};
  using stage = new Stage(() => new Promise((resolve) => (finish = resolve)));
  const device = stage.device();
  device.say({ messageId: 7 });
  stage.pass(1_400);
  expect(device.take()).toEqual([]);
  stage.pass(200);
  expect(device.take().map(shape)).toEqual([[Type.Ack, '0.00', 7]]);
  finish(OK);
  await settle();
  const [answer] = device.take();
  expect([answer?.type, textOf(answer as never)]).toEqual([Type.Con, 'fine']);
  // 2, 4, 8, 16 seconds after the one before.
  const counts: number[] = [];
  for (const ms of [2_100, 4_100, 8_100, 16_100]) {
    stage.pass(ms);
    counts.push(device.heard.length);
  }
  expect(counts).toEqual([1, 2, 3, 4]);
  expect(new Set(device.take().map(({ messageId }) => messageId))).toEqual(new Set([answer?.messageId]));
  stage.pass(100_000);
  expect(device.heard).toEqual([]);
  expect([stage.endpoint.counts.retransmissions, stage.endpoint.counts.timeouts]).toEqual([4, 1]);
  expect(stage.endpoint.counts.outstanding).toBe(0);
});

test('an acknowledged answer is not repeated', async () => {
  using stage = new Stage(() => new Promise((resolve) => setTimeout(() => resolve(OK), 1)));
  const device = stage.device();
  device.acknowledges = true;
  device.say({});
  stage.pass(2_000);
  await expect.poll(() => device.heard.length, { timeout: 20_000 }).toBe(2);
  stage.pass(100_000);
  expect(device.heard.length).toBe(2);
});

test('a repeat gets the same answer, and the handler is not run again', () => {
  let runs = 0;
  using stage = new Stage(() => ({ code: Code.Content, payload: Buffer.from(`run ${++runs} ${'x'.repeat(50)}`) }));
  const device = stage.device();
  const first = device.ask({ messageId: 7 });
  for (let count = 0; count < 5; count++) expect(device.ask({ messageId: 7 })).toEqual(first);
  expect([runs, stage.endpoint.counts.requests, stage.endpoint.counts.duplicates]).toEqual([1, 1, 5]);
});

test('a storm of repeats while the handler works runs it once, and is acknowledged', async () => {
  let runs = 0;
  let finish: (response: CoapResponse) => void = () => {};
  using stage = new Stage(() => {
    runs++;
    return new Promise((resolve) => (finish = resolve));
  });
  const device = stage.device();
  for (let count = 0; count < 1_000; count++) device.say({ messageId: 7 });
  expect(runs).toBe(1);
  expect(new Set(device.take().map((message) => shape(message).join()))).toEqual(new Set(['2,0.00,7']));
  finish(OK);
  await settle();
  expect(device.take().map(({ type, code }) => [type, codeText(code)])).toEqual([[Type.Con, '2.05']]);
  expect(stage.endpoint.counts.underWay).toBe(0);
});

test('a repeat of what nobody has to confirm is ignored', () => {
  using stage = new Stage(() => OK);
  const device = stage.device();
  device.say({ type: Type.Non, messageId: 7 });
  device.say({ type: Type.Non, messageId: 7 });
  expect(device.heard.length).toBe(1);
});

test('the same message id with another token, of another peer, or after its lifetime is another request', () => {
  let runs = 0;
  using stage = new Stage(() => ({ code: Code.Content, payload: Buffer.from(String(++runs)) }));
  stage.device().say({ messageId: 7 });
  stage.device().say({ messageId: 7, token: 'u' });
  stage.device('other').say({ messageId: 7 });
  expect(runs).toBe(3);
  stage.pass(248_000);
  stage.device().say({ messageId: 7 });
  expect(runs).toBe(4);
});

test('pings are answered by RST, and what has no meaning is rejected or ignored', () => {
  using stage = new Stage(() => OK);
  const device = stage.device();
  device.raw(Buffer.from('40001234', 'hex'));
  expect(shape(device.last())).toEqual([Type.Rst, '0.00', 0x1234]);
  const silent = ['50001234', '60001234', '70001234', '60451234', '50201234', '5045123455'];
  device.take();
  for (const hex of silent.slice(0, 5)) device.raw(Buffer.from(hex, 'hex'));
  expect(device.take()).toEqual([]);
  // Classes 1, 6 and 7 are reserved; a response that we did not ask for.
  for (const code of [0x20, 0xc0, 0xe0, 0x45]) {
    device.raw(Buffer.of(0x40, code, 0, 9));
    expect(shape(device.last())).toEqual([Type.Rst, '0.00', 9]);
  }
});

test('a malformed confirmable message is rejected by RST, any other is ignored', () => {
  const bad: string[] = [];
  using stage = new Stage(() => OK, { onMalformed: ({ key }) => bad.push(key) });
  const device = stage.device();
  device.raw(Buffer.from('40010009ff', 'hex'));
  expect(shape(device.last())).toEqual([Type.Rst, '0.00', 9]);
  device.take();
  for (const hex of ['50010009ff', '00', '', '80010009', '60000009ff']) device.raw(Buffer.from(hex, 'hex'));
  expect(device.heard).toEqual([]);
  expect([stage.endpoint.counts.malformed, bad.length]).toEqual([6, 6]);
});

test.each([
  ['an unknown critical option', [[65_001, '']], '4.02'],
  ['an unknown elective option', [[65_000, 'x'.repeat(300)]], '2.05'],
  [
    'Accept twice',
    [
      [Option.Accept, '1'],
      [Option.Accept, '2'],
    ],
    '4.02',
  ],
  [
    'Content-Format twice',
    [
      [Option.ContentFormat, '1'],
      [Option.ContentFormat, '2'],
    ],
    '2.05',
  ],
  ['If-Match', [[1, 'x']], '4.02'],
  ['If-None-Match', [[5, '']], '4.02'],
  ['an Accept of three bytes', [[Option.Accept, 'abc']], '4.02'],
  ['an empty Uri-Host', [[Option.UriHost, '']], '4.02'],
  ['a path segment of 256 bytes', [[Option.UriPath, 'x'.repeat(256)]], '4.02'],
  ['a Block2 of four bytes', [[Option.Block2, 'abcd']], '4.02'],
  ['the reserved block size', [[Option.Block2, '\x07']], '4.00'],
  ['a proxy', [[Option.ProxyUri, 'coap://example.org/']], '5.05'],
  ['a proxy by scheme', [[Option.ProxyScheme, 'coap']], '5.05'],
  ['OSCORE', [[Option.Oscore, '']], '4.02'],
] as [string, [number, string][], string][])('%s is answered by %3$s', (_what, options, code) => {
  using stage = new Stage(() => OK);
  const answer = stage.device().ask({ options: options.map(([number, text]) => [number, Buffer.from(text)]) });
  expect(codeText(answer.code)).toBe(code);
});

test('an unknown critical option in a message that nobody has to confirm is rejected, not answered', () => {
  using stage = new Stage(() => OK);
  const device = stage.device();
  const options = [[65_001, Buffer.from('x')]] as const;
  expect(shape(device.ask({ type: Type.Non, messageId: 7, options }))).toEqual([Type.Rst, '0.00', 7]);
});

test('a request says what its options say', () => {
  const seen: CoapRequest[] = [];
  using stage = new Stage((request) => {
    seen.push(request);
    return OK;
  });
  stage.device().say({
    code: Method.Put,
    path: 'channels/ä/messages',
    options: [
      [Option.ETag, Buffer.from('two')],
      [Option.ETag, Buffer.from('three')],
      [Option.UriQuery, Buffer.from('auth=key')],
      [Option.UriQuery, Buffer.from('b')],
      [Option.ContentFormat, uintBytes(110)],
      [Option.Accept, uintBytes(0)],
    ],
    payload: 'body',
  });
  const [request] = seen as [CoapRequest];
  expect([request.method, request.path, request.query]).toEqual([3, ['channels', 'ä', 'messages'], ['auth=key', 'b']]);
  expect([request.format, request.accept, request.observe]).toEqual([110, 0, null]);
  expect(request.etags.map(String)).toEqual(['two', 'three']);
  expect([request.payload.toString(), request.confirmable, request.token.toString()]).toEqual(['body', true, 't']);
});

test('the resource key is the same for one resource and another for any other', () => {
  const keys: string[] = [];
  using stage = new Stage(({ resourceKey }) => {
    keys.push(resourceKey);
    return OK;
  });
  const device = stage.device();
  const key = (path: string, options: [number, string][], payload = ''): string => {
    device.say({ path, payload, options: options.map(([number, text]) => [number, Buffer.from(text)]) });
    return keys.at(-1) as string;
  };
  expect(key('a/b', [[Option.UriQuery, 'x']], 'one')).toBe(key('a/b', [[Option.UriQuery, 'x']], 'two'));
  const different = [
    key('a/b', []),
    key('ab', []),
    key('', [
      [Option.UriQuery, 'a'],
      [Option.UriQuery, 'b'],
    ]),
    key('a', [[Option.UriQuery, 'b']]),
    key('a/b', [[Option.Accept, 'a']]),
    key('a/b', [[Option.ContentFormat, 'a']]),
    // A path after nothing, and a query after an ETag: the same bytes but for what came before.
    key('', [
      [Option.ETag, 'x'],
      [Option.UriQuery, 'a'],
      [Option.UriQuery, 'b'],
    ]),
    key('', [[Option.UriHost, 'a']]),
  ];
  expect(new Set(different).size).toBe(different.length);
});

test('No-Response keeps what the client does not want to hear, not the acknowledgement', () => {
  let code: number = Code.Changed;
  using stage = new Stage(() => ({ code }));
  const device = stage.device();
  const options = [[Option.NoResponse, Buffer.of(2)]] as const;
  expect(shape(device.ask({ messageId: 7, options }))).toEqual([Type.Ack, '0.00', 7]);
  device.take();
  device.say({ messageId: 7, options });
  expect(device.take().map(shape)).toEqual([[Type.Ack, '0.00', 7]]);
  device.say({ type: Type.Non, options });
  expect(device.take()).toEqual([]);
  code = Code.BadRequest;
  expect(codeText(device.ask({ type: Type.Non, options }).code)).toBe('4.00');
});

test('a handler that throws or rejects is a fault of ours, and nothing else stops', async () => {
  const faults: unknown[] = [];
  using stage = new Stage(
    ({ method }) => {
      if (method === Method.Get) throw new Error('sync');
      return Promise.reject(new Error('async'));
    },
    { onFault: (error) => faults.push(error) },
  );
  const device = stage.device();
  expect(codeText(device.ask({}).code)).toBe('5.00');
  device.say({ code: Method.Post });
  await settle();
  expect(codeText(device.last().code)).toBe('5.00');
  expect([faults.length, stage.endpoint.counts.faults, stage.endpoint.counts.underWay]).toEqual([2, 2, 0]);
});

test.each([
  ['confirmable', Type.Con],
  ['not confirmable', Type.Non],
])(
  'a request, %s, whose handler never answers is given up, and what it says later is not heard',
  async (_what, type) => {
    let finish: (response: CoapResponse) => void = () => {};
    using stage = new Stage(() => new Promise((resolve) => (finish = resolve)));
    const device = stage.device();
    device.acknowledges = true;
    device.say({ type });
    stage.pass(92_000);
    expect(codeText(device.last().code)).toBe('5.03');
    expect([stage.endpoint.counts.underWay, stage.endpoint.counts.rejected.late]).toEqual([0, 1]);
    device.take();
    finish(OK);
    await settle();
    expect(device.heard).toEqual([]);
  },
);

test('saying it again and again does not make a lost handler hold its place for ever', () => {
  using stage = new Stage(() => new Promise(() => {}), { answerTimeoutMs: 90_000 });
  const device = stage.device();
  const messageId = device.say({});
  for (let passed = 0; passed < 200; passed++) {
    stage.pass(1_000);
    device.say({ messageId });
  }
  expect(stage.endpoint.counts.underWay).toBe(0);
});

test.each(['at once', 'later'])(
  'a response that cannot be sent %s is a fault of ours, and gives its place back',
  async (when) => {
    const faults: unknown[] = [];
    const large: CoapResponse = { code: Code.Content, options: [[Option.LocationPath, Buffer.alloc(70_000)]] };
    using stage = new Stage(() => (when === 'later' ? Promise.resolve(large) : large), {
      onFault: (error) => faults.push(error),
    });
    stage.device().say({});
    await settle();
    expect([faults.length, stage.endpoint.counts.underWay]).toEqual([1, 0]);
  },
);

test('Max-Age and further options of an answer go through', () => {
  using stage = new Stage(() => ({
    code: Code.TooManyRequests,
    maxAge: 300,
    options: [[Option.LocationPath, Buffer.from('rd')]],
  }));
  const answer = stage.device().ask({});
  expect([uintOf(answer, Option.MaxAge), answer.options[0]?.[1].toString()]).toEqual([300, 'rd']);
});

test('too many requests at once are refused: of one peer by 4.29, of all by 5.03, both with when to come again', async () => {
  const finish: ((response: CoapResponse) => void)[] = [];
  using stage = new Stage(() => new Promise((resolve) => finish.push(resolve)), {
    underWayPerPeerMax: 2,
    underWayMax: 3,
  });
  const [one, other] = [stage.device(), stage.device('other')];
  for (let count = 0; count < 3; count++) one.say({});
  expect([codeText(one.last().code), uintOf(one.last(), Option.MaxAge)]).toEqual(['4.29', 2]);
  for (let count = 0; count < 2; count++) other.say({});
  expect([codeText(other.last().code), uintOf(other.last(), Option.MaxAge)]).toEqual(['5.03', 2]);
  expect(stage.endpoint.counts.rejected).toMatchObject({ peer_busy: 1, busy: 1 });
  for (const done of finish) done(OK);
  await settle();
  one.say({});
  expect(finish.length).toBe(4);
});

test('a peer that acknowledges nothing does not use up the message ids, nor the room of others', async () => {
  using stage = new Stage(() => Promise.resolve(OK), { dedupEntries: 2 ** 17, underWayPerPeerMax: 512 });
  const [deaf, other] = [stage.device('deaf'), stage.device('other')];
  for (let round = 0; round < 300; round++) {
    // Said twice at once, each is acknowledged and then answered in a message of its own.
    for (let count = 0; count < 256; count++) {
      const messageId = (round * 256 + count) & 0xffff;
      const token = `${round}`;
      deaf.say({ messageId, token });
      deaf.say({ messageId, token });
    }
    await settle();
    deaf.take();
  }
  expect(stage.endpoint.counts.outstanding).toBe(512);
  other.say({ messageId: 1 });
  other.say({ messageId: 1 });
  await settle();
  expect(other.last().type).toBe(Type.Con);
  expect(stage.endpoint.counts.outstanding).toBe(513);
}, 60_000);

test('draining, it finishes what it has and refuses what comes', async () => {
  let finish: (response: CoapResponse) => void = () => {};
  using stage = new Stage(() => new Promise((resolve) => (finish = resolve)));
  const device = stage.device();
  device.say({ token: 'old' });
  const drained = stage.endpoint.drain(20_000);
  expect([codeText(device.ask({}).code), uintOf(device.last(), Option.MaxAge)]).toEqual(['5.03', 5]);
  finish(OK);
  await drained;
  expect(device.last().token.toString()).toBe('old');
});

test('a closed endpoint takes nothing', () => {
  const stage = new Stage(() => OK);
  stage.endpoint.close();
  stage
    .device()
    .raw(
      buildMessage({ type: 0, code: 1, messageId: 1, token: Buffer.alloc(0), options: [], payload: Buffer.alloc(0) }),
    );
  expect(stage.device().heard).toEqual([]);
  stage[Symbol.dispose]();
});
