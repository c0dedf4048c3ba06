/** A fleet of which everything is known: the same readings are made for the same size, on every machine.
 *  A hundredth are machines that send ten readings a minute, the rest sensors that send a temperature every 410 s. */
export interface Fleet {
  readonly machines: number;
  readonly sensors: number;
  /** Of the machines; the sensors have one for all. */
  readonly channels: number;
}

/** Of October 2026: from inclusive, to exclusive.  @units ms since 1970 */
export const FROM_MS = Date.UTC(2026, 9, 1);
export const TO_MS = Date.UTC(2026, 9, 31);
export const MACHINE_PERIOD_MS = 60_000;
export const SENSOR_PERIOD_MS = 410_000;

/** What a machine sends, with its unit. */
export const MACHINE_NAMES = [
  ['temperature', 'Cel'],
  ['humidity', '%RH'],
  ['power', 'W'],
  ['energy', 'J'],
  ['voltage', 'V'],
  ['current', 'A'],
  ['pressure', 'Pa'],
  ['speed', '1/min'],
  ['door', ''],
  ['log', ''],
] as const;
const DOOR = MACHINE_NAMES.findIndex(([name]) => name === 'door');
const LOG = MACHINE_NAMES.findIndex(([name]) => name === 'log');
const ENERGY = MACHINE_NAMES.findIndex(([name]) => name === 'energy');

/** Of 100 million readings; other sizes have fewer or more of the same. */
const FULL = { readings: 100_000_000, machines: 100, sensors: 9_000, channels: 10 };

export function fleetOf(readings: number): Fleet {
  const scale = readings / FULL.readings;
  const machines = Math.max(2, Math.round(FULL.machines * scale));
  return {
    machines,
    sensors: Math.max(10, Math.round(FULL.sensors * scale)),
    channels: Math.min(FULL.channels, machines),
  };
}

export const seriesOf = ({ machines, sensors }: Fleet): number => machines * MACHINE_NAMES.length + sensors;

const uuid = (kind: string, index: number): string =>
  `00000000-0000-7000-8000-${kind}${index.toString(16).padStart(11, '0')}`;
export const machineId = (index: number): string => uuid('a', index);
export const sensorId = (index: number): string => uuid('b', index);
/** The last is the sensors'. */
export const channelId = (index: number): string => uuid('c', index);

/** Statements that insert everything, slice by slice in order of time, as it would have come. */
export function* insertsOf(fleet: Fleet, org: string, rowsPerInsert: number): Generator<{ sql: string; rows: number }> {
  const machineSeries = fleet.machines * MACHINE_NAMES.length;
  const slices = (series: number, periodMs: number) => {
    const ticks = Math.floor((TO_MS - FROM_MS) / periodMs);
    const ticksPerInsert = Math.max(1, Math.floor(rowsPerInsert / series));
    return { ticks, ticksPerInsert };
  };
  const machine = slices(machineSeries, MACHINE_PERIOD_MS);
  for (let tick = 0; tick < machine.ticks; tick += machine.ticksPerInsert) {
    const ticks = Math.min(machine.ticksPerInsert, machine.ticks - tick);
    yield { sql: machineInsert(fleet, org, tick, ticks), rows: ticks * machineSeries };
  }
  const sensor = slices(fleet.sensors, SENSOR_PERIOD_MS);
  for (let tick = 0; tick < sensor.ticks; tick += sensor.ticksPerInsert) {
    const ticks = Math.min(sensor.ticksPerInsert, sensor.ticks - tick);
    yield { sql: sensorInsert(fleet, org, tick, ticks), rows: ticks * fleet.sensors };
  }
}

const COLUMNS =
  'org, channel, subtopic, publisher, protocol, received, log_partition, log_offset, `index`, name, unit, time, kind, value, string_value, bool_value, data_value, sum, update_time';
const id = (kind: string, number: string): string =>
  `concat('00000000-0000-7000-8000-${kind}', lower(leftPad(hex(${number}), 11, '0')))`;
/** 0 to below `below`, of the row's hash. */
const random = (salt: number, below: number): string => `(cityHash64(h, ${salt}) % ${below})`;
/** Each is silent for two hours in three days. */
const heard = (number: string): string => `(intDiv(ms - ${FROM_MS}, 7200000) + ${number}) % 37 != 0`;

function machineInsert({ machines, channels }: Fleet, org: string, tick: number, ticks: number): string {
  const names = MACHINE_NAMES.length;
  const list = (column: 0 | 1): string => `[${MACHINE_NAMES.map((each) => `'${each[column]}'`).join(', ')}]`;
  return `INSERT INTO readings (${COLUMNS})
SELECT '${org}', ${id('c', `toUInt64(thing % ${channels})`)}, '', ${id('a', 'thing')}, 'mqtt',
  fromUnixTimestamp64Micro(toInt64(ms * 1000 + 900 + ${random(1, 700)}), 'UTC'), thing % 8, t * ${machines} + thing, k,
  arrayElement(${list(0)}, k + 1), arrayElement(${list(1)}, k + 1),
  toDateTime64(fromUnixTimestamp64Milli(toInt64(ms), 'UTC'), 9, 'UTC'),
  multiIf(k = ${DOOR}, 'bool', k = ${LOG}, 'string', 'number'),
  nullIf(multiIf(k = 0, temperature, k = 1, round(45 - (temperature - 21) * 2 + ${random(2, 100)} / 100, 2),
    k = 2, if(heats, 900 + ${random(3, 6_000)} / 100, 4 + ${random(3, 100)} / 100),
    k = 3, toFloat64(t * 27600 + thing * 1000000 + ${random(4, 600)}), k = 4, 228 + ${random(5, 400)} / 100,
    k = 5, round(if(heats, 4, 0.02) + ${random(6, 30)} / 100, 2), k = 6, toFloat64(101300 + round(500 * sin(t / 4000)) + ${random(7, 20)}),
    k = 7, toFloat64(if(heats, 1440 + ${random(8, 60)}, 0)), -1e9), -1e9),
  multiIf(k != ${LOG}, '', ${random(9, 1_000)} = 0, concat('overheated at ', toString(80 + ${random(10, 20)}), ' degrees'),
    ${random(9, 1_000)} < 300, 'valve opened', ${random(9, 1_000)} < 600, 'valve closed', 'self-test passed'),
  if(k = ${DOOR}, intDiv(t + thing, 97) % 12 = 0, NULL), '',
  nullIf(if(k = ${ENERGY}, toFloat64(t * 27600 + thing * 1000000 + ${random(4, 600)}), -1e9), -1e9), NULL
FROM (
  SELECT number % ${machines * names} AS s, intDiv(s, ${names}) AS thing, s % ${names} AS k,
    ${tick} + intDiv(number, ${machines * names}) AS t, cityHash64(t, s) AS h,
    ${FROM_MS} + t * ${MACHINE_PERIOD_MS} + thing * 37 % 60000 + cityHash64(t, thing) % 4 AS ms,
    round(21 + 1.5 * sin(t / 230 + thing) + ${random(11, 10)} / 100, 2) AS temperature, sin(t / 230 + thing + 1.5) > 0 AS heats
  FROM numbers(${ticks * machines * names})
) WHERE ${heard('thing')} SETTINGS max_insert_threads = 1, max_threads = 2, insert_deduplicate = 0`;
}

function sensorInsert({ machines, sensors, channels }: Fleet, org: string, tick: number, ticks: number): string {
  return `INSERT INTO readings (${COLUMNS})
SELECT '${org}', '${channelId(channels)}', '', ${id('b', 'thing')}, 'lora',
  fromUnixTimestamp64Micro(toInt64(ms * 1000 + 900 + ${random(1, 700)}), 'UTC'), 9, t * ${sensors} + thing, 0,
  'temperature', 'Cel', toDateTime64(fromUnixTimestamp64Milli(toInt64(ms), 'UTC'), 9, 'UTC'), 'number',
  round(15 + 5 * sin(t / 33 + thing % ${machines}) + ${random(2, 20)} / 100, 2), '', NULL, '', NULL, NULL
FROM (
  SELECT number % ${sensors} AS thing, ${tick} + intDiv(number, ${sensors}) AS t, cityHash64(t, thing) AS h,
    ${FROM_MS} + t * ${SENSOR_PERIOD_MS} + thing * 45 % 410000 + h % 4 AS ms
  FROM numbers(${ticks * sensors})
) WHERE ${heard('thing')} SETTINGS max_insert_threads = 1, max_threads = 2, insert_deduplicate = 0`;
}
