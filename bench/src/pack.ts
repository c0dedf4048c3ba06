/** Text that a device could send: one SenML pack, every variant of the same size to a few bytes.
 *  @shape one record a sensor, ten sensors at most; a longer pack repeats them one second further back each time */
export function senmlPack(device: number, recordCount: number, variant: number): string {
  const records: string[] = [];
  for (let index = 0; index < recordCount; index++) {
    const sensor = index % SENSORS.length;
    const [name, unit, base] = SENSORS[sensor] as (typeof SENSORS)[number];
    const secondsBack = Math.floor(index / SENSORS.length);
    const first = index === 0 ? `"bn":"urn:dev:mac:0024befffe80${(0x1000 + device).toString(16)}:",` : '';
    const time = secondsBack === 0 ? '' : `,"t":-${secondsBack}`;
    const value = (base + ((variant * 7 + index * 3) % 97) / 10).toFixed(1);
    records.push(`{${first}"n":"${name}","u":"${unit}","v":${value}${time}}`);
  }
  return `[${records.join(',')}]`;
}

const SENSORS = [
  ['temp', 'Cel', 21],
  ['humid', '%RH', 45],
  ['press', 'hPa', 1003],
  ['light', 'lx', 320],
  ['volt', 'V', 3.3],
  ['curr', 'A', 10.2],
  ['power', 'W', 70.5],
  ['co2', 'ppm', 412],
  ['noise', 'dB', 38],
  ['speed', 'm/s', 12],
] as const;

/** Who sends where: one key and one channel each. */
export interface Target {
  readonly channel: string;
  readonly key: string;
}

/** Rows for the insert floors, as the bare road would write them for these packs.
 *  @units received, time: µs since 1970 */
export interface FloorRow {
  readonly channel: string;
  readonly publisher: string;
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  readonly receivedUs: number;
}

export function floorRows(rowCount: number, deviceCount: number, nowUs: number): FloorRow[] {
  const rows: FloorRow[] = [];
  for (let index = 0; index < rowCount; index++) {
    const message = Math.floor(index / SENSORS.length);
    const device = message % deviceCount;
    const [name, unit, base] = SENSORS[index % SENSORS.length] as (typeof SENSORS)[number];
    rows.push({
      channel: `channel-${device}`,
      publisher: `thing-${device}`,
      name: `urn:dev:mac:0024befffe80${(0x1000 + device).toString(16)}:${name}`,
      unit,
      value: Math.round((base + ((index * 7) % 97) / 10) * 10) / 10,
      receivedUs: nowUs + message * 33,
    });
  }
  return rows;
}
