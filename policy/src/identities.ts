import { hash, randomBytes } from 'node:crypto';
import type { Credential, Credentials, Directory, DirectoryEntity, Identified, SubjectRecord } from '@millrace/core';
import type { GateLimits } from './config.ts';
import { Generations } from './generations.ts';
import { KnownPrincipal } from './holders.ts';
import { ATTEMPTS_MAX, type Knowledge, LOOKUP_WAIT_MS_MAX } from './knowledge.ts';
import { Flights, Limiter } from './limiter.ts';
import type { Tally } from './tally.ts';

// hot

const UNKNOWN: Identified = Object.freeze({ kind: 'refused', reason: 'unknown' });
const DISABLED: Identified = Object.freeze({ kind: 'refused', reason: 'disabled' });
const CREDENTIAL_SIZE_MAX = 4_096;
const SUBJECTS: ReadonlySet<DirectoryEntity> = new Set(['thing', 'user', 'key', 'org']);

interface Known {
  readonly identified: Identified;
  readonly principal: KnownPrincipal;
}

interface Refused {
  readonly identified: Identified;
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Says who shows a credential.
 *  Credentials are remembered by a salted hash (0.3 µs), so that no dump of the memory's maps shows a key. */
export class Identities {
  readonly #directory: Directory;
  readonly #credentials: Credentials;
  readonly #knowledge: Knowledge;
  readonly #limits: GateLimits;
  readonly #tally: Tally;
  readonly #now: () => number;
  readonly #salt = randomBytes(16).toString('base64url');
  readonly #known: Generations<string, Known>;
  readonly #refused: Generations<string, Refused>;
  readonly #flights = new Flights<Identified>();
  readonly #lookups: Limiter;

  constructor(
    directory: Directory,
    credentials: Credentials,
    knowledge: Knowledge,
    limits: GateLimits,
    tally: Tally,
    now: () => number,
  ) {
    this.#directory = directory;
    this.#credentials = credentials;
    this.#knowledge = knowledge;
    this.#limits = limits;
    this.#tally = tally;
    this.#now = now;
    this.#known = new Generations(limits.credentialsMax);
    this.#refused = new Generations(limits.unknownMax);
    this.#lookups = new Limiter('credentials', limits.lookupsMax, limits.lookupsWaitingMax, LOOKUP_WAIT_MS_MAX);
  }

  get knownCount(): number {
    return this.#known.size;
  }
  get refusedCount(): number {
    return this.#refused.size;
  }

  identify(credential: Credential): Identified | Promise<Identified> {
    const bearer = credential.kind === 'bearer';
    const secret = bearer ? credential.token : credential.key;
    const thing = bearer ? undefined : credential.thing;
    if (secret.length === 0 || secret.length > CREDENTIAL_SIZE_MAX) return UNKNOWN;
    // A bearer that is no JWT may be a key.
    const token = bearer && secret.includes('.');
    const tag = hash('sha256', (token ? 'token ' : 'key ') + this.#salt + secret, 'base64url');
    const known = this.#known.get(tag);
    if (known !== undefined && !known.principal.revoked) {
      this.#tally.warmIdentifications++;
      return belongs(known.identified, thing);
    }
    const refused = this.#refused.get(tag);
    if (refused !== undefined) {
      const now = this.#now();
      if (now < refused.untilMs && now >= refused.fromMs) {
        this.#tally.warmIdentifications++;
        return refused.identified;
      }
    }
    const flight = this.#flights.join(tag, () =>
      this.#knowledge.ask(this.#lookups, () => this.#lookUp(tag, secret, token)),
    );
    return thing === undefined ? flight : flight.then((identified) => belongs(identified, thing));
  }

  /** A key or a subject appeared or changed: what was refused may be known now. */
  forgetRefused(entity: DirectoryEntity, all: boolean): void {
    if (all || SUBJECTS.has(entity)) this.#refused.clear();
  }

  async #lookUp(tag: string, secret: string, token: boolean): Promise<Identified> {
    for (let attempt = 1; ; attempt++) {
      const mark = this.#knowledge.recent.mark();
      const verified = token ? await this.#credentials.verifyAccessToken(secret) : null;
      let record: SubjectRecord | null = null;
      if (token) record = verified === null ? null : await this.#user(verified.user);
      else record = await this.#thing(secret);
      const stale =
        record === null
          ? !(token && verified === null) && this.#knowledge.recent.changed(mark, SUBJECTS)
          : this.#knowledge.recent.touched(mark, [record.id, record.kind === 'thing' ? record.org : record.id]);
      if (stale && attempt < ATTEMPTS_MAX) {
        this.#tally.retries++;
        continue;
      }
      if (record === null || !record.enabled || stale) {
        // Changing again and again: refused this once rather than remembered.
        return this.#refuse(tag, record === null || stale ? UNKNOWN : DISABLED, stale);
      }
      this.#tally.coldKnown++;
      const state = this.#knowledge.subject(record);
      const principal = verified === null ? state.principal : new KnownPrincipal(state, verified.expiresMs, this.#now);
      const identified: Identified = Object.freeze({ kind: 'known', principal });
      this.#known.set(tag, { identified, principal });
      return identified;
    }
  }

  async #user(id: string): Promise<SubjectRecord | null> {
    this.#tally.subjectLookups++;
    const record = await this.#directory.subject(id);
    return record?.kind === 'user' ? record : null;
  }

  #thing(key: string): Promise<SubjectRecord | null> {
    this.#tally.keyLookups++;
    return this.#directory.thingByKey(this.#credentials.digest(key));
  }

  #refuse(tag: string, identified: Identified, stale: boolean): Identified {
    this.#tally.coldRefused++;
    const now = this.#now();
    if (!stale) this.#refused.set(tag, { identified, fromMs: now, untilMs: now + this.#limits.unknownMsMax });
    return identified;
  }
}

/** A key shown for a named thing must be that thing's. */
function belongs(identified: Identified, thing: string | undefined): Identified {
  if (thing === undefined || identified.kind === 'refused') return identified;
  return identified.principal.subject.id === thing ? identified : UNKNOWN;
}
