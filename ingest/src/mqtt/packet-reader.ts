import mqtt, { type Packet, type Parser } from 'mqtt-packet';

/** What a CONNECT says of its protocol; null if it says nothing that can be read. */
export function protocolOf(bytes: Buffer, body: number, end: number): { name: string; level: number } | null {
  if (end - body < 3) return null;
  const size = bytes.readUInt16BE(body);
  if (size > 6 || body + 2 + size >= end) return null;
  return { name: bytes.toString('latin1', body + 2, body + 2 + size), level: bytes[body + 2 + size] as number };
}

/** Reads packets that are all there, one at a time, for all connections. */
export class PacketReader {
  #parser = newParser();

  /** @param bytes exactly one packet  @returns null if it is malformed */
  read(bytes: Buffer): Packet | null {
    let packet: Packet | null = null;
    let failed = false;
    const parser = this.#parser;
    const onPacket = (each: Packet): void => {
      packet = each;
    };
    const onError = (): void => {
      failed = true;
    };
    parser.on('packet', onPacket).on('error', onError);
    try {
      failed = parser.parse(bytes) !== 0 || failed;
    } catch {
      failed = true;
    }
    parser.off('packet', onPacket).off('error', onError);
    if (failed || packet === null) {
      this.#parser = newParser();
      return null;
    }
    return packet;
  }
}

const newParser = (): Parser => mqtt.parser({ protocolVersion: 4 });
