import {
  type AuditTrail,
  type Credential,
  type Gate,
  type KeptWill,
  type Logger,
  MillraceError,
  type Principal,
  type RequestContext,
  type SessionKey,
  uuidV7,
} from '@millrace/core';
import type { IConnectPacket } from 'mqtt-packet';
import type { Claim, Claimant, Claims } from './claims.ts';
import type { MqttIngestConfig } from './config.ts';
import { type Admitted, admit, type ConnectRefusal, clientIdFault, credentialOf, type Will } from './connect.ts';
import type { Outlet, Session, Sessions } from './contract.ts';
import { CONNACK_CLIENT_ID, CONNACK_UNAVAILABLE } from './packets.ts';
import type { Publisher } from './publisher.ts';

export interface OpeningHost {
  readonly config: MqttIngestConfig;
  readonly gate: Gate;
  readonly publisher: Publisher;
  readonly sessions: Sessions;
  readonly claims: Claims;
  readonly logger: Logger;
  readonly audit: AuditTrail | undefined;
}

export interface OpenedClient {
  readonly kind: 'open';
  readonly session: Session;
  /** There was one before. */
  readonly present: boolean;
  readonly will: Will | null;
  readonly claim: Claim;
}

/** From CONNECT to the session: who is it, may its will be published, is its session to be had?
 *  @param known called once the client is admitted; gives the outlet for the session, null if nobody is there any more
 *  @returns null if nobody is there any more */
export async function openClient(
  packet: IConnectPacket,
  certificate: Extract<Credential, { kind: 'certificate' }> | null,
  host: OpeningHost,
  context: RequestContext,
  known: (admitted: Admitted) => (Outlet & Claimant) | null,
): Promise<OpenedClient | ConnectRefusal | null> {
  const { config, gate, publisher, sessions, claims, logger, audit } = host;
  const fault = clientIdFault(packet, config.MILLRACE_MQTT_CLIENT_ID_BYTES_MAX);
  if (fault !== null) return fault;
  // Anybody can make a certificate: where one is required, it must be known, and a password does not excuse it.
  const credential = credentialOf(packet, certificate, config.MILLRACE_MQTT_TLS_CLIENT_CERTIFICATES !== 'required');
  const admitted = await admit(packet, credential, gate, context, audit, (route, admission) =>
    publisher.aim(route, admission),
  );
  if (admitted.kind === 'refused') return admitted;
  const outlet = known(admitted);
  if (outlet === null) return null;
  const { clientId } = packet;
  const owner = admitted.principal.subject.id;
  const key = sessionKey(admitted.principal, clientId === '' ? `millrace-${uuidV7()}` : clientId);
  try {
    const { session, present } = await sessions.open({ key, clean: packet.clean === true, outlet });
    const claim = claims.enter(key, keptWill(packet, admitted, context), outlet);
    return { kind: 'open', session, present, will: admitted.will, claim };
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    logger.warn({ code: error.code, client: owner }, 'mqtt: a session could not be opened');
    // What no waiting mends is in the client id: it can't be kept, or the owner has too many sessions.
    return error.retry === 'never'
      ? { kind: 'refused', code: CONNACK_CLIENT_ID, reason: 'client_id' }
      : { kind: 'refused', code: CONNACK_UNAVAILABLE, reason: 'unavailable' };
  }
}

/** What another node needs to publish the will in this one's stead; null: there is none, or it may not be kept. */
function keptWill(
  { will }: IConnectPacket,
  { principal, credential, byCertificate }: Admitted,
  { remoteAddress, tls }: RequestContext,
): KeptWill | null {
  if (will === undefined) return null;
  const { subject, scope } = principal;
  const token = scope !== null && credential.kind === 'bearer' ? credential.token : null;
  if (scope !== null && token === null) return null;
  const { topic, qos = 0, retain = false } = will;
  const payload = Buffer.from(will.payload);
  return { topic, qos, retain, payload, epoch: subject.epoch, token, remoteAddress, tls, mutualTls: byCertificate };
}

/** Who came by an API key or an application has sessions apart from their owner's, and from those of other keys: it may
 *  neither take them over nor change what they ask for.
 *  @holds a client id has no control character, so none can be made to look like another's */
function sessionKey({ subject, scope }: Principal, clientId: string): SessionKey {
  return { owner: subject.id, clientId: scope === null ? clientId : `${scope.id}\u001f${clientId}` };
}
