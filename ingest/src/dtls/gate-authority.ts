import type { Credential, DeviceKeys, Gate, Principal } from '@millrace/core';
import type { PeerIdentity } from '../coap/contract.ts';
import type { Authority, PskCandidate, Standing } from './contract.ts';

/** How long to wait with the next question when the registry did not answer. */
const RETRY_MS = 1_000;
const IDENTITY = new TextDecoder('utf-8', { fatal: true });

/** Things by their id with their key, by their certificate, or by their external id with their external key (which is
 *  good for the bootstrap only); the gate says whether they still may. */
export function gateAuthority(gate: Gate, keys: DeviceKeys): Authority {
  /** Of candidates the external key, which the gate does not know. */
  const external = new WeakMap<PeerIdentity, string>();
  return {
    async candidates(identity): Promise<readonly PskCandidate[]> {
      const name = textOf(identity);
      if (name === null) return [];
      const own = await keys.keysOf(name);
      // What is a thing's id is no external id: a fleet that comes back asks for its own keys, which are remembered.
      if (own.length > 0)
        return own.map((key) => ({ key: Buffer.from(key, 'utf8'), identity: { kind: 'key', identity: name, key } }));
      return (await keys.bootstrapKeys(name)).map(({ thing, key }) => {
        const identity: PeerIdentity = { kind: 'bootstrap', thing, externalId: name };
        external.set(identity, key);
        return { key: Buffer.from(key, 'utf8'), identity };
      });
    },
    async admit(identity, address): Promise<Standing | null> {
      const identified = await gate.identify(credentialOf(identity), address.replace(/^::ffff:(?=\d+\.)/, ''));
      if (identified.kind === 'refused') return null;
      if (identity.kind === 'bootstrap') {
        // It may have been replaced while its handshake was under way; from here on the principal tells.
        const valid = await keys.bootstrapKeys(identity.externalId);
        if (!valid.some(({ thing, key }) => thing === identity.thing && key === external.get(identity))) return null;
      }
      return new GateStanding(gate, identity, identified.principal);
    },
  };
}

class GateStanding implements Standing {
  readonly #gate: Gate;
  readonly #identity: PeerIdentity;
  #principal: Principal;
  #renewal: Promise<boolean> | null = null;
  #retryAtMs = 0;

  constructor(gate: Gate, identity: PeerIdentity, principal: Principal) {
    this.#gate = gate;
    this.#identity = identity;
    this.#principal = principal;
  }

  get doubtful(): boolean {
    return this.#principal.revoked;
  }

  renew(): Promise<boolean> {
    if (!this.doubtful || (this.#renewal === null && performance.now() < this.#retryAtMs)) return Promise.resolve(true);
    // Whether an external key is still the one of the handshake, the gate can't tell: its holder comes again.
    if (this.#identity.kind === 'bootstrap') return Promise.resolve(false);
    this.#renewal ??= this.#ask().finally(() => {
      this.#renewal = null;
    });
    return this.#renewal;
  }

  async #ask(): Promise<boolean> {
    try {
      const identified = await this.#gate.identify(credentialOf(this.#identity));
      if (identified.kind === 'refused') return false;
      this.#principal = identified.principal;
    } catch {
      // Each request is judged by the gate in any case: the session may wait for the registry.
      this.#retryAtMs = performance.now() + RETRY_MS;
    }
    return true;
  }
}

function credentialOf(identity: PeerIdentity): Credential {
  switch (identity.kind) {
    case 'key':
      return { kind: 'key', key: identity.key, thing: identity.identity };
    case 'bootstrap':
      return { kind: 'subject', id: identity.thing };
    case 'certificate':
      return { kind: 'certificate', fingerprint: identity.fingerprint, certificate: identity.certificate };
  }
}

function textOf(identity: Buffer): string | null {
  try {
    return IDENTITY.decode(identity);
  } catch {
    return null;
  }
}
