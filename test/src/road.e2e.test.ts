import { encode } from 'cbor-x';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, newPublisher, type Publisher, type Rest, Rest as RestClient } from './millrace.ts';

describe('the main road', () => {
  const millrace = new Millrace();
  let admin: Rest;

  beforeAll(async () => {
    await millrace.start();
    admin = await RestClient.asAdmin(millrace);
  });
  afterAll(() => millrace.dispose());

  test('a reading is readable within a second of its acknowledgement when idle', async () => {
    const { rest, channel } = await newPublisher(admin, 'idle');
    const start = performance.now();
    const response = await rest.raw('POST', `/channels/${channel}/messages`, '[{"n":"t","u":"Cel","v":21.5}]', {
      'content-type': 'application/senml+json',
    });
    expect(response.status).toBe(202);
    expect(await response.json()).toMatchObject({
      response: 'message sent',
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    const page = await eventually('the reading', 10_000, async () => {
      const found = await rest.json<ReadingsPage>('GET', `/channels/${channel}/messages`);
      return found.messages.length > 0 && found;
    });
    const tookMs = performance.now() - start;
    expect(page.messages[0]).toMatchObject({
      channel,
      subtopic: '',
      protocol: 'http',
      name: 't',
      unit: 'Cel',
      value: 21.5,
    });
    console.log(`readable ${tookMs.toFixed(0)} ms after it was published`);
    expect(tookMs).toBeLessThan(5_000);
  });

  test('1,000 mixed messages: each reading, blob and dead letter is found once', async () => {
    const publisher = await newPublisher(admin, 'mixed');
    const sent = await publishMixed(publisher, 1_000);
    await eventually('all messages to be processed', 60_000, async () => {
      const fates = await Promise.all(sent.slice(-20).map((message) => fate(publisher.rest, message.id)));
      return fates.every((status) => status !== 'accepted');
    });

    const readings = await everyReading(publisher);
    const wantedReadings = sent.flatMap((message) => message.readings);
    expect(readings.map((reading) => reading.name).toSorted()).toEqual(wantedReadings.toSorted());

    const payloads = await everything(publisher.rest, `/channels/${publisher.channel}/payloads`, 'payloads');
    // What is not SenML is kept as it came: plain JSON beside its readings, too.
    expect(payloads.map((payload) => payload.id).toSorted()).toEqual(
      [...ids(sent, 'blob'), ...ids(sent, 'json')].toSorted(),
    );
    const blob = sent.find((message) => message.kind === 'blob');
    const bytes = await publisher.rest.raw('GET', `/messages/${blob?.id}/payload`);
    expect(new Uint8Array(await bytes.arrayBuffer())).toEqual(blob?.body);

    const dead = await everything(admin, `/dead-letters?channel=${publisher.channel}`, 'dead_letters');
    expect(dead.map((letter) => letter.id).toSorted()).toEqual(ids(sent, 'broken'));

    for (const kind of ['senml', 'blob', 'broken'] as const) {
      const message = sent.find((candidate) => candidate.kind === kind);
      expect(await fate(publisher.rest, message?.id as string)).toBe(kind === 'broken' ? 'dead' : 'stored');
    }
  });

  test('the second start of a data directory is refused, with the process that holds it', async () => {
    const second = new Millrace({}, millrace.directory);
    second.launch();
    await expect(second.ready(20_000)).rejects.toThrow(new RegExp(`in use by process ${millrace.pid}`));
  });

  test('metrics count every message by what became of it', async () => {
    const text = await (await admin.raw('GET', '/metrics')).text();
    expect(text).toMatch(/millrace_processor_messages_total\{[^}]*outcome="stored"/);
    expect(text).toMatch(/millrace_processor_messages_total\{[^}]*outcome="dead"[^}]*reason="malformed_json"/);
  });

  test('SIGTERM drains: what was acknowledged is stored after the next start, and the exit code is 0', async () => {
    const publisher = await newPublisher(admin, 'drain');
    const accepted: string[] = [];
    for (let index = 0; index < 200; index++) {
      const response = await publisher.rest.raw(
        'POST',
        `/channels/${publisher.channel}/messages`,
        `[{"n":"d${index}","v":1}]`,
        {
          'content-type': 'application/senml+json',
        },
      );
      if (response.status === 202) accepted.push(`d${index}`);
    }
    expect(await millrace.end('SIGTERM')).toBe(0);
    await millrace.start();
    admin = await RestClient.asAdmin(millrace);
    const again = { ...publisher, rest: admin.as(`Thing ${publisher.key}`) };
    await eventually('all readings', 20_000, async () => (await everyReading(again)).length >= accepted.length);
    expect((await everyReading(again)).map((reading) => reading.name).toSorted()).toEqual(accepted.toSorted());
  });
});

interface Reading {
  readonly name: string;
}
interface ReadingsPage {
  readonly messages: readonly Reading[];
  readonly cursor?: string;
}
type Kind = 'senml' | 'cbor' | 'json' | 'blob' | 'broken';
interface Sent {
  readonly id: string;
  readonly kind: Kind;
  readonly readings: readonly string[];
  readonly body: Uint8Array;
}

const ids = (sent: readonly Sent[], kind: Kind): string[] =>
  sent
    .filter((message) => message.kind === kind)
    .map((message) => message.id)
    .toSorted();

async function publishMixed(publisher: Publisher, count: number): Promise<Sent[]> {
  const sent: Sent[] = [];
  const publish = async (index: number): Promise<void> => {
    const { kind, type, body, readings } = message(index);
    const response = await publisher.rest.raw('POST', `/channels/${publisher.channel}/messages/s${index % 3}`, body, {
      'content-type': type,
    });
    expect(response.status).toBe(202);
    sent.push({ id: ((await response.json()) as { id: string }).id, kind, readings, body });
  };
  for (let index = 0; index < count; index += 20) {
    await Promise.all(Array.from({ length: 20 }, (_, offset) => publish(index + offset)));
  }
  return sent;
}

function message(index: number): { kind: Kind; type: string; body: Uint8Array; readings: string[] } {
  const text = (value: unknown): Uint8Array =>
    new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
  switch (index % 5) {
    case 0:
      return {
        kind: 'senml',
        type: 'application/senml+json',
        body: text([
          { bn: `m${index}:`, n: 'a', v: index },
          { n: 'b', vs: 'ü;\n\t\\N"' },
          { n: 'c', vb: false },
        ]),
        readings: [`m${index}:a`, `m${index}:b`, `m${index}:c`],
      };
    case 1:
      return {
        kind: 'cbor',
        type: 'application/senml+cbor',
        body: encode([
          new Map<number, unknown>([
            [-2, `m${index}:`],
            [0, 'a'],
            [2, index + 0.5],
          ]),
        ]),
        readings: [`m${index}:a`],
      };
    case 2:
      return {
        kind: 'json',
        type: 'application/json',
        body: text({ [`m${index}`]: { x: 1, y: true } }),
        readings: [`m${index}.x`, `m${index}.y`],
      };
    case 3:
      return {
        kind: 'blob',
        type: 'application/octet-stream',
        body: Uint8Array.from({ length: 300 }, (_, at) => (at * 7 + index) & 0xff),
        readings: [],
      };
    default:
      return { kind: 'broken', type: 'application/senml+json', body: text(`[{"n":"m${index}","v":`), readings: [] };
  }
}

async function everyReading(publisher: Publisher): Promise<Reading[]> {
  const all: Reading[] = [];
  for (let cursor: string | undefined = ''; cursor !== undefined; ) {
    const page: ReadingsPage = await publisher.rest.json(
      'GET',
      `/channels/${publisher.channel}/messages?limit=500${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
    );
    all.push(...page.messages);
    cursor = page.cursor;
  }
  return all;
}

async function everything(rest: Rest, path: string, member: string): Promise<{ id: string }[]> {
  const all: { id: string }[] = [];
  for (;;) {
    const page = await rest.json<Record<string, { id: string }[]>>(
      'GET',
      `${path}${path.includes('?') ? '&' : '?'}limit=500&offset=${all.length}`,
    );
    const items = page[member] ?? [];
    if (items.length === 0) return all;
    all.push(...items);
  }
}

const fate = async (rest: Rest, id: string): Promise<string> =>
  (await rest.json<{ status: string }>('GET', `/messages/${id}`)).status;
