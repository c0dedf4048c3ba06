import type { ResourceType } from '../definitions/model-file.ts';
import type { Lwm2mPath } from '../path.ts';
import { type Lwm2mValue, ObjectLink, PayloadFault, type Scalar } from '../value.ts';

/** Types of the identifier, bits 7 and 6.  @source OMA LwM2M Core 1.1 §7.4.3, table 7.4.3-1 */
const OBJECT_INSTANCE = 0;
const RESOURCE_INSTANCE = 1;
const MULTIPLE_RESOURCE = 2;
const RESOURCE = 3;

/** Knows a resource's type; null: nobody told us. */
export type TypeOf = (object: number, resource: number) => ResourceType | null;

/** Reads TLV that stands for what is at `base`.
 *  @throws PayloadFault
 *  @holds at most `valuesMax` values, and no deeper than the three levels that there are */
export function readTlv(bytes: Buffer, base: Lwm2mPath, typeOf: TypeOf, valuesMax: number): Lwm2mValue[] {
  const values: Lwm2mValue[] = [];
  const [object] = base;
  if (object === undefined) throw new PayloadFault('TLV stands for an object, at least');
  const walk = (from: number, to: number, path: Lwm2mPath, within: number | null): void => {
    for (let at = from; at < to; ) {
      const kind = (bytes[at] as number) >> 6;
      const idSize = (bytes[at] as number) & 0x20 ? 2 : 1;
      const sizeSize = ((bytes[at] as number) >> 3) & 3;
      const inline = (bytes[at] as number) & 7;
      const start = at + 1 + idSize + sizeSize;
      if (start > to) throw new PayloadFault('TLV ends within a header');
      const id = bytes.readUIntBE(at + 1, idSize);
      const size = sizeSize === 0 ? inline : bytes.readUIntBE(at + 1 + idSize, sizeSize);
      at = start + size;
      if (at > to) throw new PayloadFault('TLV ends within a value');
      if (kind === OBJECT_INSTANCE) {
        if (within !== null) throw new PayloadFault('an object instance within something else');
        if (base.length > 1 && base[1] !== id) throw new PayloadFault('another object instance than was asked for');
        walk(start, at, [object, id], OBJECT_INSTANCE);
      } else if (kind === MULTIPLE_RESOURCE) {
        if (within === MULTIPLE_RESOURCE) throw new PayloadFault('a resource within another one');
        walk(start, at, [...instanceOf(path), id], MULTIPLE_RESOURCE);
      } else {
        if (kind === RESOURCE && within === MULTIPLE_RESOURCE) throw new PayloadFault('a resource within another one');
        const full = kind === RESOURCE ? [...instanceOf(path), id] : [...resourceOf(path), id];
        if (values.length >= valuesMax) throw new PayloadFault(`more than ${valuesMax} values`);
        const value = readScalar(bytes.subarray(start, at), typeOf(full[0] as number, full[2] as number));
        values.push({ path: full, value, time: null });
      }
    }
  };
  walk(0, bytes.length, base, null);
  return values;
}

/** A resource without an instance around it is of the instance that was asked for. */
const instanceOf = (path: Lwm2mPath): Lwm2mPath => (path.length === 1 ? [path[0] as number, 0] : path.slice(0, 2));
function resourceOf(path: Lwm2mPath): Lwm2mPath {
  if (path.length < 3) throw new PayloadFault('an instance of a resource without its resource');
  return path.slice(0, 3);
}

function readScalar(bytes: Buffer, type: ResourceType | null): Scalar {
  switch (type) {
    case 'float':
      if (bytes.length === 4) return finite(bytes.readFloatBE(0));
      if (bytes.length === 8) return finite(bytes.readDoubleBE(0));
      throw new PayloadFault('a float of neither 4 nor 8 bytes');
    case 'integer':
    case 'time':
      if (bytes.length === 8) return Number(bytes.readBigInt64BE(0));
      if (bytes.length === 1 || bytes.length === 2 || bytes.length === 4) return bytes.readIntBE(0, bytes.length);
      throw new PayloadFault('an integer of none of 1, 2, 4 and 8 bytes');
    case 'boolean':
      if (bytes.length !== 1 || (bytes[0] as number) > 1) throw new PayloadFault('a boolean that is neither 0 nor 1');
      return bytes[0] === 1;
    case 'objlnk':
      if (bytes.length !== 4) throw new PayloadFault('an object link of other than 4 bytes');
      return new ObjectLink(bytes.readUInt16BE(0), bytes.readUInt16BE(2));
    case 'string':
      return bytes.toString('utf8');
    default:
      return bytes;
  }
}

export function finite(value: number): number {
  if (!Number.isFinite(value)) throw new PayloadFault('a number that is not finite');
  return value;
}

/** Writes values as TLV of what is at `base`: an object (instances), an instance (resources), or a resource.
 *  @holds all values are below the base */
export function writeTlv(values: readonly Lwm2mValue[], base: Lwm2mPath, typeOf: TypeOf): Buffer {
  if (base.length === 1) {
    const instances = grouped(values, 1);
    return Buffer.concat([...instances].map(([id, within]) => entry(OBJECT_INSTANCE, id, resources(within, typeOf))));
  }
  return resources(values, typeOf);
}

function resources(values: readonly Lwm2mValue[], typeOf: TypeOf): Buffer {
  return Buffer.concat(
    [...grouped(values, 2)].map(([id, within]) => {
      const instances = within.map(({ path, value }) => {
        const bytes = scalarBytes(value, typeOf(path[0] as number, id));
        return path.length === 4 ? entry(RESOURCE_INSTANCE, path[3] as number, bytes) : entry(RESOURCE, id, bytes);
      });
      const first = within[0] as Lwm2mValue;
      return first.path.length === 4
        ? entry(MULTIPLE_RESOURCE, id, Buffer.concat(instances))
        : Buffer.concat(instances);
    }),
  );
}

function grouped(values: readonly Lwm2mValue[], level: number): Map<number, Lwm2mValue[]> {
  const groups = new Map<number, Lwm2mValue[]>();
  for (const value of values) {
    const id = value.path[level] as number;
    const group = groups.get(id);
    if (group === undefined) groups.set(id, [value]);
    else group.push(value);
  }
  return groups;
}

function entry(kind: number, id: number, value: Buffer): Buffer {
  const size = value.length;
  const sizeSize = size < 8 ? 0 : size < 0x100 ? 1 : size < 0x1_0000 ? 2 : 3;
  const idSize = id > 0xff ? 2 : 1;
  const bytes = Buffer.alloc(1 + idSize + sizeSize + size);
  bytes[0] = (kind << 6) | (idSize === 2 ? 0x20 : 0) | (sizeSize << 3) | (sizeSize === 0 ? size : 0);
  bytes.writeUIntBE(id, 1, idSize);
  if (sizeSize > 0) bytes.writeUIntBE(size, 1 + idSize, sizeSize);
  value.copy(bytes, 1 + idSize + sizeSize);
  return bytes;
}

function scalarBytes(value: Scalar, type: ResourceType | null): Buffer {
  if (Buffer.isBuffer(value)) return value;
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  if (typeof value === 'boolean') return Buffer.of(value ? 1 : 0);
  if (value instanceof ObjectLink) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt16BE(value.object, 0);
    bytes.writeUInt16BE(value.instance, 2);
    return bytes;
  }
  if (type === 'float' || !Number.isSafeInteger(value)) {
    const single = Math.fround(value) === value;
    const bytes = Buffer.alloc(single ? 4 : 8);
    if (single) bytes.writeFloatBE(value, 0);
    else bytes.writeDoubleBE(value, 0);
    return bytes;
  }
  const size =
    value >= -128 && value < 128 ? 1 : value >= -32_768 && value < 32_768 ? 2 : Math.abs(value) < 2 ** 31 ? 4 : 8;
  const bytes = Buffer.alloc(size);
  if (size === 8) bytes.writeBigInt64BE(BigInt(value), 0);
  else bytes.writeIntBE(value, 0, size);
  return bytes;
}
