// hot
/** Packets that the server writes, but for PUBLISH.  @source MQTT 3.1.1 §3 */
export const CONNACK_ACCEPTED = 0;
export const CONNACK_PROTOCOL = 1;
export const CONNACK_CLIENT_ID = 2;
export const CONNACK_UNAVAILABLE = 3;
export const CONNACK_CREDENTIALS = 4;
export const CONNACK_NOT_AUTHORISED = 5;

export const PINGRESP = Buffer.from([0xd0, 0]);
/** "Unsupported protocol version" in the form that a client of MQTT 5 understands.  @source MQTT 5 §3.2 */
export const CONNACK_OF_5 = Buffer.from([0x20, 3, 0, 0x84, 0]);

export const PUBACK = 0x40;
export const PUBREC = 0x50;
const PUBCOMP = 0x70;
const UNSUBACK = 0xb0;

export const connack = (code: number, sessionPresent: boolean): Buffer =>
  Buffer.from([0x20, 2, sessionPresent ? 1 : 0, code]);

const short = (first: number, packetId: number): Buffer => Buffer.from([first, 2, packetId >>> 8, packetId & 0xff]);
export const pubrec = (packetId: number): Buffer => short(PUBREC, packetId);
export const pubcomp = (packetId: number): Buffer => short(PUBCOMP, packetId);
export const unsuback = (packetId: number): Buffer => short(UNSUBACK, packetId);

export function suback(packetId: number, results: readonly number[]): Buffer {
  const size = 2 + results.length;
  const head = [0x90];
  for (let rest = size; ; ) {
    const low = rest & 0x7f;
    rest >>>= 7;
    head.push(rest > 0 ? low | 0x80 : low);
    if (rest === 0) break;
  }
  return Buffer.from([...head, packetId >>> 8, packetId & 0xff, ...results]);
}
