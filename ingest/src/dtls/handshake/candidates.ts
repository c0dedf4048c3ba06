import { randomBytes } from 'node:crypto';
import type { PeerIdentity } from '../../coap/contract.ts';
import type { CipherSuite } from '../cipher-suites.ts';
import type { PskCandidate } from '../contract.ts';
import { type DtlsRecord, type OpenedRecord, openRecord } from '../record.ts';
import { deriveSecrets, ecdhePskPremaster, pskPremaster, type Randoms, type Secrets } from './key-schedule.ts';

/** The secrets of somebody who may be at the other end. */
export interface Candidate {
  readonly secrets: Secrets;
  /** null: a client without a certificate; or nobody, who never opens anything. */
  readonly identity: PeerIdentity | null;
  readonly known: boolean;
}

const STRANGER_KEY_BYTES = 43;

/** All that a PSK identity may mean. Who is nobody goes on with a key that nobody has, and fails where a wrong key does.
 *  @param shared of the ECDHE; null without  @holds keys and shared are overwritten */
export function pskCandidates(
  suite: CipherSuite,
  found: readonly PskCandidate[],
  shared: Buffer | null,
  randoms: Randoms,
  sessionHash: Buffer | null,
): Candidate[] {
  const keys = found.length > 0 ? found : [{ key: randomBytes(STRANGER_KEY_BYTES), identity: null }];
  const candidates = keys.map(({ key, identity }): Candidate => {
    const premaster = shared === null ? pskPremaster(key) : ecdhePskPremaster(shared, key);
    key.fill(0);
    return { secrets: deriveSecrets(suite, premaster, randoms, sessionHash), identity, known: identity !== null };
  });
  shared?.fill(0);
  return candidates;
}

/** Finds out by the first record that opens which of them it is. */
export class Candidates {
  #all: readonly Candidate[] = [];
  #chosen: Candidate | null = null;

  set(all: readonly Candidate[]): void {
    this.#all = all;
  }
  get isEmpty(): boolean {
    return this.#all.length === 0;
  }
  /** Who it is, once a record has been opened. */
  get chosen(): Candidate | null {
    return this.#chosen;
  }

  open(record: DtlsRecord): OpenedRecord | null {
    if (this.#chosen !== null) return openRecord(this.#chosen.secrets.client, record);
    for (const candidate of this.#all) {
      const opened = openRecord(candidate.secrets.client, record);
      if (opened === null || !candidate.known) continue;
      this.#chosen = candidate;
      return opened;
    }
    return null;
  }

  /** Overwrites all secrets, but those of one that is kept. */
  forget(kept: Candidate | null): void {
    for (const candidate of this.#all) {
      if (candidate === kept) continue;
      const { master, client, server } = candidate.secrets;
      for (const secret of [master, client.key, client.salt, server.key, server.salt]) secret.fill(0);
    }
    this.#all = [];
    this.#chosen = null;
  }
}
