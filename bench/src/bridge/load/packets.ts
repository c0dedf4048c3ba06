/** MQTT 3.1.1, as much of it as a load generator writes.
 *  @source MQTT 3.1.1 §2, §3 */
export const PacketType = {
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  suback: 9,
  pingresp: 13,
} as const;

export type Qos = 0 | 1 | 2;

export const PINGREQ = Buffer.from([0xc0, 0]);
export const DISCONNECT = Buffer.from([0xe0, 0]);

export function connectPacket(
  clientId: string,
  identity: { readonly username: string; readonly password: string },
  options: { readonly clean: boolean; readonly keepAliveS: number },
): Buffer {
  const flags = 0xc0 | (options.clean ? 0x02 : 0);
  return packet(0x10, [
    text('MQTT'),
    Buffer.from([4, flags]),
    uint16(options.keepAliveS),
    text(clientId),
    text(identity.username),
    text(identity.password),
  ]);
}

export function subscribePacket(id: number, filter: string, qos: Qos): Buffer {
  return packet(0x82, [uint16(id), text(filter), Buffer.from([qos])]);
}

/** `id` is not written for QoS 0. */
export function publishPacket(topic: string, qos: Qos, id: number, payload: Buffer): Buffer {
  return packet(0x30 | (qos << 1), [text(topic), ...(qos === 0 ? [] : [uint16(id)]), payload]);
}

export function pubrelPacket(id: number): Buffer {
  return packet(0x62, [uint16(id)]);
}

function packet(header: number, parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const head = [header];
  let rest = body.length;
  do {
    const digit = rest % 128;
    rest = Math.floor(rest / 128);
    head.push(rest > 0 ? digit | 0x80 : digit);
  } while (rest > 0);
  return Buffer.concat([Buffer.from(head), body]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint16(bytes.length), bytes]);
}

const uint16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
