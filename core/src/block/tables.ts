import { Block } from './block.ts';
import {
  ExpiresColumn,
  Int64Column,
  LowCardinalityColumn,
  NullableColumn,
  NumberColumn,
  StringColumn,
  UuidColumn,
} from './columns.ts';

/** The tables that a normalised batch fills; their columns are the contract between the processors, which build the
 *  blocks, and the storage, whose migrations must have them. `log_partition` and `log_offset` find the message. */
export const TABLES = ['readings', 'messages', 'message_log', 'dead_letters'] as const;
export type TableName = (typeof TABLES)[number];

const origin = () => ({
  org: new LowCardinalityColumn('org'),
  channel: new LowCardinalityColumn('channel'),
  subtopic: new LowCardinalityColumn('subtopic'),
  publisher: new LowCardinalityColumn('publisher'),
  protocol: new LowCardinalityColumn('protocol'),
  received: new Int64Column('received', "DateTime64(6, 'UTC')"),
  partition: new NumberColumn('log_partition', 'UInt16', Uint16Array),
  offset: new Int64Column('log_offset', 'UInt64'),
});

/** Values of `kind`. */
export const READING_KINDS = ['number', 'string', 'bool', 'data', 'sum'] as const;
export type ReadingKind = (typeof READING_KINDS)[number];

/** One resolved reading a row. `index`: position in its message. `update_time`: s, as the device said it. */
export function readingsColumns() {
  return {
    ...origin(),
    index: new NumberColumn('index', 'UInt32', Uint32Array),
    name: new LowCardinalityColumn('name'),
    unit: new LowCardinalityColumn('unit'),
    time: new Int64Column('time', "DateTime64(9, 'UTC')"),
    kind: new LowCardinalityColumn('kind'),
    value: new NullableColumn('value', 'Float64', Float64Array),
    stringValue: new StringColumn('string_value'),
    boolValue: new NullableColumn('bool_value', 'Bool', Uint8Array),
    dataValue: new StringColumn('data_value'),
    sum: new NullableColumn('sum', 'Float64', Float64Array),
    updateTime: new NullableColumn('update_time', 'Float64', Float64Array),
    expires: new ExpiresColumn('expires'),
  };
}

/** One raw payload a row. */
export function messagesColumns() {
  return {
    id: new UuidColumn('id'),
    ...origin(),
    contentType: new LowCardinalityColumn('content_type'),
    size: new NumberColumn('size', 'UInt32', Uint32Array),
    payload: new StringColumn('payload'),
    expires: new ExpiresColumn('expires'),
  };
}

/** One message a row, whatever became of it. It does not expire: by it a redo knows that a range is there. `decision`, `stored`, `reason` as in MessageFate. */
export function messageLogColumns() {
  return {
    id: new UuidColumn('id'),
    ...origin(),
    contentType: new LowCardinalityColumn('content_type'),
    size: new NumberColumn('size', 'UInt32', Uint32Array),
    decision: new LowCardinalityColumn('decision'),
    readings: new NumberColumn('readings', 'UInt32', Uint32Array),
    deadLetters: new NumberColumn('dead_letters', 'UInt32', Uint32Array),
    stored: new LowCardinalityColumn('stored'),
    reason: new LowCardinalityColumn('reason'),
  };
}

/** One dead letter a row. `record_index` NULL: the whole message. */
export function deadLettersColumns() {
  return {
    id: new UuidColumn('id'),
    ...origin(),
    contentType: new LowCardinalityColumn('content_type'),
    recordIndex: new NullableColumn('record_index', 'UInt32', Uint32Array),
    reason: new LowCardinalityColumn('reason'),
    detail: new StringColumn('detail'),
    payload: new StringColumn('payload'),
    expires: new ExpiresColumn('expires'),
  };
}

export const blockOf = (columns: Readonly<Record<string, ConstructorParameters<typeof Block>[0][number]>>): Block =>
  new Block(Object.values(columns));
