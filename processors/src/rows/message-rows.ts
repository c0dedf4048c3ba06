import type { DeadReason, LowCardinalityColumn, readingsColumns } from '@millrace/core';

// hot

type ReadingsColumns = ReturnType<typeof readingsColumns>;

/** What a reading carries: bits of `flags`. */
export const HAS_VALUE = 1;
export const HAS_TEXT = 2;
export const HAS_BOOL = 4;
export const HAS_DATA = 8;
export const HAS_SUM = 16;
export const HAS_UPDATE_TIME = 32;

/** A record that did not become a reading. `record` is shown as JSON. */
export interface DeadRecord {
  readonly index: number;
  readonly reason: DeadReason;
  readonly detail: string;
  readonly record: unknown;
}

/** Where a message's readings stand in the log, as indexes into the dictionaries of the readings columns. */
export interface RowOrigin {
  org: number;
  channel: number;
  subtopic: number;
  publisher: number;
  protocol: number;
  receivedUs: number;
  /** @units s since 1970 */
  expires: number;
  partition: number;
  offset: number;
}

/** Earliest and latest time of DateTime64(9): 1900-01-01 and 2262-04-11T23:47:16.854775. */
export const TIME_US_MIN = -2_208_988_800_000_000;
export const TIME_US_MAX = 9_223_372_036_854_774;

export const NAME_SIZE_MAX = 1_024;
const ROWS_MIN = 256;

/** The resolved readings of one message, kept as columns until it is certain that the message lives and in what order
 *  its readings come. Used again for each message; grows to the largest.
 *  @holds dictionary indexes are void after the readings columns were cleared: call `restart` then */
export class MessageRows {
  count = 0;
  readonly dead: DeadRecord[] = [];
  readonly #columns: ReadingsColumns;
  #timeUs = new Float64Array(ROWS_MIN);
  #value = new Float64Array(ROWS_MIN);
  #sum = new Float64Array(ROWS_MIN);
  #updateTime = new Float64Array(ROWS_MIN);
  #flags = new Uint8Array(ROWS_MIN);
  #index = new Uint32Array(ROWS_MIN);
  #name = new Uint32Array(ROWS_MIN);
  #unit = new Uint32Array(ROWS_MIN);
  #text: string[] = [];
  #sorted = true;
  /** Dictionary index of a name by base name, then name; −1 if it is no valid name. */
  readonly #bases = new Map<string, Map<string, number>>();
  #base: Map<string, number> = new Map();
  #baseName = '';
  #kinds = new Uint32Array(HAS_UPDATE_TIME);

  constructor(columns: ReadingsColumns) {
    this.#columns = columns;
    this.restart();
  }

  /** After the readings columns were cleared. */
  restart(): void {
    this.#bases.clear();
    const kind = this.#columns.kind;
    const kinds = this.#kinds;
    const [number, text, bool, data, sum] = ['number', 'string', 'bool', 'data', 'sum'].map((name) =>
      kind.intern(name),
    ) as [number, number, number, number, number];
    for (let flags = 0; flags < kinds.length; flags++)
      kinds[flags] =
        flags & HAS_VALUE ? number : flags & HAS_TEXT ? text : flags & HAS_BOOL ? bool : flags & HAS_DATA ? data : sum;
    this.clear();
  }

  /** Before each message. */
  clear(): void {
    this.count = 0;
    this.dead.length = 0;
    this.#text.length = 0;
    this.#sorted = true;
    this.useBase('');
  }

  get baseName(): string {
    return this.#baseName;
  }

  useBase(baseName: string): void {
    this.#baseName = baseName;
    const known = this.#bases.get(baseName);
    if (known !== undefined) {
      this.#base = known;
      return;
    }
    this.#base = new Map();
    this.#bases.set(baseName, this.#base);
  }

  /** Dictionary index of base name + name, checked as a whole.
   *  @returns −1 if it is no SenML name, −2 if it is empty  @source RFC 8428 §4.5.1 */
  senmlName(name: string): number {
    const known = this.#base.get(name);
    if (known !== undefined) return known;
    const size = this.#baseName.length + name.length;
    let index = -1;
    if (size === 0) index = -2;
    else if (size <= NAME_SIZE_MAX) {
      const full = this.#baseName + name;
      if (SENML_NAME.test(full)) index = this.#columns.name.intern(full);
    } else return -1;
    this.#base.set(name, index);
    return index;
  }

  /** Dictionary index of a path out of plain JSON; −1 if it is too long. */
  pathName(path: string): number {
    return path.length > NAME_SIZE_MAX ? -1 : this.#columns.name.intern(path);
  }

  unit(text: string): number {
    return this.#columns.unit.intern(text);
  }

  /** @param text of HAS_TEXT; base64url of HAS_DATA  @param value of HAS_VALUE; of HAS_BOOL as 0 or 1 */
  add(
    index: number,
    name: number,
    unit: number,
    timeUs: number,
    flags: number,
    value: number,
    text: string,
    sum: number,
    updateTime: number,
  ): void {
    const row = this.count++;
    if (row === this.#timeUs.length) this.#grow();
    if (row > 0 && timeUs < (this.#timeUs[row - 1] as number)) this.#sorted = false;
    this.#index[row] = index;
    this.#name[row] = name;
    this.#unit[row] = unit;
    this.#timeUs[row] = timeUs;
    this.#flags[row] = flags;
    this.#value[row] = value;
    this.#sum[row] = sum;
    this.#updateTime[row] = updateTime;
    this.#text.push(text);
  }

  /** Leaves out the readings whose names are not wanted.  @returns how many */
  leaveOut(wanted: (name: number, dictionary: LowCardinalityColumn) => boolean): number {
    const dictionary = this.#columns.name;
    let kept = 0;
    for (let row = 0; row < this.count; row++) {
      if (!wanted(this.#name[row] as number, dictionary)) continue;
      if (kept !== row) {
        this.#timeUs[kept] = this.#timeUs[row] as number;
        this.#value[kept] = this.#value[row] as number;
        this.#sum[kept] = this.#sum[row] as number;
        this.#updateTime[kept] = this.#updateTime[row] as number;
        this.#flags[kept] = this.#flags[row] as number;
        this.#index[kept] = this.#index[row] as number;
        this.#name[kept] = this.#name[row] as number;
        this.#unit[kept] = this.#unit[row] as number;
        this.#text[kept] = this.#text[row] as string;
      }
      kept++;
    }
    const left = this.count - kept;
    this.count = kept;
    this.#text.length = kept;
    return left;
  }

  /** Appends the readings to the columns, in order of time, stable. */
  emit(origin: RowOrigin): void {
    const order = this.#sorted ? null : this.#order();
    const columns = this.#columns;
    const texts = this.#text;
    const kinds = this.#kinds;
    columns.expires.add(origin.expires, this.count);
    for (let place = 0; place < this.count; place++) {
      const row = order === null ? place : (order[place] as number);
      const flags = this.#flags[row] as number;
      columns.org.addIndex(origin.org);
      columns.channel.addIndex(origin.channel);
      columns.subtopic.addIndex(origin.subtopic);
      columns.publisher.addIndex(origin.publisher);
      columns.protocol.addIndex(origin.protocol);
      columns.received.add(origin.receivedUs);
      columns.partition.add(origin.partition);
      columns.offset.add(origin.offset);
      columns.index.add(this.#index[row] as number);
      columns.name.addIndex(this.#name[row] as number);
      columns.unit.addIndex(this.#unit[row] as number);
      columns.time.addMicroseconds(this.#timeUs[row] as number);
      columns.kind.addIndex(kinds[flags & (HAS_UPDATE_TIME - 1)] as number);
      if (flags & HAS_VALUE) columns.value.add(this.#value[row] as number);
      else columns.value.addNull();
      if (flags & HAS_TEXT) columns.stringValue.addText(texts[row] as string);
      else columns.stringValue.addEmpty();
      if (flags & HAS_BOOL) columns.boolValue.add(this.#value[row] as number);
      else columns.boolValue.addNull();
      if (flags & HAS_DATA) columns.dataValue.addBytes(Buffer.from(texts[row] as string, 'base64url'));
      else columns.dataValue.addEmpty();
      if (flags & HAS_SUM) columns.sum.add(this.#sum[row] as number);
      else columns.sum.addNull();
      if (flags & HAS_UPDATE_TIME) columns.updateTime.add(this.#updateTime[row] as number);
      else columns.updateTime.addNull();
    }
  }

  #order(): Uint32Array {
    const timeUs = this.#timeUs;
    return Uint32Array.from({ length: this.count }, (_, row) => row).sort(
      (a, b) => (timeUs[a] as number) - (timeUs[b] as number) || a - b,
    );
  }

  #grow(): void {
    const count = this.#timeUs.length * 2;
    this.#timeUs = grown(this.#timeUs, new Float64Array(count));
    this.#value = grown(this.#value, new Float64Array(count));
    this.#sum = grown(this.#sum, new Float64Array(count));
    this.#updateTime = grown(this.#updateTime, new Float64Array(count));
    this.#flags = grown(this.#flags, new Uint8Array(count));
    this.#index = grown(this.#index, new Uint32Array(count));
    this.#name = grown(this.#name, new Uint32Array(count));
    this.#unit = grown(this.#unit, new Uint32Array(count));
  }
}

/** A name may begin with a slash, which RFC 8428 §4.5.1 would not have: LwM2M's do (`/3303/0/5700`). */
const SENML_NAME = /^[A-Za-z0-9/][A-Za-z0-9\-:./_]*$/;

function grown<A extends { set(from: A): void }>(from: A, into: A): A {
  into.set(from);
  return into;
}
