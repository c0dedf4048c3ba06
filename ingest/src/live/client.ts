import {
  type Credential,
  credentialOf,
  type Gate,
  type IdentifyRefusal,
  type Principal,
  type Protocol,
  type RequestContext,
} from '@millrace/core';
import type { Exchange } from '../http/exchange.ts';

/** Where a connection comes from. */
export interface Peer {
  readonly remoteAddress: string;
  readonly tls: boolean;
  readonly mutualTls: boolean;
}

/** What a request shows to say who asks; null if nothing, or nothing that is understood.
 *  `Authorization`, then `?ticket=`, then the classic `?authorization=<key>` where that is allowed, then the certificate
 *  of who has connected. */
export function shownCredential(
  { head, connection }: Exchange,
  query: URLSearchParams,
  queryAuthorization: boolean,
): Credential | null {
  const authorization = head.header('authorization');
  if (authorization !== undefined) return credentialOf(authorization);
  const ticket = query.get('ticket');
  if (ticket !== null) return ticket === '' ? null : { kind: 'ticket', ticket };
  const key = queryAuthorization ? query.get('authorization') : null;
  return key === null ? connection.certificate : credentialOf(key);
}

export type Renewed = 'known' | 'refused' | 'later';
/** How long to wait with the next question when the registry did not answer. */
const RETRY_MS = 1_000;

/** Who is at the other end of a connection that stays open: known once, and known anew when something about it changed. */
export class Client {
  principal: Principal;
  readonly context: RequestContext;
  readonly #gate: Gate;
  readonly #credential: Credential;
  /** A ticket is as good as what it was made for: void once its owner's key is changed, or they log out. */
  readonly #epoch: number | null;
  #renewal: Promise<Renewed> | null = null;
  #retryAtMs = 0;

  private constructor(gate: Gate, credential: Credential, principal: Principal, protocol: Protocol, peer: Peer) {
    this.#gate = gate;
    // A ticket is spent; whose it was stays known.
    this.#credential = credential.kind === 'ticket' ? { kind: 'subject', id: principal.subject.id } : credential;
    this.#epoch = credential.kind === 'ticket' ? principal.subject.epoch : null;
    this.principal = principal;
    this.context = {
      protocol,
      remoteAddress: peer.remoteAddress,
      tls: peer.tls,
      mutualTls: peer.mutualTls || credential.kind === 'certificate',
      get nowMs() {
        return Date.now();
      },
    };
  }

  /** @throws RegistryError (retry later) */
  static async identify(
    gate: Gate,
    credential: Credential,
    protocol: Protocol,
    peer: Peer,
  ): Promise<Client | IdentifyRefusal> {
    const identified = await gate.identify(credential, peer.remoteAddress);
    if (identified.kind === 'refused') return identified.reason;
    return new Client(gate, credential, identified.principal, protocol, peer);
  }

  /** Asks again who this is, if what was known no longer holds. `later`: it can't be asked now; until it can, nothing is
   *  allowed to who was revoked.
   *  @throws never */
  renew(): Promise<Renewed> {
    if (!this.principal.revoked) return Promise.resolve('known');
    if (this.#renewal === null && performance.now() < this.#retryAtMs) return Promise.resolve('later');
    this.#renewal ??= this.#ask().finally(() => {
      this.#renewal = null;
    });
    return this.#renewal;
  }

  async #ask(): Promise<Renewed> {
    try {
      const identified = await this.#gate.identify(this.#credential);
      if (identified.kind === 'refused') return 'refused';
      if (this.#epoch !== null && identified.principal.subject.epoch !== this.#epoch) return 'refused';
      this.principal = identified.principal;
      return 'known';
    } catch {
      this.#retryAtMs = performance.now() + RETRY_MS;
      return 'later';
    }
  }
}
