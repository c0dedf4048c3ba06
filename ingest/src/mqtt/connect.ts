import {
  type AuditTrail,
  bareCredential,
  type Credential,
  type DenyReason,
  type Gate,
  isUuid,
  MillraceError,
  type Principal,
  type RequestContext,
} from '@millrace/core';
import type { IConnectPacket } from 'mqtt-packet';
import { auditRefusal } from '../refused-access.ts';
import { type PacketReader, protocolOf } from './packet-reader.ts';
import {
  CONNACK_CLIENT_ID,
  CONNACK_CREDENTIALS,
  CONNACK_NOT_AUTHORISED,
  CONNACK_OF_5,
  CONNACK_PROTOCOL,
  CONNACK_UNAVAILABLE,
  connack,
} from './packets.ts';
import { Route } from './publisher.ts';
import { parsePublishTopic } from './topic.ts';

/** What a client wants published when it goes without a word. */
export interface Will {
  readonly route: Route;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly payload: Buffer;
}

export interface Admitted {
  readonly kind: 'admitted';
  readonly principal: Principal;
  /** Shown again when the principal is revoked. */
  readonly credential: Credential;
  /** The client is known by its certificate. */
  readonly byCertificate: boolean;
  readonly will: Will | null;
}
export interface ConnectRefusal {
  readonly kind: 'refused';
  /** Of CONNACK. */
  readonly code: number;
  readonly reason: ConnectReason;
}
/** How CONNECTs end. Closed: it is a metric label. */
export const CONNECT_REASONS = [
  'accepted',
  'protocol',
  'client_id',
  'credentials',
  'disabled',
  'will',
  'unavailable',
  'malformed',
] as const;
export type ConnectReason = (typeof CONNECT_REASONS)[number];

/** Larger than its channel takes.  @holds its route has been aimed */
export const isTooLarge = ({ route, payload }: Will): boolean =>
  payload.length > (route.target?.limit?.payloadBytesMax ?? Number.POSITIVE_INFINITY);

const refused = (code: number, reason: ConnectReason): ConnectRefusal => ({ kind: 'refused', code, reason });

/** Reads a CONNECT that is all there. Another protocol gets no answer, another level of this one its own.
 *  @source MQTT 3.1.1 §3.1.2 */
export function readConnect(
  packets: PacketReader,
  bytes: Buffer,
  start: number,
  body: number,
  end: number,
): IConnectPacket | { readonly cmd: 'refused'; readonly answer: Buffer | null } {
  const protocol = protocolOf(bytes, body, end);
  if (protocol === null || (protocol.name !== 'MQTT' && protocol.name !== 'MQIsdp')) {
    return { cmd: 'refused', answer: null };
  }
  const { name } = protocol;
  // The highest bit is how bridges of Mosquitto say what they are.
  const level = protocol.level & 0x7f;
  if (level !== (name === 'MQTT' ? 4 : 3)) {
    const answer = name === 'MQTT' && level === 5 ? CONNACK_OF_5 : connack(CONNACK_PROTOCOL, false);
    return { cmd: 'refused', answer };
  }
  if (flagsFault(bytes[body + 3 + name.length] ?? 1)) return { cmd: 'refused', answer: null };
  const packet = packets.read(bytes.subarray(start, end));
  return packet?.cmd === 'connect' ? packet : { cmd: 'refused', answer: null };
}

/** Whether the flags of a CONNECT contradict each other: a will that is none has QoS or RETAIN, a QoS of 3, a password
 *  without a user name, the reserved bit.
 *  @source MQTT 3.1.1 §3.1.2.3–9 */
function flagsFault(flags: number): boolean {
  const will = (flags & 0x04) !== 0;
  const willQos = (flags >>> 3) & 3;
  const user = (flags & 0x80) !== 0;
  if ((flags & 1) !== 0 || willQos === 3) return true;
  return (!will && (willQos !== 0 || (flags & 0x20) !== 0)) || (!user && (flags & 0x40) !== 0);
}

/** What is wrong with a client id; null if nothing.
 *  @source MQTT 3.1.1 §3.1.3.1 */
export function clientIdFault(packet: IConnectPacket, bytesMax: number): ConnectRefusal | null {
  const { clientId, clean } = packet;
  const bad =
    (clientId === '' && clean !== true) ||
    Buffer.byteLength(clientId) > bytesMax ||
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    /[\u0000-\u001f\u007f\ufffd]/.test(clientId);
  return bad ? refused(CONNACK_CLIENT_ID, 'client_id') : null;
}

/** What a CONNECT shows to say who it is; null: nothing.
 *  @shape password: a thing's key; an API key; or an access token or device JWT, which has two dots
 *  @param passwords whether one stands for a certificate that is shown as well */
export function credentialOf(
  packet: IConnectPacket,
  certificate: Extract<Credential, { kind: 'certificate' }> | null,
  passwords: boolean,
): Credential | null {
  const password = packet.password?.toString() ?? '';
  const user = packet.username ?? '';
  if (password === '' || (certificate !== null && !passwords)) return certificate;
  return bareCredential(password, user);
}

/** Whether a user name that is an id is somebody else's: what a bearer shows says alone who it is, but a device that was
 *  given another's token should hear of it. */
const isMistaken = (packet: IConnectPacket, credential: Credential, principal: Principal): boolean =>
  credential.kind === 'bearer' &&
  packet.username !== undefined &&
  isUuid(packet.username) &&
  packet.username.toLowerCase() !== principal.subject.id;

/** Identifies a client and judges its will. Rejects never: what can't be asked is refused as unavailable. */
export async function admit(
  packet: IConnectPacket,
  credential: Credential | null,
  gate: Gate,
  context: RequestContext,
  audit: AuditTrail | undefined,
  aim: (route: Route, admission: Extract<Awaited<ReturnType<Gate['may']>>, { kind: 'allow' }>) => boolean,
): Promise<Admitted | ConnectRefusal> {
  if (credential === null) return refused(CONNACK_CREDENTIALS, 'credentials');
  try {
    const identified = await gate.identify(credential, context.remoteAddress);
    if (identified.kind === 'refused') {
      return identified.reason === 'disabled'
        ? refused(CONNACK_NOT_AUTHORISED, 'disabled')
        : refused(CONNACK_CREDENTIALS, 'credentials');
    }
    const { principal } = identified;
    if (isMistaken(packet, credential, principal)) return refused(CONNACK_CREDENTIALS, 'credentials');
    const byCertificate = credential.kind === 'certificate';
    let will: Will | null = null;
    if (packet.will !== undefined) {
      const to = parsePublishTopic(packet.will.topic);
      if (to.kind !== 'channel') return refused(CONNACK_NOT_AUTHORISED, 'will');
      const route = new Route(to);
      const judged = { ...context, mutualTls: byCertificate };
      const admission = await gate.may(principal, 'publish', to.channel, to.subtopic, judged);
      if (admission.kind === 'deny' || !aim(route, admission)) {
        const reason: DenyReason = admission.kind === 'deny' ? admission.reason : 'no_such_channel';
        auditRefusal(audit, principal, 'publish', to, reason, judged);
        return refused(CONNACK_NOT_AUTHORISED, 'will');
      }
      const { qos = 0, retain = false, payload } = packet.will;
      will = { route, qos, retain, payload: Buffer.from(payload) };
      if (isTooLarge(will)) return refused(CONNACK_NOT_AUTHORISED, 'will');
    }
    return { kind: 'admitted', principal, credential, byCertificate, will };
  } catch (error) {
    if (error instanceof MillraceError && error.retry !== 'never') return refused(CONNACK_UNAVAILABLE, 'unavailable');
    throw error;
  }
}
