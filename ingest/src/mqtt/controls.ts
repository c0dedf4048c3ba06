import type { ISubscribePacket, IUnsubscribePacket, Packet } from 'mqtt-packet';
import type { CloseReason, MqttQos, Session } from './contract.ts';
import type { PacketReader } from './packet-reader.ts';
import { PINGRESP, pubcomp, suback, unsuback } from './packets.ts';
import { filterFault } from './topic.ts';

/** The connection whose packets are dealt with. */
export interface ControlledConnection {
  readonly closed: boolean;
  readonly host: { readonly packets: PacketReader };
  write(bytes: Buffer): void;
  /** Nothing is read before it has settled. */
  waitFor(work: Promise<unknown>): void;
  end(reason: CloseReason): void;
  /** The client says good-bye: its will is void. */
  leave(): void;
}

const PUBACK = 4;
const PUBREC = 5;
const PUBREL = 6;
const PUBCOMP = 7;

/** Deals with a packet of a connected client that is no PUBLISH. */
export function control(
  connection: ControlledConnection,
  session: Session,
  bytes: Buffer,
  start: number,
  body: number,
  end: number,
): void {
  const first = bytes[start] as number;
  const type = first >>> 4;
  if (type >= PUBACK && type <= PUBCOMP) {
    acknowledged(connection, session, first, end - body === 2 ? bytes.readUInt16BE(body) : 0);
    return;
  }
  const packet = connection.host.packets.read(bytes.subarray(start, end));
  if (packet === null) connection.end('malformed');
  else handle(connection, session, packet);
}

function acknowledged(connection: ControlledConnection, session: Session, first: number, packetId: number): void {
  const type = first >>> 4;
  if (packetId === 0 || (first & 15) !== (type === PUBREL ? 2 : 0)) connection.end('malformed');
  else if (type === PUBACK) session.onPuback(packetId);
  else if (type === PUBREC) session.onPubrec(packetId);
  else if (type === PUBCOMP) session.onPubcomp(packetId);
  else {
    session.release(packetId);
    connection.write(pubcomp(packetId));
  }
}

function handle(connection: ControlledConnection, session: Session, packet: Packet): void {
  if (packet.cmd === 'pingreq') connection.write(PINGRESP);
  else if (packet.cmd === 'subscribe') subscribe(connection, session, packet);
  else if (packet.cmd === 'unsubscribe') unsubscribe(connection, session, packet);
  else if (packet.cmd === 'disconnect') connection.leave();
  else connection.end('protocol');
}

function subscribe(connection: ControlledConnection, session: Session, packet: ISubscribePacket): void {
  const { subscriptions, messageId = 0 } = packet;
  const filters: { topic: string; qos: MqttQos }[] = [];
  for (const { topic, qos } of subscriptions) {
    // A filter that no topic of ours matches is none to end the connection for: it is not granted.
    if (textFault(topic) || filterFault(topic) !== null) {
      connection.end('malformed');
      return;
    }
    filters.push({ topic, qos });
  }
  if (messageId === 0 || filters.length === 0) {
    connection.end('malformed');
    return;
  }
  connection.waitFor(
    session.subscribe(filters).then((results) => {
      if (connection.closed) return;
      connection.write(suback(messageId, results));
      session.granted(filters, results);
    }),
  );
}

function unsubscribe(connection: ControlledConnection, session: Session, packet: IUnsubscribePacket): void {
  const { unsubscriptions, messageId = 0 } = packet;
  if (messageId === 0 || unsubscriptions.length === 0 || unsubscriptions.some(textFault)) {
    connection.end('malformed');
    return;
  }
  session.unsubscribe(unsubscriptions);
  connection.write(unsuback(messageId));
}

/** Ill-formed UTF-8 or U+0000.  @source MQTT 3.1.1 §1.5.3 */
const textFault = (text: string): boolean => text.includes('\u0000') || text.includes('\ufffd');
