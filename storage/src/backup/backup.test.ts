import { GONE_PARTITION_MIN, piecesOf, uuidV7 } from '@millrace/core';
import { expect, test } from 'vitest';
import { batchOf, type GivenMessage } from '../testing/batches.ts';
import { openPlace, type PlaceKind } from '../testing/places.ts';
import { newest } from '../testing/suite.ts';
import { openStoreRestore } from './restore.ts';

const NOW_US = Date.now() * 1_000;
const MONTHS_AGO_US = NOW_US - 70 * 86_400_000_000;

/** Everything that a row can hold, and that text could spoil. */
const odd: GivenMessage = {
  channel: 'odd\tname\n\\"\'',
  readings: [
    { name: 'number', timeUs: NOW_US, value: 0.1, unit: 'Cel', updateTime: 1.5 },
    { name: 'before 1970', timeUs: -1_500_001, value: -1.5 },
    { name: 'far', timeUs: Date.UTC(2200, 0, 1) * 1_000 + 7, value: 1e308 },
    { name: 'text', timeUs: NOW_US, stringValue: 'a\tb\nc\\N\r\0 \u{1F600}' },
    { name: 'bool', timeUs: NOW_US, boolValue: false },
    { name: 'data', timeUs: NOW_US, dataValue: Uint8Array.from({ length: 256 }, (_, index) => index) },
    { name: 'sum', timeUs: NOW_US, sum: -0.25 },
  ],
};
const blob: GivenMessage = { channel: 'blobs', payload: Uint8Array.from({ length: 1_000 }, (_, at) => (at * 7) % 256) };
const dead: GivenMessage = {
  channel: 'dead',
  deadLetters: [{ index: 3, reason: 'senml-record', payload: Uint8Array.from([0, 9, 10, 92, 255]) }],
};
const id = uuidV7();
const reading = (name: string, receivedUs: number, value: number): GivenMessage => ({
  id: uuidV7(receivedUs / 1_000),
  receivedUs,
  readings: [{ name, timeUs: receivedUs, value }],
});

const TABLES: Readonly<Record<string, string>> = {
  readings: 'SELECT * EXCEPT (log_partition) FROM readings ORDER BY ALL',
  messages: 'SELECT * EXCEPT (log_partition) FROM messages ORDER BY ALL',
  message_log: 'SELECT * EXCEPT (log_partition) FROM message_log ORDER BY ALL',
  dead_letters: 'SELECT * EXCEPT (log_partition) FROM dead_letters ORDER BY ALL',
  minutes: `SELECT org, channel, name, bucket, sum(count) AS n, sum(sum) AS s, min(minimum) AS l, max(maximum) AS h
    FROM readings_1m GROUP BY ALL ORDER BY ALL`,
  hours: `SELECT org, channel, name, bucket, sum(count) AS n, sum(sum) AS s
    FROM readings_1h GROUP BY ALL ORDER BY ALL`,
  latest: 'SELECT * FROM latest ORDER BY ALL',
};

test.each<[PlaceKind, PlaceKind]>([
  ['embedded', 'server'],
  ['server', 'cluster of two shards'],
  ['cluster of two shards', 'embedded'],
])(
  'what is written down from a store (%s) and loaded elsewhere (%s) has the same rows, under partitions of no log',
  {
    timeout: 120_000,
  },
  async (of, to) => {
    const write = { verify: false };
    const from = await openPlace(of);
    const target = await openPlace(to);
    try {
      const source = await from.open();
      const store = source.value;
      await store.write(
        't',
        batchOf(0, [reading('old', MONTHS_AGO_US, 1), reading('old', MONTHS_AGO_US, 5)], 3),
        write,
      );
      await store.write('t', batchOf(0, [{ ...odd, id, receivedUs: NOW_US }], 0), write);
      await store.write(
        't',
        batchOf(
          1,
          [blob, dead].map((each) => ({ ...each, receivedUs: NOW_US })),
          0,
        ),
        write,
      );
      await store.write('t', batchOf(2, [reading('expired', MONTHS_AGO_US, 9)], 3), write);
      if (of === 'embedded')
        // Of readings that have expired only the rollups are left.
        await from.rows("ALTER TABLE readings DELETE WHERE name = 'expired' SETTINGS mutations_sync = 2");
      const before: Record<string, unknown[]> = {};
      for (const [name, statement] of Object.entries(TABLES)) before[name] = await from.rows(statement);
      expect(before.latest).toHaveLength(9);

      const snapshot = await store.snapshot(new Set());
      expect(snapshot.positions).toEqual(
        new Map([
          [0, 3],
          [3, 3],
        ]),
      );
      // Comes while the backup is being made.
      await store.write('t', batchOf(3, [{ ...reading('late', NOW_US, 1) }], 0), write);
      const taken: { name: string; columns: readonly string[]; clears: boolean; bytes: Buffer }[] = [];
      for await (const { name, columns, rows, clears = false } of snapshot.tables())
        for await (const { bytes } of piecesOf(rows, columns.length, 100)) taken.push({ name, columns, clears, bytes });
      await source.stop();

      const restore = await openStoreRestore(target.config, target.directory);
      expect(await restore.contents()).toEqual({});
      await restore.begin(snapshot.schema);
      let cleared = '';
      for (const [index, { name, columns, clears, bytes }] of taken.entries()) {
        if (clears && cleared !== name) await restore.clear(name);
        if (clears) cleared = name;
        await restore.load({ name, columns }, bytes, `restore-${index}`);
      }
      await restore.finish();
      expect(await restore.storedCount()).toBe(0);
      await restore.close();

      const opened = await target.open();
      for (const [name, statement] of Object.entries(TABLES))
        expect(await target.rows(statement), name).toEqual(before[name]);
      const partitions = await target.rows<{ p: number }>(
        'SELECT DISTINCT log_partition AS p FROM message_log ORDER BY p',
      );
      expect(partitions.map(({ p }) => p)).toEqual([GONE_PARTITION_MIN, GONE_PARTITION_MIN + 1]);
      expect(await opened.value.fate(id)).toMatchObject({ channel: odd.channel, readings: 7, offset: 0 });

      // The new log begins at offset 0 again: its rows are none of those that are there.
      const again = batchOf(0, [{ ...reading('new', NOW_US, 2), channel: 'blobs' }], 0);
      await opened.value.write('t', again, { verify: true });
      await opened.value.write('t', again, { verify: true });
      expect((await opened.value.readings(newest('blobs'))).readings).toHaveLength(1);
      const last = await opened.value.lastMessage({ org: 'acme', channel: 'blobs', subtopic: '' });
      expect(last).toMatchObject({ partition: 0, offset: 0 });

      // A backup of what was restored keeps the older numbers and gives the new ones the next.
      const second = await opened.value.snapshot(new Set());
      expect(second.partitions).toEqual(new Map([[0, GONE_PARTITION_MIN + 2]]));
      await opened.stop();

      // Whoever comes back to a restore that was cut short does not clear away what a node has stored.
      const later = await openStoreRestore(target.config, target.directory);
      expect(await later.storedCount()).toBe(1);
      await later.close();
    } finally {
      await from.close();
      await target.close();
    }
  },
);
