import type { Location } from './lora-event.ts';

/** What came is no event: a sentence for whoever set the server up. Thrown by the readers of events, and given back by
 *  `readEvent` as a value. */
export class EventFault extends Error {}

/** Gateways of one uplink that are looked at; hardly any has more than a dozen. */
const LIST_MAX = 256;
/** Names and identifiers longer than this are cut. */
const TEXT_CHARACTERS_MAX = 512;
/** Of what a codec made. */
export const DEPTH_MAX = 64;

/** Reads an object as proto3 JSON means it: what is absent or null is the zero of its kind, numbers may come as text,
 *  bytes as Base64 or hex. Also reads decoded protobuf, where bytes are bytes and times are objects.
 *  @throws EventFault where something is of a wrong kind */
export class Members {
  readonly #value: Readonly<Record<string, unknown>>;
  readonly #path: string;

  constructor(value: unknown, path = '') {
    if (!isObject(value)) throw new EventFault(`${path === '' ? 'The event' : path} is no JSON object.`);
    this.#value = value;
    this.#path = path;
  }

  has(name: string): boolean {
    return this.raw(name) !== undefined;
  }

  /** Whatever is there; null counts as absent. */
  raw(name: string): unknown {
    const value = Object.hasOwn(this.#value, name) ? this.#value[name] : undefined;
    return value === null ? undefined : value;
  }

  /** Whatever is there, null if nothing is, but not nested without end. */
  value(name: string): unknown {
    return this.#shallow(name, this.raw(name) ?? null);
  }

  /** What a text says as JSON; null if it is absent or empty. */
  jsonText(name: string): unknown {
    const value = this.raw(name);
    if (value === undefined || value === '') return null;
    if (typeof value !== 'string') throw this.#fault(name, 'JSON as text');
    try {
      return this.#shallow(name, JSON.parse(value));
    } catch (error) {
      if (error instanceof EventFault) throw error;
      throw this.#fault(name, 'JSON');
    }
  }

  text(name: string): string {
    const value = this.raw(name);
    if (value === undefined) return '';
    if (typeof value === 'string') return value.slice(0, TEXT_CHARACTERS_MAX);
    if (typeof value === 'number' || typeof value === 'bigint') return String(value);
    throw this.#fault(name, 'text');
  }

  number(name: string): number {
    return this.numberOrNull(name) ?? 0;
  }

  numberOrNull(name: string): number | null {
    const value = this.raw(name);
    if (value === undefined) return null;
    const number = typeof value === 'string' && /^-?\d+(\.\d+)?([eE][-+]?\d+)?$/.test(value) ? Number(value) : value;
    if (typeof number !== 'number' || !Number.isFinite(number)) throw this.#fault(name, 'a number');
    return number;
  }

  /** @param max inclusive */
  integer(name: string, max: number): number {
    const value = this.number(name);
    if (!Number.isInteger(value) || value < 0 || value > max) throw this.#fault(name, `a whole number up to ${max}`);
    return value;
  }

  boolean(name: string): boolean {
    return this.booleanOrNull(name) ?? false;
  }

  booleanOrNull(name: string): boolean | null {
    const value = this.raw(name);
    if (value === undefined) return null;
    if (typeof value !== 'boolean') throw this.#fault(name, 'true or false');
    return value;
  }

  /** Base64, also its URL alphabet; empty if absent. */
  bytes(name: string): Uint8Array {
    const value = this.raw(name);
    if (value === undefined || value === '') return new Uint8Array(0);
    if (value instanceof Uint8Array) return value;
    if (typeof value !== 'string' || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(value)) throw this.#fault(name, 'Base64');
    return Buffer.from(value, 'base64');
  }

  /** An identifier of so many bytes, as hex in lower case: sent as hex (with `-` or `:` between, or not), as Base64, or as
   *  bytes. "" if absent or empty. */
  hex(name: string, size: number): string {
    const value = this.raw(name);
    if (value === undefined || value === '') return '';
    if (value instanceof Uint8Array) {
      if (value.length === 0) return '';
      if (value.length === size) return Buffer.from(value).toString('hex');
    } else if (typeof value === 'string') {
      const digits = value.replaceAll(/[-:]/g, '').toLowerCase();
      if (digits.length === size * 2 && /^[0-9a-f]+$/.test(digits)) return digits;
      const bytes = Buffer.from(value, 'base64');
      if (bytes.length === size && /^[A-Za-z0-9+/_-]+={0,2}$/.test(value)) return bytes.toString('hex');
    }
    throw this.#fault(name, `${size} bytes as hex or Base64`);
  }

  /** @units µs since 1970; null if absent */
  timeUs(name: string): number | null {
    const value = this.raw(name);
    if (value === undefined || value === '') return null;
    if (isObject(value)) {
      const time = new Members(value, this.#at(name));
      const us = time.number('seconds') * 1_000_000 + Math.floor(time.number('nanos') / 1_000);
      // JSON may hold anything in the place of a Timestamp.
      if (!Number.isSafeInteger(us)) throw this.#fault(name, 'a time');
      return us;
    }
    const timeUs = typeof value === 'string' ? timeUsOf(value) : null;
    if (timeUs === null) throw this.#fault(name, 'a time as RFC 3339 writes it');
    return timeUs;
  }

  child(name: string): Members | null {
    const value = this.raw(name);
    return value === undefined ? null : new Members(value, this.#at(name));
  }

  children(name: string): Members[] {
    const value = this.raw(name);
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw this.#fault(name, 'an array');
    return value.slice(0, LIST_MAX).map((each, index) => new Members(each, `${this.#at(name)}[${index}]`));
  }

  texts(name: string): string[] {
    const value = this.raw(name);
    if (value === undefined) return [];
    if (!Array.isArray(value) || value.some((each) => typeof each !== 'string')) throw this.#fault(name, 'texts');
    return value.slice(0, LIST_MAX);
  }

  /** Members that are texts, numbers or booleans, as text. */
  map(name: string): Record<string, string> {
    const value = this.raw(name);
    if (value === undefined) return {};
    if (!isObject(value)) throw this.#fault(name, 'an object');
    const told: Record<string, string> = {};
    for (const [key, each] of Object.entries(value).slice(0, LIST_MAX)) {
      if (['string', 'number', 'boolean'].includes(typeof each)) {
        told[key.slice(0, TEXT_CHARACTERS_MAX)] = String(each).slice(0, TEXT_CHARACTERS_MAX);
      }
    }
    return told;
  }

  /** A name out of a list, or its number as protobuf has it; what is not known as it came. */
  oneOf(name: string, names: readonly string[]): string {
    const value = this.raw(name);
    if (value === undefined) return names[0] ?? '';
    if (typeof value === 'number') return names[value] ?? String(value);
    return this.text(name);
  }

  #shallow(name: string, value: unknown): unknown {
    if (!isShallow(value, DEPTH_MAX)) throw new EventFault(`${this.#at(name)} is nested too deeply.`);
    return value;
  }

  #at(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`;
  }

  #fault(name: string, expected: string): EventFault {
    return new EventFault(`${this.#at(name)} is not ${expected}.`);
  }
}

/** A place, as ChirpStack and The Things Stack both write it. (0, 0) with nothing else is how they say "none". */
export function locationOf(members: Members | null, sources: readonly string[] = []): Location | null {
  if (members === null) return null;
  const latitude = members.number('latitude');
  const longitude = members.number('longitude');
  const altitude = members.numberOrNull('altitude');
  if (latitude === 0 && longitude === 0 && (altitude ?? 0) === 0) return null;
  if (Math.abs(latitude) > 90 || Math.abs(longitude) > 180) return null;
  const accuracyM = members.numberOrNull('accuracy');
  return {
    latitude,
    longitude,
    altitude,
    accuracyM: accuracyM === 0 ? null : accuracyM,
    source: sources.length === 0 ? members.text('source') : members.oneOf('source', sources),
  };
}

const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[-+]\d\d:\d\d)$/i;
/** RFC 3339 to µs; null if it is none. */
export function timeUsOf(text: string): number | null {
  const [, seconds, fraction = '', zone] = TIME.exec(text) ?? [];
  if (seconds === undefined || zone === undefined) return null;
  const ms = Date.parse(`${seconds}${zone.toUpperCase()}`);
  return Number.isNaN(ms) ? null : ms * 1_000 + Number(fraction.slice(0, 6).padEnd(6, '0'));
}

export function isShallow(value: unknown, depthMax: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return depthMax > 0 && Object.values(value).every((each) => isShallow(each, depthMax - 1));
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
