import type { DeliveredMessage } from '@millrace/core';
import { isText } from '../live/message-text.ts';

export const TEXT = 0x81;
export const BINARY = 0x82;

/** The first bytes of a frame from the server: whole, not masked.
 *  @param first TEXT or BINARY  @param room bytes that follow in the same buffer
 *  @returns a buffer of the head and `room` more  @source RFC 6455 §5.2 */
export function frameHead(first: number, payloadSize: number, room = 0): { buffer: Buffer; at: number } {
  const at = payloadSize < 126 ? 2 : payloadSize < 65_536 ? 4 : 10;
  // Not out of the common pool: a frame that waits for a slow reader would keep its neighbours alive.
  const buffer = Buffer.allocUnsafeSlow(at + room);
  buffer[0] = first;
  if (at === 2) buffer[1] = payloadSize;
  else if (at === 4) {
    buffer[1] = 126;
    buffer.writeUInt16BE(payloadSize, 2);
  } else {
    buffer[1] = 127;
    buffer.writeUInt32BE(Math.floor(payloadSize / 0x1_0000_0000), 2);
    buffer.writeUInt32BE(payloadSize >>> 0, 6);
  }
  return { buffer, at };
}

export function textFrame(text: string): Buffer {
  const size = Buffer.byteLength(text);
  const { buffer, at } = frameHead(TEXT, size, size);
  buffer.write(text, at, 'utf8');
  return buffer;
}

/** A message as one frame with the bare payload; made once for all its subscribers. */
export function payloadFrame(message: DeliveredMessage): Buffer {
  let frame = message.encoded.get('ws/payload');
  if (frame === undefined) {
    const { payload } = message;
    const { buffer, at } = frameHead(isText(message) ? TEXT : BINARY, payload.length, payload.length);
    payload.copy(buffer, at);
    frame = buffer;
    message.encoded.set('ws/payload', frame);
  }
  return frame;
}
