import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BenchError } from '../errors.ts';
import { type ControlPlane, startNode } from '../product.ts';
import { BareEngine } from './bare-engine.ts';
import { channelId, type Fleet, fleetOf, insertsOf, machineId, sensorId, seriesOf } from './fleet.ts';

/** A data directory that was filled.  @units bytes on disk, after merges */
export interface Filled {
  readonly directory: string;
  readonly password: string;
  readonly org: string;
  readonly fleet: Fleet;
  readonly readings: number;
  readonly series: number;
  readonly bytesPerReading: number;
  /** With the rollups that belong to it. */
  readonly bytesPerReadingInAll: number;
  /** By column, of the readings. */
  readonly bytesByColumn: Readonly<Record<string, number>>;
}

const NOTE = 'bench-fill.json';
const ROWS_PER_INSERT = 2_000_000;
const ITEMS_PER_REQUEST = 1_000;
const MODELS = ['M100', 'M200', 'M300'];

/** What is written here is nobody's secret: the directory holds made-up data. */
const PASSWORD = 'a made-up fleet has a made-up password';

/** Fills a data directory, or takes it as it is if it was filled with as much before.
 *  @throws BenchError USAGE if it holds something else */
export async function fill(
  directory: string,
  readings: number,
  progress: (line: string) => void,
  signal?: AbortSignal,
): Promise<Filled> {
  const fleet = fleetOf(readings);
  const note = join(directory, NOTE);
  if (existsSync(note)) {
    const { asked, ...filled } = JSON.parse(await readFile(note, 'utf8')) as Filled & { readonly asked: number };
    if (asked === readings) return { ...filled, directory };
    throw new BenchError('USAGE', 'never', { problem: `${directory} was filled with ${asked} readings` });
  }
  if (existsSync(join(directory, 'clickhouse')))
    throw new BenchError('USAGE', 'never', { problem: `${directory} holds other data, or was filled by half` });
  await mkdir(directory, { recursive: true });
  await chmod(directory, 0o711);

  progress(`${fleet.machines} machines and ${fleet.sensors} sensors are registered`);
  const node = await startNode({ data: { directory, password: PASSWORD } });
  let org: string;
  try {
    org = await register(await node.plane(), fleet);
  } finally {
    await node.stop();
  }

  const engine = new BareEngine(join(directory, 'clickhouse'));
  try {
    const inserts = [...insertsOf(fleet, org, ROWS_PER_INSERT)];
    const total = inserts.reduce((sum, { rows }) => sum + rows, 0);
    let done = 0;
    for (const { sql, rows } of inserts) {
      signal?.throwIfAborted();
      await engine.ask(sql);
      done += rows;
      progress(`${(done / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} million readings`);
    }
    for (const table of ['readings', 'rollups', 'latest_others']) {
      progress(`${table}: parts are merged`);
      await engine.ask(`OPTIMIZE TABLE ${table} FINAL`);
    }
    const filled = { directory, password: PASSWORD, org, fleet, ...(await measure(engine)), series: seriesOf(fleet) };
    await writeFile(note, `${JSON.stringify({ ...filled, directory: undefined, asked: readings }, null, 2)}\n`);
    return filled;
  } finally {
    await engine.stop();
  }
}

/** @returns the organisation */
async function register(plane: ControlPlane, { machines, sensors, channels }: Fleet): Promise<string> {
  const { orgs } = await plane<{ orgs: { id: string }[] }>('GET', '/orgs');
  const org = orgs[0]?.id;
  if (org === undefined) throw new BenchError('SETUP_FAILED', 'never', { problem: 'no organisation' });
  for (let index = 0; index <= channels; index++) {
    const name = index === channels ? 'Sensors' : `Hall ${index}`;
    await plane('POST', '/channels', { id: channelId(index), name });
  }
  const things = [
    ...Array.from({ length: machines }, (_, index) => ({
      id: machineId(index),
      name: `Machine ${index}`,
      metadata: { model: MODELS[index % MODELS.length], hall: index % channels },
    })),
    ...Array.from({ length: sensors }, (_, index) => ({
      id: sensorId(index),
      name: `Sensor ${index}`,
      metadata: { model: 'S1', floor: index % 7 },
    })),
  ];
  for (let at = 0; at < things.length; at += ITEMS_PER_REQUEST)
    await plane('POST', '/things/bulk', things.slice(at, at + ITEMS_PER_REQUEST));
  return org;
}

async function measure(
  engine: BareEngine,
): Promise<Pick<Filled, 'readings' | 'bytesPerReading' | 'bytesPerReadingInAll' | 'bytesByColumn'>> {
  const { rows } = await engine.ask(
    `SELECT table, toFloat64(sum(bytes_on_disk)), toFloat64(sum(rows)) FROM system.parts
     WHERE database = currentDatabase() AND active GROUP BY table`,
  );
  const of = (table: string): readonly unknown[] => rows.find(([name]) => name === table) ?? [table, 0, 0];
  const readings = Number(of('readings')[2]);
  const columns = await engine.ask(
    `SELECT column, toFloat64(sum(column_data_compressed_bytes)) AS bytes FROM system.parts_columns
     WHERE database = currentDatabase() AND table = 'readings' AND active GROUP BY column HAVING bytes > 0 ORDER BY bytes DESC`,
  );
  return {
    readings,
    bytesPerReading: Number(of('readings')[1]) / readings,
    bytesPerReadingInAll: rows.reduce((sum, [, bytes]) => sum + Number(bytes), 0) / readings,
    bytesByColumn: Object.fromEntries(columns.rows.map(([name, bytes]) => [String(name), Number(bytes) / readings])),
  };
}
