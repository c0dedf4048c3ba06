import { kafkaAvailable, startKafka } from '@millrace/log/testing';
import { afterAll, describe, expect, test } from 'vitest';
import { ADMIN, logIn, TwoNodes } from '../control/two-nodes.ts';
import { eventually, newPublisher } from '../millrace.ts';
import { Group, publishTo } from './group.ts';

const CHANNELS = 24;
const PARTITIONS = 12;
const SOON_MS = 60_000;
/** A node that is killed is dead for the others after its lease. */
const DEATH_MS = 90_000;
const missing = kafkaAvailable();
if (missing !== null && process.env.MILLRACE_TEST_NO_SKIP === '1') throw new Error(missing);

describe.skipIf(missing !== null)(`a $share group over two nodes${missing === null ? '' : ` (${missing})`}`, () => {
  const ends: (() => Promise<unknown>)[] = [];
  afterAll(async () => {
    for (const end of ends.reverse()) await end();
  }, 120_000);

  test('gives each message to one member, more to the node with more, and goes on when a node is killed', {
    timeout: 400_000,
  }, async () => {
    const kafka = await startKafka();
    ends.push(() => kafka.stop());
    const nodes = new TwoNodes({
      MILLRACE_ROLES: 'ingest,registry',
      MILLRACE_KAFKA_BROKERS: kafka.brokers,
      MILLRACE_LOG_PARTITIONS: String(PARTITIONS),
    });
    ends.push(() => nodes.dispose());
    await nodes.start();
    const { a, b } = nodes;
    const admin = await logIn(b, ADMIN);
    const publisher = await newPublisher(admin, 'source');
    const channels = [publisher.channel];
    while (channels.length < CHANNELS)
      channels.push((await admin.json<{ id: string }>('POST', '/channels', { name: 'more' })).id);
    await admin.json('POST', '/connect', { channel_ids: channels.slice(1), thing_ids: [publisher.thing] });

    const group = new Group('$share/workers/#');
    const atA = [await group.join(a, publisher, 'a1')];
    const atB = [
      await group.join(b, publisher, 'b1'),
      await group.join(b, publisher, 'b2'),
      await group.join(b, publisher, 'b3'),
    ];
    const partsOf = (): Promise<number> =>
      nodes.counted('(SELECT DISTINCT node FROM registry.mqtt_share_cursors) AS n');
    const settled = async (): Promise<boolean> => {
      const counts = await nodes.postgres.counts(
        'SELECT count(*) AS count FROM registry.mqtt_share_cursors GROUP BY node ORDER BY 1',
      );
      return counts.join() === `${PARTITIONS / 4},${(3 * PARTITIONS) / 4}`;
    };
    await eventually('the partitions are shared', SOON_MS, settled);
    expect(await partsOf()).toBe(2);
    const first = await publishTo(a, publisher, channels, 'first', 240);
    await eventually('all came', SOON_MS, async () => new Set(group.got).size === first.length);
    expect(group.odd(first)).toEqual([]);
    const countOf = (members: typeof atA): number => members.reduce((sum, { messages }) => sum + messages.length, 0);
    expect(countOf(atA)).toBeGreaterThan(0);
    expect(countOf(atB)).toBeGreaterThan(countOf(atA));

    // Members come and go while messages come: nothing is lost or given twice.
    const publishing = publishTo(a, publisher, channels, 'moving', 480);
    await group.join(a, publisher, 'a2');
    await group.join(a, publisher, 'a3');
    await atB[0]?.disconnect();
    const moving = await publishing;
    await eventually('all came', SOON_MS, async () => new Set(group.got).size === first.length + moving.length);
    expect(group.odd([...first, ...moving])).toEqual([]);

    const before = await publishTo(b, publisher, channels, 'before', 120);
    b.signal('SIGKILL');
    await b.ended();
    const after = await publishTo(a, publisher, channels, 'after', 240);
    const all = [...first, ...moving, ...before, ...after];
    await eventually('the other node has the rest', DEATH_MS, async () => {
      const got = new Set(group.got);
      return all.every((text) => got.has(text));
    });
    expect(group.odd(after)).toEqual([]);
  });
});
