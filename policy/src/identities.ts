import { hash, randomBytes, X509Certificate } from 'node:crypto';
import type {
  Credential,
  Credentials,
  Directory,
  DirectoryEntity,
  Holder,
  Identified,
  Scope,
  SubjectRecord,
} from '@millrace/core';
import type { GateLimits } from './config.ts';
import { PolicyError } from './errors.ts';
import { Generations } from './generations.ts';
import { Guesses } from './guesses.ts';
import { KnownPrincipal } from './holders.ts';
import { ATTEMPTS_MAX, type Knowledge, LOOKUP_WAIT_MS_MAX } from './knowledge.ts';
import { Flights, Limiter } from './limiter.ts';
import type { Tally } from './tally.ts';

// hot

const UNKNOWN: Identified = Object.freeze({ kind: 'refused', reason: 'unknown' });
const DISABLED: Identified = Object.freeze({ kind: 'refused', reason: 'disabled' });
const CREDENTIAL_SIZE_MAX = 4_096;
const CERTIFICATE_SIZE_MAX = 65_536;
/** So long a certificate is taken for its thing's without asking again: the end of its authority makes no change. */
const CERTIFICATE_MEMO_MS_MAX = 300_000;
const SUBJECTS: ReadonlySet<DirectoryEntity> = new Set(['thing', 'user', 'key', 'certificate', 'app', 'org']);

interface Known {
  readonly identified: Identified;
  readonly principal: KnownPrincipal;
  /** When it must be looked up again; the principal may live longer. */
  readonly untilMs: number;
}

/** What a look-up gave. */
interface Found {
  readonly record: SubjectRecord | null;
  /** When the credential ends. */
  readonly expiresMs: number;
  readonly scope: Scope | null;
  readonly memoMsMax: number;
  /** Whether a null stays one, whatever changes in the registry. */
  readonly final: boolean;
}

const lasting = (record: SubjectRecord | null): Found => ({
  record,
  expiresMs: Number.POSITIVE_INFINITY,
  scope: null,
  memoMsMax: Number.POSITIVE_INFINITY,
  final: false,
});
const held = (holder: Holder | null): Found =>
  holder === null ? lasting(null) : { ...lasting(holder.subject), expiresMs: holder.expiresMs, scope: holder.scope };
const NOBODY: Found = { ...lasting(null), final: true };

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
  readonly #guesses: Guesses;

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
    this.#guesses = new Guesses(limits.guessesPerSecond, now);
    this.#lookups = new Limiter('credentials', limits.lookupsMax, limits.lookupsWaitingMax, LOOKUP_WAIT_MS_MAX);
  }

  get knownCount(): number {
    return this.#known.size;
  }
  get refusedCount(): number {
    return this.#refused.size;
  }

  identify(credential: Credential, address?: string): Identified | Promise<Identified> {
    switch (credential.kind) {
      case 'key':
        return this.#secret(credential.key, 'key', credential.thing, address);
      case 'bearer':
        return this.#secret(credential.token, isJwt(credential.token) ? 'token' : 'bearer', undefined, address);
      case 'ticket':
        return this.#slowly(address, () => this.#ticket(credential.ticket));
      case 'certificate':
        return this.#certificate(credential.fingerprint, credential.certificate, address);
      case 'subject':
        return this.#subject(credential.id, credential.scope ?? null);
    }
  }

  /** What is not known already: not now for who has guessed too often. */
  #slowly(address: string | undefined, ask: () => Promise<Identified>): Promise<Identified> {
    if (address === undefined) return ask();
    if (this.#guesses.refuses(address)) {
      this.#tally.guessed++;
      return Promise.reject(new PolicyError('POLICY_GUESSED', 'later'));
    }
    return ask().then((identified) => {
      if (identified === UNKNOWN) this.#guesses.failed(address);
      return identified;
    });
  }

  #secret(
    secret: string,
    kind: SecretKind,
    thing: string | undefined,
    address: string | undefined,
  ): Identified | Promise<Identified> {
    if (secret.length === 0 || secret.length > CREDENTIAL_SIZE_MAX) return UNKNOWN;
    const tag = hash('sha256', `${kind} ${this.#salt}${secret}`, 'base64url');
    const warm = this.#warm(tag);
    if (warm !== undefined) return belongs(warm, thing);
    const flight = this.#slowly(address, () => this.#cold(tag, () => this.#find[kind](secret)));
    return thing === undefined ? flight : flight.then((identified) => belongs(identified, thing));
  }

  readonly #find: Readonly<Record<SecretKind, (secret: string) => Promise<Found>>> = {
    token: (secret) => this.#findByToken(secret),
    key: (secret) => this.#findByKey(this.#credentials.digest(secret)),
    bearer: (secret) => this.#findByBearer(this.#credentials.digest(secret)),
  };

  /** A certificate is as good as its hash: what a fingerprint is remembered for is that certificate's. */
  #certificate(
    fingerprint: string,
    certificate: Uint8Array,
    address: string | undefined,
  ): Identified | Promise<Identified> {
    if (certificate.length === 0 || certificate.length > CERTIFICATE_SIZE_MAX) return UNKNOWN;
    const tag = `certificate ${fingerprint}`;
    if (hash('sha256', certificate, 'hex') !== fingerprint) return UNKNOWN;
    const find = () => this.#cold(tag, () => this.#findByCertificate(fingerprint, certificate));
    return this.#warm(tag) ?? this.#slowly(address, find);
  }

  #subject(id: string, scope: Scope | null): Identified | Promise<Identified> {
    if (id.length === 0 || id.length > CREDENTIAL_SIZE_MAX) return UNKNOWN;
    // Who names a scope has looked it up just now: it is not remembered what it was.
    if (scope !== null)
      return this.#knowledge.ask(this.#lookups, () =>
        this.#lookUp(null, async () => ({ ...lasting(await this.#read(id)), scope })),
      );
    const tag = `subject ${id}`;
    return this.#warm(tag) ?? this.#cold(tag, async () => lasting(await this.#read(id)));
  }

  /** Never remembered and never joined: of two who show one ticket, one is let in. */
  #ticket(ticket: string): Promise<Identified> {
    if (ticket.length === 0 || ticket.length > CREDENTIAL_SIZE_MAX) return Promise.resolve(UNKNOWN);
    let spender: string | null = null;
    return this.#knowledge.ask(this.#lookups, () =>
      this.#lookUp(null, async () => {
        // It is spent at the first try; what changed meanwhile is read by the subject's id.
        if (spender !== null) return lasting(await this.#read(spender));
        this.#tally.ticketLookups++;
        const record = await this.#directory.redeemTicket(this.#credentials.digest(ticket));
        spender = record?.id ?? null;
        return record === null ? NOBODY : lasting(record);
      }),
    );
  }

  #warm(tag: string): Identified | undefined {
    const known = this.#known.get(tag);
    if (known !== undefined && !known.principal.revoked) {
      if (known.untilMs === Number.POSITIVE_INFINITY || this.#now() < known.untilMs) {
        this.#tally.warmIdentifications++;
        return known.identified;
      }
    }
    const refused = this.#refused.get(tag);
    if (refused === undefined) return undefined;
    const now = this.#now();
    if (now >= refused.untilMs || now < refused.fromMs) return undefined;
    this.#tally.warmIdentifications++;
    return refused.identified;
  }

  #cold(tag: string, find: () => Promise<Found>): Promise<Identified> {
    return this.#flights.join(tag, () => this.#knowledge.ask(this.#lookups, () => this.#lookUp(tag, find)));
  }

  /** A key or a subject appeared or changed: what was refused may be known now. */
  forgetRefused(entity: DirectoryEntity, all: boolean): void {
    if (all || SUBJECTS.has(entity)) this.#refused.clear();
  }

  async #lookUp(tag: string | null, find: () => Promise<Found>): Promise<Identified> {
    for (let attempt = 1; ; attempt++) {
      const mark = this.#knowledge.recent.mark();
      const { record, expiresMs, scope, memoMsMax, final } = await find();
      const stale =
        record === null
          ? !final && this.#knowledge.recent.changed(mark, SUBJECTS)
          : this.#knowledge.recent.touched(mark, [
              record.id,
              record.kind === 'thing' ? record.org : record.id,
              scope?.id ?? record.id,
            ]);
      if (stale && attempt < ATTEMPTS_MAX) {
        this.#tally.retries++;
        continue;
      }
      if (record === null || !record.enabled || stale) {
        // Changing again and again: refused this once rather than remembered.
        return this.#refuse(stale ? null : tag, record === null || stale ? UNKNOWN : DISABLED);
      }
      this.#tally.coldKnown++;
      const state = this.#knowledge.subject(record);
      const whole = expiresMs === Number.POSITIVE_INFINITY && scope === null;
      const life = scope === null ? null : this.#knowledge.scope(scope.id);
      const principal = whole ? state.principal : new KnownPrincipal(state, expiresMs, scope, life, this.#now);
      const identified: Identified = Object.freeze({ kind: 'known', principal });
      const untilMs = memoMsMax === Number.POSITIVE_INFINITY ? memoMsMax : this.#now() + memoMsMax;
      if (tag !== null) this.#known.set(tag, { identified, principal, untilMs });
      return identified;
    }
  }

  async #findByToken(token: string): Promise<Found> {
    const verified = await this.#credentials.verifyAccessToken(token);
    if (verified === null) return NOBODY;
    const record = await this.#read(verified.subject);
    return { ...lasting(record?.epoch === verified.epoch ? record : null), expiresMs: verified.expiresMs };
  }

  async #findByKey(digest: string): Promise<Found> {
    this.#tally.keyLookups++;
    return held(await this.#directory.thingByKey(digest));
  }

  /** An API key or an application's token; or a thing's own key, since not every client can say which it is. */
  async #findByBearer(digest: string): Promise<Found> {
    this.#tally.bearerLookups++;
    const holder = await this.#directory.bearer(digest);
    return holder === null ? this.#findByKey(digest) : held(holder);
  }

  async #findByCertificate(fingerprint: string, certificate: Uint8Array): Promise<Found> {
    const expiresMs = expiryOf(certificate);
    if (expiresMs === null || this.#now() >= expiresMs) return NOBODY;
    this.#tally.certificateLookups++;
    const record = await this.#directory.thingByCertificate(fingerprint, certificate);
    return { record, expiresMs, scope: null, memoMsMax: CERTIFICATE_MEMO_MS_MAX, final: false };
  }

  #read(id: string): Promise<SubjectRecord | null> {
    this.#tally.subjectLookups++;
    return this.#directory.subject(id);
  }

  #refuse(tag: string | null, identified: Identified): Identified {
    this.#tally.coldRefused++;
    const now = this.#now();
    if (tag !== null) this.#refused.set(tag, { identified, fromMs: now, untilMs: now + this.#limits.unknownMsMax });
    return identified;
  }
}

type SecretKind = 'key' | 'token' | 'bearer';

const isJwt = (token: string): boolean => token.split('.', 4).length === 3;

/** When a certificate ends, ms since 1970; null if it is none. */
function expiryOf(certificate: Uint8Array): number | null {
  try {
    const ends = Date.parse(new X509Certificate(certificate).validTo);
    return Number.isNaN(ends) ? null : ends;
  } catch {
    return null;
  }
}

/** A key shown for a named thing must be that thing's. */
function belongs(identified: Identified, thing: string | undefined): Identified {
  if (thing === undefined || identified.kind === 'refused') return identified;
  return identified.principal.subject.id === thing ? identified : UNKNOWN;
}
