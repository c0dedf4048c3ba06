import { MalformedError, WireReader } from '../wire.ts';

const SEQUENCE = 0x30;
const OBJECT_ID = 0x06;
const OCTETS = 0x04;
const BITS = 0x03;
const EXTENSIONS = 0xa3;
/** id-ce-keyUsage, 2.5.29.15 */
const KEY_USAGE = Buffer.from([0x55, 0x1d, 0x0f]);
const DIGITAL_SIGNATURE = 0x80;

/** Whether a certificate's key may sign, as a handshake has it do: Node tells only of the extended key usage.
 *  @param der one that OpenSSL has read already  @source RFC 5280 §4.2.1.3: without the extension it may */
export function allowsSignatures(der: Buffer): boolean {
  try {
    const certificate = element(new WireReader(der), SEQUENCE);
    const tbs = element(certificate, SEQUENCE);
    while (tbs.left > 0) {
      const { tag, content } = next(tbs);
      if (tag !== EXTENSIONS) continue;
      const list = element(content, SEQUENCE);
      while (list.left > 0) {
        const extension = element(list, SEQUENCE);
        const id = element(extension, OBJECT_ID);
        if (!id.take(id.left).equals(KEY_USAGE)) continue;
        let part = next(extension);
        // Critical or not stands before it.
        if (part.tag !== OCTETS) part = next(extension);
        const bits = element(part.content, BITS);
        bits.u8();
        return bits.left > 0 && (bits.u8() & DIGITAL_SIGNATURE) !== 0;
      }
    }
    return true;
  } catch (error) {
    if (error instanceof MalformedError) return false;
    throw error;
  }
}

function next(reader: WireReader): { readonly tag: number; readonly content: WireReader } {
  const tag = reader.u8();
  const first = reader.u8();
  let size = first;
  if (first === 0x81) size = reader.u8();
  else if (first === 0x82) size = reader.u16();
  else if (first === 0x83) size = reader.u24();
  else if (first > 0x7f) throw new MalformedError();
  return { tag, content: new WireReader(reader.take(size)) };
}

function element(reader: WireReader, tag: number): WireReader {
  const found = next(reader);
  if (found.tag !== tag) throw new MalformedError();
  return found.content;
}
