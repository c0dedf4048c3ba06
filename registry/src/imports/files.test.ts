import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Entry, RejectedEntry, RowEntry } from './entries.ts';
import { CsvSplitter } from './files/csv.ts';
import { entriesOf } from './files/file.ts';
import { parsePoint } from './files/line-protocol.ts';
import { type FileSlices, parquetEntries } from './files/parquet.ts';
import type { Mapping } from './mapping.ts';
import { messagesOf, stretchesOf } from './packs.ts';

const MAPPING: Mapping = {
  format: 'csv',
  time: null,
  name: null,
  value: null,
  unit: null,
  publisher: null,
  subtopic: null,
  columns: null,
  timeFormat: 'auto',
  timeZone: 'UTC',
  delimiter: null,
  template: '{measurement}/{field}',
};
const MIB = 1_048_576;

const slicesOf = (bytes: Uint8Array): FileSlices => ({
  size: bytes.length,
  read: async (from, to) => bytes.slice(from, to),
});

async function read(
  content: string | Uint8Array,
  mapping: Partial<Mapping> = {},
  unfoldedMax = 64 * MIB,
): Promise<Entry[]> {
  const entries: Entry[] = [];
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  for await (const some of entriesOf(slicesOf(bytes), { ...MAPPING, ...mapping }, unfoldedMax)) entries.push(...some);
  return entries;
}

async function inProcess(bytes: Uint8Array): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const some of parquetEntries(slicesOf(bytes), { ...MAPPING, format: 'parquet' })) entries.push(...some);
  return entries;
}

/** What is read, as `line name=value@time`, and what is not, as `line! reason`. */
async function told(content: string | Uint8Array, mapping: Partial<Mapping> = {}): Promise<string[]> {
  return (await read(content, mapping)).flatMap((entry) => {
    if (entry.kind === 'rejected') return [`${entry.line}! ${entry.reason}`];
    if (entry.kind === 'pack') return [`${entry.line} ${Buffer.from(entry.payload).toString()}`];
    return entry.readings.map(
      ({ name, unit, value }) => `${entry.line} ${name}${unit && `[${unit}]`}=${JSON.stringify(value)}@${entry.timeUs}`,
    );
  });
}

const T = 1_767_225_600_000_000;

describe('CSV', () => {
  test('a reading a column, with units of the header; empty cells are no readings', async () => {
    const file =
      'time,temperature[Cel],open,note\r\n2026-01-01T00:00:00Z,21.50,true,"a ""b"", c"\r\n1767225601,,FALSE,\r\n\r\n1767225602000,1e3,,NaN\r\n';
    expect(await told(file)).toEqual([
      `2 temperature[Cel]=21.5@${T}`,
      `2 open=true@${T}`,
      `2 note="a \\"b\\", c"@${T}`,
      `3 open=false@${T + 1_000_000}`,
      `5 temperature[Cel]=1000@${T + 2_000_000}`,
    ]);
  });

  test('a reading a row, by its name and value, with who published it and where', async () => {
    const entries = await read('ts;sensor;val;dev;room\n1767225600;t;1;a;hall/1\n1767225600;t;2;;\n', {
      time: 'ts',
      name: 'sensor',
      value: 'val',
      publisher: 'dev',
      subtopic: 'room',
    });
    expect(entries).toEqual([
      {
        kind: 'row',
        line: 2,
        publisher: 'a',
        subtopic: 'hall/1',
        timeUs: T,
        readings: [{ name: 't', unit: '', value: 1 }],
      },
      {
        kind: 'row',
        line: 3,
        publisher: null,
        subtopic: null,
        timeUs: T,
        readings: [{ name: 't', unit: '', value: 2 }],
      },
    ]);
  });

  test('takes what our own exports write, whatever the kind of value', async () => {
    const file =
      'channel,subtopic,publisher,protocol,name,unit,time,value,string_value,bool_value,data_value,sum\n' +
      'c,,,http,t,Cel,2026-01-01T00:00:00Z,1.5,,,,\nc,,,http,s,,2026-01-01T00:00:00Z,,42,,,\n' +
      'c,,,http,b,,2026-01-01T00:00:00Z,,,false,,\nc,,,http,d,,2026-01-01T00:00:00Z,,,,AAEC,\n';
    expect(await told(file)).toEqual([`2 t[Cel]=1.5@${T}`, `3 s="42"@${T}`, `4 b=false@${T}`, `5 d="AAEC"@${T}`]);
    const { messages } = messagesOf({ ordinal: 0, entries: await read(file) });
    expect(JSON.parse(Buffer.from(messages[0]?.payload ?? []).toString()).at(-1)).toEqual({
      n: 'd',
      vd: 'AAEC',
      t: T / 1e6,
    });
  });

  test('a row that can not be read is told with its line, and costs no other', async () => {
    const file =
      'time,t\n1767225600,1\nyesterday,2\n1767225600\n5,3\n,4\n1767225600,1e999\n1767225600,a\0b\n1767225600,9\n';
    expect(await told(file)).toEqual([
      `2 t=1@${T}`,
      '3! the time "yesterday" can not be read',
      '4! there are 1 cells, the header has 2',
      '5! the time is before July 1978, which SenML can not tell from a relative one',
      '6! there is no time',
      '7! "t" is no finite number',
      '8! it holds a NUL character',
      `9 t=9@${T}`,
    ]);
    expect(
      await told(
        Buffer.concat([Buffer.from('time,t\n1767225600,'), Buffer.from([0xff]), Buffer.from('\n1767225600,1\n')]),
      ),
    ).toEqual(['2! it is no UTF-8', `3 t=1@${T}`]);
  });

  test('a quote that is never closed costs its line, not the rest', async () => {
    expect(await told(`time,t\n1767225600,"x\n1767225600,2\n`)).toEqual([
      '2! a quote is opened and never closed',
      `3 t=2@${T}`,
    ]);
  });

  test('a line that is too long is told, and what follows is read', async () => {
    expect(await told(`time,t\n1767225600,${'x'.repeat(3 * MIB)}\n1767225600,2\n`)).toEqual([
      '2! the line is too long',
      `3 t=2@${T}`,
    ]);
  });

  test('a header that can not be meant is refused as a whole', async () => {
    await expect(read('')).rejects.toThrow(/is empty/);
    await expect(read('a,b\n1,2\n')).rejects.toThrow(/no column is known to be the time.*a, b/);
    await expect(read('time,t,t\n')).rejects.toThrow(/two columns are called "t"/);
    await expect(read('time,Temperature (C)\n')).rejects.toThrow(/can not be the name of a reading/);
    await expect(read(`time,${Array.from({ length: 100_000 }, (_, i) => `c${i}`).join(',')}\n`)).rejects.toThrow(
      /more than 10000 columns/,
    );
    await expect(read('time,t\n', { time: 'when' })).rejects.toThrow(/no column "when" for the time/);
    expect(await told('time,Temperature (C)\n1767225600,4\n', { columns: [['Temperature (C)', 't[Cel]']] })).toEqual([
      `2 t[Cel]=4@${T}`,
    ]);
  });

  test('times in any format and zone', async () => {
    const one = (time: string, mapping: Partial<Mapping> = {}): Promise<string[]> =>
      told(`time,t\n"${time}",1\n`, mapping);
    for (const same of [
      '1767225600',
      '1767225600000',
      '1767225600000000',
      '1767225600000000999',
      '2026-01-01 00:00:00',
      '2026-01-01',
      '2026-01-01T02:00:00+02:00',
      '2025-12-31T23:00-0100',
    ])
      expect(await one(same), same).toEqual([`2 t=1@${T}`]);
    expect(await one('2026-01-01T01:00:00.123456', { timeZone: 'Europe/Berlin' })).toEqual([`2 t=1@${T + 123_456}`]);
    expect(await one('1767225600', { timeFormat: 'ms' })).toEqual([
      '2! the time is before July 1978, which SenML can not tell from a relative one',
    ]);
    expect(await one('2026-02-30')).toEqual(['2! the time "2026-02-30" can not be read']);
  });

  test('is split the same way, whatever parts it comes in', () => {
    const cell = fc.stringMatching(/^[ab,"\n\r;]{0,6}$/);
    fc.assert(
      fc.property(
        fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { maxLength: 8 }),
        fc.array(fc.nat(40)),
        (rows, cuts) => {
          const quoted = rows.map((row) => row.map((each) => `"${each.replaceAll('"', '""')}"`).join(',')).join('\n');
          const splitter = new CsvSplitter(',');
          const found: string[][] = [];
          let rest = quoted;
          for (const cut of cuts) {
            found.push(...splitter.push(rest.slice(0, cut)).map(({ cells }) => cells));
            rest = rest.slice(cut);
          }
          found.push(...splitter.push(rest, true).map(({ cells }) => cells));
          expect(found).toEqual(
            rows.map((row) =>
              row.map((each, index) => (index === row.length - 1 && each.endsWith('\r') ? each.slice(0, -1) : each)),
            ),
          );
        },
      ),
    );
  });
});

test('NDJSON: members of objects within are named by their path; what is no object is told', async () => {
  const file =
    '{"time":1767225600,"t":1,"room":{"hum":2,"on":true},"none":null}\nnothing\n[1]\n{"time":1767225600,"l":[1]}\n{"t":1}\n{"time":"2026-01-01T00:00:00Z","n":"12"}\n';
  expect(await told(file, { format: 'ndjson' })).toEqual([
    `1 t=1@${T}`,
    `1 room/hum=2@${T}`,
    `1 room/on=true@${T}`,
    '2! it is no JSON',
    '3! it is no JSON object (SenML packs: format=senml)',
    '4! "l" is a list, which can not be a reading',
    '5! no column is known to be the time; name it (map=time=<column>) of: t',
    `6 n="12"@${T}`,
  ]);
});

test('line protocol: fields are readings, tags may be publisher and subtopic', async () => {
  const file =
    '# a comment\nweather,dev=a\\ b,room=hall t=21.5,n=3i,ok=t,s="x \\"y\\", z" 1767225600000000000\n\nbad\nm f=1\nm f=x 1\nm f=1 1767225600000000000 2\n';
  expect(await told(file, { format: 'lineprotocol' })).toEqual([
    `2 weather/t=21.5@${T}`,
    `2 weather/n=3@${T}`,
    `2 weather/ok=true@${T}`,
    `2 weather/s="x \\"y\\", z"@${T}`,
    '4! a field has no value',
    '5! there is no time',
    '6! the value of "f" can not be read',
    '7! the time "1767225600000000000 2" is no whole number',
  ]);
  const [entry] = await read('weather,dev=a\\ b,room=hall t=1 1767225600', {
    format: 'lineprotocol',
    publisher: 'dev',
    subtopic: 'room',
    timeFormat: 's',
    template: '{room}.{field}',
  });
  expect(entry).toMatchObject({
    publisher: 'a b',
    subtopic: 'hall',
    timeUs: T,
    readings: [{ name: 'hall.t', value: 1 }],
  });
});

test('line protocol: reads back what is written by its rules', () => {
  const key = fc.stringMatching(/^[a-z][a-z ,=]{0,5}$/);
  const escaped = (text: string): string => text.replaceAll(/([ ,=])/g, '\\$1');
  const value = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(),
    fc.stringMatching(/^[a"\\ ,=]{0,6}$/),
  );
  fc.assert(
    fc.property(
      key,
      fc.dictionary(key, key),
      fc.dictionary(key, value, { minKeys: 1 }),
      (measurement, tags, fields) => {
        const valueText = (each: unknown): string =>
          typeof each === 'string' ? `"${each.replaceAll(/(["\\])/g, '\\$1')}"` : String(each);
        const text = `${[escaped(measurement), ...Object.entries(tags).map((pair) => pair.map(escaped).join('='))].join(',')} ${Object.entries(
          fields,
        )
          .map(([name, each]) => `${escaped(name)}=${valueText(each)}`)
          .join(',')} 12`;
        const point = parsePoint(text);
        if (typeof point === 'string') throw new Error(`${point}: ${text}`);
        expect(point.measurement).toBe(measurement);
        expect(Object.fromEntries(point.tags)).toEqual({ ...tags });
        expect(point.fields.map(([name, each]) => [name, Object.is(each, -0) ? 0 : each])).toEqual(
          Object.entries(fields).map(([name, each]) => [name, Object.is(each, -0) ? 0 : each]),
        );
      },
    ),
  );
});

describe('SenML', () => {
  const pack = '[{"bn":"a/","bt":1767225600,"n":"x","v":1},{"n":"y","v":2}]';

  test('packs as they are, one a line or one alone', async () => {
    expect(await told(`${pack}\n${pack}\nno\n[]\n[1]\n`, { format: 'senml' })).toEqual([
      `1 ${pack}`,
      `2 ${pack}`,
      '3! it is no JSON',
      '4! the pack is empty',
      '5! record 1 of the pack is no object',
    ]);
    const pretty = JSON.stringify(JSON.parse(pack), null, 2);
    expect(await told(pretty, { format: 'senml' })).toEqual([`1 ${pretty}`]);
    expect(await told('[{"n":', { format: 'senml' })).toEqual(['1! it is no JSON']);
  });

  test('a pack that is too large for a message becomes several, each with the base fields that hold there', async () => {
    const records = Array.from({ length: 2_500 }, (_, index) => ({
      ...(index % 900 === 0 ? { bn: `b${index}/`, bt: index } : {}),
      n: 'x',
      v: index,
    }));
    const entries = await read(JSON.stringify(records), { format: 'senml' });
    expect(entries.map((entry) => (entry.kind === 'pack' ? entry.readings : entry))).toEqual([1_000, 1_000, 500]);
    const resolved = (packs: readonly Record<string, unknown>[][]): unknown[] =>
      packs.flatMap((each) => {
        let base: Record<string, unknown> = {};
        return each.map((record) => {
          base = { bn: record.bn ?? base.bn, bt: record.bt ?? base.bt };
          return [base.bn, base.bt, record.v];
        });
      });
    const cut = entries.map((entry) => JSON.parse(Buffer.from((entry as { payload: Uint8Array }).payload).toString()));
    expect(resolved(cut)).toEqual(resolved([records]));
  });

  test('CBOR: a sequence of packs, each as it is; broken ones are refused', async () => {
    // [{0: "x", 2: 1}] and the same without lengths.
    const one = Buffer.from('81a200617802 01'.replaceAll(' ', ''), 'hex');
    const endless = Buffer.from('9fbf00617802 01ffff'.replaceAll(' ', ''), 'hex');
    const entries = await read(Buffer.concat([one, endless, one.subarray(0, 4)]), { format: 'senml' });
    expect(
      entries.map((entry) =>
        entry.kind === 'pack' ? [entry.contentType, Buffer.from(entry.payload)] : (entry as RejectedEntry).reason,
      ),
    ).toEqual([
      ['application/senml+cbor', one],
      ['application/senml+cbor', endless],
      'the last pack of CBOR is not complete',
    ]);
    await expect(read(Buffer.concat([one, Buffer.from([0x01])]), { format: 'senml' })).rejects.toThrow(
      /no sequence of SenML packs/,
    );
    await expect(read(Buffer.alloc(100, 0x81), { format: 'senml' })).rejects.toThrow(/nested too deep/);
  });
});

describe('packed files', () => {
  const file = 'time,t\n1767225600,1\n';

  test('are told by their first bytes', async () => {
    expect(await told(gzipSync(file))).toEqual([`2 t=1@${T}`]);
    // A frame with one raw block: `zstd` is not on every machine.
    const raw = Buffer.concat([
      Buffer.from('28b52ffd20', 'hex'),
      Buffer.from([file.length]),
      Buffer.from([(file.length << 3) | 1, 0, 0]),
      Buffer.from(file),
    ]);
    expect(await told(raw)).toEqual([`2 t=1@${T}`]);
  });

  test('that unfold to too much are refused, and broken ones too', async () => {
    const bomb = gzipSync(Buffer.alloc(8 * MIB, 'a'));
    await expect(read(bomb, {}, MIB)).rejects.toThrow(/unfolds to more than 1048576 bytes/);
    // Blocks of one byte that stand for 128 KiB each.
    const block = Buffer.from([0x02, 0x00, 0x10, 0x41]);
    const zstd = Buffer.concat([Buffer.from('28b52ffd0058', 'hex'), ...Array.from({ length: 4_000 }, () => block)]);
    await expect(read(zstd, {}, 16 * MIB)).rejects.toThrow(/unfolds to more than|zstd is broken/);
    await expect(read(gzipSync(file).subarray(0, 25))).rejects.toThrow(/gzip is broken/);
    await expect(read(Buffer.concat([Buffer.from('28b52ffd', 'hex'), Buffer.alloc(40, 0xee)]))).rejects.toThrow(
      /the zstd (is broken|needs a window)/,
    );
  });
});

test('zstd that would cost much more than it holds is refused, in every frame of it', async () => {
  const magic = [0x28, 0xb5, 0x2f, 0xfd];
  /** Without a size, with a window of 2^(10 + exponent) bytes. */
  const frame = (exponent: number, blocks: number): Buffer =>
    Buffer.from([
      ...magic,
      0,
      exponent << 3,
      ...Array.from({ length: blocks }, () => [0, 0, 0]).flat(),
      // The last block: one byte, as it is.
      ...[9, 0, 0, 0x0a],
    ]);
  await expect(read(frame(20, 0), { format: 'csv' })).rejects.toThrow(/window of more than 8 MiB/);
  await expect(read(Buffer.concat([frame(10, 0), frame(20, 0)]), { format: 'csv' })).rejects.toThrow(/window of more/);
  const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
  await expect(read(Buffer.concat([frame(10, 0), skippable, frame(20, 0)]), {})).rejects.toThrow(/window of more/);
  await expect(read(frame(13, 3_000), { format: 'csv' })).rejects.toThrow(/too many small blocks/);
});

test('whatever the bytes, a file gives entries or is refused, and never anything else', async () => {
  const formats = ['csv', 'ndjson', 'parquet', 'lineprotocol', 'senml'] as const;
  const head = fc.constantFrom('', 'time,t\n', '{"time":1,', 'm f=', '[{"n":', 'PAR1', '\u0081', '1767225600,"');
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...formats),
      head,
      fc.uint8Array({ maxLength: 300 }),
      fc.boolean(),
      async (format, start, tail, par) => {
        const bytes = Buffer.concat([
          Buffer.from(start, 'latin1'),
          tail,
          ...(par ? [Buffer.from([20, 0, 0, 0]), Buffer.from('PAR1')] : []),
        ]);
        try {
          // Of Parquet without the process, which would be made each time.
          const entries = format === 'parquet' ? await inProcess(bytes) : await read(bytes, { format });
          for (const entry of entries) expect(['row', 'pack', 'rejected']).toContain(entry.kind);
        } catch (error) {
          expect((error as Error).constructor.name, String((error as Error).stack)).toBe('FileFault');
        }
      },
    ),
    { numRuns: 500 },
  );
});

describe('messages', () => {
  const row = (line: number, publisher: string | null, count = 1): RowEntry => ({
    kind: 'row',
    line,
    publisher,
    subtopic: null,
    timeUs: T + line,
    readings: Array.from({ length: count }, (_, index) => ({ name: `n${index}`, unit: 'Cel', value: line })),
  });
  async function* batches(entries: readonly Entry[], size: number): AsyncGenerator<Entry[]> {
    for (let from = 0; from < entries.length; from += size) yield entries.slice(from, from + size);
  }
  const keysOf = async (entries: readonly Entry[], size: number, from = 0): Promise<string[]> => {
    const keys: string[] = [];
    for await (const stretch of stretchesOf(batches(entries, size), from))
      keys.push(...messagesOf(stretch).messages.map(({ key, readings }) => `${key}:${readings}`));
    return keys;
  };

  test('one for each publisher of a stretch; cut the same way at every reading, also from the middle', async () => {
    const entries = Array.from({ length: 2_600 }, (_, index) =>
      row(index + 1, index % 3 === 0 ? null : `p${index % 3}`),
    );
    const whole = await keysOf(entries, 7);
    expect(whole).toHaveLength(9);
    expect(new Set(whole).size).toBe(9);
    expect(await keysOf(entries, 1_000)).toEqual(whole);
    expect(await keysOf(entries, 64, 2_000)).toEqual(whole.slice(6));
  });

  test('SenML with the time to the microsecond', async () => {
    const [message] = messagesOf({ ordinal: 0, entries: [row(5, null)] }).messages;
    expect(Buffer.from(message?.payload ?? []).toString()).toBe('[{"n":"n0","u":"Cel","v":5,"t":1767225600.000005}]');
  });

  test('wide rows are spread over several', async () => {
    const entries = Array.from({ length: 30 }, (_, index) => row(index, null, 300));
    const keys = await keysOf(entries, 10);
    expect(keys.reduce((sum, key) => sum + Number(key.split(':')[1]), 0)).toBe(9_000);
    for (const key of keys) expect(Number(key.split(':')[1])).toBeLessThanOrEqual(1_200);
  });
});
