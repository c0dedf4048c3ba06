import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  type JsonWebKey,
  randomBytes,
  randomUUID,
  scryptSync,
} from 'node:crypto';
import type {
  Admission,
  ControlAction,
  Credential,
  Credentials,
  Directory,
  Gate,
  Identified,
  LatestPage,
  LogBatch,
  MessageFate,
  Principal,
  Questions,
  Reading,
  ReadingsQuery,
  ReadingsStore,
  SeriesAnswer,
  SubjectRecord,
} from '@millrace/core';
import type { CredentialsFactory } from '../registry.ts';

/** The cryptography of the policy room in small: right in kind, cheap for tests. */
export function standInCredentials(secret = 'test'): CredentialsFactory {
  const key = createHash('sha256').update(secret).digest();
  const issued = new Map<string, { subject: string; epoch: number; expiresMs: number }>();
  const hash = (password: string, salt: string): string =>
    `${salt}:${scryptSync(password, salt, 16, { N: 2 }).toString('hex')}`;
  return {
    generateSigningKey: async () => ({ kid: randomUUID(), d: 'private' }),
    create: (signingKeys: readonly JsonWebKey[]): Credentials => ({
      hashPassword: async (password) => hash(password, randomBytes(8).toString('hex')),
      verifyPassword: async (password, stored) =>
        stored !== null && hash(password, stored.split(':')[0] ?? '') === stored,
      newKey: () => randomBytes(32).toString('base64url'),
      digest: (text) => createHmac('sha256', key).update(text).digest('hex'),
      encrypt(plain, about) {
        const iv = randomBytes(12);
        const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(about));
        return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()]).toString('base64');
      },
      decrypt(sealed, about) {
        const bytes = Buffer.from(sealed, 'base64');
        const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12)).setAAD(Buffer.from(about));
        decipher.setAuthTag(bytes.subarray(-16));
        return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString();
      },
      async issueAccessToken(subject, epoch, seconds = 900) {
        const token = `a.${randomBytes(8).toString('hex')}.c`;
        issued.set(token, { subject, epoch, expiresMs: Date.now() + seconds * 1_000 });
        return token;
      },
      async verifyAccessToken(token) {
        return issued.get(token) ?? null;
      },
      jwks: () => ({ keys: signingKeys.map(({ kid }) => ({ kid })) }),
    }),
  };
}

const READS = /\.(read|list)$/;

/** A gate that judges by the rules of the directory, anew each time. */
export function standInGate(directory: Directory, credentials: Credentials): Gate {
  const identify = async (credential: Credential): Promise<Identified> => {
    let subject: SubjectRecord | null = null;
    switch (credential.kind) {
      case 'key':
        subject = (await directory.thingByKey(credentials.digest(credential.key)))?.subject ?? null;
        break;
      case 'ticket':
        subject = await directory.redeemTicket(credentials.digest(credential.ticket));
        break;
      case 'certificate':
        subject = await directory.thingByCertificate(credential.fingerprint, credential.certificate);
        break;
      case 'subject':
        subject = await directory.subject(credential.id);
        break;
      case 'bearer': {
        const verified = await credentials.verifyAccessToken(credential.token);
        if (verified !== null) subject = await directory.subject(verified.subject);
        break;
      }
    }
    if (subject === null) return { kind: 'refused', reason: 'unknown' };
    return subject.enabled
      ? { kind: 'known', principal: { subject, scope: null, revoked: false } }
      : { kind: 'refused', reason: 'disabled' };
  };
  const roles = async ({ subject }: Principal, org: string): Promise<string[]> =>
    (await directory.rules(subject.id, org)).filter((rule) => rule.type === 'g').map((rule) => rule.values[1] ?? '');
  return {
    identify,
    async may(principal, action, reference, _subtopic, _context): Promise<Admission> {
      const { subject } = principal;
      const channel = await directory.channel(reference, subject.kind === 'thing' ? subject.org : null);
      if (channel === null) return { kind: 'deny', reason: 'no_such_channel' };
      if (!channel.enabled) return { kind: 'deny', reason: 'channel_disabled' };
      const rules = await directory.rules(subject.id, channel.org);
      const allowed =
        subject.kind === 'user'
          ? subject.admin || rules.length > 0
          : rules.some(({ values }) => values[2] === `channels/${channel.id}/messages*` && values[3] === action);
      if (!allowed) return { kind: 'deny', reason: 'not_allowed' };
      return { kind: 'allow', channel, subject, action, version: directory.version, valid: true };
    },
    async allows(principal, org, _object, action: ControlAction) {
      if (principal.subject.kind === 'thing') return false;
      if (principal.subject.admin) return true;
      const held = await roles(principal, org);
      return held.some((role) => role !== 'role:viewer' || READS.test(action));
    },
    explain: async () => ({ allowed: false, reason: 'not_allowed', rule: null }),
    sealer: { seal: () => undefined, verify: () => false },
  };
}

/** A store that gives what it is told to and remembers what it was asked. */
export class StandInStore implements ReadingsStore {
  given: Reading[] = [];
  fates = new Map<string, MessageFate>();
  asked: ReadingsQuery | null = null;
  healthy: string | null = null;
  payloadBytes = new Map<string, Awaited<ReturnType<ReadingsStore['payload']>>>();
  dead: Awaited<ReturnType<ReadingsStore['deadLetters']>>['deadLetters'] = [];

  /** Of questions: the last one, and what is answered. */
  question: unknown = null;
  series: SeriesAnswer = { columns: ['value'], series: [], cut: false, used: { source: 'readings', why: 'raw' } };
  bytes: readonly Uint8Array[] = [];
  latestPage: LatestPage = { lines: new Uint8Array(), count: 0 };
  readonly questions: Questions = {
    series: async (question) => {
      this.question = question;
      return this.series;
    },
    seriesText: async (question) => {
      this.question = question;
      return this.series;
    },
    seriesRows: (question, options) => this.#stream({ ...question, options }),
    rows: (question, options) => this.#stream({ ...question, options }),
    latest: async (query) => {
      this.question = query;
      return this.latestPage;
    },
    slices: async () => [],
  };
  async *#stream(question: unknown): AsyncGenerator<Uint8Array> {
    this.question = question;
    yield* this.bytes;
  }

  async write(): Promise<void> {}
  async readings(query: ReadingsQuery) {
    this.asked = query;
    const { offset, limit } = query;
    return { total: this.given.length, totalExact: true, offset, limit, readings: this.given };
  }
  async payloads({ offset, limit }: { offset: number; limit: number }) {
    return { total: 0, totalExact: true, offset, limit, payloads: [] };
  }
  async payload(id: string) {
    return this.payloadBytes.get(id) ?? null;
  }
  async deadLetters({ offset, limit }: { offset: number; limit: number }) {
    return { total: this.dead.length, totalExact: true, offset, limit, deadLetters: this.dead };
  }
  async fate(id: string) {
    return this.fates.get(id) ?? null;
  }
  async lastMessage() {
    return null;
  }
  async activity() {
    return { windows: [], publishers: [], publisherCount: 0, contentTypes: [], last: null };
  }
  async health() {
    return this.healthy;
  }
}

/** Records framed as a log gives them. */
export function frame(partition: number, first: number, records: readonly Uint8Array[]): LogBatch {
  const bytes = new Uint8Array(records.reduce((size, record) => size + 4 + record.length, 0));
  let at = 0;
  for (const record of records) {
    new DataView(bytes.buffer).setUint32(at, record.length, true);
    bytes.set(record, at + 4);
    at += 4 + record.length;
  }
  return { partition, first, last: first + records.length - 1, count: records.length, bytes, offsets: null };
}
