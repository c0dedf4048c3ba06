import {
  type Credential,
  credentialOf,
  type Gate,
  type Identified,
  type IdentifyRefusal,
  type Principal,
  Protocol,
  type RequestContext,
} from '@millrace/core';
import type { Renewed } from '../live/client.ts';
import type { PublishingClient } from '../message-publisher.ts';
import type { CoapRequest, Peer } from './contract.ts';

/** The credential that a request shows: what its session proved, else `?auth=` or the classic `?authorization=`.
 *  null: none, or none that is good here. */
export function shownCredential({ peer, query }: CoapRequest): Credential | null {
  const { identity } = peer;
  if (identity === null) return queryCredential(query);
  if (identity.kind === 'key') return { kind: 'key', key: identity.key, thing: identity.identity };
  // Who has only a bootstrap key may bootstrap, and nothing else.
  if (identity.kind === 'bootstrap') return null;
  return { kind: 'certificate', fingerprint: identity.fingerprint, certificate: identity.certificate };
}

function queryCredential(query: readonly string[]): Credential | null {
  for (const part of query) {
    if (part.startsWith('auth=')) return credentialOf(plain(part.slice(5)));
    if (part.startsWith('authorization=')) return credentialOf(plain(part.slice(14)));
  }
  return null;
}

/** Clients that build queries like URLs send them percent-encoded; no secret of ours holds a `%`. */
function plain(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** How long to wait with the next question when the registry did not answer. */
const RETRY_MS = 1_000;

/** Who asks, from one address: known once, and known anew when something about it changed. */
export class CoapClient implements PublishingClient {
  principal: Principal;
  readonly context: RequestContext;
  readonly #gate: Gate;
  readonly #credential: Credential;
  #renewal: Promise<Renewed> | null = null;
  #retryAtMs = 0;

  constructor(gate: Gate, credential: Credential, principal: Principal, peer: Peer) {
    this.#gate = gate;
    this.#credential = credential;
    this.principal = principal;
    const { identity } = peer;
    this.context = {
      protocol: Protocol.coap,
      remoteAddress: peer.address,
      tls: identity !== null,
      mutualTls: identity?.kind === 'certificate',
      get nowMs() {
        return Date.now();
      },
    };
  }

  /** A warm answer is a value. @throws RegistryError (retry later), also by rejection */
  static identify(gate: Gate, credential: Credential, peer: Peer): Known | Promise<Known> {
    const identified = gate.identify(credential, peer.address);
    const known = (told: Identified): Known =>
      told.kind === 'refused' ? told.reason : new CoapClient(gate, credential, told.principal, peer);
    return identified instanceof Promise ? identified.then(known) : known(identified);
  }

  /** Asks again who this is, if what was known no longer holds.  @throws never */
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
      const identified = await this.#gate.identify(this.#credential, this.context.remoteAddress);
      if (identified.kind === 'refused') return 'refused';
      this.principal = identified.principal;
      return 'known';
    } catch {
      this.#retryAtMs = performance.now() + RETRY_MS;
      return 'later';
    }
  }
}
export type Known = CoapClient | IdentifyRefusal;
