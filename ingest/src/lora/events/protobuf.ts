import { LongType, MessageType, type PartialFieldInfo, RepeatType, ScalarType } from '@protobuf-ts/runtime';
import { EventFault } from './members.ts';

/** Kind of a field: a scalar, a message, several of it, or a map of text. Enumerations are read as numbers. */
type Kind = ScalarType | MessageType<object> | { readonly several: ScalarType | MessageType<object> } | 'map';
/** @shape name in the .proto file: [field number, kind, name in the decoded object if it is not its camel case] */
type Fields = Readonly<Record<string, readonly [no: number, kind: Kind | (() => Kind), localName?: string]>>;

/** A protobuf message by its table of fields: only what is read is in the table, the rest is passed over.
 *  @source the .proto files of ChirpStack, by their field numbers */
export function message(name: string, fields: Fields): MessageType<object> {
  return new MessageType<object>(
    name,
    Object.entries(fields).map(([field, [no, kind, localName]]) => ({
      no,
      name: field,
      ...(localName === undefined ? {} : { localName }),
      ...kindOf(typeof kind === 'function' ? kind() : kind),
    })) as PartialFieldInfo[],
  );
}

function kindOf(kind: Kind): object {
  if (kind === 'map') return { kind: 'map', K: ScalarType.STRING, V: { kind: 'scalar', T: ScalarType.STRING } };
  if (typeof kind === 'object' && 'several' in kind) {
    const { several } = kind;
    return { ...kindOf(several), repeat: typeof several === 'object' ? RepeatType.UNPACKED : RepeatType.PACKED };
  }
  if (typeof kind === 'object') return { kind: 'message', T: () => kind };
  const long = kind === ScalarType.UINT64 || kind === ScalarType.INT64;
  return { kind: 'scalar', T: kind, ...(long ? { L: LongType.STRING } : {}) };
}

/** @throws EventFault */
export function decode(type: MessageType<object>, bytes: Uint8Array): object {
  try {
    return type.fromBinary(bytes, { readUnknownField: false });
  } catch {
    throw new EventFault('The event is no protobuf message of this kind.');
  }
}

/** google.protobuf.Timestamp */
export const Timestamp = message('google.protobuf.Timestamp', {
  seconds: [1, ScalarType.INT64],
  nanos: [2, ScalarType.INT32],
});

const Value: MessageType<object> = new MessageType<object>('google.protobuf.Value', [
  { no: 2, name: 'number', kind: 'scalar', T: ScalarType.DOUBLE, opt: true },
  { no: 3, name: 'text', kind: 'scalar', T: ScalarType.STRING, opt: true },
  { no: 4, name: 'truth', kind: 'scalar', T: ScalarType.BOOL, opt: true },
  { no: 5, name: 'struct', kind: 'message', T: () => Struct },
  { no: 6, name: 'list', kind: 'message', T: () => ListValue },
] as PartialFieldInfo[]);
/** google.protobuf.Struct */
export const Struct: MessageType<object> = new MessageType<object>('google.protobuf.Struct', [
  { no: 1, name: 'fields', kind: 'map', K: ScalarType.STRING, V: { kind: 'message', T: () => Value } },
] as PartialFieldInfo[]);
const ListValue = new MessageType<object>('google.protobuf.ListValue', [
  { no: 1, name: 'values', kind: 'message', repeat: RepeatType.UNPACKED, T: () => Value },
] as PartialFieldInfo[]);

interface StructMessage {
  readonly fields?: Readonly<Record<string, ValueMessage>>;
}
interface ValueMessage {
  readonly number?: number;
  readonly text?: string;
  readonly truth?: boolean;
  readonly struct?: StructMessage;
  readonly list?: { readonly values?: readonly ValueMessage[] };
}

/** What a Struct stands for. */
export function structValue(struct: StructMessage): Record<string, unknown> {
  const plain: [string, unknown][] = Object.entries(struct.fields ?? {}).map(([name, value]) => [
    name,
    plainValue(value),
  ]);
  return Object.fromEntries(plain);
}

function plainValue(value: ValueMessage): unknown {
  if (value.struct !== undefined) return structValue(value.struct);
  if (value.list !== undefined) return (value.list.values ?? []).map(plainValue);
  return value.number ?? value.text ?? value.truth ?? null;
}

/** The other way round, for what is sent. */
export function structMessage(value: Readonly<Record<string, unknown>>): StructMessage {
  return { fields: Object.fromEntries(Object.entries(value).map(([name, each]) => [name, valueMessage(each)])) };
}

function valueMessage(value: unknown): ValueMessage {
  if (typeof value === 'number') return { number: value };
  if (typeof value === 'string') return { text: value };
  if (typeof value === 'boolean') return { truth: value };
  if (Array.isArray(value)) return { list: { values: value.map(valueMessage) } };
  return typeof value === 'object' && value !== null ? { struct: structMessage(value as Record<string, unknown>) } : {};
}
