import { afterAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from './millrace.ts';
import { expectStoredOnce, storedNames } from './stored.ts';

/** Messages in between: more than one batch of them. */
const BETWEEN = 2_000;
const BETWEEN_A_REQUEST = 500;

describe('one Idempotency-Key', () => {
  // Small batches, so that a repeat is never in the batch of what it repeats.
  const millrace = new Millrace({ MILLRACE_BATCH_BYTES_MAX: '65536' });
  afterAll(() => millrace.dispose());

  async function publish(publisher: Publisher, key: string, name: string): Promise<string> {
    const response = await publisher.rest.raw(
      'POST',
      `/channels/${publisher.channel}/messages`,
      JSON.stringify([{ n: name, v: 1 }]),
      { 'content-type': 'application/senml+json', 'idempotency-key': key },
    );
    expect(response.status).toBe(202);
    return ((await response.json()) as { id: string }).id;
  }

  async function publishOthers(publisher: Publisher, prefix: string): Promise<string[]> {
    const names = Array.from({ length: BETWEEN }, (_, index) => `${prefix}-${index}`);
    for (let at = 0; at < BETWEEN; at += BETWEEN_A_REQUEST) {
      const lines = names.slice(at, at + BETWEEN_A_REQUEST).map((n) => JSON.stringify([{ n, v: 1 }]));
      const path = `/channels/${publisher.channel}/messages/batch`;
      const response = await publisher.rest.raw('POST', path, lines.join('\n'), {
        'content-type': 'application/x-ndjson',
      });
      expect(response.status).toBe(202);
      await response.arrayBuffer();
    }
    return names;
  }

  const fateOf = (rest: Rest, id: string) =>
    eventually(`the fate of ${id}`, 60_000, async () => {
      const fate = await rest.json<{ status: string; stored?: string; reason?: string; detail: string }>(
        'GET',
        `/messages/${id}`,
      );
      return fate.status === 'accepted' ? undefined : fate;
    });

  test('makes one message of two: batches later, and after kill -9 with what came before unprocessed', {
    timeout: 400_000,
  }, async () => {
    await millrace.start();
    const admin = await Rest.asAdmin(millrace);
    const publisher = await newPublisher(admin, 'dedup');
    const first = await publish(publisher, 'once', 'first');
    const wanted = ['first', ...(await publishOthers(publisher, 'a'))];
    await expectStoredOnce(publisher.rest, publisher.channel, wanted);

    const second = await publish(publisher, 'once', 'second');
    expect(await fateOf(publisher.rest, first)).toMatchObject({ status: 'stored', stored: 'readings' });
    const fate = await fateOf(publisher.rest, second);
    expect(fate).toMatchObject({ status: 'stored', stored: 'nothing', reason: 'duplicate' });
    expect(fate.detail).toContain('It repeats an earlier message');

    await publish(publisher, 'twice', 'third');
    wanted.push('third', ...(await publishOthers(publisher, 'b')));
    expect(await millrace.end('SIGKILL')).toBe('SIGKILL');
    await millrace.start();
    const rest = new Rest(millrace.url, publisher.rest.authorization);
    const again: Publisher = { ...publisher, rest };
    const repeats = [await publish(again, 'twice', 'fourth'), await publish(again, 'once', 'fifth')];
    const other = await publish(again, 'other', 'sixth');
    for (const id of repeats) expect(await fateOf(rest, id)).toMatchObject({ reason: 'duplicate' });
    expect(await fateOf(rest, other)).toMatchObject({ stored: 'readings' });
    await expectStoredOnce(rest, publisher.channel, [...wanted, 'sixth']);
    expect((await storedNames(rest, publisher.channel)).filter((name) => /second|fourth|fifth/.test(name))).toEqual([]);
  });
});
