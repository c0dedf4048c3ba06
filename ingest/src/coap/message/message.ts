import type { CoapOption } from '../contract.ts';
import { MessageScanner } from './scan.ts';

export { Code, c, codeText, Method, Type } from './code.ts';
export { Format, Option, readUint, uintBytes } from './option.ts';

/** @source RFC 7252 §3 */
export interface CoapMessage {
  readonly type: number;
  readonly code: number;
  readonly messageId: number;
  readonly token: Buffer;
  readonly options: readonly CoapOption[];
  readonly payload: Buffer;
}

const scanner = new MessageScanner();

/** Takes a datagram apart.
 *  @returns null if it is malformed  @holds the values are views of the datagram  @throws never */
export function parseMessage(datagram: Buffer): CoapMessage | null {
  return scanner.scan(datagram) ? scannedMessage(scanner, datagram) : null;
}

/** @holds the values are views of the datagram */
export function scannedMessage(scanned: MessageScanner, datagram: Buffer): CoapMessage {
  const { type, code, messageId, tokenSize, payloadAt } = scanned;
  return {
    type,
    code,
    messageId,
    token: datagram.subarray(4, 4 + tokenSize),
    options: scannedOptions(scanned, datagram),
    payload: datagram.subarray(payloadAt),
  };
}

function scannedOptions(scanned: MessageScanner, datagram: Buffer): CoapOption[] {
  const options: CoapOption[] = [];
  for (let index = 0; index < scanned.optionCount; index++)
    options.push([
      scanned.numbers[index] as number,
      datagram.subarray(scanned.starts[index] as number, scanned.ends[index] as number),
    ]);
  return options;
}

const byNumber = (one: CoapOption, other: CoapOption): number => one[0] - other[0];
const extendedSize = (value: number): number => (value < 13 ? 0 : value < 269 ? 1 : 2);

/** Puts a datagram together. Options may come in any order; those of one number keep theirs.
 *  @throws RangeError if a token or an option is longer than the format can say */
export function buildMessage(message: CoapMessage): Buffer {
  const { token, payload } = message;
  if (token.length > 8) throw new RangeError('a token has at most 8 bytes');
  let { options } = message;
  let size = 4 + token.length + (payload.length === 0 ? 0 : 1 + payload.length);
  let last = 0;
  for (const option of options) {
    if (option[0] < last) {
      options = [...options].sort(byNumber);
      break;
    }
    last = option[0];
  }
  last = 0;
  for (const [number, value] of options) {
    if (value.length > 65_804) throw new RangeError('an option has at most 65,804 bytes');
    size += 1 + extendedSize(number - last) + extendedSize(value.length) + value.length;
    last = number;
  }
  const bytes = Buffer.allocUnsafeSlow(size);
  bytes[0] = 0x40 | (message.type << 4) | token.length;
  bytes[1] = message.code;
  bytes[2] = message.messageId >> 8;
  bytes[3] = message.messageId & 0xff;
  bytes.set(token, 4);
  let at = 4 + token.length;
  last = 0;
  for (const [number, value] of options) {
    at = writeOption(bytes, at, number - last, value);
    last = number;
  }
  if (payload.length > 0) {
    bytes[at++] = 0xff;
    bytes.set(payload, at);
  }
  return bytes;
}

function writeOption(bytes: Buffer, from: number, delta: number, value: Buffer): number {
  const size = value.length;
  let at = from;
  bytes[at++] = ((delta < 13 ? delta : delta < 269 ? 13 : 14) << 4) | (size < 13 ? size : size < 269 ? 13 : 14);
  if (delta >= 269) at = bytes.writeUInt16BE(delta - 269, at);
  else if (delta >= 13) bytes[at++] = delta - 13;
  if (size >= 269) at = bytes.writeUInt16BE(size - 269, at);
  else if (size >= 13) bytes[at++] = size - 13;
  bytes.set(value, at);
  return at + size;
}

/** The first option of that number. */
export const option = (options: readonly CoapOption[], number: number): Buffer | undefined =>
  options.find(([known]) => known === number)?.[1];
