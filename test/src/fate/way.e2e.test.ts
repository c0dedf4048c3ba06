import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';

interface Fate {
  readonly id: string;
  readonly status: string;
  readonly reason?: string;
  readonly readings: number;
  readonly repeats?: string;
  readonly replay_of?: string;
  readonly steps: readonly { readonly what: string; readonly detail: string; readonly link?: string }[];
  readonly dead?: readonly { readonly id: string; readonly reason: string; readonly state: string }[];
}
interface Letter {
  readonly id: string;
  readonly reason: string;
  readonly payload: string;
  readonly state: string;
  readonly replays: readonly string[];
}

const WAIT_MS = 60_000;

describe('why a message is not there', () => {
  const millrace = new Millrace();
  let admin: Rest;
  let publisher: Publisher;
  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    publisher = await newPublisher(admin, 'fate');
  }, 120_000);
  afterAll(() => millrace.dispose(), 90_000);

  const publish = async (
    payload: string,
    headers: Record<string, string> = {},
    type = 'application/senml+json',
  ): Promise<string> => {
    const path = `/channels/${publisher.channel}/messages`;
    const response = await publisher.rest.raw('POST', path, payload, { 'content-type': type, ...headers });
    expect(response.status).toBe(202);
    return ((await response.json()) as { id: string }).id;
  };
  const fateOf = (id: string): Promise<Fate> =>
    eventually(`the fate of ${id}`, WAIT_MS, async () => {
      const fate = await admin.json<Fate>('GET', `/messages/${id}`);
      return fate.status === 'accepted' ? undefined : fate;
    });
  const whats = ({ steps }: Fate): string => steps.map(({ what }) => what).join(' ');
  const readings = async (name: string) =>
    (
      await admin.json<{ messages: { value: number; time: number }[] }>(
        'GET',
        `/channels/${publisher.channel}/messages?name=${encodeURIComponent(name)}`,
      )
    ).messages;

  test('its fate tells each step, with a link to where it is stored', async () => {
    const fate = await fateOf(await publish('[{"n":"good","v":1},{"n":"bad name!","v":2}]'));
    expect([fate.status, fate.readings, whats(fate)]).toEqual([
      'stored',
      1,
      'accepted durable decided processed stored dead delivered',
    ]);
    expect(fate.dead).toMatchObject([{ id: `${fate.id}.1`, reason: 'bad_name', state: 'open' }]);
    const link = fate.steps.find(({ what }) => what === 'stored')?.link ?? '';
    expect((await admin.json<{ messages: unknown[] }>('GET', link)).messages).toHaveLength(1);
    // The publisher itself may ask, too.
    expect((await publisher.rest.json<Fate>('GET', `/messages/${fate.id}`)).dead).toHaveLength(1);
  }, 90_000);

  test('a repeated message names the one that counts', async () => {
    const key = { 'idempotency-key': 'one' };
    const first = await publish('[{"n":"once","v":1}]', key);
    for (let between = 0; between < 20; between++) await publish('[{"n":"between","v":1}]');
    const fate = await fateOf(await publish('[{"n":"once","v":1}]', key));
    expect(fate).toMatchObject({ reason: 'duplicate', repeats: first });
    expect(fate.steps.find(({ what }) => what === 'dropped')?.link).toBe(`/messages/${first}`);
  }, 90_000);

  test('an id that was never given says where ids come from, to a stranger as of somebody else’s message', async () => {
    const ask = async (rest: Rest, id: string): Promise<unknown> => {
      const response = await rest.raw('GET', `/messages/${id}`);
      return [response.status, ((await response.json()) as { detail: string }).detail];
    };
    const never = await ask(admin, '0198c1a2-4d5e-7000-8000-000000000001');
    expect(never).toEqual([404, expect.stringContaining('GET /channels/{id}/health')]);
    const other = await newPublisher(admin, 'another');
    expect(await ask(other.rest, (await fateOf(await publish('[{"n":"mine","v":1}]'))).id)).toEqual(never);
  }, 90_000);

  test('a dead record is replayed alone, with its base fields and the time of its reception, once', async () => {
    const id = await publish('[{"bn":"room/","bu":"Cel","n":"a","v":1},{"n":"t","t":-10,"vs":"x","v":5}]');
    const before = Date.now() / 1_000;
    expect((await fateOf(id)).dead).toMatchObject([{ id: `${id}.1`, reason: 'many_values' }]);
    const letter = await admin.json<Letter>('GET', `/dead-letters/${id}.1`);
    expect(JSON.parse(letter.payload)).toEqual({ bn: 'room/', bu: 'Cel', n: 't', t: -10, vs: 'x', v: 5 });
    // Mended: only the number is meant.
    const edit = { payload: { bn: 'room/', bu: 'Cel', n: 't', t: -10, v: 5 } };
    const path = `/dead-letters/${id}.1/replay`;
    const replayed = await admin.json<{ id: string }>('POST', path, edit);
    expect(await admin.json('POST', path, edit)).toEqual({ id: replayed.id, repeated: true });
    expect(await fateOf(replayed.id)).toMatchObject({ status: 'stored', readings: 1, replay_of: `${id}.1` });
    const [reading, ...more] = await readings('room/t');
    expect([reading?.value, more]).toEqual([5, []]);
    expect(Math.abs((reading?.time ?? 0) - (before - 10))).toBeLessThan(60);
    expect(await admin.json<Letter>('GET', `/dead-letters/${id}.1`)).toMatchObject({
      state: 'replayed',
      replays: [replayed.id],
    });
  }, 90_000);

  test('a whole message that dies again is a new letter that names its origin; a job replays what is left', async () => {
    const id = await publish('{"broken": ');
    expect(await fateOf(id)).toMatchObject({ status: 'dead', reason: 'malformed_json' });
    const again = await admin.json<{ id: string }>('POST', `/dead-letters/${id}/replay`, {});
    expect(await fateOf(again.id)).toMatchObject({ status: 'dead', replay_of: id });
    const filter = { channel: publisher.channel, message: again.id };
    expect(await admin.json('POST', '/dead-letters/replay', { filter, dry_run: true })).toEqual({
      matching: 1,
      more: false,
    });
    const job = await admin.json<{ id: string }>('POST', '/dead-letters/replay', { filter });
    await eventually('the job', WAIT_MS, async () => {
      const { status } = await admin.json<{ status: string }>('GET', `/jobs/${job.id}`);
      return status === 'done';
    });
    expect(await admin.json<Letter>('GET', `/dead-letters/${again.id}`)).toMatchObject({ state: 'replayed' });
    await admin.json('POST', '/dead-letters/discard', { filter: { channel: publisher.channel } });
    const left = await admin.json<{ dead_letters: Letter[] }>('GET', `/dead-letters?channel=${publisher.channel}`);
    expect(left.dead_letters).toEqual([]);
  }, 120_000);

  test('the health of a channel says what is wrong, and who published, was refused and is silent', async () => {
    const channel = await admin.json<{ id: string }>('POST', '/channels', { name: 'hall' });
    const [talker, silent] = await Promise.all(
      ['talker', 'silent'].map((name) => admin.json<{ id: string; key: string }>('POST', '/things', { name })),
    );
    const ids = [talker?.id, silent?.id];
    await admin.json('POST', '/connect', { channel_ids: [channel.id], thing_ids: ids, types: ['publish'] });
    const path = `/channels/${channel.id}/messages`;
    const send = async (rest: Rest, body: string): Promise<number> =>
      (await rest.raw('POST', path, body, { 'content-type': 'application/senml+json' })).status;
    const own = admin.as(`Thing ${talker?.key}`);
    for (let count = 0; count < 3; count++) expect(await send(own, 'no json')).toBe(202);
    expect(await send(publisher.rest, '[]')).toBeGreaterThanOrEqual(403);
    interface Health {
      readonly rates: Record<string, { messages: number; dead_messages: Record<string, number> }>;
      readonly publishers: { id: string; name: string; messages: number; dead: number }[];
      readonly silent: { id: string }[];
      readonly lag: { messages: number };
      readonly last_message: { reason: string };
      readonly findings: { severity: string; text: string; do: string }[];
    }
    const health = await eventually('three messages', WAIT_MS, async () => {
      const told = await admin.json<Health>('GET', `/channels/${channel.id}/health`);
      return told.rates['1d']?.messages === 3 && told.lag.messages === 0 ? told : undefined;
    });
    expect(health.rates['1h']?.dead_messages).toEqual({ malformed_json: 3 });
    expect(health.publishers).toMatchObject([{ id: talker?.id, name: 'talker', messages: 3, dead: 3 }]);
    expect(health.silent.map(({ id }) => id)).toEqual([silent?.id]);
    expect(health.last_message.reason).toBe('malformed_json');
    const [worst] = health.findings;
    expect(worst).toMatchObject({ severity: 'error', text: expect.stringContaining('All 3 messages of the last') });
    expect(health.findings.map(({ text }) => text).join('\n')).toContain('"silent"');
    expect((await publisher.rest.raw('GET', `/channels/${channel.id}/health`)).status).toBe(403);
  }, 90_000);

  test('millrace explain tells it for people and for scripts', async () => {
    const bad = await publish('{"a": 1,');
    await fateOf(bad);
    const environment = { MILLRACE_URL: millrace.url, MILLRACE_TOKEN: admin.authorization.slice('Bearer '.length) };
    const told = await millrace.command(['explain', bad], environment);
    expect([told.code, told.stderr]).toEqual([1, '']);
    expect(told.stdout).toMatch(/^dead: The payload is no well-formed JSON/);
    expect(told.stdout).toContain(`millrace dead-letters get ${bad}`);
    const json = await millrace.command(['explain', bad, '--json'], environment);
    expect(JSON.parse(json.stdout)).toMatchObject({ id: bad, status: 'dead' });
    const words = ['explain', '--channel', publisher.channel, '--thing', publisher.thing];
    const thing = await millrace.command(words, environment);
    expect([thing.code, thing.stdout]).toEqual([0, expect.stringContaining('It may publish')]);
    const shown = await millrace.command(['dead-letters', 'list', '--message', bad, '--json'], environment);
    expect((JSON.parse(shown.stdout) as { dead_letters: Letter[] }).dead_letters).toHaveLength(1);
    const gone = await millrace.command(['dead-letters', 'discard', bad], environment);
    expect([gone.code, gone.stderr]).toEqual([0, '1 put aside\n']);
  }, 90_000);
});
