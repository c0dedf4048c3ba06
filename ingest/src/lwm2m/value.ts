import type { ResourceType } from './definitions/model-file.ts';
import type { Lwm2mPath } from './path.ts';

/** An object link as text, `3303:0`: of one that is none, `65535:65535`. */
export class ObjectLink {
  readonly object: number;
  readonly instance: number;
  constructor(object: number, instance: number) {
    this.object = object;
    this.instance = instance;
  }
  toString(): string {
    return `${this.object}:${this.instance}`;
  }
}

export type Scalar = string | number | boolean | Buffer | ObjectLink;

/** One value of a device.  @holds path of a resource or of an instance of one */
export interface Lwm2mValue {
  readonly path: Lwm2mPath;
  readonly value: Scalar;
  /** s since 1970; null: not said. */
  readonly time: number | null;
}

/** A payload that is not what its format says, or not within our bounds. Caught where payloads are read. */
export class PayloadFault extends Error {
  constructor(detail: string) {
    super(detail);
    this.name = 'PayloadFault';
  }
}

const LINK = /^(\d{1,5}):(\d{1,5})$/;

export function parseLink(text: string): ObjectLink | null {
  const [, object, instance] = LINK.exec(text) ?? [];
  if (object === undefined || Number(object) > 65_535 || Number(instance) > 65_535) return null;
  return new ObjectLink(Number(object), Number(instance));
}

const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/;

/** What somebody wants written, as the resource's type has it. Bytes are `{ base64 }`; a type that we do not know is
 *  told by the value.
 *  @returns null if the value does not fit the type */
export function scalarOf(given: unknown, type: ResourceType | null): Scalar | null {
  if (typeof given === 'object' && given !== null && 'base64' in given) {
    const text = (given as { base64: unknown }).base64;
    if (typeof text !== 'string' || !BASE64.test(text)) return null;
    return type === null || type === 'opaque' ? Buffer.from(text, 'base64') : null;
  }
  switch (type) {
    case 'integer':
      return Number.isSafeInteger(given) ? (given as number) : null;
    case 'float':
      return typeof given === 'number' && Number.isFinite(given) ? given : null;
    case 'time':
      return timeOf(given);
    case 'boolean':
      return typeof given === 'boolean' ? given : null;
    case 'objlnk':
      return typeof given === 'string' ? parseLink(given) : null;
    case 'opaque':
      return null;
    case 'string':
      return typeof given === 'string' ? given : null;
    default:
      if (typeof given === 'number') return Number.isFinite(given) ? given : null;
      return typeof given === 'string' || typeof given === 'boolean' ? given : null;
  }
}

function timeOf(given: unknown): number | null {
  if (typeof given === 'string') {
    const ms = Date.parse(given);
    return Number.isNaN(ms) ? null : Math.floor(ms / 1_000);
  }
  return Number.isSafeInteger(given) ? (given as number) : null;
}
